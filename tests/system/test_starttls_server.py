"""The STARTTLS server demands TLS and a login, and its certificate is good for its authority only."""

import os
import smtplib
import ssl
import tempfile
import unittest

from environment import ROOT
from processes import StarttlsServer

PROGRAM = os.path.join(ROOT, "tests", "fakes", "starttls_server.py")
MAIL = "Message-ID: <1@t>\r\nSubject: 안녕\r\n\r\n..dots\r\n".encode()


class Starttls(unittest.TestCase):
    def setUp(self):
        self.temporary = tempfile.TemporaryDirectory(prefix="mailflock-test-")
        self.addCleanup(self.temporary.cleanup)

    def start(self, directory="starttls", **options):
        server = StarttlsServer(PROGRAM, self.temporary.name, directory, **options)
        self.addCleanup(server.end)
        return server

    def trust(self, server):
        return ssl.create_default_context(cafile=server.ca_file)

    def test_takes_mail_after_starttls_and_auth(self):
        server = self.start()
        with smtplib.SMTP("localhost", server.port) as smtp:
            smtp.starttls(context=self.trust(server))
            smtp.login("mailflock", "secret")
            smtp.sendmail("a@x.example", ["b@y.example"], MAIL)
        self.assertEqual(server.stop(), 0)
        (mail,) = server.mails()
        self.assertEqual((mail["from"], mail["to"]), ("a@x.example", ["b@y.example"]))
        self.assertEqual((mail["user"], mail["tls"]), ("mailflock", True))
        self.assertEqual(mail["content"], MAIL.decode())

    def test_refuses_without_tls_without_login_and_with_a_wrong_one(self):
        server = self.start()
        with smtplib.SMTP("localhost", server.port) as smtp:
            smtp.ehlo()
            self.assertFalse(smtp.has_extn("auth"))
            self.assertEqual(smtp.mail("a@x.example")[0], 530)
            smtp.starttls(context=self.trust(server))
            smtp.ehlo()
            self.assertEqual(smtp.mail("a@x.example")[0], 530)
            with self.assertRaises(smtplib.SMTPAuthenticationError):
                smtp.login("mailflock", "wrong")

    def test_its_certificate_is_not_trusted_by_others_nor_for_other_names(self):
        server = self.start()
        other = self.start(directory="other", host="other.example")
        for port, context in ((server.port, ssl.create_default_context()),
                              (other.port, self.trust(other))):
            with smtplib.SMTP("localhost", port) as smtp:
                with self.assertRaises(ssl.SSLCertVerificationError):
                    smtp.starttls(context=context)

    def test_smtps_and_each_mechanism(self):
        for mechanism in ("PLAIN", "LOGIN"):
            server = self.start(smtps=True, mechanisms=mechanism)
            with smtplib.SMTP_SSL("localhost", server.port, context=self.trust(server)) as smtp:
                smtp.ehlo()
                self.assertEqual(smtp.esmtp_features["auth"].split(), [mechanism])
                smtp.login("mailflock", "secret")
                smtp.sendmail("a@x.example", ["b@y.example"], MAIL)
            server.stop()
        self.assertEqual([mail["tls"] for mail in server.mails()], [True, True])

    def test_plain_without_auth(self):
        server = self.start(no_tls=True, no_auth=True)
        with smtplib.SMTP("localhost", server.port) as smtp:
            smtp.sendmail("a@x.example", ["b@y.example"], MAIL)
        server.stop()
        self.assertEqual([(m["tls"], m["user"]) for m in server.mails()], [(False, None)])


if __name__ == "__main__":
    unittest.main()
