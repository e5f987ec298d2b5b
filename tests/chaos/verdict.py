"""The server's record against the ledger: who was lost, who got two, and what nobody can explain."""

import re

import claims

WINDOW_MAX = 512  # with up to 256 connections a worker
# What a worker says of a mail whose final dot was not answered: ambiguous by the server's doing.
UNANSWERED = ("connection lost after the final dot", "connection lost while the mail was written",
              "no reply to the final dot in time", "the server answered something that is no reply",
              "the worker stopped")
FINAL = ("sent", "failed", "suppressed", "skipped", "unknown")
SHOWN = 10


class Row:
    """A delivery row."""

    def __init__(self, row):
        (self.chunk, self.position, self.recipient, self.email, self.status, self.attempt,
         self.maybe, self.code, self.detail, self.mail_id, self.worker, self.at) = row

    def __str__(self):
        return (f"{self.status} attempt={self.attempt} maybe={self.maybe} code={self.code} "
                f"worker={self.worker} at={self.at} id={self.mail_id} detail={self.detail!r}")


class Verdict:
    """One campaign's; reads everything at once, when all processes have ended."""

    def __init__(self, battle, policy):
        self.battle, self.stage, self.policy = battle, battle.stage, policy
        self.run = self.stage.run_id(policy)
        self.mails = {}  # email -> accepted mails
        for accepted in battle.smtp.mails().values():
            for mail in accepted:
                if mail.rcpt.startswith(f"{policy}."):
                    self.mails.setdefault(mail.rcpt, []).append(mail)
        self.rows = {}  # email -> delivery rows
        for row in map(Row, self.stage.rows(
                "SELECT chunk_no, position, recipient_id, email, status, attempt, maybe, code, "
                "detail, message_id, worker, at FROM delivery WHERE run_id=%s", self.run)):
            self.rows.setdefault(row.email, []).append(row)
        self.emails = [email for email, in self.stage.rows(
            "SELECT CONCAT(%s, '.', email) FROM subscriber", policy)]
        self.claims = claims.read(self.stage)
        self.ambiguous = claims.times_ambiguous(self.claims)
        self.windows = claims.windows(self.claims, float(self.stage.settings["worker"]["lease"][:-1]))
        self.window = self.windows[0][0] if self.windows else 0
        self.problems = list(battle.troubles)
        self.offenders = {}  # what -> emails
        self.statuses = {status: 0 for status in FINAL}
        self.duplicates = 0
        self._judge()

    # -- rules

    def _blame(self, what, email):
        self.offenders.setdefault(what, []).append(email)

    def _judge(self):
        for email in self.emails:
            self._judge_recipient(email, self.rows.get(email, []), self.mails.get(email, []))
        for email in self.mails.keys() - set(self.emails):
            self._blame("accepted, but nobody of the audience", email)
        self._judge_accounts()
        if self.window > WINDOW_MAX:
            self.problems.append(f"a window of {self.window} positions: {self.windows[0][1]}")
        for what, emails in self.offenders.items():
            self.problems.append(f"{len(emails)} recipients: {what}")

    def _judge_recipient(self, email, rows, mails):
        self.duplicates += max(0, len(mails) - 1)
        if len(rows) != 1:
            self._blame("lost: no row" if not rows else "more than one row", email)
            return
        row = rows[0]
        if row.status not in FINAL:
            self._blame("lost: no final state", email)
            return
        self.statuses[row.status] += 1
        if row.status == "sent" and not mails:
            self._blame("lost: sent, but never accepted", email)
        if row.status not in ("sent", "unknown") and mails:
            self._blame(f"{row.status}, but accepted", email)
        if any(mail.message_id != row.mail_id.strip("<>") for mail in mails):
            self._blame("accepted under another message id", email)
        self._judge_ambiguity(email, row, mails)

    def _judge_ambiguity(self, email, row, mails):
        times = self.ambiguous.get((self.run, row.chunk, row.position), 0)
        if len(mails) > 1 and self.policy == "hold":
            self._blame("a second copy, with hold", email)
        elif len(mails) > 1 + times:
            self._blame("more copies than it was ambiguous", email)
        elif len(mails) > 1 and not row.maybe:
            self._blame("a second copy without maybe", email)
        if row.status == "unknown" and not times and row.detail not in UNANSWERED:
            self._blame("unknown for no reason", email)

    def _judge_accounts(self):
        audit = self.stage.run_program("mailflock", "audit", self.run, code=None)
        self.balanced = audit.returncode == 0 and "balanced=yes" in audit.stdout
        if not self.balanced:
            self.problems.append("mailflock audit:\n" + audit.stdout + audit.stderr)
        status = self.stage.mailflock_json("status", self.run)
        for name in FINAL:
            if status[name] != self.statuses[name]:
                self.balanced = False
                self.problems.append(f"mailflock status says {name}={status[name]}, the rows are "
                                     f"{self.statuses[name]}")
        if status["recipients"] != len(self.emails) or status["state"] != "complete":
            self.problems.append(f"mailflock status: {status}")

    # -- what is said

    @property
    def lost(self):
        return sum(len(emails) for what, emails in self.offenders.items() if what.startswith("lost"))

    def _about(self, email):
        """All that is known of a recipient."""
        print(f"  {email}")
        for row in self.rows.get(email, []):
            print(f"    row: chunk={row.chunk} position={row.position} {row}")
        for mail in sorted(self.mails.get(email, []), key=lambda mail: mail.at_us):
            print(f"    accepted: {mail.message_id} connection={mail.connection} at_us={mail.at_us}")
        chunks = {row.chunk for row in self.rows.get(email, [])} or {
            int(mail.message_id.split(".")[2], 36) for mail in self.mails.get(email, [])}
        for chunk in chunks:
            self._about_chunk(chunk)

    def _about_chunk(self, chunk):
        found = self.stage.one("SELECT state, attempt, token, owner, lease_until, seq, started, "
                               "claims, recipients, sent, failed, deferred, unknown, next_due "
                               "FROM chunk WHERE run_id=%s AND chunk_no=%s", self.run, chunk)
        print(f"    chunk {chunk}: {found}")
        for claim in self.claims:
            if (claim.run, claim.chunk) == (self.run, chunk):
                print(f"    claim: {claim}")
        pattern = re.compile(rf"\brun={self.run} chunk={chunk}\b")
        for process in self.stage.processes:
            for line in process.text().splitlines():
                if pattern.search(line):
                    print(f"    {process.name}: {line}")

    def report(self):
        """The details of what is wrong; nothing when nothing is."""
        for problem in self.problems:
            print(f"chaos: WRONG: {problem}")
        for what, emails in self.offenders.items():
            print(f"{what}:")
            for email in emails[:SHOWN]:
                self._about(email)

    def details(self):
        battle = self.battle
        faults = " ".join(f"{kind}={count}" for kind, count in sorted(battle.done.items()))
        accepted = sum(len(mails) for mails in self.mails.values())
        ambiguous = sum(len(c.ambiguous) for c in self.claims if c.run == self.run)
        print(f"chaos: policy={self.policy} seed={battle.options.seed} seconds={battle.seconds:.1f} "
              f"accepted={accepted} ambiguous={ambiguous} {faults} "
              f"windows={','.join(str(size) for size, *_ in self.windows)}")

    def line(self):
        s = self.statuses
        return (f"chaos: recipients={len(self.emails)} sent={s['sent']} failed={s['failed']} "
                f"unknown={s['unknown']} lost={self.lost} duplicates={self.duplicates} "
                f"window={self.window} kills={self.battle.kills()} "
                f"balanced={'yes' if self.balanced else 'no'}")
