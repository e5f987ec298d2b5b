"""relay_verdict: what it finds in records that are written here, and what it excuses."""

import unittest

import relay_verdict

A = "a@b.example"


def reply(code, before, packet=None, left=False, clean=True, unsent=False):
    """before: how many commands the relay had received by then."""
    return {"code": code, "before": before, "packet": packet or before, "left": left, "clean": clean,
            "unsent": unsent}


def envelope(dot=None, at=0, rcpt=A, own=True):
    """dot: None where it was not received, else whether the mail was accepted."""
    found = [{"kind": "mail", "at": at}, {"kind": "rcpt", "at": at, "rcpt": rcpt},
             {"kind": "data", "at": at, "rcpt": rcpt}]
    if dot is not None:
        found.append({"kind": "dot", "at": at, "data": 2, "rcpt": rcpt, "accepted": dot, "own": own})
    return found


def conn(commands, *verdicts, lead=(), strays=0, ahead=354):
    usual = [reply(250, 1), reply(250, 2), reply(ahead, 3)]
    return {"commands": commands, "replies": [reply(c, 0) for c in lead] + usual + list(verdicts),
            "lead": len(lead), "lead_strays": strays, "trace": []}


HONEST = conn(envelope(True), reply(250, 4))
UNANSWERED = conn(envelope(True))
LIE_450 = conn(envelope(True), reply(450, 4))
LIE_550 = conn(envelope(True), reply(550, 4))
LIE_250 = conn(envelope(False), reply(250, 4))


def early(code, packet):
    """An early verdict, and another one that says what was done."""
    return conn(envelope(code != 250), reply(code, 3, packet, clean=False),
                reply(550 if code == 250 else 250, 4, clean=False))


TOGETHER = {code: early(code, packet=3) for code in (250, 450, 550)}
APART = {code: early(code, packet=9) for code in (250, 450, 550)}
UNSENT = conn(envelope(False), reply(250, 3, packet=9, clean=False, unsent=True))
NEVER_READ = conn(envelope(), reply(250, 3, packet=9, clean=False))
SHIFTED = conn(envelope(True), reply(250, 4), lead=(220, 250, 250), strays=1)


def later(c):
    return {**c, "commands": [{**command, "at": 1} for command in c["commands"]]}


class VerdictTest(unittest.TestCase):
    def check(self, rows):
        for what, conns, status, want in rows:
            with self.subTest(what=what):
                self.assertEqual([text for _, text in relay_verdict.problems(conns, {A: status})], want)

    def test_what_is_right(self):
        self.check([
            ("sent and accepted", [HONEST], "sent", []),
            ("accepted and not answered", [UNANSWERED], "unknown", []),
            ("refused", [conn(envelope(False), reply(550, 4))], "failed", []),
            ("never handed over", [], "failed", []),
            ("a refusal, then accepted", [conn(envelope(False), reply(450, 4)), later(HONEST)], "sent", []),
            ("neither yes nor no", [conn(envelope(True), reply(0, 4))], "unknown", []),
        ])

    def test_lies_excuse(self):
        self.check([
            ("accepted, 550 said", [LIE_550], "failed", []),
            ("refused, 250 said", [LIE_250], "sent", []),
            ("accepted, 450 said, accepted again", [later(HONEST), LIE_450], "sent", []),
            ("550 in a packet of its own after the 354", [APART[550]], "failed", []),
            ("250 in a packet of its own, refused", [APART[250]], "sent", []),
            ("250 in a packet of its own, and nothing was read", [NEVER_READ], "sent", []),
            ("a stray of the greeting may have come in between", [SHIFTED], "unknown", []),
        ])

    def test_what_is_wrong(self):
        self.check([
            ("sent, never accepted", [], "sent", ["sent, but it was not accepted"]),
            ("sent, refused", [conn(envelope(False), reply(550, 4))], "sent",
             ["sent, but it was not accepted"]),
            ("twice", [HONEST, later(HONEST)], "sent", ["accepted 2 times"]),
            ("twice, not answered", [UNANSWERED, later(HONEST)], "sent", ["accepted 2 times"]),
            ("twice after a lie that is no deferral", [LIE_550, later(HONEST)], "sent",
             ["accepted 2 times"]),
            ("failed, accepted", [HONEST], "failed", ["failed, but it was accepted"]),
            ("deferred, not answered", [UNANSWERED], "deferred", ["deferred, but it was accepted"]),
            ("550 together with the 354", [TOGETHER[550]], "failed", ["failed, but it was accepted"]),
            ("450 together with the 354", [TOGETHER[450], later(HONEST)], "sent", ["accepted 2 times"]),
            ("250 together with the 354", [TOGETHER[250]], "sent", ["sent, but it was not accepted"]),
            ("250 while most was unsent", [UNSENT], "sent", ["sent, but it was not accepted"]),
            ("no 354", [conn(envelope(True), reply(250, 4), ahead=250)], "sent",
             ["content was sent without a 354"]),
            ("a verdict thrown away", [conn(envelope(False), reply(552, 3, packet=9))], "unknown",
             ["unknown, but the verdict 552 was there"]),
            ("of somebody else", [conn(envelope(True, own=False), reply(250, 4))], "sent",
             ["got the mail of somebody else"]),
        ])
        self.assertEqual(relay_verdict.problems([HONEST], {}), [(A, "is not in the ledger")])


if __name__ == "__main__":
    unittest.main()
