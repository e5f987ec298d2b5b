"""The private Postfix delivers to its Maildir, refuses everybody else's domains, and leaves nothing
running."""

import os
import smtplib
import tempfile
import unittest

import postfix
from processes import wait_until

MAIL = "From: a@example.com\r\nTo: {0}\r\nMessage-ID: <{1}@t>\r\nSubject: hi\r\n\r\n..dots\r\n"


@unittest.skipIf(postfix.why_not(), postfix.why_not())
class PrivatePostfix(unittest.TestCase):
    def test_delivers_refuses_and_ends(self):
        with tempfile.TemporaryDirectory(prefix="mailflock-test-") as directory:
            with postfix.Postfix(directory) as server:
                with smtplib.SMTP("127.0.0.1", server.port) as smtp:
                    smtp.ehlo()
                    self.assertTrue(smtp.has_extn("pipelining"))
                    for i in range(5):
                        to = f"user{i}@example.net"
                        smtp.sendmail("a@example.com", [to], MAIL.format(to, i))
                    with self.assertRaises(smtplib.SMTPRecipientsRefused):
                        smtp.sendmail("a@example.com", ["x@elsewhere.example"], MAIL.format("x", "x"))
                wait_until(lambda: server.mail_count() == 5, 60, lambda: server.log())
                mails = b"".join(server.mails())
                for i in range(5):
                    self.assertIn(b"Message-ID: <%d@t>\n" % i, mails)
                # A machine that stands still makes Postfix warn as well; these would be our mistakes.
                self.assertNotRegex(server.log(), "warning: .*(unused parameter|not owned|group or other|"
                                                  "undefined|overriding|deprecat|no such|cannot|bad )")
                pids = server.daemons()
                self.assertTrue(pids)
            self.assertFalse(any(map(postfix.is_running, pids)))
            self.assertFalse(os.path.exists(server.dir))


if __name__ == "__main__":
    unittest.main(verbosity=2)  # which names what is skipped
