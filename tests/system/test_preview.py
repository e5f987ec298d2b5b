"""mailflock preview: the mail of one recipient of the real audience, without a ledger or a broker."""

import email
import email.policy
import os
import unittest

from harness import Stage

TEXT_IDS = {"audience": {"sql": "SELECT code AS id, email, name FROM coded WHERE code > :after "
                                "ORDER BY code LIMIT :limit"},
            "content": {"text": "hello.txt", "html": ""}}


class Preview(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.stage = cls.enterClassContext(Stage(recipients=300, init=False))
        cls.stage.template("hello.txt", "Hello {{name}} {{email}}\n")

    def preview(self, *args, **more):
        return self.stage.mailflock("preview", "welcome", *args, **more)

    def refused(self, *args, says, code=1):
        done = self.stage.run_program("mailflock", "preview", *args, code=code)
        self.assertIn(says, done.stderr)
        self.assertEqual(done.stdout, "")

    def setUp(self):
        self.stage.campaign("welcome", content={
            "reply_to": "desk@example.com", "list_unsubscribe": "https://e.example/?u={{email}}"})

    def test_shows_what_the_first_recipient_reads(self):
        lines = self.preview().splitlines()
        mail = self.preview("--eml")  # read with line feeds for its CRLF
        size = len(mail.encode()) + mail.count("\n")
        self.assertEqual(lines, [
            "From: Mailflock <news@example.com>",
            "Reply-To: desk@example.com",
            "To: 이서연 <user1@example.net>",
            "Subject: 이서연님, 환영합니다 🎉",
            "List-Unsubscribe: https://e.example/?u=user1%40example.net",
            "Recipient: 1",
            f"Size: {size} bytes",
            "",
            "안녕하세요 이서연,",
            "",
            "your plan is pro, your city 부산.",
        ])

    def test_shows_one_part_or_the_whole_mail_of_anybody(self):
        self.assertEqual(self.preview("--text", "--recipient", "250"),
                         "안녕하세요 Grace Hopper,\n\nyour plan is free, your city Reykjavík.\n")
        self.assertEqual(self.preview("--html", "--recipient=9"),
                         "<p>안녕하세요 <b>O&#39;Brien &amp; Sons</b>, your plan is pro, your city Zürich."
                         "</p>\n")
        mail = email.message_from_string(self.preview("--eml", "--recipient", "7"),
                                         policy=email.policy.default)
        self.assertEqual(mail["To"].addresses[0].addr_spec, "user7@example.net")
        self.assertEqual([part.get_content_type() for part in mail.walk()],
                         ["multipart/alternative", "text/plain", "text/html"])
        self.assertEqual(list(mail.defects), [])

    def test_is_what_the_producer_would_send(self):
        dry = self.stage.run_program("mailflock-producer", "run", "welcome", "--dry-run").stdout
        def stable(mail):
            return [line for line in mail.splitlines() if not line.startswith(("Date:", "dry_run="))]
        self.assertEqual(stable(self.preview("--eml")), stable(dry))

    def test_files_are_listed_and_html_is_shown_where_there_is_no_text(self):
        with open(os.path.join(self.stage.dir, "templates", "logo.png"), "wb") as file:
            file.write(b"x" * 1000)
        self.stage.template("image.html", "<img src='cid:logo.png'>")
        self.stage.campaign("welcome", content={
            "text": "", "html": "image.html", "images": ["logo.png"], "attachments": ["hello.txt"]})
        lines = self.preview().splitlines()
        self.assertIn("Image: logo.png, 1000 bytes", lines)
        self.assertIn("Attachment: hello.txt, 25 bytes", lines)
        self.assertEqual(lines[-1], "<img src='cid:logo.png'>")
        self.assertIn("eHh4", self.preview("--eml"))
        self.refused("welcome", "--text", says="have no text part")

    def test_ids_that_are_texts_are_searched(self):
        self.stage.execute("CREATE TABLE IF NOT EXISTS coded (code VARCHAR(20) PRIMARY KEY, email "
                           "VARCHAR(99), name VARCHAR(99))")
        self.stage.execute("INSERT IGNORE INTO coded SELECT CONCAT('c', id), email, name FROM "
                           "subscriber")
        self.stage.campaign("welcome", TEXT_IDS)
        self.assertIn("user1@example.net", self.preview())
        self.assertIn("user99@example.net", self.preview("--recipient", "c99"))
        self.refused("welcome", "--recipient", "c301", says="no recipient with the id 'c301' now")
        self.refused("welcome", "--recipient", "7", says="no recipient with the id '7' now")

    def test_an_international_address_is_shown_as_it_goes_out(self):
        self.stage.execute("INSERT INTO subscriber (id, email, name, plan, city) VALUES "
                           "(900, '김민지@bücher.example', 'Minji', 'pro', 'x')")
        try:
            self.assertIn("To: Minji <김민지@xn--bcher-kva.example>",
                          self.preview("--recipient", "900"))
        finally:
            self.stage.execute("DELETE FROM subscriber WHERE id=900")

    def test_says_why_there_is_no_mail(self):
        for id in ("301", "-1", "0", "18446744073709551615", "-9223372036854775808"):
            self.refused("welcome", "--recipient", id, says=f"no recipient with the id '{id}' now")
        self.refused("welcome", "--recipient", "x7", says="'x7' is no id of this audience")
        self.refused("nothing", says="campaign nothing")
        self.refused("welcome", "--html", "--eml", says="exclude one another", code=2)
        self.refused(says="an argument is missing", code=2)
        self.stage.template("wrong.txt", "Hello {{nmae}}\n")
        self.stage.campaign("welcome", content={"text": "wrong.txt"})
        self.refused("welcome", says="recipient 1 would fail: variable nmae is missing")
        self.stage.campaign("welcome", audience={
            "sql": "SELECT id, 'nobody' AS email FROM subscriber WHERE id > :after ORDER BY id "
                   "LIMIT :limit"})
        self.refused("welcome", says="recipient 1 would fail: the address has no @")
        self.stage.campaign("welcome", audience={
            "sql": "SELECT id, email FROM subscriber WHERE id > :after AND 1=0 ORDER BY id "
                   "LIMIT :limit"})
        self.refused("welcome", says="the audience is empty now")

    def test_writes_nothing(self):
        self.preview()
        self.assertEqual([name for (name,) in self.stage.rows("SHOW TABLES") if name not in
                          ("subscriber", "coded")], [])


if __name__ == "__main__":
    unittest.main()
