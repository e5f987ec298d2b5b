"""The ledger's side of the chunk model: what a worker asks of the database and how it reads the
answers. Mirrors consumer/ledger_claim.c, ledger_recover.c, ledger_commit.c, ledger_late.c and ledger_rewind.c."""

from chunk_state import (
    CANCELLED, CLOSING, DEFERRED, DEFERRING, DONE, END_BUMP, END_DONE, END_RELEASE, END_STUCK,
    FAILED, GO_ON, NONE, OPEN, PAUSED, PLANNED, QUEUED, SENT, SKIPPED, STUCK, SUPPRESSED, UNKNOWN,
    Transaction, delivery, delivery_attempt, delivery_maybe, delivery_reading, delivery_status, lowest,
    outcome, outcome_maybe, outcome_status, positions)

# --- claiming (C1, C2)


def may_claim(m, row, message):
    """The WHERE of the claiming UPDATE, for a token that is new."""
    return (row.state in (PLANNED, QUEUED)
            and (row.attempt == message.attempt or not m.on["C1.attempt"])
            and same_digest(m, row, message.reading)
            and (not row.live or not m.on["C1.lease"])
            and (row.control != PAUSED or not m.on["C1.paused"]))


def may_claim_again(m, row, message):
    """The same for a token that is in the row already."""
    return row.state == QUEUED and row.attempt == message.attempt and row.control != PAUSED


def same_digest(m, row, reading):
    return not row.digest or row.digest == reading + 1 or not m.on["C1.digest"]


def claimed_row(m, row, reading, counted=True):
    """The row after the claiming UPDATE."""
    return row._replace(state=QUEUED, held=1, live=1, digest=row.digest or reading + 1,
                        claims=min(row.claims + counted, m.limit))


DROP, DELAY, BURY, PARK = range(4)


def turn_away(m, row, message):
    """What becomes of a message that cannot be claimed, or None where the next round may claim it."""
    if row.state == DONE:
        return DROP
    if message.attempt < row.attempt or not same_digest(m, row, message.reading):
        return DROP
    if row.state == STUCK:
        return BURY if message.attempt == row.attempt and m.on["C11.dead"] else DROP
    if message.attempt > row.attempt:
        return DELAY if m.on["C2.ahead"] else DROP
    if row.live:
        return DELAY if m.on["C2.held"] else DROP
    return PARK if row.control == PAUSED else None


# --- recovery (C3)


def settle(m, status, maybe, attempt):
    """outcome_settle: what is recorded of what happened."""
    if status == DEFERRED and attempt >= m.attempts:
        status = FAILED
    if maybe and status in (FAILED, SKIPPED, SUPPRESSED) and m.on["C12.maybe"]:
        status = UNKNOWN
    if status == OPEN:
        maybe = 1
        if not m.resend:
            status = UNKNOWN
    return outcome(status, 1 if status == UNKNOWN else maybe)


def untouched(m, row):
    """The shortcut of ledger_recover: nothing of this chunk was ever begun, so there is nothing to read."""
    fresh = row.claims <= 1 and row.attempt == 1
    return fresh and (not m.on["C3.shortcut"] or (row.started == 0 and not any(row.counters)))


class Recovery:
    """What the rows say about the message's positions: work, outcomes decided at once, and memory."""

    def __init__(self, m, row, w):
        self.contradicts = False  # message and ledger speak of different recipients
        self.work = self.deferred = self.maybe = 0
        self.poison = int(m.on["C11.limit"] and row.claims >= m.limit and row.control != CANCELLED)
        self.old, self.outcomes = [NONE] * m.n, [0] * m.n
        rows = (0,) * m.n if untouched(m, row) else row.rows
        for p in positions(w.mask):
            self._take_row(rows[p], p, w)
        for p in positions(m.full & ~w.mask):
            self.contradicts |= m.on["C3.all"] and self._is_open(rows[p], w.attempt)
        for p in positions(w.mask):
            if not self._is_known(rows[p], w.attempt):
                self._divide(m, row, w, p)

    def _take_row(self, r, p, w):
        if w.attempt > 1 and not r:
            self.contradicts = True
        if not r:
            return
        self.contradicts |= delivery_reading(r) != w.reading
        self.old[p] = delivery_status(r)
        self.maybe |= delivery_maybe(r) << p
        if self.old[p] == DEFERRED and delivery_attempt(r) >= w.attempt:
            self.deferred |= 1 << p

    def _is_open(self, r, attempt):
        return delivery_status(r) == DEFERRED and delivery_attempt(r) < attempt

    def known_end(self, started):
        """C13: a release may have lowered the watermark below what was sent."""
        sent = sum(1 << p for p, old in enumerate(self.old) if old in (SENT, UNKNOWN))
        return max(started, (sent | self.maybe).bit_length())

    def _is_known(self, r, attempt):
        return r and not self._is_open(r, attempt)

    def _divide(self, m, row, w, p):
        ambiguous = p < row.started and m.on["C3.recover"]
        cancelled = row.control == CANCELLED
        if cancelled and not m.on["C3.order"]:
            self.outcomes[p] = outcome(SKIPPED)
            return
        if ambiguous:
            self.maybe |= 1 << p
        maybe = self.maybe >> p & 1
        if ambiguous and (not m.resend or cancelled or self.poison):
            if not self.poison or m.on["C11.unknown"]:
                self.outcomes[p] = settle(m, UNKNOWN, maybe, w.attempt)
        elif self.poison:
            pass
        elif cancelled:
            self.outcomes[p] = settle(m, SKIPPED, maybe, w.attempt)
        else:
            self.work |= 1 << p


def granted_at_recovery(work, started):
    """Of the work, how many the watermark covers already."""
    return sum(1 for p in positions(work) if p < started)


# --- transactions (C4 to C8, C11)


def complete(w):
    """Nothing of this claim is open any more."""
    return w.answered == w.work and not any(outcome_status(o) == OPEN for o in w.outcomes)


def has_deferred(w):
    return w.deferred or any(outcome_status(o) == DEFERRED for o in w.outcomes)


def with_sender(w):
    """The sender still has the job: it gives it back when all is answered, or when it stops and no
    reply is awaited."""
    return w.answered != w.work and not (w.stopping and not w.flying and not w.accepted)


def next_end(m, w):
    if complete(w):
        if w.poison:
            return END_STUCK
        return GO_ON if has_deferred(w) else END_DONE
    return END_RELEASE if w.stopping and not with_sender(w) else GO_ON


def room(m, w):
    """How many more positions may fall below the watermark."""
    below = sum(1 << p for p in positions(w.work)[:w.granted])
    answered = w.answered & below if m.on["C4.above"] else w.answered
    at_risk = max(0, w.granted - answered.bit_count())
    if not m.on["C4.window"]:
        return w.work.bit_count() - w.granted, at_risk
    return min(max(0, m.window - at_risk), w.work.bit_count() - w.granted), at_risk


def lowest_open(w):
    """C8: from here on everything is sent afresh."""
    unanswered = w.work & ~w.answered
    for p, o in enumerate(w.outcomes):
        if outcome_status(o) == OPEN:
            unanswered |= 1 << p
    return lowest(unanswered) if unanswered else w.started


def keep_maybe(w):
    """C8: what an earlier worker may have sent, and this one did not send again, is given back as such."""
    outcomes, answered = list(w.outcomes), w.answered
    for p in positions(w.work & ~w.answered & w.maybe):
        outcomes[p] = outcome(OPEN, 1)
        answered |= 1 << p
    return w._replace(outcomes=tuple(outcomes), answered=answered)


def next_transaction(m, w, row):
    """The worker once it has begun the transaction that ledger_wants_commit wants now, or None. A mere
    renewal is begun only where it can change something."""
    if w.phase == CLOSING:
        return _begin(w, END_BUMP, w.started, 0)
    renew = not w.mine or not row.live
    if w.phase == DEFERRING:
        return _begin(w, GO_ON, w.started, 0) if renew else None
    end = next_end(m, w)
    if end == END_RELEASE:
        if m.on["C8.maybe"]:
            w = keep_maybe(w)
        return _begin(w, end, lowest_open(w) if m.on["C8.lower"] else w.started, w.granted)
    if end != GO_ON:
        return _begin(w, end, w.started, w.granted)
    more, at_risk = (0, 0) if w.stopping else room(m, w)
    wants_grant = more and (more == w.work.bit_count() - w.granted or at_risk <= more)
    if not (any(w.outcomes) or wants_grant or complete(w) or renew):
        return None
    granted, started = w.granted + more, w.started
    if granted and not w.stopping:
        started = max(started, positions(w.work)[granted - 1] + 1)
    return _begin(w, GO_ON, started, granted)


def _begin(w, end, started, granted):
    old = tuple(o if new else 0 for o, new in zip(w.old, w.outcomes))
    txn = Transaction(end, w.outcomes, old, started, granted, w.seq, 0)
    return w._replace(outcomes=(0,) * len(w.outcomes), granted=granted, txn=txn)


def _recorded(rows, txn, attempt, reading):
    """The delivery rows after the upsert."""
    rows = list(rows)
    for p, o in enumerate(txn.outcomes):
        status, maybe = outcome_status(o), outcome_maybe(o)
        if status == OPEN:
            rows[p] = delivery(DEFERRED, 1, reading, attempt - 1)
        elif status:
            rows[p] = delivery(status, maybe, reading, attempt)
    return tuple(rows)


def _counted(counters, txn):
    counters = list(counters)
    for o, old in zip(txn.outcomes, txn.old):
        status = DEFERRED if outcome_status(o) == OPEN else outcome_status(o)
        if status:
            counters[status - 1] += 1
            if old:
                counters[old - 1] -= 1
    return tuple(counters)


def execute(m, row, txn, attempt, reading, mine):
    """The transaction in the database: (whether the fenced UPDATE matched, the row afterwards)."""
    matched = ((mine and row.attempt == attempt) or not m.on["C5.token"]) and (
        txn.seq == row.seq or not m.on["C5.seq"])
    if not matched and (m.on["C5.match"] or txn.end != GO_ON):
        return False, row
    rows = _recorded(row.rows, txn, attempt, reading)
    if not matched:
        return False, row._replace(rows=rows)
    row = row._replace(seq=row.seq + 1, rows=rows, counters=_counted(row.counters, txn))
    if txn.end == GO_ON:
        progress = any(txn.outcomes) and m.on["C11.reset"]
        return True, row._replace(live=1, started=txn.started, claims=1 if progress else row.claims)
    row = row._replace(held=0, live=0)
    if txn.end == END_DONE:
        row = row._replace(state=DONE)
    elif txn.end == END_STUCK:
        row = row._replace(state=STUCK)
    elif txn.end == END_RELEASE:
        row = row._replace(started=txn.started, claims=0 if m.on["C11.reset"] else row.claims)
    else:
        row = row._replace(attempt=row.attempt + 1, started=0 if m.on["C7.reset"] else row.started, claims=0)
    return True, row


def made_progress(txn):
    return txn.end in (END_RELEASE, END_BUMP) or (txn.end != END_STUCK and any(txn.outcomes))


APPLIED, REPEAT, ABANDON = range(3)


def resync(m, w, row):
    """C5, result unknown: what the row says about it."""
    if not m.on["C5.resync"]:
        return APPLIED
    if not m.on["C5.seq"]:
        return REPEAT if w.mine else ABANDON
    txn = w.txn
    moved = row.seq == txn.seq + 1
    applied = moved and ((w.mine and txn.end == GO_ON)
                         or (txn.end == END_DONE and row.state == DONE)
                         or (txn.end == END_STUCK and row.state == STUCK)
                         or (txn.end == END_BUMP and row.attempt == w.attempt + 1)
                         or (txn.end == END_RELEASE and not row.held))
    if applied:
        return APPLIED
    return REPEAT if w.mine and txn.seq == row.seq else ABANDON


def raised(m, w, row):
    """C13: the row that went back, with what the worker knows."""
    digest = row.digest or w.reading + 1 if m.on["C13.digest"] else row.digest
    if row.attempt < w.attempt and m.on["C13.attempt"]:
        row, started = in_doubt(m, row), m.n
    else:
        started = max(row.started, w.started, w.known if m.on["C13.known"] else 0)
    return row._replace(started=started, digest=digest, held=0, live=0)


def in_doubt(m, row):
    """What is deferred may have been sent since, in a later attempt."""
    status = DEFERRED if m.resend else UNKNOWN
    return count_again(row, [
        delivery(status, 1, delivery_reading(r), delivery_attempt(r)) if delivery_status(r) == DEFERRED else r
        for r in row.rows])


# --- late replies (C12) and the operator (O1)


def count_again(row, rows):
    """The row with these delivery rows, and counters moved by the difference."""
    counters = list(row.counters)
    for before, after in zip(row.rows, rows):
        if before != after:
            if before:
                counters[delivery_status(before) - 1] -= 1
            counters[delivery_status(after) - 1] += 1
    return row._replace(rows=tuple(rows), counters=tuple(counters))


def late_replies(row, w):
    """ledger_report_late: unknown of the same attempt becomes sent."""
    rows = list(row.rows)
    for p, o in enumerate(w.outcomes):
        r = rows[p]
        if o and r and delivery_status(r) == UNKNOWN and delivery_attempt(r) == w.attempt:
            rows[p] = delivery(SENT, delivery_maybe(r), delivery_reading(r), w.attempt)
    return count_again(row, rows)


def between_attempts(m, row):
    """reopen.c: the current attempt is over or has not begun."""
    if row.state == STUCK or not all(row.rows):
        return False
    if row.state == DONE or not m.on["O1.between"]:
        return True
    return row.started == 0 and all(delivery_attempt(r) < row.attempt for r in row.rows)


def reopen(row, chosen):
    """The operator gives the chosen positions another attempt."""
    rows = list(row.rows)
    for p in positions(chosen):
        r = rows[p]
        maybe = 1 if delivery_status(r) == UNKNOWN else delivery_maybe(r)
        rows[p] = delivery(DEFERRED, maybe, delivery_reading(r), row.attempt)
    row = count_again(row, rows)._replace(seq=row.seq + 1)
    return row._replace(state=PLANNED, attempt=row.attempt + 1, started=0, claims=0, held=0, live=0)


def requeue(row):
    """dead_ledger_requeue: a stuck chunk is open again; the watermark stays."""
    return row._replace(state=QUEUED, claims=0, held=0, live=0, seq=row.seq + 1)


def bury(row, letter):
    """dead_ledger_drop: what a stuck chunk still owes ends without being sent; None where the letter does not
    name all of it."""
    rows = list(row.rows)
    for p in positions(letter.mask):
        if not rows[p]:
            rows[p] = delivery(SKIPPED, 0, letter.reading, letter.attempt)
    for p, r in enumerate(rows):
        if delivery_status(r) == DEFERRED:
            maybe = delivery_maybe(r)
            rows[p] = delivery(UNKNOWN if maybe else SKIPPED, maybe, delivery_reading(r), letter.attempt)
    if not all(rows):
        return None
    return count_again(row, rows)._replace(state=DONE, held=0, live=0, seq=row.seq + 1)


def skip(m, row):
    """mailflock skip: what is left of a chunk is given up, whoever it was."""
    rows = list(row.rows)
    for p, r in enumerate(rows):
        if r and delivery_status(r) != DEFERRED:
            continue
        handed_over = p < row.started and (not r or delivery_attempt(r) < row.attempt)
        doubt = (delivery_maybe(r) or handed_over) and m.on["O3.doubt"]
        rows[p] = delivery(UNKNOWN if doubt else SKIPPED, int(bool(doubt)), max(0, row.digest - 1), row.attempt)
    return count_again(row, rows)._replace(state=DONE, held=0, live=0, seq=row.seq + 1)


def mark_sent(m, row):
    """The operator settles the unknown ones as sent."""
    rows = [delivery(SENT, delivery_maybe(r), delivery_reading(r), delivery_attempt(r))
            if r and delivery_status(r) == UNKNOWN else r for r in row.rows]
    row = count_again(row, rows)._replace(seq=row.seq + 1)
    return row._replace(held=0, live=0) if m.on["O1.token"] else row
