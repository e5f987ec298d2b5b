"""fakesmtp does as it is told, so that tests may believe it."""

import contextlib
import os
import select
import shutil
import signal
import smtplib
import socket
import subprocess
import tempfile
import time
import unittest
from email.message import EmailMessage

from environment import binary
from processes import FakeSmtp, read_record, wait_until
from smtp_client import SmtpClient, content, envelope

RCPTS = [f"user{i}@example.net" for i in range(1000, 1200)]


class Case(unittest.TestCase):
    def setUp(self):
        self.dir = tempfile.mkdtemp(prefix="mailflock-fakesmtp-")
        self.addCleanup(shutil.rmtree, self.dir, True)

    def start(self, **options):
        server = FakeSmtp(binary("fakesmtp"), self.dir, **options)
        self.addCleanup(server.end)
        return server

    def client(self, server, **more):
        client = SmtpClient(server.port, **more)
        self.addCleanup(client.close)
        return client

    def last_codes(self, server, rcpts=RCPTS):
        """rcpt -> the code that decided on its mail, "lost" or "silence"."""
        found = {}
        client = SmtpClient(server.port)
        for i, rcpt in enumerate(rcpts):
            codes = []
            try:
                codes = client.ask(envelope(rcpt), 3)
                if codes[2] == 354:
                    codes += client.ask(content(f"{i}@test"))
                found[rcpt] = next((c for c in codes if c >= 400), codes[-1])
                client.ask("RSET\r\n")
            except (EOFError, ConnectionError):
                found[rcpt] = "lost"
            except TimeoutError:
                found[rcpt] = "silence"
            if isinstance(found[rcpt], str):
                client.close()
                client = SmtpClient(server.port)
        client.close()
        return found

    def stats_when(self, server, **want):
        def reached():
            stats = server.stats()
            return stats if all(stats[key] == value for key, value in want.items()) else None

        return wait_until(reached, 60, lambda: f"{want}, got {server.stats()}")

    def share_of(self, codes, what):
        return {rcpt for rcpt, code in codes.items() if code == what}

    def assert_share(self, found, share):
        self.assertTrue(share * 0.6 < len(found) / len(RCPTS) < share * 1.4, len(found))


class Service(Case):
    def test_takes_mail_from_smtplib_and_records_it(self):
        server = self.start()
        message = EmailMessage()
        message["From"], message["To"], message["Subject"] = "a@x.example", "B@y.example", "hi"
        message["Message-ID"] = "<one@x.example>"
        message.set_content(".leading dot\ntext\n")
        before = time.monotonic_ns() // 1000
        with smtplib.SMTP("127.0.0.1", server.port) as smtp:
            smtp.send_message(message)
        self.assertEqual(server.stop(), 0)
        (mail,) = server.mails()["one@x.example"]
        self.assertEqual((mail.rcpt, mail.connection), ("b@y.example", 1))
        self.assertTrue(before <= mail.at_us <= time.monotonic_ns() // 1000)
        stats = server.stats()
        self.assertEqual((stats["accepted"], stats["connections"], stats["violations"]), (1, 1, 0))

    def test_takes_pipelined_mails_each_dot_with_the_next_envelope(self):
        server = self.start()
        with SmtpClient(server.port) as client:
            self.assertIn("PIPELINING", client.capabilities)
            self.assertEqual(client.ask(envelope("u0@t.example"), 3), [250, 250, 354])
            for i in range(1, 50):
                codes = client.ask(content(f"{i}@t") + envelope(f"u{i}@t.example"), 4)
                self.assertEqual(codes, [250, 250, 250, 354])
            self.assertEqual(client.ask(content("50@t") + "QUIT\r\n", 2), [250, 221])
        stats = self.stats_when(server, open=0)
        self.assertEqual((stats["accepted"], stats["max_pipeline"]), (50, 4))
        self.assertEqual((stats["violations"], stats["duplicates"]), (0, 0))

    def test_finds_content_and_commands_however_the_bytes_are_cut(self):
        server = self.start()
        text = (envelope("a@t.example") + "\0" + content("Folded") + envelope("b@t.example") + "\0" +
                content("2@t", "..\r\n.. \r\n") + "QUIT\r\n").replace(": <Folded", ":\r\n  <Folded")
        for size in (1, 2, 3, 7):
            with self.subTest(size=size), SmtpClient(server.port) as client:
                for part in text.split("\0"):
                    for at in range(0, len(part), size):
                        client.send(part[at:at + size])
                    wait_until(lambda: client.reply() in (354, 221), 60, "the answers")
        stats = self.stats_when(server, open=0)
        self.assertEqual((stats["accepted"], stats["violations"]), (8, 0))
        wait_until(lambda: set(server.mails()) == {"Folded", "2@t"}, 60, "both ids")

    def test_counts_a_message_id_accepted_twice(self):
        server = self.start()
        with SmtpClient(server.port) as client:
            for message_id in ("a@t", "b@t", "a@t"):
                self.assertEqual(client.mail("u@t.example", message_id)[-1], 250)
        self.assertEqual(server.stats()["duplicates"], 1)
        server.stop()
        self.assertEqual(len(server.mails()["a@t"]), 2)

    def test_goes_on_in_the_record_after_a_restart_on_the_same_port(self):
        server = self.start()
        held = self.client(server)
        with SmtpClient(server.port) as client:
            client.mail("u@t.example", "a@t")
        self.assertEqual(server.stop(), 0)
        self.assertTrue(held.is_closed())
        again = self.start(port=server.port)
        with SmtpClient(again.port) as client:
            client.mail("u@t.example", "b@t")
        again.stop()
        self.assertEqual(set(again.mails()), {"a@t", "b@t"})

    def test_flushes_the_record_while_idle(self):
        server = self.start()
        with SmtpClient(server.port) as client:
            client.mail("u@t.example", "a@t")
            # Not server.mails(): asked for its counts, it would write the record first.
            wait_until(lambda: read_record(server.record), 60, "the record, without being asked")

    def test_reads_nothing_while_stalled_and_goes_on_afterwards(self):
        server = self.start()
        client = self.client(server)
        server.stall()
        client.socket.settimeout(0.3)
        client.send("NOOP\r\n")
        with self.assertRaises(TimeoutError):
            client.socket.recv(1, socket.MSG_PEEK)
        server.resume()
        client.socket.settimeout(60)
        self.assertEqual(client.socket.recv(4), b"250 ")

    def test_stalls_by_itself_after_so_many_mails(self):
        server = self.start(stall_after=2)
        client = self.client(server)
        self.assertEqual(client.mail("u@t.example", "a@t")[-1], 250)
        client.ask(envelope("u@t.example"), 3)
        client.send(content("b@t") + "NOOP\r\n")
        server.wait_stalled()
        self.assertEqual(set(server.mails()), {"a@t", "b@t"})
        client.send(envelope("u@t.example"))
        server.resume()
        self.assertEqual([client.reply() for _ in range(5)], [250, 250, 250, 250, 354])
        client.send(content("c@t"))
        self.assertEqual(client.reply(), 250, "once is enough")

    def test_keeps_up_with_a_fast_client(self):
        server = self.start()
        path = os.environ.get("PATH", "") + ":/usr/sbin"
        subprocess.run(["smtp-source", "-d", "-s", "32", "-m", "20000", "-l", "2000",
                        f"127.0.0.1:{server.port}"], check=True, timeout=200,
                       env={**os.environ, "PATH": path})
        stats = server.stats()
        self.assertEqual((stats["accepted"], stats["violations"]), (20000, 0))

    def test_refuses_bad_options(self):
        for argv in (["--rcpt-defer", "1.5"], ["--port", "x"], ["--greeting", "99"], ["--nope"],
                     ["file"], ["--record"]):
            with self.subTest(argv=argv):
                done = subprocess.run([binary("fakesmtp"), *argv], stderr=subprocess.PIPE,
                                      stdout=subprocess.PIPE, timeout=60)
                self.assertEqual((done.returncode, done.stdout), (2, b""))
                self.assertTrue(done.stderr)


class Manners(Case):
    """Options that change how it talks."""

    def test_hides_pipelining(self):
        server = self.start(no_pipelining=True)
        with SmtpClient(server.port) as client:
            self.assertNotIn("PIPELINING", client.capabilities)
            for line in envelope("u@t.example").splitlines(True):
                client.ask(line)
            client.ask(content("a@t"))
        self.assertEqual(server.stats()["violations"], 0)

    def test_flights_of_replies_leave_together_after_the_delay(self):
        server = self.start(delay_ms=200)
        first, second = self.client(server), self.client(server)
        start = time.monotonic()
        first.send(envelope("u@t.example"))
        replies = first.socket.recv(4096)
        self.assertGreaterEqual(time.monotonic() - start, 0.199)
        self.assertEqual([line[:4] for line in replies.splitlines()], [b"250 ", b"250 ", b"354 "])
        start = time.monotonic()
        second.send("NOOP\r\n")
        self.assertEqual(second.reply(), 250)
        self.assertGreaterEqual(time.monotonic() - start, 0.199)

    def test_one_delay_a_mail_when_pipelined(self):
        server = self.start(delay_ms=20)
        client = self.client(server)
        client.ask(envelope("u@t.example"), 3)
        start = time.monotonic()
        for i in range(20):
            client.send(content(f"{i}@t") + envelope("u@t.example"))
            replies = client.socket.recv(4096)  # one flight: all of them after one delay
            self.assertEqual([line[:3] for line in replies.splitlines()],
                             [b"250", b"250", b"250", b"354"])
        self.assertGreaterEqual(time.monotonic() - start, 0.4)

    def test_multiline_replies(self):
        with SmtpClient(self.start(multiline=True).port) as client:
            client.send(envelope("u@t.example"))
            for code in (250, 250, 354):
                lines = client.reply_lines()
                self.assertEqual([c for c, _ in lines], [code, code])
            self.assertEqual(client.ask(content("a@t")), [250])

    def test_smtputf8_only_where_announced(self):
        rcpt = "MAIL FROM:<a@x.example> SMTPUTF8\r\nRCPT TO:<김@y.example>\r\n"
        server = self.start(smtputf8=True)
        with SmtpClient(server.port) as client:
            self.assertIn("SMTPUTF8", client.capabilities)
            self.assertEqual(client.ask(rcpt, 2), [250, 250])
        server.stop()
        with SmtpClient(self.start().port) as client:
            self.assertNotIn("SMTPUTF8", client.capabilities)
            self.assertEqual(client.ask(rcpt, 2), [555, 503])

    def test_slow_body_takes_its_time(self):
        server = self.start(slow_body=True)
        with SmtpClient(server.port) as client:
            self.assertEqual(client.ask(envelope("u@t.example"), 3), [250, 250, 354])
            start = time.monotonic()
            client.send(content("a@t", "x" * 70 + "\r\n"))
            self.assertEqual(client.reply(), 250)
            client.ask(envelope("u@t.example"), 3)
            client.send(content("b@t", ("x" * 70 + "\r\n") * 300))
            self.assertEqual(client.reply(), 250)
            self.assertGreater(time.monotonic() - start, 0.15)

    def test_greetings(self):
        client = self.client(self.start(greeting=554), greet=False)
        self.assertEqual(client.reply(), 554)
        self.assertEqual(client.ask("EHLO x.example\r\n") + client.ask("QUIT\r\n"), [503, 221])
        client = self.client(self.start(name="busy", greeting="421 4.3.2 not now"), greet=False)
        self.assertEqual(client.reply_lines(), [(421, "4.3.2 not now")])
        self.assertTrue(client.is_closed())

    def test_limits_messages_of_a_connection(self):
        server = self.start(max_messages=2)
        client = self.client(server)
        for message_id in ("a@t", "b@t"):
            self.assertEqual(client.mail("u@t.example", message_id)[-1], 250)
        client.send(envelope("u@t.example"))
        self.assertEqual(client.reply(), 421)
        self.assertTrue(client.is_closed())
        self.assertEqual(server.accepted(), 2)

    def test_limits_connections(self):
        server = self.start(max_connections=2)
        first, _second = self.client(server), self.client(server)
        third = self.client(server, greet=False)
        self.assertEqual(third.reply(), 421)
        self.assertTrue(third.is_closed())
        third.close()
        first.ask("QUIT\r\n")
        first.close()
        self.stats_when(server, open=1)
        self.client(server)


class Faults(Case):
    def test_refused_recipients_are_the_same_every_time(self):
        first = self.share_of(self.last_codes(self.start(rcpt_refuse=0.3, name="a")), 550)
        again = self.share_of(self.last_codes(self.start(rcpt_refuse=0.3, name="b")), 550)
        other = self.share_of(self.last_codes(self.start(rcpt_refuse=0.3, seed=2, name="c")), 550)
        self.assert_share(first, 0.3)
        self.assertEqual(first, again)
        self.assertNotEqual(first, other)

    def test_deferred_recipients_pass_after_so_many_attempts(self):
        for times in (1, 2):
            server = self.start(rcpt_defer=0.3, defer_times=times, name=f"d{times}")
            rounds = [self.share_of(self.last_codes(server), 450) for _ in range(times + 1)]
            self.assert_share(rounds[0], 0.3)
            self.assertTrue(all(found == rounds[0] for found in rounds[:times]))
            self.assertEqual(rounds[times], set())

    def test_faults_after_the_dot(self):
        server = self.start(dot_refuse=0.2, dot_defer=0.2)
        first, second = self.last_codes(server), self.last_codes(server)
        refused, deferred = self.share_of(first, 554), self.share_of(first, 451)
        self.assert_share(refused, 0.2)
        self.assertTrue(deferred)
        self.assertEqual(self.share_of(second, 554), refused)
        self.assertEqual(self.share_of(second, 451), set())
        stats = server.stats()
        self.assertEqual((stats["refused"], stats["deferred"]), (2 * len(refused), len(deferred)))

    def test_drops_after_the_dot_half_of_them_accepted(self):
        server = self.start(drop_after_dot=0.3)
        lost = self.share_of(self.last_codes(server), "lost")
        self.assert_share(lost, 0.3)
        stats = server.stats()
        self.assertEqual(stats["dropped"], len(lost))
        self.assertTrue(len(lost) * 0.25 < stats["dropped_accepted"] < len(lost) * 0.75)
        self.assertEqual(stats["accepted"], len(RCPTS) - len(lost) + stats["dropped_accepted"])
        self.assertEqual(self.share_of(self.last_codes(server), "lost"), set())
        self.assertEqual(server.stats()["duplicates"], len(RCPTS) - len(lost) +
                         stats["dropped_accepted"])

    def test_drops_before_the_dot_on_data_or_inside_the_content(self):
        server = self.start(drop_before_dot=0.3)
        ends = {"DATA": 0, "content": 0}
        for rcpt in RCPTS:
            with SmtpClient(server.port) as client, contextlib.suppress(EOFError, ConnectionError):
                where = "DATA"
                if client.ask(envelope(rcpt), 3)[2] == 354:
                    where = "content"
                    client.ask(content("a@t"))
                where = None
            if where:
                ends[where] += 1
        self.assertTrue(min(ends.values()) > 10, ends)
        self.assertEqual(server.stats()["dropped"], sum(ends.values()))
        self.assertEqual(server.accepted(), len(RCPTS) - sum(ends.values()))

    def test_stalls_after_the_dot_at_the_first_encounter(self):
        server = self.start(stall_after_dot=0.5)
        silent = set()
        for rcpt in RCPTS[:20]:
            with SmtpClient(server.port) as client:
                client.ask(envelope(rcpt), 3)
                client.send(content("a@t"))
                # It has read that when it counts: it either stalls here or answers.
                while True:
                    if server.stats()["stalled"] > len(silent):
                        silent.add(rcpt)
                        break
                    if select.select([client.socket], [], [], 0.01)[0]:
                        self.assertEqual(client.reply(), 250)
                        break
        self.assertTrue(3 <= len(silent) <= 17)
        stats = self.stats_when(server, open=0, stalled=len(silent))
        self.assertTrue(0 < stats["stalled_accepted"] < len(silent))
        with SmtpClient(server.port) as client:
            for rcpt in silent:
                self.assertEqual(client.mail(rcpt)[-1], 250)

    def test_refuses_every_sender(self):
        server = self.start(mail_refuse=550)
        with SmtpClient(server.port) as client:
            self.assertEqual(client.ask(envelope("u@t.example"), 3), [550, 503, 503])
        self.assertEqual(server.stats()["violations"], 0)
        with SmtpClient(self.start(name="big", mail_refuse="552 5.3.4 too big").port) as client:
            client.send("MAIL FROM:<a@x.example>\r\n")
            self.assertEqual(client.reply_lines(), [(552, "5.3.4 too big")])

    def test_data_after_a_refused_recipient(self):
        with SmtpClient(self.start(rcpt_refuse=1).port) as client:
            self.assertEqual(client.ask(envelope("u@t.example"), 3), [250, 550, 503])
        server = self.start(name="b", rcpt_refuse=1, data_354_after_refused_rcpt=True)
        with SmtpClient(server.port) as client:
            self.assertEqual(client.ask(envelope("u@t.example"), 3), [250, 550, 354])
            self.assertEqual(client.ask(".\r\n" + envelope("v@t.example"), 4), [554, 250, 550, 354])
            self.assertEqual(server.stats()["violations"], 0)
            self.assertEqual(client.ask("RSET\r\n.\r\n"), [554])
        self.assertEqual(server.stats()["violation_kinds"], {"body_to_nobody": 1})
        self.assertEqual(server.accepted(), 0)


class Violations(Case):
    def test_counts_what_a_client_must_not_do(self):
        data = envelope("u@t.example")
        rows = [  # what, sent in these writes with so many replies each, kinds
            ("nested MAIL", [("MAIL FROM:<a@x>\r\n", 1), ("MAIL FROM:<a@x>\r\n", 1)], "nested_mail"),
            ("RCPT without MAIL", [("RCPT TO:<a@x>\r\n", 1)], "bad_sequence"),
            ("DATA without MAIL", [("DATA\r\n", 1)], "bad_sequence"),
            ("body with DATA", [(data + content("a@t"), 4)], "not_last"),
            ("command after QUIT", [("QUIT\r\nNOOP\r\n", 1)], "not_last"),
            ("bare LF in a command", [("NOOP\n", 1)], "bare_lf"),
            ("bare LF in content", [(data, 3), ("a\nb\r\n.\r\n", 1)], "bare_lf"),
            ("no end in LF dot CRLF", [(data, 3), ("a\n.\r\nx\r\n.\r\n", 1)],
             "bare_lf unstuffed_dot"),
            ("bare CR in content", [(data, 3), ("a\rb\r\n.\r\n", 1)], "bare_cr"),
            ("long line", [(data, 3), ("x" * 999 + "\r\n.\r\n", 1)], "long_line"),
            ("endless line", [(data, 3), ("x" * 200000 + "\r\n.\r\n", 1)], "long_line"),
            ("longest line", [(data, 3), ("x" * 998 + "\r\n.\r\n", 1)], ""),
            ("long command", [("NOOP " + "x" * 600 + "\r\n", 1)], "long_command"),
            ("endless command", [("NOOP " + "x" * 200000 + "\r\n", 1)], "long_command"),
            ("text after the body", [(data, 3), ("a\r\n.\r\nmore text\r\n", 2)], "unknown_command"),
            ("STARTTLS", [("STARTTLS\r\n", 1)], "unknown_command"),
            ("no brackets", [("MAIL FROM:a@x\r\n", 1)], "bad_argument"),
            ("unknown parameter", [("MAIL FROM:<a@x> FOO=1\r\n", 1)], "bad_argument"),
            ("unstuffed dot", [(data, 3), (".x\r\n.\r\n", 1)], "unstuffed_dot"),
            ("undeclared 8 bit content", [(data, 3), ("\r\né\r\n.\r\n", 1)], "eight_bit"),
            ("declared 8 bit content",
             [(data.replace("com>", "com> BODY=8BITMIME"), 3), ("\r\né\r\n.\r\n", 1)], ""),
            ("8 bit header",
             [(data.replace("com>", "com> BODY=8BITMIME"), 3), ("A: é\r\n\r\n.\r\n", 1)],
             "eight_bit"),
            ("8 bit address", [("MAIL FROM:<é@x>\r\n", 1)], "bad_argument"),
            ("empty message", [(data, 3), (".\r\n", 1)], ""),
        ]
        for what, writes, kinds in rows:
            with self.subTest(what=what):
                server = self.start(name=what.replace(" ", "-"))
                with SmtpClient(server.port) as client:
                    for text, replies in writes:
                        client.ask(text, replies)
                self.assertEqual(server.stats()["violation_kinds"], {k: 1 for k in kinds.split()})
                server.stop()

    def test_counts_words_before_the_greeting(self):
        server = self.start(delay_ms=5000)
        client = self.client(server, greet=False)
        client.send("EHLO x.example\r\n")
        self.assertEqual([client.reply(), client.reply()], [220, 250])
        self.assertEqual(server.stats()["violation_kinds"], {"before_greeting": 1})

    def test_counts_pipelining_that_was_not_announced(self):
        server = self.start(no_pipelining=True)
        with SmtpClient(server.port) as client:
            client.ask("MAIL FROM:<a@x>\r\nRCPT TO:<b@y>\r\n", 2)
        self.assertEqual(server.stats()["violation_kinds"], {"pipelining": 1})

    def test_ends_on_sigterm_with_its_counts(self):
        server = self.start()
        server.signal(signal.SIGTERM)
        self.assertEqual(server.wait(60), 0)
        self.assertEqual(server.stats()["accepted"], 0)


if __name__ == "__main__":
    unittest.main()
