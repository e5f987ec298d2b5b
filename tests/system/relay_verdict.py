"""What random relays have accepted, compared with a ledger. The client matches the n-th reply with the
n-th command; so does this, to tell what it may have taken for the verdict on a mail:

- A relay has lied about a mail when the reply that stands where the verdict belongs says otherwise than
  what it decided. A reply that came too early is such a reply too, unless the client can know that it is
  none: it left in one packet with the 354, or while most of a large content could not have left.
- Strays from the time of the greeting may reach the dialogue, or be dropped before: it is a lie if it is
  one in either case.
"""

SENT, DEFERRED, FAILED = 2, 4, 5  # classes of codes


class Mail:
    """One DATA command and what became of it."""

    def __init__(self, conn, index, dot):
        last = dot or conn["commands"][index]
        self.rcpt, self.at = last["rcpt"], last["at"]
        self.accepted = bool(dot) and dot["accepted"]
        self.own = not dot or dot["own"]
        first = conn["lead"] - conn["lead_strays"]
        self.read = []  # (the go-ahead, the verdict) as the client may have read them; None: no reply
        for skipped in range(conn["lead_strays"] + 1):
            replies = conn["replies"][first + skipped:]
            self.read.append(tuple(replies[i] if i < len(replies) else None
                                   for i in (index, index + 1)))
        self.dot_at = index + 1

    def told(self):
        """Classes of the verdicts that the client may have believed."""
        return {verdict["code"] // 100 for ahead, verdict in self.read
                if ahead and verdict and not self._known_to_be_early(ahead, verdict)}

    def _known_to_be_early(self, ahead, verdict):
        early = verdict["before"] <= self.dot_at
        return early and (verdict["packet"] == ahead["packet"] or verdict["unsent"])

    def go_ahead(self):
        return any(ahead and ahead["code"] == 354 for ahead, _ in self.read)

    def lied(self):
        """The classes of what it said against what it did."""
        return {c for c in self.told() if (c == SENT) != self.accepted}

    def heard(self):
        """The code of a verdict that the client must have: nothing was wrong with the connection, and
        it had not left when the reply was there, be it early or in time. None else."""
        ahead, verdict = self.read[0]
        if len(self.read) > 1 or not verdict or verdict["left"] or not verdict["clean"]:
            return None
        return verdict["code"] if ahead["code"] == 354 else None


def mails_of(conns):
    for conn in conns:
        dots = {c["data"]: c for c in conn["commands"] if c["kind"] == "dot"}
        for i, c in enumerate(conn["commands"]):
            if c["kind"] == "data":
                yield Mail(conn, i, dots.get(i))


def problems(conns, ledger):
    """conns: those of one relay's record. ledger: address -> status of every recipient. A list of
    (address, what is wrong)."""
    by_rcpt = {}
    for mail in mails_of(conns):
        by_rcpt.setdefault(mail.rcpt, []).append(mail)
    found = [(rcpt, "is not in the ledger") for rcpt in by_rcpt if rcpt not in ledger]
    for mails in by_rcpt.values():
        mails.sort(key=lambda mail: mail.at)
    for rcpt, status in ledger.items():
        found += [(rcpt, text) for text in _problems_of(by_rcpt.get(rcpt, []), status)]
    return found


def _problems_of(mails, status):
    accepted = [m for m in mails if m.accepted]
    if status == "sent" and not accepted and not any(SENT in m.lied() and m.go_ahead() for m in mails):
        yield "sent, but it was not accepted"
    if any(DEFERRED not in m.lied() for m in accepted[:-1]):
        yield f"accepted {len(accepted)} times"
    if status not in ("sent", "unknown") and accepted and not any(m.lied() for m in accepted):
        yield f"{status}, but it was accepted"
    if any(not m.go_ahead() for m in accepted):
        yield "content was sent without a 354"
    if any(not m.own for m in mails):
        yield "got the mail of somebody else"
    if status == "unknown" and mails and (mails[-1].heard() or 0) // 100 in (SENT, DEFERRED, FAILED):
        yield f"unknown, but the verdict {mails[-1].heard()} was there"
