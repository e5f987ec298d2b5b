"""The operator's decisions with real workers: another attempt for those who got nothing, or may have
(PROTOCOL O1), and a pause that a whole flock obeys (O2)."""

import unittest

import side_by_side
from flow import LANE, FlowTest
from harness import CAMPAIGN, FakeSmtp, Stage, binary, now_us, wait_until


def recipients(smtp):
    """id of the subscriber -> how often this server accepted a mail to it."""
    found = {}
    for mails in smtp.mails().values():
        for mail in mails:
            number = int(mail.rcpt.split("@")[0].removeprefix("user"))
            found[number] = found.get(number, 0) + 1
    return found


def having(stage, condition):
    return {int(i) for i, in stage.rows(f"SELECT recipient_id FROM delivery WHERE {condition}")}


class AnotherAttemptTest(unittest.TestCase):
    """PROTOCOL O1."""

    def finish(self, stage, run):
        counts = stage.wait_quiet(run)
        self.assertEqual(stage.assert_balanced(run), counts)
        stage.mailflock("audit", run)
        return counts

    def due(self, stage, run, says):
        """Publishes what the operator chose. A run that was just begun is left to its producer."""
        stage.execute("UPDATE run SET created_at=created_at - INTERVAL 1 MINUTE WHERE id=%s", run)
        self.assertIn(says, stage.run_program("mailflock-producer", "due").stdout)

    def another_server(self, stage, smtp, **options):
        """In the place of the first, and with a record of its own."""
        smtp.stop()
        again = FakeSmtp(binary("fakesmtp"), stage.dir, "again", port=smtp.port, **options)
        stage.processes.append(again)
        return again

    def test_unknown_ones_are_sent_again_and_nobody_else(self):
        with Stage(recipients=120, campaign={"audience": {"chunk": 60}}) as stage:
            smtp = stage.start_fakesmtp(drop_after_dot=0.15, seed=3)
            run = stage.produce()
            worker = stage.start_consumer()
            counts = self.finish(stage, run)
            unknown = having(stage, "status='unknown'")
            got = set(recipients(smtp))
            self.assertTrue(unknown & got and unknown - got, "some of them have it, some have not")
            self.assertEqual(counts["sent"] + len(unknown), 120)
            smtp = self.another_server(stage, smtp, dot_refuse=0.4, seed=3)
            said = stage.mailflock("unknown", run, "--resend")
            self.assertIn(f"{len(unknown)} recipients in 2 chunks will be sent again", said)
            self.due(stage, run, "published=2")
            counts = self.finish(stage, run)
            second = recipients(smtp)
            self.assertEqual(having(stage, "attempt=2"), unknown)
            self.assertEqual(having(stage, "maybe=1"), unknown, "it is not forgotten")
            self.assertEqual(set(second), having(stage, "attempt=2 AND status='sent'"))
            self.assertEqual(set(second.values()), {1})
            # PROTOCOL C12: refused now, and perhaps accepted before.
            refused = unknown - set(second)
            self.assertTrue(refused)
            self.assertEqual(having(stage, "status='unknown'"), refused)
            self.assertEqual((counts["sent"], counts["failed"]), (120 - len(refused), 0))
            self.assertEqual(worker.stop(), 0)

    def test_failed_ones_are_chosen_by_their_reply(self):
        with Stage(recipients=120, campaign={"audience": {"chunk": 60},
                                             "delivery": {"retry": {"max_attempts": 1}}}) as stage:
            smtp = stage.start_fakesmtp(rcpt_defer=0.15, rcpt_refuse=0.15, seed=4)
            run = stage.produce()
            worker = stage.start_consumer()
            counts = self.finish(stage, run)
            for_now, for_ever = (having(stage, f"status='failed' AND code={code}") for code in (450, 550))
            self.assertTrue(for_now and for_ever)
            self.assertEqual(counts["sent"] + len(for_now) + len(for_ever), 120)
            smtp = self.another_server(stage, smtp)
            said = stage.mailflock("retry", run, "--code", "4xx")
            self.assertIn(f"{len(for_now)} recipients in 2 chunks will be sent again", said)
            self.due(stage, run, "published=2")
            counts = self.finish(stage, run)
            self.assertEqual(recipients(smtp), {i: 1 for i in for_now})
            self.assertEqual(having(stage, "attempt=2 AND status='sent'"), for_now)
            self.assertEqual((counts["sent"], counts["failed"]), (120 - len(for_ever), len(for_ever)))
            self.assertEqual(worker.stop(), 0)

    def test_who_was_too_late_gets_it_when_the_operator_wants_it(self):
        """PROTOCOL C3: max_age counts in a first attempt; a later one was asked for."""
        with Stage(recipients=120, campaign={"audience": {"chunk": 60},
                                             "delivery": {"retry": {"max_age": "1h"}}}) as stage:
            smtp = stage.start_fakesmtp(rcpt_defer=0.1, seed=5)
            at = stage.value("SELECT DATE_FORMAT(UTC_TIMESTAMP() - INTERVAL 2 HOUR, '%Y-%m-%dT%TZ')")
            run = stage.produce(at=at)
            worker = stage.start_consumer()
            self.assertEqual(self.finish(stage, run)["skipped"], 120)
            self.assertEqual(stage.rows("SELECT DISTINCT detail, attempt FROM delivery"),
                             [("too late: max_age has passed", 1)])
            self.assertEqual(smtp.accepted(), 0)
            self.assertIn("120 recipients in 2 chunks will be sent again",
                          stage.mailflock("retry", run, "--status", "skipped"))
            self.due(stage, run, "published=2")
            counts = self.finish(stage, run)
            # Who is deferred now would be too late with the next attempt.
            failed = having(stage, "status='failed' AND code=450")
            self.assertEqual((counts["sent"], counts["failed"]), (120 - len(failed), len(failed)))
            self.assertTrue(0 < len(failed) < 60, failed)
            self.assertEqual(recipients(smtp), {i: 1 for i in range(1, 121) if i not in failed})
            self.assertEqual(stage.rows("SELECT DISTINCT attempt FROM delivery"), [(2,)])
            self.assertEqual(worker.stop(), 0)


class PauseTest(FlowTest):
    """PROTOCOL O2, by a flock."""

    OTHERS = 60

    def test_all_workers_stop_sending_until_it_is_resumed(self):
        self.flow(recipients=900, workers=3, prefetch=1, delay_ms=200, held=True,
                  campaign={"audience": {"chunk": 150}})
        stage, run = self.stage, self.run_id
        stage.mailflock("pause", run)
        paused_us = now_us()
        self.smtp.resume()
        held = "SELECT COUNT(*) FROM chunk WHERE token IS NOT NULL AND run_id=%s"
        wait_until(lambda: not stage.value(held, run), 60, "no worker to have a chunk of it")
        before = len(self.smtp.mails())
        counts = stage.assert_balanced(run)
        self.assertEqual(counts["sent"], before, "every mail's reply was awaited")
        self.assertEqual((counts["unknown"], counts["deferred"]), (0, 0))
        self.assertGreater(stage.value("SELECT COUNT(*) FROM chunk WHERE sent BETWEEN 1 AND 149"), 0,
                           "they stopped in the middle of a chunk")
        last_us = max(mail.at_us for mails in self.smtp.mails().values() for mail in mails)
        print(f"{side_by_side.MEASURED}the last mail was accepted {(last_us - paused_us) / 1e6:.2f} s "
              "after the pause")
        left = stage.value("SELECT COUNT(*) FROM chunk WHERE state<>'done'")
        parked = f"mailflock.parked.{run}"
        wait_until(lambda: stage.ready(parked) == left, 60, "what is left to be parked")
        claims = "SELECT chunk_no, seq, claims FROM chunk WHERE run_id=%s ORDER BY 1"
        rows = stage.rows(claims, run)
        # Meanwhile the workers have other things to do.
        sql = CAMPAIGN["audience"]["sql"].replace("active = 1", f"id <= {self.OTHERS}")
        stage.campaign("other", {"audience": {"sql": sql}})
        other = stage.produce("other")
        self.assertEqual(stage.wait_quiet(other)["sent"], self.OTHERS)
        self.assertEqual(stage.counts(run), counts, "nothing is sent while it is paused")
        self.assertEqual(stage.rows(claims, run), rows, "and nothing is claimed")
        self.assertEqual(len(self.smtp.mails()), before + self.OTHERS)
        self.assertEqual(stage.ready(parked), left)
        self.assertIn(f"{left} parked messages moved back", stage.mailflock("resume", run))
        counts = stage.wait_quiet(run)
        self.assertEqual(stage.assert_balanced(run), counts)
        self.assertEqual((counts["sent"], counts["unknown"]), (self.recipients, 0))
        found = stage.compare(run, self.smtp)
        self.assertEqual((found["lost"], found["twice"], found["wrong"]), ([], [], []))
        self.assertEqual(found["accepted"], self.recipients + self.OTHERS)
        self.assertEqual([w.stop() for w in self.workers], [0, 0, 0])


if __name__ == "__main__":
    side_by_side.main()
