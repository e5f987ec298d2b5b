"""The consumer against golden dialogues: tests/data/dialogues/*.txt. First, that the player of
dialogues notices what it has to."""

import glob
import os
import unittest

from dialogue import Dialogue, ScriptedServer, parse_file
from environment import ROOT
from harness import Stage, wait_until
from smtp_client import SmtpClient

FILES = sorted(glob.glob(os.path.join(ROOT, "tests", "data", "dialogues", "*.txt")))

SETTINGS = {
    "connections": 1,
    "reply_timeout": "60s",
    "final_reply_timeout": "60s",
    "helo": "client.example",
}
CAMPAIGN = {"delivery": {"retry": {"delays": ["1h"], "max_age": "1d"}}}

SCRIPT = r"""
connection
S: 220 hello
C: EHLO *
S: 250 hello
C: MAIL FROM:<*>
C: DATA
S: 354 go on
BODY a@b.example
S: 250 \x41
connection
STALL
"""


class Player(unittest.TestCase):
    """Plays SCRIPT to clients that keep to it, and to clients that do not."""

    def talk(self, *writes, connections=2):
        """Sends each write after a reply; then opens the other connections. Returns the problems."""
        server = ScriptedServer(Dialogue(SCRIPT))
        client = SmtpClient(server.port, greet=False)
        try:
            self.assertEqual(client.reply(), 220)
            for text in writes:
                client.send(text)
                self.last = client.reply_lines()
        except (EOFError, ConnectionError):
            pass
        client.close()
        for i in range(1, connections):
            SmtpClient(server.port, greet=False).close()
            wait_until(lambda want=i + 1: server.played >= want, 60, "the server to accept")
        return server.close()

    GOOD = ("EHLO me\r\n", "MAIL FROM:<x@y>\r\nDATA\r\n",
            "To: A <a@b.example>\r\nMessage-ID: <1@x>\r\n\r\n..\r\n.\r\n")

    def test_is_content_with_what_the_script_says(self):
        self.assertEqual(self.talk(*self.GOOD), [])
        self.assertEqual(self.last, [(250, "A")])

    def test_notices_what_differs(self):
        ehlo, mail, body = self.GOOD
        rows = [
            ("another command", ("HELO me\r\n",), 2, "HELO me"),
            ("more than expected", (ehlo + mail,), 2, "more than was expected"),
            ("less at once", (ehlo, "MAIL FROM:<x@y>\r\n"), 2, "end of the connection"),
            ("bare LF", ("EHLO me\n",), 2, "bare LF"),
            ("no Message-ID", (ehlo, mail, body.replace("Message-ID", "X")), 2, "Message-ID None"),
            ("another recipient", (ehlo, mail, body.replace("a@b", "c@d")), 2, "c@d.example"),
            ("words after the end", (ehlo, mail, body, "NOOP\r\n"), 2, "NOOP"),
            ("a connection too many", self.GOOD, 3, "connection 3"),
            ("a connection too few", self.GOOD, 1, "1 connections, not 2"),
            ("gone too early", (), 2, "end of the connection"),
        ]
        for what, writes, connections, want in rows:
            with self.subTest(what=what):
                if what == "less at once":
                    problems = self.talk_and_leave(*writes)
                else:
                    problems = self.talk(*writes, connections=connections)
                self.assertTrue(any(want in problem for problem in problems), problems)

    def talk_and_leave(self, first, second):
        """The second write gets no answer: the client gives up and goes."""
        server = ScriptedServer(Dialogue(SCRIPT))
        client = SmtpClient(server.port, greet=False)
        client.reply()
        client.ask(first)
        client.send(second)
        client.close()
        return server.close()

    def test_refuses_a_line_it_does_not_understand(self):
        with self.assertRaises(ValueError):
            Dialogue("connection\nX: what\n")


class Consumer(unittest.TestCase):
    """Each dialogue has a campaign, an audience and a consumer of its own. They share a stage until
    one fails, which is all that setting one up for each would bring."""

    stage = None

    @classmethod
    def tearDownClass(cls):
        cls.leave(None)

    @classmethod
    def leave(cls, failure):
        stage, cls.stage = cls.stage, None
        if stage:
            stage.__exit__(failure and type(failure), failure, None)

    def play(self, path):
        dialogue = parse_file(path)
        try:
            if not self.stage:
                type(self).stage = Stage().__enter__()
            self.run_dialogue(self.stage, dialogue)
        except BaseException as e:
            self.leave(e)
            raise

    def prepare(self, stage, dialogue):
        """Returns the server and the run."""
        server = ScriptedServer(dialogue)
        stage.settings["transports"]["relay"] = {
            "type": "smtp", "url": server.url, "tls": "off", **SETTINGS, **dialogue.transport}
        stage.write_config()
        name = dialogue.name.replace("_", "-")
        stage.campaign(name, CAMPAIGN, **dialogue.campaign)
        stage.execute("DROP TABLE IF EXISTS subscriber")
        stage.execute("DELETE FROM suppression")
        stage.add_subscribers(len(dialogue.recipients))
        for i, recipient in enumerate(dialogue.recipients, 1):
            stage.execute("UPDATE subscriber SET email=%s WHERE id=%s", recipient.address, i)
        return server, stage.produce(name)

    def run_dialogue(self, stage, dialogue):
        server, run = self.prepare(stage, dialogue)
        consumer = stage.start_consumer()
        wait_until(
            lambda: server.problems or (
                server.played_all and self.as_expected(stage, run, dialogue)),
            60, lambda: f"the end of {dialogue.name}: {self.ledger(stage, run)}", 0.05)
        self.assertEqual(consumer.stop(), 0)
        self.assertEqual(server.close(), [])
        self.check(stage, run, dialogue)
        stage.expect_log_clean(processes=[consumer])

    def ledger(self, stage, run):
        return stage.rows("SELECT email, status, code, enhanced, attempt FROM delivery "
                          "WHERE run_id=%s ORDER BY position", run)

    def as_expected(self, stage, run, dialogue):
        rows = self.ledger(stage, run)
        return len(rows) == len(dialogue.recipients) and all(
            email == recipient.address and recipient.matches(*row)
            for recipient, (email, *row) in zip(dialogue.recipients, rows))

    def check(self, stage, run, dialogue):
        """Nothing changed while the consumer ended, and the accounts hold."""
        self.assertTrue(self.as_expected(stage, run, dialogue), self.ledger(stage, run))
        suppressed = [row[0] for row in stage.rows("SELECT email FROM suppression ORDER BY 1")]
        self.assertEqual(suppressed, [r.address for r in dialogue.recipients if r.suppressed])
        stage.assert_balanced(run)
        stage.mailflock("audit", run)


def _add(path):
    name = os.path.splitext(os.path.basename(path))[0]
    setattr(Consumer, f"test_{name}", lambda self: self.play(path))


for file in FILES:
    _add(file)

if __name__ == "__main__":
    unittest.main()
