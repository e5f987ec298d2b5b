"""The command `mailflock` against a real database and broker: init, status, audit, and what the
operator can do to a run. The ledger is filled by SQL here, so that every state can be had."""

import csv
import io
import json
import os
import pty
import re
import subprocess
import unittest

from harness import STATUSES, Stage, binary, wait_until

COLUMNS = ("first_id", "last_id", "recipients", "digest", "state", "attempt", "seq", "started",
           *STATUSES)


class ConsoleTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.stage = cls.enterClassContext(Stage(settings={"start_limit": "2s"}))

    def setUp(self):
        for table in ("run", "chunk", "delivery"):
            self.stage.execute(f"DELETE FROM {table}")

    # Making ledgers

    def run_row(self, campaign="welcome", at="2026-01-02 03:04:05", publishing="done", control="go"):
        self.stage.execute(
            "INSERT INTO run (campaign, scheduled_at, publishing, control, content, created_at,"
            " published_at) VALUES (%s, %s, %s, %s, '{}', UTC_TIMESTAMP(6), UTC_TIMESTAMP(6))",
            campaign, at, publishing, control)
        return self.stage.run_id(campaign)

    def chunk(self, run, no=0, recipients=10, state="done", attempt=1, maybe=0, codes=None,
              **counts):
        """A chunk whose accounts are right: its first positions have the outcomes of counts."""
        total = sum(counts.values())
        row = {"first_id": str(no * recipients), "last_id": "9", "recipients": recipients,
               "digest": 1 if total else None, "state": state, "attempt": attempt,
               "seq": 1 if total else 0, "started": total, **{s: counts.get(s, 0) for s in STATUSES}}
        self.stage.execute(
            f"INSERT INTO chunk (run_id, chunk_no, {','.join(COLUMNS)}) VALUES (%s, %s"
            + ", %s" * len(COLUMNS) + ")", run, no, *(row[c] for c in COLUMNS))
        statuses = [s for s in STATUSES for _ in range(counts.get(s, 0))]
        for position, status in enumerate(statuses):
            code = codes[position] if codes else 250 if status == "sent" else 550
            self.stage.execute(
                "INSERT INTO delivery (run_id, chunk_no, position, recipient_id, email, status,"
                " attempt, maybe, code, enhanced, detail, at) VALUES (%s, %s, %s, %s, %s, %s, %s, %s,"
                " %s, '5.1.1', %s, UTC_TIMESTAMP(6) + INTERVAL %s SECOND)",
                run, no, position, f"r{no}-{position}", f"u{no}-{position}@example.net", status,
                attempt, maybe, code, f'"no", such {status} one', position - 100)

    def good_run(self, **run):
        run = self.run_row(**run)
        self.chunk(run, 0, sent=8, failed=1, unknown=1)
        self.chunk(run, 1, sent=5, suppressed=3, skipped=2)
        return run

    def ledger(self):
        return [self.stage.rows(f"SELECT * FROM {t} ORDER BY 1, 2") for t in
                ("run", "chunk", "delivery")]

    def refused(self, *args, says, code=1):
        """The command fails, says so on stderr only, and changes nothing."""
        before = self.ledger()
        done = self.stage.run_program("mailflock", *args, code=code)
        self.assertRegex(done.stderr, says)
        self.assertEqual(done.stdout, "")
        self.assertEqual(self.ledger(), before)

    # The command line

    def test_help_and_version_need_no_configuration(self):
        for args in (("-h",), ("-V",), ("status", "-h"), ("--help-config",)):
            with self.subTest(args=args):
                done = self.stage.run_program("mailflock", *args)
                self.assertTrue(done.stdout)
                self.assertEqual(done.stderr, "")

    def test_wrong_usage_is_exit_2(self):
        for args in ((), ("nonsense",), ("status", "--nope"), ("pause",), ("runs", "--limit", "x"),
                     ("audit", "1", "2"), ("retry", "1", "--code", "4x1"), ("--nope",),
                     ("retry", "1", "--status", "unknown"), ("unknown", "1", "--resend", "--mark-sent")):
            with self.subTest(args=args):
                done = self.stage.run_program("mailflock", *args, code=2)
                self.assertIn("mailflock", done.stderr)
                self.assertEqual(done.stdout, "")

    def test_output_that_cannot_be_written_is_a_failure(self):
        with open("/dev/full", "w", encoding="utf-8") as full:
            done = subprocess.run([binary("mailflock"), "-V"], stdout=full, stderr=subprocess.PIPE,
                                  check=False)
        self.assertEqual(done.returncode, 1)
        self.assertIn(b"cannot write", done.stderr)

    # init

    def test_init_twice_does_its_work_once(self):
        with Stage(init=False) as stage:
            first = stage.mailflock("init")
            self.assertRegex(first, r"schema: \d+ migrations applied\n")
            self.assertIn("broker: lanes bulk fast ready\n", first)
            self.assertNotIn("created", first)
            second = stage.mailflock("init")
            self.assertEqual(second, "schema: up to date\nbroker: lanes bulk fast ready\n")
            self.assertEqual(stage.ready("mailflock.bulk.relay"), 0)
            self.assertEqual(stage.ready("mailflock.wait.1"), 0)
            self.assertEqual(stage.ready("mailflock.wait.10"), 0)  # the lease
            self.assertEqual(stage.ready("mailflock.dead"), 0)

    def test_init_goes_on_after_an_interruption(self):
        with Stage(recipients=1) as stage:
            shown = "SELECT table_name, column_name, column_type, collation_name FROM " \
                    "information_schema.columns WHERE table_schema=DATABASE() ORDER BY 1, 2"
            tables, newest = stage.rows(shown), stage.value("SELECT MAX(number) FROM schema_migration")
            for number in range(newest, 0, -1):  # the tables are there, the numbers are not
                with self.subTest(number=number):
                    stage.execute("DELETE FROM schema_migration WHERE number>=%s", number)
                    self.assertRegex(stage.mailflock("init"),
                                     rf"^schema: {newest - number + 1} migrations? applied\n")
                    self.assertEqual(stage.rows(shown), tables)
            self.assertIn("schema: up to date\n", stage.mailflock("init"))
            constraints = "SELECT COUNT(*) FROM information_schema.check_constraints WHERE " \
                          "constraint_schema=DATABASE() AND constraint_name LIKE 'suppression%'"
            self.assertEqual(stage.value(constraints), 1)

    def test_init_leaves_a_table_of_somebody_else_alone(self):
        with Stage(init=False) as stage:
            stage.execute("CREATE TABLE suppression (email VARCHAR(320), since DATE)")
            stage.execute("INSERT INTO suppression VALUES ('Mia@example.net', '2026-01-01')")
            for _ in range(2):
                done = stage.run_program("mailflock", "init", code=1)
                self.assertIn("table 'suppression' that is not Mailflock's", done.stderr)
            self.assertEqual(stage.value("SELECT email FROM suppression"), "Mia@example.net")

    def test_init_declares_the_queues_of_all_campaigns_but_the_broken_ones(self):
        with Stage(init=False) as stage:
            stage.campaign("a-broken", content={"text": "gone.txt"})
            stage.campaign("b-nameless")
            os.rename(os.path.join(stage.dir, "campaigns", "b-nameless.cfg"),
                      os.path.join(stage.dir, "campaigns", "B.cfg"))
            stage.campaign("c-good", delivery={"retry": {"delays": ["77s"]}})
            done = stage.run_program("mailflock", "init", code=1)
            self.assertIn("broker: lanes bulk fast ready\n", done.stdout)
            self.assertIn("gone.txt", done.stderr)
            self.assertIn("campaigns/B.cfg", done.stderr)
            self.assertIn("2 campaign files are wrong: run init again", done.stderr)
            self.assertEqual(stage.ready("mailflock.wait.77"), 0)

    def test_init_creates_a_database_that_is_missing(self):
        with Stage(init=False) as stage:
            stage.execute(f"DROP DATABASE {stage.database}")
            done = stage.run_program("mailflock", "status", code=1)
            self.assertIn("run 'mailflock init' first", done.stderr)
            self.assertIn(f"database: created {stage.database}\n", stage.mailflock("init"))

    def test_init_says_when_the_database_may_not_be_created(self):
        done = self.stage.run_program("mailflock", "init", code=1,
                                      env={"MAILFLOCK_DATABASE_NAME": "not_ours"})
        self.assertRegex(done.stderr, "not_ours")

    def test_commands_without_tables_say_what_to_do(self):
        with Stage(init=False) as stage:
            for command in ("status", "audit"):
                done = stage.run_program("mailflock", command, code=1)
                self.assertIn("run 'mailflock init'", done.stderr)

    def test_a_wrong_password_fails_at_once(self):
        done = self.stage.run_program("mailflock", "status", code=1,
                                      env={"MAILFLOCK_DATABASE_PASSWORD": "wrong"})
        self.assertIn("Access denied", done.stderr)
        self.assertNotIn("wrong", done.stderr)

    # status

    def test_status_of_an_unknown_run_fails(self):
        self.refused("status", "4711", says="there is no run 4711")
        self.refused("status", "nothing", says="there is no run of campaign nothing")
        self.refused("status", "No/Name", says="neither")
        self.refused("status", "--watch", says="no run yet")

    def test_status_lists_runs_newest_first(self):
        self.assertIn("no run yet", self.stage.mailflock("status"))
        old = self.good_run()
        new = self.run_row("other", publishing="open")
        lines = self.stage.mailflock("status").splitlines()
        self.assertEqual([line.split()[0] for line in lines], ["run", str(new), str(old)])
        self.assertEqual(lines[2].split()[3:], ["complete", "20", "13", "1", "0", "3", "2", "1", "0",
                                                "100.0%"])
        self.assertEqual(self.stage.mailflock("runs").splitlines(), lines)
        self.assertEqual(len(self.stage.mailflock("runs", "--limit", 1).splitlines()), 2)
        runs = self.stage.mailflock_json("status")["runs"]
        self.assertEqual([(r["run"], r["state"]) for r in runs],
                         [(new, "publishing"), (old, "complete")])

    def test_status_of_one_run_tells_all_of_it(self):
        run = self.run_row()
        self.chunk(run, 0, sent=10)
        self.chunk(run, 1, state="queued", sent=4, deferred=1)
        self.chunk(run, 2, state="queued")
        self.stage.execute("UPDATE chunk SET token=1, owner='w1', lease_until=UTC_TIMESTAMP(6) +"
                           " INTERVAL 1 HOUR WHERE run_id=%s AND chunk_no=1", run)
        # A second apart, however long the rows took to make.
        self.stage.execute("UPDATE delivery SET at=TIMESTAMP('2026-01-02 03:06:00') + INTERVAL position "
                           "SECOND WHERE run_id=%s", run)
        got = self.stage.mailflock_json("status", "welcome")
        self.assertEqual({k: got[k] for k in ("run", "campaign", "scheduled_at", "state",
                                              "publishing", "control", "recipients", "sent",
                                              "deferred", "pending", "percent")},
                         {"run": run, "campaign": "welcome", "scheduled_at": "2026-01-02T03:04:05Z",
                          "state": "sending", "publishing": "done", "control": "go",
                          "recipients": 30, "sent": 14, "deferred": 1, "pending": 15,
                          "percent": 46.667})
        self.assertEqual(got["chunks"], {"total": 3, "planned": 0, "queued": 2, "done": 1, "stuck": 0,
                                         "leased": 1})
        self.assertAlmostEqual(got["seconds"], 9)
        self.assertAlmostEqual(got["rate"], 14 / 9, places=2)
        self.assertLess(got["first_accepted_at"], got["last_accepted_at"])
        self.assertEqual([(h["owner"], h["chunks"]) for h in got["holders"]], [("w1", 1)])
        self.assertTrue(0 < got["holders"][0]["lease_left_s"] <= 3600, got["holders"])
        self.assertEqual({k: got["oldest_open"][k] for k in ("chunk", "pending", "deferred")},
                         {"chunk": 1, "pending": 5, "deferred": 1})
        text = self.stage.mailflock("status", run)
        self.assertIn("holder        w1: 1 chunk, lease ends in", text)
        self.assertIn("chunk 1, queued, attempt 1: 5 pending, 1 deferred", text)

    def test_status_of_damaged_accounts_is_told_all_the_same(self):
        run = self.good_run()
        self.stage.execute("UPDATE chunk SET recipients=9 WHERE chunk_no=0")
        self.assertEqual(self.stage.mailflock_json("status", run)["oldest_open"]["pending"], -1)
        self.assertIn("-1 pending", self.stage.mailflock("status", run))

    def test_watch_ends_when_the_run_is_complete(self):
        run = self.run_row()
        self.chunk(run, 0, state="queued", sent=5)
        watch = self.stage.start("watch", [binary("mailflock"), "-c", self.stage.config, "status",
                                           "--watch"])
        watch.wait_for_log(r"state=sending recipients=10 sent=5 .* pending=5 percent=50.0")
        self.stage.execute("UPDATE chunk SET sent=10, state='done' WHERE run_id=%s", run)
        self.assertEqual(watch.wait(60), 0)
        self.assertRegex(watch.text().splitlines()[-1], r"state=complete .* pending=0 percent=100.0")

    def test_watch_as_json_is_one_document_a_line(self):
        self.good_run()
        lines = self.stage.mailflock("status", "welcome", "--watch", "--json").splitlines()
        self.assertEqual([json.loads(line)["state"] for line in lines], ["complete"])
        self.assertIsNotNone(json.loads(lines[-1])["first_accepted_at"])

    def test_watch_of_a_stuck_run_ends_with_a_failure(self):
        run = self.run_row()
        self.chunk(run, 0, state="stuck", sent=5)
        done = self.stage.run_program("mailflock", "status", run, "--watch", code=1)
        self.assertIn("stuck", done.stderr)

    def test_watch_on_a_terminal_draws_a_bar(self):
        self.good_run()
        pid, terminal = pty.fork()
        if pid == 0:
            os.execve(binary("mailflock"), ["mailflock", "-c", self.stage.config, "status",
                                            "--watch"], self.stage.environment())
        seen = b""

        def ended():
            nonlocal seen
            try:
                more = os.read(terminal, 4096)
            except OSError:  # the other side is closed
                more = b""
            seen += more
            return not more

        wait_until(ended, 60, "the watch to end")
        os.close(terminal)
        self.assertEqual(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), 0)
        self.assertIn(b"[##############################] 100.0%  20/20", seen)

    # audit

    def audit(self, *args, code):
        lines = self.stage.mailflock("audit", *args, code=code).splitlines()
        return lines[:-1], lines[-1]

    def test_audit_of_a_good_ledger_balances(self):
        run = self.good_run()
        live = self.run_row("live", publishing="open")
        self.chunk(live, 0, state="queued", sent=5, deferred=2)
        self.chunk(live, 1, state="planned")
        self.assertEqual(self.audit(run, code=0), ([], f"audit: runs=1 chunks=2 recipients=20 "
                                                       "deliveries=20 breaches=0 balanced=yes"))
        self.assertEqual(self.audit(code=0), ([], "audit: runs=2 chunks=4 recipients=40 "
                                                  "deliveries=27 breaches=0 balanced=yes"))

    def test_audit_of_an_unknown_run_fails(self):
        self.refused("audit", "4711", says="there is no run 4711")

    def test_audit_finds_each_kind_of_damage(self):
        for rule, damage in {
            "pending": "UPDATE chunk SET recipients=9 WHERE chunk_no=0",
            "count-sent": "UPDATE chunk SET sent=7 WHERE chunk_no=0",
            "count-failed": "DELETE FROM delivery WHERE status='failed'",
            "count-skipped": "UPDATE delivery SET status='failed' WHERE status='skipped' LIMIT 1",
            "position": "UPDATE delivery SET position=10 WHERE chunk_no=1 AND position=9",
            "attempt": "UPDATE delivery SET attempt=2 WHERE chunk_no=1 AND position=0",
            "done-open": "UPDATE chunk SET recipients=11 WHERE chunk_no=1",
            "maybe": "UPDATE delivery SET maybe=1 WHERE status='failed'",
            "lease": "UPDATE chunk SET lease_until=UTC_TIMESTAMP(6) WHERE chunk_no=1",
            "over-token": "UPDATE chunk SET token=5, lease_until=UTC_TIMESTAMP(6) WHERE chunk_no=1",
            "started": "UPDATE chunk SET started=11 WHERE chunk_no=0",
            "commit": "UPDATE chunk SET seq=0 WHERE chunk_no=0",
            "planned": "UPDATE chunk SET state='planned' WHERE chunk_no=0",
            "dense": "UPDATE chunk SET chunk_no=2 WHERE chunk_no=1",
            "no-chunk": "UPDATE delivery SET chunk_no=5 WHERE chunk_no=1 AND position=9",
            "completed": "UPDATE run SET completed_at=UTC_TIMESTAMP(6), publishing='open'",
            "no-run": "INSERT INTO chunk (run_id, chunk_no, first_id, last_id, recipients) VALUES"
                      " (999999, 0, '', '', 0)",
        }.items():
            with self.subTest(rule=rule):
                self.setUp()
                self.good_run()
                self.stage.execute(damage)
                breaches, last = self.audit(code=1)
                self.assertIn(rule, [re.search(r" rule=(\S+) expected=\S+ found=\S+$", b)[1]
                                     for b in breaches])
                self.assertRegex(last, rf" breaches={len(breaches)} balanced=no$")

    def test_audit_shows_a_bounded_list(self):
        run = self.run_row()
        self.stage.execute(
            "INSERT INTO chunk (run_id, chunk_no, first_id, last_id, recipients, state)"
            " WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < 199)"
            " SELECT %s, i, '', '', 1, 'done' FROM n", run)
        breaches, last = self.audit(code=1)
        self.assertEqual(len(breaches), 51)
        self.assertEqual(breaches[-1], "... and 150 more")
        self.assertIn(" chunks=200 recipients=200 deliveries=0 breaches=200 balanced=no", last)

    # pause, resume, cancel

    def test_pause_resume_cancel_change_control_and_nothing_else(self):
        run = self.run_row(publishing="open")
        self.chunk(run, 0, state="queued", sent=5)

        def but_control():
            columns = ("id", "campaign", "scheduled_at", "publishing", "content", "created_at",
                       "published_at", "completed_at")
            return self.stage.rows(f"SELECT {','.join(columns)} FROM run"), self.ledger()[1:]

        for command, control, says in (("pause", "paused", "paused"),
                                       ("pause", "paused", "paused already: nothing changed"),
                                       ("resume", "go", "resumed"),
                                       ("resume", "go", "not paused already"),
                                       ("pause", "paused", "paused"),
                                       ("cancel", "cancelled", "cancelled"),
                                       ("cancel", "cancelled", "cancelled already")):
            before = but_control()
            self.assertIn(says, self.stage.mailflock(command, run))
            self.assertEqual(self.stage.value("SELECT control FROM run WHERE id=%s", run), control)
            self.assertEqual(but_control(), before)
        self.refused("pause", run, says="it is cancelled")
        self.refused("resume", run, says="it is cancelled")

    def test_control_of_unknown_or_finished_runs_is_refused(self):
        for command in ("pause", "resume", "cancel"):
            self.refused(command, "4711", says="there is no run 4711")
        self.good_run()
        for command in ("pause", "resume", "cancel"):
            self.refused(command, "welcome", says="it is complete")

    # failures, unknown

    def test_failures_are_listed_across_pages(self):
        run = self.run_row()
        self.stage.execute(
            "INSERT INTO delivery (run_id, chunk_no, position, recipient_id, email, status, attempt,"
            " code, enhanced, detail, at) WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM"
            " n WHERE i < 499), m(i) AS (SELECT a.i * 5 + b.i FROM n a JOIN n b ON b.i < 5)"
            " SELECT %s, i DIV 100, i MOD 100, i, CONCAT('u', i, '@example.net'),"
            " IF(i MOD 5 = 4, 'sent', 'failed'), 1, IF(i MOD 2, 550, 421), '', '한 \"x\", y',"
            " UTC_TIMESTAMP(6) FROM m", run)
        rows = list(csv.DictReader(io.StringIO(self.stage.mailflock("failures", run, "--csv"))))
        self.assertEqual([int(r["recipient"]) for r in rows], [i for i in range(2500) if i % 5 != 4])
        self.assertEqual({r["detail"] for r in rows}, {'한 "x", y'})
        self.assertEqual(len(self.stage.mailflock("failures", run).splitlines()), 2000)
        reasons = list(csv.DictReader(io.StringIO(
            self.stage.mailflock("failures", run, "--by-reason", "--csv"))))
        self.assertEqual({r["code"]: int(r["recipients"]) for r in reasons}, {"421": 1000, "550": 1000})

    def test_unknown_ones_are_listed_and_can_count_as_sent(self):
        run = self.good_run()
        self.assertIn("u0-9@example.net", self.stage.mailflock("unknown", run))
        self.assertIn("1 recipient in 1 chunk now count as sent",
                      self.stage.mailflock("unknown", run, "--mark-sent"))
        self.assertEqual(self.stage.counts(run)["unknown"], 0)
        self.assertEqual(self.stage.counts(run)["sent"], 14)
        self.audit(run, code=0)
        self.refused("unknown", run, "--mark-sent", says="no recipient that is unknown")
        self.refused("unknown", run, "--resend", says="no recipient that is unknown")

    # retry (PROTOCOL O1)

    def test_retry_plans_another_attempt_of_the_chosen_only(self):
        run = self.run_row()
        self.chunk(run, 0, sent=7, failed=3, codes=[250] * 7 + [421, 550, 451])
        self.chunk(run, 1, sent=9, failed=1, codes=[250] * 9 + [550])
        before = self.stage.rows("SELECT * FROM delivery WHERE status='sent' ORDER BY 1, 2, 3")
        out = self.stage.mailflock("retry", run, "--status", "failed", "--code", "4xx")
        self.assertIn("2 recipients in 1 chunk will be sent again", out)
        self.assertEqual(
            self.stage.rows("SELECT chunk_no, state, attempt, token, started, claims, seq, sent,"
                            " failed, deferred FROM chunk"),
            [(0, "planned", 2, None, 0, 0, 2, 7, 1, 2), (1, "done", 1, None, 10, 0, 1, 9, 1, 0)])
        self.assertEqual(self.stage.rows("SELECT position, attempt, maybe FROM delivery"
                                         " WHERE status='deferred' ORDER BY 1"),
                         [(7, 1, 0), (9, 1, 0)])
        self.assertEqual(self.stage.rows("SELECT * FROM delivery WHERE status='sent' ORDER BY 1, 2, 3"),
                         before)
        self.assertEqual(self.stage.one("SELECT publishing, completed_at, published_at IS NOT NULL"
                                        " FROM run"), ("open", None, 1))
        self.audit(run, code=0)
        self.refused("retry", run, says="only a run that is over")

    def test_resend_of_unknown_ones_keeps_in_mind_that_they_may_have_got_it(self):
        run = self.good_run()
        self.assertIn("1 recipient in 1 chunk", self.stage.mailflock("unknown", run, "--resend"))
        self.assertEqual(self.stage.one("SELECT status, attempt, maybe FROM delivery WHERE"
                                        " chunk_no=0 AND position=9"), ("deferred", 1, 1))
        self.audit(run, code=0)

    def test_resend_is_refused_while_a_chunk_is_held_or_its_attempt_has_begun(self):
        for name, damage in {
            "leased": "UPDATE chunk SET state='queued', token=1, lease_until=UTC_TIMESTAMP(6) +"
                      " INTERVAL 60 SECOND WHERE chunk_no=0",
            "begun": "UPDATE chunk SET state='queued', attempt=2, started=3 WHERE chunk_no=0",
            "outcome of this attempt": "UPDATE chunk SET state='queued', started=0 WHERE chunk_no=0",
            "stuck": "UPDATE chunk SET state='stuck' WHERE chunk_no=0",
            "pending": "UPDATE chunk SET state='queued', attempt=2, started=0, recipients=11"
                       " WHERE chunk_no=0",
        }.items():
            with self.subTest(name=name):
                self.setUp()
                run = self.good_run()
                self.stage.execute(damage)
                self.refused("unknown", run, "--resend", says="nothing was changed")

    def test_resend_joins_an_attempt_that_has_not_begun(self):
        run = self.run_row()
        self.chunk(run, 0, sent=5, unknown=1, deferred=4)
        self.stage.execute("UPDATE chunk SET state='queued', attempt=2, started=0")
        self.stage.mailflock("unknown", run, "--resend")
        self.assertEqual(self.stage.one("SELECT state, attempt, deferred, unknown FROM chunk"),
                         ("planned", 3, 5, 0))
        self.audit(run, code=0)

    def test_a_passed_lease_does_not_keep_the_operator_out(self):
        run = self.run_row()
        self.chunk(run, 0, sent=9, unknown=1)
        self.stage.execute("UPDATE chunk SET state='queued', token=1, lease_until=UTC_TIMESTAMP(6) -"
                           " INTERVAL 1 SECOND")
        self.stage.mailflock("unknown", run, "--mark-sent")
        self.assertEqual(self.stage.one("SELECT sent, unknown, seq FROM chunk"), (10, 0, 2))

    def broken_off(self, trouble, *args):
        """The command, where the database has trouble with the second of three chunks; its stderr."""
        self.stage.execute("CREATE TRIGGER trouble BEFORE UPDATE ON chunk FOR EACH ROW "
                           f"IF NEW.chunk_no=1 THEN {trouble}; END IF")
        try:
            done = self.stage.run_program("mailflock", *args, code=1)
        finally:
            self.stage.execute("DROP TRIGGER trouble")
        self.assertEqual(done.stdout, "")
        return done.stderr

    def test_a_resend_that_breaks_off_says_what_it_did(self):
        # The run is closed after the first chunk, as by a producer that saw no other.
        for trouble, says in (("SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT='trouble'", "trouble"),
                              ("KILL CONNECTION_ID()", "")):
            with self.subTest(trouble=trouble):
                self.setUp()
                run = self.run_row()
                for no in range(3):
                    self.chunk(run, no, sent=8, unknown=2)
                self.stage.execute("CREATE TABLE closed (once INT)")
                self.stage.execute("CREATE TRIGGER close_it BEFORE UPDATE ON run FOR EACH ROW "
                                   "IF NOT EXISTS (SELECT 1 FROM closed) THEN SET NEW.publishing='done'; "
                                   "INSERT INTO closed VALUES (1); END IF")
                try:
                    said = self.broken_off(trouble, "unknown", run, "--resend")
                finally:
                    self.stage.execute("DROP TRIGGER close_it")
                    self.stage.execute("DROP TABLE closed")
                self.assertEqual(self.stage.value("SELECT publishing FROM run"), "open")
                self.assertIn(f"run {run}: 2 recipients in 1 chunk will be sent again by "
                              "'mailflock-producer due'; repeat the command", said)
                self.assertIn(says, said)
                self.assertEqual(self.stage.rows("SELECT state, deferred, unknown FROM chunk"),
                                 [("planned", 2, 0), ("done", 0, 2), ("done", 0, 2)])
                self.stage.mailflock("unknown", run, "--resend")
                self.assertEqual(self.stage.rows("SELECT DISTINCT state, deferred FROM chunk"),
                                 [("planned", 2)])

    def test_settling_that_breaks_off_says_what_it_did(self):
        run = self.run_row()
        for no in range(3):
            self.chunk(run, no, sent=8, unknown=2)
        said = self.broken_off("SIGNAL SQLSTATE '45000'", "unknown", run, "--mark-sent")
        self.assertIn(f"run {run}: 2 recipients in 1 chunk now count as sent; repeat", said)
        self.assertEqual(self.stage.rows("SELECT sent FROM chunk"), [(10,), (8,), (8,)])

    def test_a_transaction_that_lost_a_deadlock_is_repeated(self):
        """Deadlocks come from a trigger; its counter is in a table that knows no ROLLBACK."""
        run = self.run_row()
        self.chunk(run, 0, sent=8, unknown=2)
        self.chunk(run, 1, state="queued", sent=8, deferred=1)
        self.stage.execute("CREATE TABLE lost (once INT) ENGINE=MyISAM")
        self.stage.execute("CREATE TRIGGER deadlock BEFORE UPDATE ON chunk FOR EACH ROW "
                           "IF (SELECT COUNT(*) FROM lost) < 2 THEN INSERT INTO lost VALUES (1); "
                           "SIGNAL SQLSTATE '40001' SET MYSQL_ERRNO=1213; END IF")
        try:
            self.assertIn("2 recipients in 1 chunk", self.stage.mailflock("unknown", run, "--mark-sent"))
            self.assertEqual(self.stage.value("SELECT COUNT(*) FROM lost"), 2)
            self.stage.execute("DELETE FROM lost")
            self.assertIn("2 recipients skipped, 0 unknown",
                          self.stage.mailflock("skip", run, "--chunk", 1))
            self.assertEqual(self.stage.value("SELECT COUNT(*) FROM lost"), 2)
        finally:
            self.stage.execute("DROP TRIGGER deadlock")
            self.stage.execute("DROP TABLE lost")
        self.assertEqual(self.stage.rows("SELECT sent, unknown, skipped, seq FROM chunk"),
                         [(10, 0, 0, 2), (8, 0, 2, 2)])
        self.stage.mailflock("audit", run)

    def test_retry_is_refused_where_it_makes_no_sense(self):
        live = self.run_row("live", publishing="open")
        self.chunk(live, 0, state="queued", failed=5)
        self.refused("retry", live, says="only a run that is over can be retried")
        run = self.good_run()
        self.refused("retry", run, "--code", "4xx", says="no failed recipient with such a code")
        self.refused("retry", "4711", says="there is no run 4711")
        cancelled = self.good_run(campaign="off", control="cancelled")
        self.refused("retry", cancelled, "--status", "skipped", says="is cancelled")


if __name__ == "__main__":
    unittest.main(verbosity=2)
