"""The consumer sends through real and strict SMTP servers: Postfix's smtp-sink with and without
PIPELINING, a server that demands STARTTLS and AUTH, a real Postfix, and fakesmtp's odder ways."""

import email
import email.policy
import unittest

import postfix
from harness import Stage, wait_until

RECIPIENTS = 40


def parsed(content):
    if isinstance(content, str):
        content = content.encode()
    return email.message_from_bytes(content, policy=email.policy.default)


class Peers(unittest.TestCase):
    def send(self, stage, recipients=RECIPIENTS, deadline_s=60):
        """One run of the campaign by one consumer, all of it sent; returns the run."""
        run = stage.produce()
        consumer = stage.start_consumer()
        counts = stage.wait_quiet(run, deadline_s)
        self.assertEqual((counts["sent"], counts["recipients"]), (recipients, recipients))
        self.assertEqual(consumer.stop(), 0)
        stage.assert_balanced(run)
        stage.expect_log_clean(levels=("error", "warn"))
        return run

    def assert_arrived(self, stage, run, mails):
        """mails: contents. Every recipient has the one with the ledger's id, addressed to them."""
        ledger = {mid.strip("<>"): to for mid, to in stage.rows(
            "SELECT message_id, email FROM delivery WHERE run_id=%s", run)}
        arrived = {}
        for mail in map(parsed, mails):
            arrived[mail["Message-ID"].strip("<>")] = mail["To"].addresses[0].addr_spec
            self.assertIn("환영합니다", mail["Subject"])
        self.assertEqual(len(mails), len(arrived))
        self.assertEqual(arrived, ledger)

    def test_smtp_sink(self):
        for options in ((), ("-p",), ("-w", "1"), ("-8",), ("-e",)):
            with self.subTest(options=options), Stage(recipients=RECIPIENTS) as stage:
                stage.start_sink(*options)
                self.send(stage)

    def test_starttls_and_auth(self):
        for options in ({}, {"mechanisms": "LOGIN"}, {"smtps": True}):
            with self.subTest(options=options), Stage(recipients=RECIPIENTS) as stage:
                server = stage.start_starttls(**options)
                run = self.send(stage)
                mails = server.mails()
                self.assert_arrived(stage, run, [mail["content"] for mail in mails])
                self.assertEqual({(m["user"], m["tls"]) for m in mails}, {("mailflock", True)})

    def test_starttls_is_used_where_it_is_offered(self):
        with Stage(recipients=3) as stage:
            server = stage.start_starttls(no_auth=True)
            stage.relay(server, tls="try", user=None, password=None)
            self.send(stage, 3)
            self.assertEqual({mail["tls"] for mail in server.mails()}, {True})

    def test_nothing_is_sent_over_a_connection_that_is_not_trusted(self):
        """No attempt is used up, and the log says why."""
        rows = [
            ("unknown authority", {}, {"ca_file": None}),
            ("another name", {"host": "other.example"}, {}),
            ("wrong password", {}, {"password": "wrong"}),
            ("no STARTTLS", {"no_tls": True, "no_auth": True}, {"user": None, "password": None}),
        ]
        for what, options, changes in rows:
            with self.subTest(what=what), Stage(recipients=3) as stage:
                server = stage.start_starttls(**options)
                if "no_tls" in options:
                    changes = {**changes, "ca_file": None}
                stage.relay(server, **changes)
                run = stage.produce()
                consumer = stage.start_consumer()
                consumer.wait_for_log(r"mod=smtp .*cannot connect")
                self.assertEqual(consumer.stop(), 0)
                self.assertEqual(server.stop(), 0)
                self.assertEqual(server.mails(), [])
                self.assertEqual(stage.counts(run)["pending"], 3)
                self.assertNotIn("secret", consumer.text())

    @unittest.skipIf(postfix.why_not(), postfix.why_not())
    def test_a_real_postfix_delivers_to_a_maildir(self):
        with Stage(recipients=RECIPIENTS) as stage:
            server = stage.start_postfix()
            run = self.send(stage)
            wait_until(lambda: server.mail_count() >= RECIPIENTS, 60, server.log)
            self.assert_arrived(stage, run, server.mails())

    def test_the_odder_ways_of_a_server(self):
        rows = ({"no_pipelining": True}, {"multiline": True}, {"max_messages": 3}, {"smtputf8": True},
                {"slow_body": True}, {"delay_ms": 20}, {"data_354_after_refused_rcpt": True})
        for options in rows:
            with self.subTest(options=options), Stage(recipients=RECIPIENTS) as stage:
                server = stage.start_fakesmtp(**options)
                if "max_messages" in options:
                    stage.relay(server, messages_per_connection=3)
                run = self.send(stage)
                stats = server.stats()
                self.assertEqual((stats["violation_kinds"], stats["duplicates"]), ({}, 0))
                difference = stage.compare(run, server)
                self.assertEqual(difference, {"accepted": RECIPIENTS, "lost": [], "twice": [],
                                              "wrong": [], "strange": []})

    def test_a_server_that_limits_messages_or_connections(self):
        for options in ({"max_messages": 5}, {"max_connections": 2}):
            with self.subTest(options=options), Stage(recipients=RECIPIENTS) as stage:
                server = stage.start_fakesmtp(**options)
                run = stage.produce()
                stage.start_consumer()
                counts = stage.wait_quiet(run, 60)
                self.assertEqual(counts["sent"], RECIPIENTS)
                self.assertEqual(server.stats()["violation_kinds"], {})
                self.assertEqual(server.accepted(), RECIPIENTS)
                attempts = stage.rows("SELECT DISTINCT attempt FROM delivery WHERE run_id=%s", run)
                self.assertEqual(attempts, [(1,)])


if __name__ == "__main__":
    unittest.main(verbosity=2)  # which names what is skipped
