"""The consumer and SMTP servers in trouble: each recipient ends as the protocol says, exactly, and what
is the server's fault uses up nobody's attempts and is over as soon as the server is mended."""

import re
import unittest

import side_by_side
from harness import FakeSmtp, Stage, StarttlsServer, binary

RECIPIENTS = 200
RESEND = {"delivery": {"on_crash": "resend"}}


class SharesTest(unittest.TestCase):
    """A server that treats a share of the recipients badly."""

    def run_it(self, campaign=None, settings=None, **options):
        """One run by two consumers; fills stage, smtp, run, counts, stats, rows and found."""
        stage = self.enterContext(Stage(recipients=RECIPIENTS, campaign=campaign, settings=settings))
        self.stage, self.smtp = stage, stage.start_fakesmtp(**options)
        self.run_id = stage.produce()
        workers = stage.start_consumers(2)
        stage.wait_quiet(self.run_id)
        self.counts = stage.assert_balanced(self.run_id)
        stage.mailflock("audit", self.run_id)
        self.stats = self.smtp.stats()
        self.rows = {to: (status, attempt, code) for to, status, attempt, code in stage.rows(
            "SELECT email, status, attempt, code FROM delivery WHERE run_id=%s", self.run_id)}
        self.found = stage.compare(self.run_id, self.smtp)
        self.assertEqual(self.stats["violation_kinds"], {})
        self.assertEqual((self.found["lost"], self.found["wrong"], self.found["strange"]), ([], [], []))
        self.assertEqual([w.stop() for w in workers], [0, 0])

    def with_status(self, status):
        return {to for to, row in self.rows.items() if row[0] == status}

    def accepted(self):
        return {mail.rcpt for mails in self.smtp.mails().values() for mail in mails}

    def test_refused_recipients_fail(self):
        self.run_it(rcpt_refuse=0.1, dot_refuse=0.1)
        codes = [code for status, _, code in self.rows.values() if status == "failed"]
        self.assertEqual(set(codes), {550, 554})
        self.assertEqual(self.counts["failed"], self.stats["refused"])
        self.assertEqual(self.with_status("sent"), self.accepted())
        self.assertEqual(self.counts["sent"] + self.counts["failed"], RECIPIENTS)
        self.assertEqual(self.found["twice"], [])

    def test_refused_recipients_whose_data_is_answered_354(self):
        for options in ({}, {"no_pipelining": True}, {"multiline": True, "delay_ms": 5}):
            with self.subTest(options):
                self.run_it(rcpt_refuse=0.3, data_354_after_refused_rcpt=True, **options)
                self.assertGreater(self.counts["failed"], 20)
                self.assertEqual(self.with_status("sent"), self.accepted())
                self.assertEqual(self.counts["sent"] + self.counts["failed"], RECIPIENTS)

    def test_deferred_recipients_are_sent_in_the_end(self):
        self.run_it(rcpt_defer=0.2, dot_defer=0.2, defer_times=2)
        self.assertEqual(self.counts["sent"], RECIPIENTS)
        self.assertEqual(self.found["twice"], [])
        attempts = {attempt for _, attempt, _ in self.rows.values()}
        self.assertTrue({1, 3} <= attempts <= {1, 3, 5}, attempts)
        self.assertEqual(self.with_status("sent"), self.accepted())

    def test_a_server_that_names_a_time_is_asked_again_after_it(self):
        for reply, wait_s in (("450 4.2.0 Greylisted, please try again in 2 seconds", 4),
                              ("451 4.7.1 come back in 12:00:00", 4),  # of the delays the longest
                              ("450 4.2.0 Greylisted, see http://example.com/help/60.html", 1)):
            with self.subTest(reply):
                self.run_it(rcpt_defer=0.2, rcpt_defer_reply=reply, campaign={
                    "audience": {"chunk": RECIPIENTS},
                    "delivery": {"retry": {"delays": ["1s", "4s"], "max_age": "1h"}}})
                self.assertEqual(self.counts["sent"], RECIPIENTS)
                accepted = {mail.rcpt: mail.at_us for mails in self.smtp.mails().values()
                            for mail in mails}
                first = [at for to, at in accepted.items() if self.rows[to][1] == 1]
                later = [at for to, at in accepted.items() if self.rows[to][1] == 2]
                self.assertEqual(len(later), self.stats["deferred"])
                self.assertGreaterEqual(min(later) - max(first), (wait_s - 0.2) * 1000000)

    def test_a_drop_after_the_final_dot_leaves_exactly_those_unknown(self):
        for campaign in (None, RESEND):  # no worker crashed: the policy does not matter
            with self.subTest(campaign):
                self.run_it(drop_after_dot=0.1, campaign=campaign)
                self.assertGreater(self.stats["dropped_accepted"], 0)
                self.assertGreater(self.stats["dropped"], self.stats["dropped_accepted"])
                unknown = self.with_status("unknown")
                self.assertEqual(len(unknown), self.stats["dropped"])
                self.assertEqual(self.counts["sent"], RECIPIENTS - len(unknown))
                self.assertEqual(len(unknown & self.accepted()), self.stats["dropped_accepted"])
                self.assertEqual(self.found["twice"], [])

    def test_a_drop_on_data_is_nobodys_fault(self):
        self.run_it(drop_before_dot=0.2)
        self.assertGreater(self.stats["dropped"], 20)
        # Half of them are closed on DATA and sent later. The others inside the content: by then the
        # final dot has left here as well, and nobody can know how far it came.
        unknown = self.with_status("unknown")
        self.assertTrue(5 < len(unknown) < self.stats["dropped"] - 5, len(unknown))
        self.assertEqual(self.with_status("sent"), set(self.rows) - unknown)
        self.assertEqual(self.with_status("sent"), self.accepted())
        self.assertEqual({attempt for _, attempt, _ in self.rows.values()}, {1})
        self.assertEqual(self.found["twice"], [])

    def test_no_reply_to_the_final_dot_in_time_is_unknown(self):
        self.run_it(stall_after_dot=0.04, seed=3, settings={"transports": {"relay": {
            "final_reply_timeout": "12s", "connections": 20}}})
        unknown = self.with_status("unknown")
        self.assertGreater(self.stats["stalled"], 0)
        self.assertEqual(len(unknown), self.stats["stalled"])
        self.assertEqual(len(unknown & self.accepted()), self.stats["stalled_accepted"])
        self.assertEqual(self.counts["sent"], RECIPIENTS - len(unknown))
        self.assertEqual(self.found["twice"], [])

    def test_everything_at_once(self):
        self.run_it(rcpt_refuse=0.05, rcpt_defer=0.1, dot_defer=0.1, dot_refuse=0.05,
                    drop_after_dot=0.05, drop_before_dot=0.1, data_354_after_refused_rcpt=True,
                    max_messages=7, delay_ms=2)
        # Only a dropped recipient may be accepted and not be called sent.
        self.assertLessEqual(self.accepted() - self.with_status("sent"), self.with_status("unknown"))
        self.assertLessEqual(self.with_status("sent"), self.accepted())
        ended = self.counts["sent"] + self.counts["failed"] + self.counts["unknown"]
        self.assertEqual(ended, RECIPIENTS)
        self.assertEqual(self.found["twice"], [])


class MendedTest(unittest.TestCase):
    """The transport is at fault, then it is not: nobody's attempt is used, work goes on by itself."""

    def assert_recovers(self, stage, worker, run, mend, log, recipients=50):
        """Trouble shows in the log, nothing is recorded, and once it is mended all is sent."""
        worker.wait_for_log(log)
        self.assertEqual(stage.value("SELECT COUNT(*) FROM delivery"), 0)
        mend()
        counts = stage.wait_quiet(run)
        # Soon: the waits grow from a quarter of a second.
        waits = [int(ms) for ms in re.findall(r"retry_after_ms=(\d+)", worker.text())]
        self.assertTrue(waits and waits[0] <= 500, waits)
        self.assertEqual(stage.assert_balanced(run), counts)
        self.assertEqual(counts["sent"], recipients)
        self.assertEqual(stage.rows("SELECT DISTINCT attempt FROM delivery"), [(1,)])
        self.assertEqual(stage.value("SELECT COUNT(*) FROM suppression"), 0)
        self.assertEqual(worker.stop(), 0)

    def test_greetings_and_senders_refused(self):
        rows = (({"greeting": "421 4.3.2 not now"}, "cannot connect.*421"),
                ({"greeting": "554 5.3.2 no service"}, "cannot connect.*554"),
                ({"mail_refuse": "451 4.3.0 who are you"}, "refuses mail for now.*who are you"),
                ({"mail_refuse": "421 4.3.2 not now"}, "closes the connection.*not now"))
        for options, log in rows:
            with self.subTest(options), Stage(recipients=50) as stage:
                smtp = stage.start_fakesmtp(**options)
                run = stage.produce()
                worker = stage.start_consumer()

                def mend():
                    smtp.end()
                    self.good = FakeSmtp(binary("fakesmtp"), stage.dir, "good", port=smtp.port)
                    stage.processes.append(self.good)

                self.assert_recovers(stage, worker, run, mend, log)
                self.assertEqual((self.good.accepted(), self.good.stats()["duplicates"]), (50, 0))

    def test_a_password_that_becomes_right(self):
        with Stage(recipients=50) as stage:
            server = stage.start_starttls(password="another")
            stage.relay(server, password="secret")
            run = stage.produce()
            worker = stage.start_consumer()

            def mend():
                server.end()
                self.good = StarttlsServer(server.argv[1], stage.dir, server.name, port=server.port)
                stage.processes.append(self.good)

            self.assert_recovers(stage, worker, run, mend, "cannot connect.*(Login denied|535)")
            self.assertEqual({mail["user"] for mail in self.good.mails()}, {"mailflock"})
            self.assertNotIn("secret", worker.text())

    def test_a_server_that_was_not_there(self):
        with Stage(recipients=50) as stage:
            smtp = stage.start_fakesmtp()
            smtp.end()
            run = stage.produce()
            worker = stage.start_consumer()

            def mend():
                stage.processes.append(FakeSmtp(binary("fakesmtp"), stage.dir, "good", port=smtp.port))

            self.assert_recovers(stage, worker, run, mend, "cannot connect")

    def test_a_sender_that_is_too_large_is_the_recipients_affair(self):
        """PROTOCOL S2: 552 at MAIL FROM speaks of the message."""
        with Stage(recipients=50) as stage:
            stage.start_fakesmtp(mail_refuse="552 5.3.4 too big")
            run = stage.produce()
            stage.start_consumer()
            self.assertEqual(stage.wait_quiet(run)["failed"], 50)
            self.assertEqual(stage.rows("SELECT DISTINCT code, enhanced FROM delivery"),
                             [(552, "5.3.4")])

    def test_a_down_server_holds_up_nobody_else(self):
        """Two transports; the one that is down keeps its own chunks waiting only."""
        with Stage(recipients=100) as stage:
            good = stage.start_fakesmtp()
            stage.write_config(transports={"down": {"type": "smtp", "url": "smtp://127.0.0.1:1",
                                                    "tls": "off"}})
            stage.campaign("down", {"delivery": {"transport": "down"}, "audience": {"chunk": 100}})
            down = stage.produce("down")
            run = stage.produce()
            worker = stage.start_consumer()
            self.assertEqual(stage.wait_quiet(run, 60)["sent"], 100)
            worker.wait_for_log("cannot connect")
            self.assertEqual(stage.counts(down)["pending"], 100)
            self.assertEqual(worker.stop(), 0)
            self.assertEqual(stage.counts(down)["pending"], 100)
            self.assertEqual(good.accepted(), 100)


if __name__ == "__main__":
    side_by_side.main()
