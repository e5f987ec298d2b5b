"""What a campaign's files become on their way to the mail server: Markdown in a layout, the text made
of it, images and attachments. Judged by Python's email package."""

import email
import email.policy
import os
import random
import unittest

from harness import Stage, wait_until

PNG = b"\x89PNG\r\n\x1a\n" + bytes(range(256))
MARKDOWN = """# 안녕하세요 {{name}}

![Logo](cid:logo.png)

{{#plan}}
Your plan is **{{plan}}** in {{city}}: [see](https://example.com/{{id}}?a=1&b={{city}}).
{{/plan}}

- one
- {{email}}
"""
LAYOUT = "<html><body>\n{{> content}}\n{{> foot}}\n</body></html>\n"
FOOT = '<p style="color:gray">Written to {{email}}</p>\n'
CONTENT = {"content": {"text": "", "html": "", "markdown": "letter.md", "layout": "layout.html",
                       "images": ["img/logo.png"], "attachments": ["약관.pdf", "data.bin"]}}


class Content(unittest.TestCase):
    def write_files(self, stage, attachment):
        stage.template("letter.md", MARKDOWN)
        stage.template("layout.html", LAYOUT)
        stage.template("foot.html", FOOT)
        os.mkdir(os.path.join(stage.dir, "templates", "img"))
        for name, data in (("img/logo.png", PNG), ("약관.pdf", b"%PDF-1.7"), ("data.bin", attachment)):
            with open(os.path.join(stage.dir, "templates", name), "wb") as file:
                file.write(data)

    def send(self, stage, recipients, **changes):
        stage.campaign("welcome", CONTENT, **changes)
        run = stage.produce()
        consumer = stage.start_consumer()
        counts = stage.wait_quiet(run)
        self.assertEqual((counts["sent"], counts["recipients"]), (recipients, recipients))
        stage.assert_balanced(run)
        stage.expect_log_clean(levels=("error", "warn"))
        return run, consumer

    def check(self, mail, attachment, row):
        number, address, name, plan, city = row
        parsed = email.message_from_string(mail, policy=email.policy.default)
        self.assertEqual([part.get_content_type() for part in parsed.walk()],
                         ["multipart/mixed", "multipart/related", "multipart/alternative",
                          "text/plain", "text/html", "image/png", "application/pdf",
                          "application/octet-stream"])
        text = parsed.get_body(("plain",)).get_content().replace("\r\n", "\n")
        self.assertEqual(text, f"# 안녕하세요 {name}\n\nLogo\n\n"
                         f"Your plan is {plan} in {city}: see "
                         f"(https://example.com/{number}?a=1&b={city}).\n\n"
                         f"- one\n- {address}\n\nWritten to {address}\n")
        html = parsed.get_body(("html",)).get_content()
        self.assertIn('<img src="cid:logo.png" alt="Logo" />', html)
        self.assertIn(f'href="https://example.com/{number}?a=1&amp;b={city}"', html)
        self.assertIn(f"Written to {address}</p>", html)
        files = {part.get_filename(): part for part in parsed.walk() if part.get_filename()}
        self.assertEqual(files["logo.png"]["content-id"], "<logo.png>")
        self.assertEqual({name: part.get_payload(decode=True) for name, part in files.items()},
                         {"logo.png": PNG, "약관.pdf": b"%PDF-1.7", "data.bin": attachment})
        for part in parsed.walk():
            self.assertEqual(part.defects, [])

    def test_markdown_images_and_attachments_arrive(self):
        """Over TLS and without, with files larger than what a socket takes at a time."""
        attachment = random.Random(1).randbytes(700_000)
        for options in ({}, {"no_tls": True, "no_auth": True}):
            with self.subTest(options=options), Stage(recipients=30) as stage:
                self.write_files(stage, attachment)
                server = stage.start_starttls(**options)
                if options:
                    stage.relay(server, tls="off", user=None, password=None, ca_file=None)
                self.send(stage, 30)
                rows = {row[1]: row for row in stage.rows(
                    "SELECT id, email, name, plan, city FROM subscriber")}
                mails = {mail["to"][0]: mail["content"] for mail in server.mails()}
                self.assertEqual(set(mails), set(rows))
                for to, mail in mails.items():
                    self.check(mail, attachment, rows[to])

    def test_a_run_keeps_the_files_it_began_with(self):
        with Stage(recipients=3) as stage:
            self.write_files(stage, b"first")
            server = stage.start_starttls(no_tls=True, no_auth=True)
            stage.relay(server, tls="off", user=None, password=None, ca_file=None)
            stage.campaign("welcome", CONTENT)
            self.assertNotIn("error", stage.mailflock("check", "welcome"))
            self.assertIn("Image: logo.png, 264 bytes", stage.mailflock("preview", "welcome"))
            run = stage.produce()
            for name in ("letter.md", "data.bin", "img/logo.png", "layout.html"):
                os.unlink(os.path.join(stage.dir, "templates", name))
            stage.start_consumer()
            stage.wait_quiet(run)
            self.assertEqual(len(server.mails()), 3)
            for mail in server.mails():
                self.assertIn("Zmlyc3Q=", mail["content"])  # base64 of first

    def test_files_cost_a_worker_their_size_and_not_that_for_each_connection(self):
        """32 connections to a server that reads slowly: each is in the middle of a mail."""
        recipients, size = 96, 3 << 20
        with Stage(recipients=recipients) as stage:
            self.write_files(stage, random.Random(2).randbytes(size))
            server = stage.start_fakesmtp(delay_ms=500)
            stage.relay(server, connections=32)
            _, consumer = self.send(stage, recipients)
            peak = consumer.peak_kib()
            stats = server.stats()
            self.assertEqual((stats["violation_kinds"], stats["duplicates"]), ({}, 0))
            self.assertGreater(stats["bytes"], recipients * size * 4 // 3)
            self.assertGreaterEqual(stats["max_open"], 16)
            self.assertLess(peak, 32 * 1024 + 2 * size // 1024)

    def test_a_slow_reader_gets_whole_files(self):
        with Stage(recipients=4) as stage:
            self.write_files(stage, random.Random(3).randbytes(200_000))
            server = stage.start_fakesmtp(slow_body=True)
            self.send(stage, 4)
            self.assertEqual(server.stats()["violation_kinds"], {})
            wait_until(lambda: len(server.mails()) == 4, 60, "the records")

    def test_a_connection_lost_in_the_middle_of_a_file_leaves_one_in_doubt(self):
        with Stage(recipients=20) as stage:
            self.write_files(stage, random.Random(4).randbytes(300_000))
            server = stage.start_fakesmtp(drop_before_dot=0.3, seed=3)
            stage.campaign("welcome", CONTENT)
            run = stage.produce()
            stage.start_consumer()
            counts = stage.wait_quiet(run)
            self.assertEqual(counts["sent"] + counts["unknown"], 20)
            self.assertGreater(counts["unknown"], 0)
            self.assertLessEqual(counts["unknown"], server.stats()["dropped"])
            difference = stage.compare(run, server)
            self.assertEqual((difference["twice"], difference["lost"]), ([], []))
            stage.assert_balanced(run)

    def test_what_is_wrong_stops_the_producer(self):
        with Stage(recipients=1) as stage:
            self.write_files(stage, b"x")
            for change, want in (
                    ({"attachments": ["gone.pdf"]}, "content.attachments: cannot open"),
                    ({"images": []}, "letter.md shows cid:logo.png, an image that is not given"),
                    ({"layout": "foot.html"}, "has no {{> content}}")):
                stage.campaign("welcome", CONTENT, content=change)
                process = stage.start_producer("run", "welcome")
                self.assertEqual(process.wait(60), 1)
                self.assertIn(want, process.text())
            self.assertEqual(stage.value("SELECT COUNT(*) FROM run"), 0)


if __name__ == "__main__":
    unittest.main()
