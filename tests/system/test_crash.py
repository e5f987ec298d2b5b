"""What a worker's death at each point of a chunk's life leaves behind, and what the next worker makes
of it. The first worker has fault points compiled in and kills itself (SIGKILL) at exactly the named
one; the second is the ordinary one. Each row of the table runs with both policies of a campaign:

hold    nobody gets a second copy; what was handed over without a committed outcome ends unknown
resend  everybody gets the mail; second copies only for what was handed over without one

All rows are at work at the same time, since most of it is waiting for leases. The table that is
printed at the end is the one of docs/architecture.md; its first two columns have to be the same.
"""

import contextlib
import os
import signal
import sys
import unittest

from environment import binary_with_faults
from harness import ENV, ROOT, Stage, wait_until

RECIPIENTS, CONNECTIONS, WINDOW = 60, 8, 16  # the first window: twice the connections
LANE = "mailflock.bulk.relay"
LEASE = "5s"
QUEUES = [LANE] + [f"mailflock.wait.{s}" for s in (1, 5, 15)]
EVERYBODY = set(range(RECIPIENTS))


class Left:
    """What the first worker left: positions, as the ledger and the server know them."""

    def __init__(self, stage, run, smtp):
        self.state, self.attempt, self.claims, self.started, held = stage.one(
            "SELECT state, attempt, claims, started, token IS NOT NULL FROM chunk WHERE run_id=%s", run)
        self.held = bool(held)
        self.committed = dict(stage.rows(
            "SELECT position, status FROM delivery WHERE run_id=%s AND attempt=%s", run, self.attempt))
        self.recorded = stage.value("SELECT COUNT(*) FROM delivery WHERE run_id=%s", run)
        self.accepted = set(copies(smtp))
        self.ambiguous = {p for p in range(self.started) if p not in self.committed}


def copies(smtp):
    """position -> how often the server has accepted its mail."""
    found = {}
    for mails in smtp.mails().values():
        for mail in mails:
            position = int(mail.rcpt.split("@")[0].removeprefix("user")) - 1
            found[position] = found.get(position, 0) + 1
    return found


class Point:
    """fault: the fault point's name, :N for the Nth time. smtp: options of the server. check(left)
    says whether the worker really stopped there."""

    def __init__(self, title, fault, then, check, **smtp):
        self.title, self.fault, self.then, self.check, self.smtp = title, fault, then, check, smtp


HEADER = ("killed", "the next worker", "watermark, accepted, recorded", "`hold`: sent, unknown, twice",
          "`resend`: sent, unknown, twice", "lost")
DEFERS = {"rcpt_defer": 0.3, "seed": 7}
POINTS = {
    "before_claim": Point(
        "before the claim", "before_claim", "claims, sends all",
        lambda left: left.claims == 0 and not left.held and not left.started and not left.accepted),
    "after_claim": Point(
        "after the claim", "after_claim", "claims when the lease is over, sends all",
        lambda left: left.claims == 1 and left.held and not left.started and not left.accepted),
    "watermark": Point(
        "watermark committed, nothing sent", "watermark_committed",
        "settles the ambiguous, sends the rest",
        lambda left: left.started == WINDOW and not left.accepted and not left.recorded),
    "wire": Point(
        "mails on the wire", "mails_on_the_wire:12", "settles the ambiguous, sends the rest",
        lambda left: CONNECTIONS <= len(left.accepted) <= 12 and len(left.committed) < 8),
    "collected": Point(
        "outcomes collected, not committed", "outcomes_collected:2",
        "settles the ambiguous, sends the rest",
        lambda left: left.committed and left.accepted - left.committed.keys()),
    "retry_not_published": Point(
        "committed, retry not published", "retry_not_published", "publishes the retry, ends the attempt",
        lambda left: left.attempt == 1 and len(left.committed) == RECIPIENTS
        and "deferred" in left.committed.values() and left.held, **DEFERS),
    "retry_published": Point(
        "retry published, attempt not ended", "retry_published",
        "publishes the retry again, ends the attempt; of two retries one is dropped",
        lambda left: left.attempt == 1 and len(left.committed) == RECIPIENTS
        and "deferred" in left.committed.values() and left.held, **DEFERS),
    "retry_not_acked": Point(
        "attempt ended, retry under way, not acked", "closed_not_acked",
        "drops the message, takes the retry",
        lambda left: left.attempt == 2 and not left.held and not left.committed
        and left.recorded == RECIPIENTS, **DEFERS),
    "not_acked": Point(
        "chunk done, not acked", "closed_not_acked", "drops the message",
        lambda left: left.state == "done" and len(left.committed) == RECIPIENTS),
}


class Crash:
    """One row under one policy, in steps, so that many can be under way at once."""

    def __init__(self, stack, point, policy):
        self.point, self.policy, self.problem = point, policy, None
        self.stage = stack.enter_context(Stage(
            recipients=RECIPIENTS,
            settings={"worker": {"lease": LEASE}, "transports": {"relay": {"connections": CONNECTIONS}}},
            campaign={"audience": {"chunk": RECIPIENTS}, "delivery": {"on_crash": policy}}))
        self.smtp = self.stage.start_fakesmtp(delay_ms=20, **point.smtp)

    def step(self, *steps):
        """Runs steps; what goes wrong is this row's alone."""
        try:
            for one in steps:
                if not self.problem:
                    one()
        except Exception as e:
            self.problem = e
            print(f"==== {self.point.title} ({self.policy}): {e}", file=sys.stderr)
            self.stage.print_logs()

    def die(self):
        self.run = self.stage.produce()
        worker = self.stage.start("first", [binary_with_faults("mailflock-consumer"), "-c", self.stage.config],
                                  env={"MAILFLOCK_FAULT": self.point.fault,
                                       "MAILFLOCK_WORKER_NAME": f"first-{self.stage.id}"})
        code = worker.wait(60)
        if code != -signal.SIGKILL:
            raise AssertionError(f"the first worker ended with {code}: is it built with fault points?")
        wait_until(lambda: self.smtp.stats()["open"] == 0, 60, "the server to have read everything")
        self.left = Left(self.stage, self.run, self.smtp)
        if not self.point.check(self.left):
            raise AssertionError(f"it did not die at {self.point.fault}: {vars(self.left)}")

    def take_over(self):
        self.second = self.stage.start_consumer()

    def end(self):
        """The run is over, and every copy of its messages has come back and been dropped."""
        self.stage.wait_quiet(self.run, 60)
        wait_until(lambda: not any(self.stage.ready(q) for q in QUEUES), 60, "all messages to be gone")
        code = self.second.stop()
        if code:
            raise AssertionError(f"the second worker ended with {code}")
        self.counts = self.stage.assert_balanced(self.run)
        self.stage.mailflock("audit", self.run)
        self.unknown = {p for p, in self.stage.rows(
            "SELECT position FROM delivery WHERE run_id=%s AND status='unknown'", self.run)}
        self.copies = copies(self.smtp)
        self.found = self.stage.compare(self.run, self.smtp)

    @property
    def twice(self):
        return {p for p, n in self.copies.items() if n > 1}

    @property
    def lost(self):
        """Called sent, or called nothing at all, and never accepted."""
        return EVERYBODY - self.unknown - self.copies.keys()

    # Cells of the table.

    @property
    def left_cell(self):
        """What it left: watermark, mails accepted by the server, recorded in the ledger."""
        if self.problem:
            return "failed"
        return f"{self.left.started}, {len(self.left.accepted)}, {self.left.recorded}"

    @property
    def end_cell(self):
        if self.problem:
            return "failed"
        return f"{self.counts['sent']}, {len(self.unknown)}, {len(self.twice)}"

    @property
    def lost_cell(self):
        return RECIPIENTS if self.problem else len(self.lost)


class CrashTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        binary_with_faults("mailflock-consumer")
        cls.rows = {}
        stack = contextlib.ExitStack()
        cls.addClassCleanup(stack.close)
        for name, point in POINTS.items():
            for policy in ("hold", "resend"):
                row = cls.rows[name, policy] = Crash(stack, point, policy)
                row.step(row.die, row.take_over)
        for row in cls.rows.values():
            row.step(row.end)

    @classmethod
    def tearDownClass(cls):
        """The table, in Markdown: one row per point, with both policies."""
        lines = ["", f"| {' | '.join(HEADER)} |", "|" + "---|" * len(HEADER)]
        for name, point in POINTS.items():
            hold, resend = (cls.rows[name, policy] for policy in ("hold", "resend"))
            cells = [point.title, point.then, "; ".join(dict.fromkeys((hold.left_cell, resend.left_cell))),
                     hold.end_cell, resend.end_cell, hold.lost_cell + resend.lost_cell]
            lines.append("| " + " | ".join(map(str, cells)) + " |")
        print("\n".join(lines), flush=True)

    def row(self, name, policy):
        row = self.rows[name, policy]
        if row.problem:
            raise AssertionError(f"{row.point.title} ({policy}): {row.problem}")
        self.assertEqual(row.found["lost"] + row.found["wrong"] + row.found["strange"], [])
        self.assertEqual(row.lost, set())
        self.assertEqual(row.counts["pending"] + row.counts["deferred"] + row.counts["failed"], 0)
        self.assertEqual(row.stage.ready("mailflock.dead"), 0)
        self.assertEqual(row.smtp.stats()["violations"], 0)
        # PROTOCOL C4: nothing is handed over that the watermark does not cover.
        self.assertLessEqual(row.left.accepted - set(range(row.left.started)), row.left.committed.keys()
                             if row.left.attempt == 1 else EVERYBODY)
        return row

    def hold(self, name):
        row = self.row(name, "hold")
        self.assertEqual(row.twice, set(), "hold never sends a second copy")
        self.assertEqual(row.unknown, row.left.ambiguous, "exactly the ambiguous end unknown")
        self.assertEqual(row.counts["sent"], RECIPIENTS - len(row.left.ambiguous))
        self.assertLessEqual(len(row.unknown), WINDOW)
        self.assertEqual(set(row.copies), row.left.accepted | (EVERYBODY - row.left.ambiguous))

    def resend(self, name):
        row = self.row(name, "resend")
        self.assertEqual((row.counts["sent"], row.unknown), (RECIPIENTS, set()))
        self.assertEqual(set(row.copies), EVERYBODY, "everybody got it")
        self.assertEqual(row.twice, row.left.accepted & row.left.ambiguous,
                         "second copies exactly for what was accepted and not recorded")
        self.assertLessEqual(len(row.left.ambiguous), WINDOW)


for _name, _point in POINTS.items():
    for _policy in ("hold", "resend"):
        def _test(self, name=_name, policy=_policy):
            getattr(self, policy)(name)
        _test.__doc__ = f"{_point.title}: {_point.then} ({_policy})"
        setattr(CrashTest, f"test_{_name}_{_policy}", _test)


class DocumentTest(unittest.TestCase):
    def test_the_document_has_this_table(self):
        """docs/architecture.md: the same columns, the same rows; the figures vary."""
        with open(os.path.join(ROOT, "docs", "architecture.md"), encoding="utf-8") as document:
            table = [[cell.strip() for cell in line.split("|")[1:-1]]
                     for line in document if line.startswith("|") and line.count("|") == len(HEADER) + 1]
        self.assertEqual(table[:1], [list(HEADER)])
        self.assertEqual([(killed, then) for killed, then, *_ in table[2:]],
                         [(point.title, point.then) for point in POINTS.values()])


class PoisonTest(unittest.TestCase):
    """PROTOCOL C11: a chunk that kills every worker is set aside."""

    def test_the_fifth_claim_in_a_row_makes_the_chunk_stuck(self):
        with contextlib.ExitStack() as stack:
            row = Crash(stack, POINTS["watermark"], "hold")
            row.die()
            stage, run = row.stage, row.run
            stage.execute("UPDATE chunk SET claims=4, lease_until=UTC_TIMESTAMP(6) - INTERVAL 1 SECOND")
            row.take_over()
            properties, _ = stage.take("mailflock.dead", 60)
            self.assertIn("stuck", properties.headers["x-mailflock-reason"])
            self.assertEqual(stage.one("SELECT state, token FROM chunk"), ("stuck", None))
            counts = stage.assert_balanced(run)
            self.assertEqual((counts["unknown"], counts["pending"]), (WINDOW, RECIPIENTS - WINDOW))
            self.assertEqual(row.smtp.accepted(), 0)
            self.assertEqual(row.second.stop(), 0)


if __name__ == "__main__":
    unittest.main(verbosity=2)
