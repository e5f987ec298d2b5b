"""What happens around the workers of a chunk: time, sockets, the producer, the operator, and faults that
strike no worker. Mirrors producer/republish.c, producer/due.c, console/reopen.c and console/control.c."""

import chunk_ledger as ledger
import chunk_parked
import chunk_worker
from chunk_state import (
    CANCELLED, CLOSING, CONFIRMED, DEFERRED, DONE, FAILED, GATHERING, GO, OUTBOX, OVERDUE, PAUSED, PLANNED,
    QUEUED, READ, RESTORED, SKIPPED, STUCK, SUPPRESSED, UNKNOWN, Message, Producer, delivery_reading,
    delivery_status, positions)


def steps(m, state, out):
    time_passes(m, state, out)
    sockets(m, state, out)
    straggler(m, state, out)
    broker(m, state, out)
    chunk_parked.steps(m, state, out)
    producer(m, state, out)
    operator(m, state, out)
    backup(m, state, out)


def time_passes(m, state, out):
    """A lease ends by itself only when its owner is gone: living ones renew it (C6)."""
    if not state.row.live:
        return
    ended = state.row._replace(live=0)
    if not any(w and w.mine for w in state.workers):
        m.step(out, "the lease of a dead owner ends", state, row=ended)
    elif m.can(state, "expire"):
        m.fault(out, "the lease ends while its owner is frozen or cut off", state, "expire", row=ended)
    elif not m.on["C6.renew"]:
        m.step(out, "the lease ends, nobody renewed it", state, row=ended)


def sockets(m, state, out):
    for i, recipient in enumerate(state.orphans):
        rest = state.orphans[:i] + state.orphans[i + 1:]
        m.step(out, f"the server accepts recipient {recipient} from a lost socket", state, orphans=rest,
               ghost=m.accept(state.ghost, recipient))
        m.step(out, f"the server discards recipient {recipient} of a lost socket", state, orphans=rest)


def straggler(m, state, out):
    """A statement whose client is gone executes late or never."""
    late = state.straggler
    if not late:
        return
    m.step(out, "the late statement is never executed", state, straggler=())
    if not late.txn:
        message = Message(late.attempt, 0, late.reading, 0)
        if ledger.may_claim(m, state.row, message):
            workers, ghost, _ = chunk_worker.token_replaced(m, state)
            m.step(out, "the late claim executes, for nobody", state, straggler=(), workers=workers,
                   ghost=m.count_takeover(ghost, state.row),
                   row=ledger.claimed_row(m, state.row, late.reading))
        return
    matched, row = ledger.execute(m, state.row, late.txn, late.attempt, late.reading, late.mine)
    if matched:
        workers, ghost, _ = chunk_worker.after_execution(m, state, None, late.txn)
        m.step(out, "the late transaction executes", state, row=row, workers=workers, ghost=ghost,
               straggler=())
    elif row != state.row:
        m.step(out, "the late transaction inserts its rows", state, row=row, straggler=())


def broker(m, state, out):
    for message in dict.fromkeys(state.broker):
        if m.can(state, "double"):
            m.fault(out, "a message is published twice", state, "double",
                    broker=m.published(state.broker, message))
        if m.can(state, "lose"):
            m.fault(out, "somebody empties a queue", state, "lose", broker=m.without(state.broker, message))


def backup(m, state, out):
    """The database loses commits: a copy replaces it. One worker has the chunk and knows better, and no other
    message of it can be claimed before that one notices: else C13 comes too late."""
    if not m.can(state, "rewind") or state.backup == RESTORED:
        return
    if not state.backup:
        noted = tuple(w and w._replace(then=w.mine) for w in state.workers)
        m.step(out, "the database is copied", state, backup=state.row, workers=noted)
        return
    others = [message for message in state.broker + chunk_parked.messages(state.parking)
              if message.attempt <= state.backup.attempt]
    others += [w for w in state.workers if w and not (w.mine and GATHERING <= w.phase <= CLOSING)]
    if state.backup.state == QUEUED and not others and not state.producer and any(state.workers):
        mine = tuple(w and w._replace(mine=w.then, then=0) for w in state.workers)
        ghost = state.ghost
        if m.resend:
            ghost = m.make_ambiguous(ghost, m.full, 0)
        m.fault(out, "the copy replaces the database", state, "rewind", row=state.backup, workers=mine,
                backup=RESTORED, ghost=ghost, straggler=())


# --- the producer (P3 to P6)


def producer(m, state, out):
    p = state.producer
    if not p:
        producer_looks(m, state, out)
        return
    if m.can(state, "crash"):
        m.fault(out, "the producer crashes", state, "crash", producer=())
    if p.phase == READ:
        producer_publishes(m, state, p, out)
        return
    row = state.row
    if (row.state == PLANNED and row.attempt == p.attempt) or not m.on["P4.queued"]:
        row = row._replace(state=QUEUED)
    m.step(out, "the producer marks the chunk queued", state, row=row, producer=())


def producer_looks(m, state, out):
    row = state.row
    if m.can(state, "audience"):
        m.step(out, "the audience changes", state, audience=1, budget=m.spend(state, "audience"))
    if row.state == PLANNED and m.on["P5.outbox"]:
        m.step(out, "the producer finds the chunk planned", state,
               producer=Producer(READ, OUTBOX, row.attempt, row.digest))
    if row.state != QUEUED or row.live or row.control == PAUSED:
        return
    found = Producer(READ, OVERDUE, row.attempt, row.digest)
    waiting = state.broker + chunk_parked.messages_to_move(state.parking)
    waits = any(message.attempt <= row.attempt for message in waiting)
    if not waits and not any(state.workers) and m.on["P6.overdue"]:
        m.step(out, "the producer finds the chunk overdue", state, producer=found)
    elif m.can(state, "due") and state.backup != RESTORED:
        m.step(out, "the producer finds the chunk overdue, its message waits", state, producer=found,
               budget=m.spend(state, "due"))


def producer_publishes(m, state, p, out):
    """Attempt 1 is the range as the audience is now; a later one the deferred rows as they are now. A
    message with another digest than the claimed one is not sent."""
    row = state.row
    if p.attempt == 1:
        message = Message(1, m.full, state.audience, 0)
    else:
        mask = sum(1 << i for i, r in enumerate(row.rows) if r and delivery_status(r) == DEFERRED)
        message = Message(p.attempt, mask, max(0, p.digest - 1), 0)
    if p.digest and p.digest != message.reading + 1:
        m.step(out, "the producer finds the audience changed: not published", state, producer=())
        return
    sent = Producer(CONFIRMED, p.why, p.attempt, 0)
    m.step(out, f"the producer publishes attempt {p.attempt}", state, producer=sent,
           broker=m.published(state.broker, message))
    if m.can(state, "returned"):
        m.fault(out, "the message is returned, then acked", state, "returned",
                producer=sent if not m.on["P3.returned"] else ())


# --- the operator (O1, O2)


def operator(m, state, out):
    row = state.row
    if row.control == PAUSED:
        m.step(out, "the operator resumes the run", state, row=row._replace(control=GO),
               parking=chunk_parked.mover_starts(m, state.parking))
    elif row.control == GO and m.can(state, "pause"):
        m.step(out, "the operator pauses the run", state, row=row._replace(control=PAUSED),
               budget=m.spend(state, "pause"))
    if row.control != CANCELLED and row.state in (PLANNED, QUEUED) and m.can(state, "cancel"):
        m.step(out, "the operator cancels the run", state, row=row._replace(control=CANCELLED),
               parking=chunk_parked.mover_starts(m, state.parking), budget=m.spend(state, "cancel"))
    if m.can(state, "mark") and chosen(row, (UNKNOWN,)) and not row.live:
        mark(m, state, out)
    if row.control != CANCELLED and (not row.live or not m.on["O1.leased"]):
        resend(m, state, out)
    if row.state != DONE and m.can(state, "skip") and (not row.live or not m.on["O3.leased"]):
        workers, ghost, late = chunk_worker.token_replaced(m, state)
        m.step(out, "the operator gives the chunk up", state, row=ledger.skip(m, row), workers=workers,
               ghost=ghost, straggler=late, budget=m.spend(state, "skip"))
    for letter in state.dead:
        settle_letter(m, state, letter, out)


def settle_letter(m, state, letter, out):
    """mailflock dead (C11): the ledger first, then a confirmed copy, and only then the letter goes."""
    row = state.row
    rest = m.without(state.dead, letter)
    stuck = row.state == STUCK and letter.attempt == row.attempt and row.digest == letter.reading + 1
    if stuck and m.can(state, "requeue"):
        m.step(out, "the operator requeues a dead letter: the chunk is open again", state,
               row=ledger.requeue(row), ghost=state.ghost._replace(takeovers=0),
               budget=m.spend(state, "requeue"))
    if stuck and m.can(state, "bury") and (buried := ledger.bury(row, letter)):
        m.step(out, "the operator drops a dead letter: the chunk is done", state, row=buried, dead=rest,
               budget=m.spend(state, "bury"))
    if row.state == QUEUED and letter.attempt >= row.attempt:
        back = m.published(state.broker, letter)
        m.step(out, "the operator gives a dead letter back", state, broker=back, dead=rest)
        if m.can(state, "unconfirmed"):
            m.fault(out, "the operator gives a dead letter back, the confirm is lost", state, "unconfirmed",
                    broker=back)


def chosen(row, statuses):
    return sum(1 << p for p, r in enumerate(row.rows) if r and delivery_status(r) in statuses)


def mark(m, state, out):
    workers, ghost, late = state.workers, state.ghost, state.straggler
    if m.on["O1.token"]:
        workers, ghost, late = chunk_worker.token_replaced(m, state)
    m.step(out, "the operator marks the unknown as sent", state, row=ledger.mark_sent(m, state.row),
           workers=workers, straggler=late, budget=m.spend(state, "mark"),
           ghost=ghost._replace(marked=ghost.marked | chosen(state.row, (UNKNOWN,))))


def resend(m, state, out):
    row = state.row
    if not ledger.between_attempts(m, row):
        return
    for budget, statuses in (("resend", (UNKNOWN,)), ("retry", (FAILED, SUPPRESSED, SKIPPED))):
        mask = chosen(row, statuses)
        if not mask or not m.can(state, budget) or (budget == "retry" and row.state != DONE):
            continue
        workers, ghost, late = chunk_worker.token_replaced(m, state)
        resent, reopened, messages = list(ghost.resent), ledger.reopen(row, mask), state.broker
        for p in positions(mask):
            resent[m.recipient(p, delivery_reading(row.rows[p]))] += budget == "resend"
        if not m.on["O1.all"]:  # only the chosen are published, at once
            reopened = reopened._replace(state=QUEUED)
            messages = m.published(messages, Message(reopened.attempt, mask, max(0, row.digest - 1), 0))
        m.step(out, f"the operator sends {positions(mask)} again", state, budget=m.spend(state, budget),
               row=reopened, broker=messages, workers=workers, straggler=late,
               ghost=ghost._replace(resent=tuple(resent)))
