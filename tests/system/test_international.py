"""Addresses beyond ASCII: domains go out as xn-- to any server; local parts go where SMTPUTF8 is
offered and fail with a reason elsewhere, without harm to the mails around them."""

import email
import email.policy
import unittest

import postfix
from harness import Stage, wait_until

REASON = "an address beyond ASCII needs SMTPUTF8, which the server does not offer"

# What the audience holds, what the server is told, and why it cannot be told ("" where it can).
DOMAINS = [
    ("ada@example.net", "ada@example.net", ""),
    ("user@bücher.example", "user@xn--bcher-kva.example", ""),
    ("User@한국.EXAMPLE", "User@xn--3e0b707e.example", ""),
    ("a@xn--bcher-kva.example", "a@xn--bcher-kva.example", ""),
    ("snow@☃.example", None,
     "the domain has a character that internationalized domain names cannot have"),
    ("a@bücher..example", None, "the domain has an empty label (two dots, or one at an end)"),
    ("b@" + "ü" * 70 + ".example", None,
     "the domain has a label whose ASCII form has more than 63 bytes"),
]
LOCAL_PARTS = [
    ("김민지@example.net", "김민지@example.net", ""),
    ("zoë@bücher.example", "zoë@xn--bcher-kva.example", ""),
]


def read(mail):
    """From text: of bytes, the email package takes those beyond ASCII for unknown."""
    return email.message_from_string(mail, policy=email.policy.SMTPUTF8)


class International(unittest.TestCase):
    def send(self, stage, addresses, **campaign):
        """One run to these addresses, ended; returns {position: (email, status, detail)}."""
        stage.add_subscribers(len(addresses))
        for i, address in enumerate(addresses, 1):
            stage.execute("UPDATE subscriber SET email=%s WHERE id=%s", address, i)
        if campaign:
            stage.campaign("welcome", campaign)
        run = stage.produce()
        consumer = stage.start_consumer()
        stage.wait_quiet(run)
        self.assertEqual(consumer.stop(), 0)
        stage.assert_balanced(run)
        stage.expect_log_clean(levels=("error", "warn"))
        self.assertIn("balanced=yes", stage.mailflock("audit", run))
        return {position: row for position, *row in stage.rows(
            "SELECT position, email, status, detail FROM delivery WHERE run_id=%s", run)}

    def check(self, rows, ledger, offered):
        for position, (given, told, reason) in enumerate(rows):
            with self.subTest(address=given, offered=offered):
                address, status, detail = ledger[position]
                if told and not offered and not told.isascii():
                    reason = REASON
                self.assertEqual(status, "failed" if reason else "sent")
                self.assertEqual(address, told or given)
                if reason:
                    self.assertEqual(detail, reason)

    def test_against_a_strict_server_with_and_without_smtputf8(self):
        rows = DOMAINS + LOCAL_PARTS + [("last@example.net", "last@example.net", "")]
        for offered in (True, False):
            for pipelining in (True, False):
                with Stage() as stage:
                    server = stage.start_fakesmtp(smtputf8=offered, no_pipelining=not pipelining)
                    stage.relay(server, connections=1)
                    self.check(rows, self.send(stage, [given for given, *_ in rows]), offered)
                    stats = server.stats()
                    self.assertEqual((stats["violation_kinds"], stats["duplicates"]), ({}, 0))
                    self.assertEqual(stats["connections"], 1)
                    want = {told.lower() for _, told, reason in rows
                            if not reason and (offered or told.isascii())}
                    got = {a.rcpt for mails in server.mails().values() for a in mails}
                    self.assertEqual(got, want)

    def test_headers_and_envelope_at_aiosmtpd(self):
        """The campaign's own addresses, too: one beyond ASCII makes every mail SMTPUTF8."""
        for sender, reply_to, told, answer in (
                ("Bücher <info@bücher.example>", "fragen@bücher.example",
                 "info@xn--bcher-kva.example", "fragen@xn--bcher-kva.example"),
                ("쪽지 <쪽지@bücher.example>", "답장@한국.example",
                 "쪽지@xn--bcher-kva.example", "답장@xn--3e0b707e.example")):
            with self.subTest(sender=sender), Stage() as stage:
                server = stage.start_starttls()
                rows = DOMAINS[:2] + LOCAL_PARTS
                ledger = self.send(stage, [given for given, *_ in rows],
                                   content={"from": sender, "reply_to": reply_to})
                self.check(rows, ledger, True)
                mails = {mail["to"][0]: mail for mail in server.mails()}
                self.assertEqual(set(mails), {told for _, told, _ in rows})
                for to, mail in mails.items():
                    parsed = read(mail["content"])
                    self.assertEqual(mail["from"], told)
                    self.assertEqual(parsed["To"].addresses[0].addr_spec, to)
                    self.assertEqual(parsed["From"].addresses[0].addr_spec, told)
                    self.assertEqual(parsed["Reply-To"].addresses[0].addr_spec, answer)
                    self.assertTrue(parsed["Message-ID"].rstrip(">").endswith(
                        "@xn--bcher-kva.example"))
                    self.assertEqual(parsed.defects, [])

    def test_a_sender_beyond_ascii_reaches_nobody_without_smtputf8(self):
        with Stage() as stage:
            server = stage.start_fakesmtp()
            ledger = self.send(stage, ["ada@example.net"], content={"from": "쪽지@example.com"})
            self.assertEqual(ledger[0][1:], ["failed", REASON])
            self.assertEqual(server.accepted(), 0)

    @unittest.skipIf(postfix.why_not(), postfix.why_not())
    def test_a_real_postfix_takes_them(self):
        addresses = ["ada@example.net", "김민지@example.net", "zoë.ångström@example.net"]
        with Stage() as stage:
            server = stage.start_postfix()
            ledger = self.send(stage, addresses)
            self.assertEqual([row[1] for row in ledger.values()], ["sent"] * 3)
            wait_until(lambda: server.mail_count() >= 3, 60, server.log)
            got = [read(mail.decode())["To"].addresses[0].addr_spec for mail in server.mails()]
            self.assertEqual(sorted(got), sorted(addresses))


if __name__ == "__main__":
    unittest.main(verbosity=2)  # which names what is skipped
