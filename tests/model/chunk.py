"""The model of one chunk: from its first message to the end of its last attempt, under faults."""

import chunk_parked
import chunk_promises
import chunk_worker
import chunk_world
from chunk_state import (
    CLAIMED, CLOSING, CONFIRMED, COUNTERS, GO, IDLE, NOT_PARKED, OUTBOX, PLANNED, QUEUED, READ, RESTORED,
    Ghost, Message, Producer, Row, State, positions)

# What may happen how often is an exploration's budget. Those that break something are faults: liveness
# is judged without them.
EVENTS = ("crash", "expire", "unsure", "late", "channel", "double", "unconfirmed", "drop", "refuse", "stop",
          "pause", "cancel", "resend", "retry", "mark", "requeue", "bury", "lose", "due", "audience",
          "returned", "suppress", "rewind", "skip", "forget")

# The rules that can be switched off, one by one. rules.py says what comes of it.
SWITCHES = (
    "C1.token", "C1.lease", "C1.attempt", "C1.digest", "C1.paused", "C1.repeat",
    "C2.ahead", "C2.held", "C2.copy", "C3.recover", "C3.order", "C3.token", "C3.all", "C3.shortcut",
    "C4.order", "C4.window", "C4.above",
    "C5.token", "C5.seq", "C5.match", "C5.resync", "C6.renew", "C7.order", "C7.confirm", "C7.reset",
    "C7.done", "C8.lower", "C8.record", "C8.maybe", "C8.copy", "C8.confirm", "C9.void", "C10.abandon",
    "C11.limit", "C11.reset", "C11.unknown", "C11.dead", "C12.maybe",
    "C13.raise", "C13.known", "C13.attempt", "C13.digest",
    "P3.returned", "P4.queued", "P5.outbox", "P6.overdue",
    "O1.leased", "O1.between", "O1.all", "O1.token", "O2.row", "O2.due", "O2.moved", "O2.idle", "O3.doubt",
    "O3.leased")

SAME_MESSAGES_MAX = 2  # a third copy of a message adds nothing that two workers could notice
COUNT_MAX = 4


class ChunkModel:
    """n positions, a watermark window, workers, a campaign's attempts and on_crash, C11's limit of claims.
    start is "new" (planned, not published), "planned" (published, not confirmed) or "queued". off names
    switches. All other arguments are events and how often they may happen."""

    def __init__(self, n=2, window=1, workers=2, attempts=2, on_crash="hold", limit=5, start="queued",
                 off=(), **budget):
        unknown = set(off) - set(SWITCHES) | set(budget) - set(EVENTS)
        if unknown:
            raise ValueError(f"no such switch or event: {sorted(unknown)}")
        self.n, self.window, self.workers, self.attempts = n, window, workers, attempts
        self.resend, self.limit, self.start = on_crash == "resend", limit, start
        self.on = {name: name not in off for name in SWITCHES}
        self.budget = tuple(budget.get(event, 0) for event in EVENTS)
        self.place = {event: i for i, event in enumerate(EVENTS)}
        self.full = (1 << n) - 1
        self.delivery_limit = 2  # only with C2.copy off

    # --- for explore.py

    def initial(self):
        zero = (0,) * self.n
        row = Row(QUEUED if self.start == "queued" else PLANNED, 1, 0, 0, 0, 0, 0, 0, zero,
                  (0,) * COUNTERS, GO)
        broker = () if self.start == "new" else (Message(1, self.full, 0, 0),)
        producer = {"new": Producer(READ, OUTBOX, 1, 0), "planned": Producer(CONFIRMED, OUTBOX, 1, 0),
                    "queued": ()}[self.start]
        return State(row, broker, (), (IDLE,) * self.workers, (), (), producer, 0,
                     Ghost(zero, zero, zero, 0, 0, 0, ""), self.budget, (), NOT_PARKED)

    def successors(self, state):
        out = []
        chunk_world.steps(self, state, out)
        chunk_worker.steps(self, state, out)
        return out

    def violation(self, state):
        return chunk_promises.violation(self, state)

    def is_final(self, state):
        return chunk_promises.is_final(self, state)

    # --- for the steps

    def step(self, out, label, state, **changes):
        out.append((label, False, after(state, changes)))

    def fault(self, out, label, state, event, **changes):
        changes["budget"] = self.spend(state, event)
        out.append((label, True, after(state, changes)))

    def can(self, state, event):
        return state.budget[self.place[event]] > 0

    def spend(self, state, event):
        i = self.place[event]
        return state.budget[:i] + (state.budget[i] - 1,) + state.budget[i + 1:]

    def spent(self, state, event):
        i = self.place[event]
        return self.budget[i] - state.budget[i]

    def published(self, broker, message):
        return broker + (message,) if broker.count(message) < SAME_MESSAGES_MAX else broker

    def without(self, broker, message):
        i = broker.index(message)
        return broker[:i] + broker[i + 1:]

    def recipient(self, position, reading):
        """Who stands at a position: the second reading of the audience has them the other way round."""
        return self.n - 1 - position if reading else position

    def accept(self, ghost, recipient):
        accepted = list(ghost.accepted)
        accepted[recipient] = min(accepted[recipient] + 1, COUNT_MAX)
        return ghost._replace(accepted=tuple(accepted))

    def make_ambiguous(self, ghost, mask, reading):
        if not mask:
            return ghost
        ambiguous = list(ghost.ambiguous)
        for p in positions(mask):
            recipient = self.recipient(p, reading)
            ambiguous[recipient] = min(ambiguous[recipient] + 1, COUNT_MAX - 1)
        return ghost._replace(ambiguous=tuple(ambiguous))

    def count_takeover(self, ghost, row):
        """A claim of a chunk whose last claim did not come to an end."""
        return ghost._replace(takeovers=min(ghost.takeovers + row.held, self.limit))


def since(seq, row_seq):
    """A seq counted from the row's. How far behind it is makes no difference beyond one."""
    return max(-2, seq - row_seq)


def after(state, changes):
    """The state with these changes, one for all that differ in names only: workers and messages sorted,
    seq counted from the row's."""
    row, broker, dead, workers, orphans, late, producer, audience, ghost, budget, backup, parking = map(
        changes.get, State._fields, state)
    if row.seq:
        workers = [w and w._replace(seq=since(w.seq, row.seq),
                                    txn=w.txn and w.txn._replace(seq=since(w.txn.seq, row.seq)))
                   for w in workers]
        if late and late.txn:
            late = late._replace(txn=late.txn._replace(seq=since(late.txn.seq, row.seq)))
        if isinstance(backup, Row):
            backup = backup._replace(seq=backup.seq - row.seq)
        row = row._replace(seq=0)
    if backup == RESTORED and not any(w and CLAIMED <= w.phase <= CLOSING and w.seq > 0 for w in workers):
        backup = ()
    if parking != NOT_PARKED:
        parking = chunk_parked.in_order(parking, workers)
    return State(row, tuple(sorted(broker)), tuple(sorted(dead)), tuple(sorted(workers)),
                 tuple(sorted(orphans)), late, producer, audience, ghost, budget, backup, parking)
