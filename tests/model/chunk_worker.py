"""What workers do with a chunk, step by step, and what can happen to them. Mirrors consumer/ledger.c,
intake.c and sender.c: one function per phase, one step per thing that others can see. The last phases of a
message are in chunk_messages.py."""

import chunk_ledger as ledger
import chunk_messages
from chunk_state import (
    ACK, CLAIMED, CLAIM_UNSURE, CLOSING, COPY, DEAD, DEFERRED, DEFERRING, END_BUMP, END_DONE,
    END_NAMES, END_RELEASE, END_STUCK, GATHERING, GO, GO_ON, IDLE, LATE, OPEN, PARK, PAUSED, RECORD,
    RETRY_LATE, SENT, STATUS_NAMES, UNKNOWN, Message, Straggler, message_of, outcome, outcome_status, placed,
    positions, worker)


def steps(m, state, out):
    """Every step of every worker."""
    for i, w in enumerate(state.workers):
        if i and w == state.workers[i - 1]:
            continue  # they are sorted: one in the same situation has made the same steps
        if w == IDLE:
            take(m, state, i, out)
        else:
            faults(m, state, i, w, out)
            PHASES[w.phase](m, state, i, w, out)


# --- small help


def goes_on(m, w, phase, **others):
    """The worker with the same message in a later phase, all else forgotten."""
    return worker(phase, message_of(w), m.n, lost=w.lost, **others)


def sockets(m, w):
    """The mails in flight of a worker that closes its sockets: the server may still accept them."""
    return tuple(m.recipient(p, w.reading) for p in positions(w.flying))


def exposed(w):
    """Positions handed over whose outcome is not committed."""
    mask = w.flying | w.accepted
    for outcomes in (w.outcomes, w.txn.outcomes if w.txn else ()):
        for p, o in enumerate(outcomes):
            if outcome_status(o) in (SENT, UNKNOWN) and w.work >> p & 1:
                mask |= 1 << p
    return mask


def lost_with(m, state, w):
    """The ghost after a worker was lost that had positions handed over."""
    if not m.resend or not w.mine:
        return state.ghost
    return m.make_ambiguous(state.ghost, exposed(w), w.reading)


def token_replaced(m, state, keep=None):
    """Workers and ghost after the row's token was replaced or taken away: nobody owns it any more. What
    an owner had been granted may yet be handed over."""
    ghost, workers = state.ghost, []
    for i, w in enumerate(state.workers):
        if w and w.mine and i != keep:
            if m.resend:
                waiting = w.work & ~w.answered & ~w.flying & ~w.accepted & ((1 << w.started) - 1)
                ghost = m.make_ambiguous(ghost, exposed(w) | waiting, w.reading)
            w = w._replace(mine=0)
        workers.append(w)
    straggler = state.straggler and state.straggler._replace(mine=0)
    return tuple(workers), ghost, straggler


# --- taking and claiming (C1, C2)


def take(m, state, i, out):
    for message in dict.fromkeys(state.broker):
        rest = m.without(state.broker, message)
        claim(m, state, i, message, rest, out)


def claim(m, state, i, message, rest, out):
    row = state.row
    if not m.on["C7.done"] and row.rows and all(
            row.rows[p] and row.rows[p] >> 5 >= message.attempt for p in positions(message.mask)):
        m.step(out, "a worker finds nothing pending: acks", state, broker=rest)
        return
    own = not m.on["C1.token"] and any(w and w.mine for w in state.workers)
    if ledger.may_claim(m, row._replace(live=0) if own else row, message):
        claimed(m, state, i, message, rest, out)
        return
    fate = ledger.turn_away(m, row, message)
    if fate == ledger.DROP:
        m.step(out, f"a worker drops the message of attempt {message.attempt}", state, broker=rest)
    elif fate == ledger.BURY:
        w = worker(DEAD, message, m.n)
        m.step(out, "a worker takes a message of a stuck chunk", state, broker=rest,
               workers=placed(state, i, w))
    elif fate == ledger.DELAY and not m.on["C2.copy"]:
        returned = message._replace(returns=message.returns + 1)
        back = rest if returned.returns > m.delivery_limit else m.published(rest, returned)
        m.step(out, "a worker returns the message by nack", state, broker=back)
    elif fate == ledger.PARK:
        m.step(out, "a worker takes a message of a paused run", state, broker=rest,
               workers=placed(state, i, worker(RECORD, message, m.n)))
    # A copy in the delay queue for the message: the same state.


def claimed(m, state, i, message, rest, out):
    """The claiming UPDATE matches; its reply may get lost, or the statement comes late."""
    row = ledger.claimed_row(m, state.row, message.reading)
    if m.on["C1.token"]:
        workers, ghost, straggler = token_replaced(m, state)
    else:  # the token is the worker's name, and all copies are in the hands of one
        workers, ghost, straggler = state.workers, state.ghost, state.straggler
    ghost = m.count_takeover(ghost, state.row)
    if state.row.control == PAUSED:
        ghost = ghost._replace(broken="a chunk of a paused run was claimed")
    mine = worker(CLAIMED, message, m.n, mine=1, seq=row.seq)
    label = f"a worker claims attempt {message.attempt}"
    m.step(out, label, state, row=row, broker=rest, ghost=ghost, straggler=straggler,
           workers=placed(state, i, mine, workers))
    if m.can(state, "unsure"):
        m.fault(out, f"{label}, the reply is lost", state, "unsure", row=row, broker=rest, ghost=ghost,
                straggler=straggler, workers=placed(state, i, mine._replace(phase=CLAIM_UNSURE), workers))
    if m.can(state, "late") and not state.straggler:
        late = Straggler((), message.attempt, message.reading, 0)
        w = worker(CLAIM_UNSURE, message, m.n)
        m.fault(out, f"{label}, the statement is late", state, "late", broker=rest, straggler=late,
                workers=placed(state, i, w))


def claim_again(m, state, i, w, out):
    """C1: a claim whose result is unknown is repeated with the same token."""
    message = message_of(w)
    if w.mine and m.on["C1.repeat"] and ledger.may_claim_again(m, state.row, message):
        row = ledger.claimed_row(m, state.row, w.reading, counted=False)
        m.step(out, "a worker repeats its claim: it holds the chunk", state, row=row,
               workers=placed(state, i, w._replace(phase=CLAIMED, seq=row.seq)))
    elif not w.mine and ledger.may_claim(m, state.row, message):
        claimed(m, state, i, message, state.broker, out)
    else:
        fate = ledger.turn_away(m, state.row, message)
        if fate is not None:
            phase = {ledger.DROP: ACK, ledger.BURY: DEAD, ledger.DELAY: COPY, ledger.PARK: RECORD}[fate]
            m.step(out, "a worker repeats its claim: turned away", state,
                   workers=placed(state, i, goes_on(m, w, phase)))
    if m.can(state, "stop"):
        m.step(out, "a worker stops before it knows whether it has the chunk", state,
               budget=m.spend(state, "stop"), workers=placed(state, i, goes_on(m, w, COPY)))


# --- recovery (C3)


def recover(m, state, i, w, out):
    row = state.row
    if m.on["C3.token"] and not (w.mine and row.attempt == w.attempt):
        abandon(m, state, i, w, out, "its claim is somebody else's")
        return
    found = ledger.Recovery(m, row, w)
    if found.contradicts:
        m.step(out, "recovery: message and ledger contradict each other", state,
               workers=placed(state, i, goes_on(m, w, DEAD)))
        return
    granted = ledger.granted_at_recovery(found.work, row.started)
    ready = w._replace(phase=GATHERING, seq=row.seq, work=found.work, granted=granted,
                       started=row.started, outcomes=tuple(found.outcomes), maybe=found.maybe,
                       old=tuple(found.old), deferred=found.deferred, poison=found.poison,
                       known=found.known_end(row.started))
    said = "poison" if found.poison else f"work {positions(found.work)}"
    m.step(out, f"recovery: {said}", state, workers=placed(state, i, ready))
    if m.can(state, "suppress") and not found.poison:
        for p in positions(found.work):
            suppressed = list(ready.outcomes)
            suppressed[p] = ledger.settle(m, ledger.SUPPRESSED, ready.maybe >> p & 1, w.attempt)
            work = ready.work & ~(1 << p)
            other = ready._replace(work=work, outcomes=tuple(suppressed),
                                   granted=ledger.granted_at_recovery(work, row.started))
            m.step(out, f"recovery: {p} is on the suppression list", state, budget=m.spend(state, "suppress"),
                   workers=placed(state, i, other))


# --- sending, gathering, committing (C4 to C8)


def gather(m, state, i, w, out):
    server_replies(m, state, i, w, out)
    waiting = w.work & ~w.answered & ~w.flying & ~w.accepted
    if not w.stopping:
        for p in positions(waiting):
            if p < w.started or not m.on["C4.order"]:
                hand_over(m, state, i, w, p, out)
            if m.can(state, "refuse"):
                m.step(out, f"the server refuses the envelope of {p}", state, budget=m.spend(state, "refuse"),
                       workers=placed(state, i, answer(m, w, p, DEFERRED)))
        if waiting | w.flying | w.accepted:
            told_to_stop(m, state, i, w, out)
    elif w.flying or w.accepted:
        deadline(m, state, i, w, out)
    commit(m, state, i, w, out)


def hand_over(m, state, i, w, p, out):
    ghost = state.ghost
    if w.mine and ghost.takeovers >= m.limit:
        ghost = ghost._replace(broken="a mail left after too many claims without progress")
    m.step(out, f"a worker hands over {p}", state, ghost=ghost,
           workers=placed(state, i, w._replace(flying=w.flying | 1 << p)))


def answer(m, w, p, status):
    """The worker with what happened to position p settled."""
    o = ledger.settle(m, status, w.maybe >> p & 1, w.attempt)
    outcomes = w.outcomes[:p] + (o,) + w.outcomes[p + 1:]
    bit = 1 << p
    return w._replace(outcomes=outcomes, answered=w.answered | bit, flying=w.flying & ~bit,
                      accepted=w.accepted & ~bit)


def server_replies(m, state, i, w, out):
    for p in positions(w.flying):
        bit, recipient = 1 << p, m.recipient(p, w.reading)
        m.step(out, f"the server accepts {p}", state, ghost=m.accept(state.ghost, recipient),
               workers=placed(state, i, w._replace(flying=w.flying & ~bit, accepted=w.accepted | bit)))
        if m.can(state, "refuse"):
            m.step(out, f"the server answers 4xx for {p}", state, budget=m.spend(state, "refuse"),
                   workers=placed(state, i, answer(m, w, p, DEFERRED)))
        if m.can(state, "drop"):
            m.fault(out, f"connection lost after the final dot of {p}", state, "drop",
                    orphans=state.orphans + (recipient,), workers=placed(state, i, answer(m, w, p, UNKNOWN)))
    for p in positions(w.accepted):
        m.step(out, f"a worker reads 250 for {p}", state, workers=placed(state, i, answer(m, w, p, SENT)))
        if m.can(state, "drop"):
            m.fault(out, f"connection lost before the reply for {p}", state, "drop",
                    workers=placed(state, i, answer(m, w, p, UNKNOWN)))


def told_to_stop(m, state, i, w, out):
    """C8, O2: a stop, or a run that is paused or cancelled."""
    stopping = placed(state, i, w._replace(stopping=1))
    if state.row.control != GO:
        m.step(out, "a worker obeys control: gives back", state, workers=stopping)
    elif m.can(state, "stop"):
        m.step(out, "a worker is told to stop", state, budget=m.spend(state, "stop"), workers=stopping)


def deadline(m, state, i, w, out):
    """The replies did not come in time: sockets are closed."""
    ghost, after = state.ghost._replace(deadline=1), w
    if m.resend:
        ghost = m.make_ambiguous(ghost, w.flying | w.accepted, w.reading)
    if m.on["C8.record"]:
        for p in positions(w.flying | w.accepted):
            after = answer(m, after, p, OPEN)
    m.step(out, "a worker stops waiting for replies", state, ghost=ghost,
           orphans=state.orphans + sockets(m, w),
           workers=placed(state, i, after._replace(flying=0, accepted=0)))


def commit(m, state, i, w, out):
    if w.txn:
        (resync if w.txn.unsure else execute)(m, state, i, w, out)
        return
    begun = ledger.next_transaction(m, w, state.row)
    if begun:
        txn = begun.txn
        m.step(out, f"a worker begins a transaction: {END_NAMES[txn.end]}"
                    f"{said(txn.outcomes)} started={txn.started}", state, workers=placed(state, i, begun))


def said(outcomes):
    names = [f"{p}={STATUS_NAMES[outcome_status(o)]}" for p, o in enumerate(outcomes) if o]
    return " " + " ".join(names) if names else ""


def execute(m, state, i, w, out):
    txn = w.txn
    matched, row = ledger.execute(m, state.row, txn, w.attempt, w.reading, w.mine)
    name = END_NAMES[txn.end]
    if not matched:
        lose(m, state._replace(row=row), i, w, out, f"its transaction ({name}) matches nothing")
    else:
        workers, ghost, straggler = after_execution(m, state, i, txn)
        for after in after_commit(m, state, w, row.seq):
            m.step(out, f"committed: {name}", state, row=row, ghost=ghost, straggler=straggler,
                   workers=placed(state, i, after, workers))
        if m.can(state, "unsure"):
            unsure = w._replace(txn=txn._replace(unsure=1), mine=int(w.mine and txn.end == GO_ON))
            m.fault(out, f"committed: {name}, but the reply is lost", state, "unsure", row=row, ghost=ghost,
                    straggler=straggler, workers=placed(state, i, unsure, workers))
    unsure = w._replace(txn=txn._replace(unsure=1))
    if m.can(state, "unsure"):
        m.fault(out, f"connection lost, not committed: {name}", state, "unsure",
                workers=placed(state, i, unsure))
    if m.can(state, "late") and not state.straggler:
        m.fault(out, f"connection lost, the COMMIT is late: {name}", state, "late",
                straggler=Straggler(txn, w.attempt, w.reading, w.mine), workers=placed(state, i, unsure))


def after_execution(m, state, i, txn):
    """Workers, ghost and straggler once the transaction of worker i (None: of a straggler) is in."""
    if txn.end == GO_ON:
        workers, ghost, straggler = state.workers, state.ghost, state.straggler
    else:
        workers, ghost, straggler = token_replaced(m, state, keep=i)
    if ledger.made_progress(txn):
        ghost = ghost._replace(takeovers=0)
    return workers, ghost, straggler


def after_commit(m, state, w, seq):
    """The worker that knows its transaction was applied. Of a run that was ever paused it may have read that
    it is, and parks what it released, or that it is not: control may have changed since."""
    if w.txn.end == END_RELEASE and m.on["C8.copy"] and m.spent(state, "pause"):
        return goes_on(m, w, COPY), goes_on(m, w, RECORD)
    return (committed(m, w, seq),)


def committed(m, w, seq):
    """ledger_committed."""
    txn = w.txn
    for p, o in enumerate(txn.outcomes):
        if outcome_status(o) == DEFERRED:
            w = w._replace(deferred=w.deferred | 1 << p)
    if txn.end == END_BUMP and not m.on["C7.order"]:
        return goes_on(m, w, RETRY_LATE, deferred=w.deferred)
    if txn.end != GO_ON:
        return goes_on(m, w, AFTER_END[txn.end](m))
    w = w._replace(txn=(), seq=seq, started=txn.started)
    if w.phase != GATHERING or w.poison or any(w.outcomes) or not ledger.complete(w) or not w.deferred:
        return w
    later = goes_on(m, w, DEFERRING, mine=w.mine, seq=seq, started=w.started, deferred=w.deferred,
                    known=w.known)
    return later if m.on["C7.order"] else later._replace(phase=CLOSING)


AFTER_END = {
    END_DONE: lambda m: ACK,
    END_BUMP: lambda m: ACK,
    END_RELEASE: lambda m: COPY if m.on["C8.copy"] else ACK,
    END_STUCK: lambda m: DEAD,
}


def resync(m, state, i, w, out):
    verdict = ledger.resync(m, w, state.row)
    if verdict == ledger.APPLIED:
        for after in after_commit(m, state, w, state.row.seq):
            m.step(out, "resync: it was applied", state, workers=placed(state, i, after))
    elif verdict == ledger.REPEAT:
        m.step(out, "resync: it was not applied, again", state,
               workers=placed(state, i, w._replace(txn=w.txn._replace(unsure=0))))
    else:
        lose(m, state, i, w, out, "resync: in doubt")


def lose(m, state, i, w, out, why):
    """The chunk is not the worker's any more. C13: where seq went back, it was the ledger that lost it."""
    if m.on["C13.raise"] and state.row.seq < w.txn.seq:
        ghost = lost_with(m, state, w)
        workers, ghost, straggler = token_replaced(m, state._replace(ghost=ghost), keep=i)
        m.step(out, "a worker sees that the ledger went back: raises the watermark and ends", state,
               row=ledger.raised(m, w, state.row), ghost=ghost, straggler=straggler,
               broker=state.broker if w.lost else m.published(state.broker, message_of(w)),
               orphans=state.orphans + sockets(m, w), workers=placed(state, i, IDLE, workers))
    else:
        abandon(m, state, i, w, out, why)


def abandon(m, state, i, w, out, why):
    """The chunk is somebody else's: late replies are reported, and a copy stands for the message."""
    outcomes = [outcome(SENT) if outcome_status(a) == SENT or outcome_status(b) == SENT else 0
                for a, b in zip(w.outcomes, w.txn.outcomes if w.txn else w.outcomes)]
    phase = COPY if m.on["C10.abandon"] else ACK
    after = goes_on(m, w, LATE, outcomes=tuple(outcomes)) if any(outcomes) else goes_on(m, w, phase)
    m.step(out, f"a worker abandons the chunk: {why}", state, ghost=lost_with(m, state, w),
           orphans=state.orphans + sockets(m, w), workers=placed(state, i, after))


def report_late(m, state, i, w, out):
    phase = COPY if m.on["C10.abandon"] else ACK
    m.step(out, "a worker reports late replies", state, row=ledger.late_replies(state.row, w),
           workers=placed(state, i, goes_on(m, w, phase)))


# --- the retry (C7)


def retry_message(w):
    return Message(w.attempt + 1, w.deferred, w.reading, 0)


def publish_retry(m, state, i, w, out):
    confirmed = w._replace(phase=CLOSING)
    broker = m.published(state.broker, retry_message(w))
    if not w.txn:
        m.step(out, f"a worker publishes attempt {w.attempt + 1}, confirmed", state, broker=broker,
               workers=placed(state, i, confirmed))
        if m.can(state, "unconfirmed"):
            m.fault(out, f"a worker publishes attempt {w.attempt + 1}, the confirm is lost", state,
                    "unconfirmed", broker=broker)
            if not m.on["C7.confirm"]:
                m.fault(out, f"attempt {w.attempt + 1} never reached the broker", state, "unconfirmed",
                        workers=placed(state, i, confirmed))
    commit(m, state, i, w, out)


def publish_retry_late(m, state, i, w, out):
    """Only with C7.order off."""
    m.step(out, f"a worker publishes attempt {w.attempt + 1}", state,
           broker=m.published(state.broker, retry_message(w)), workers=placed(state, i, goes_on(m, w, ACK)))


# --- faults


def faults(m, state, i, w, out):
    if m.can(state, "crash"):
        crash(m, state, i, w, out)
    if m.can(state, "channel") and not w.lost:
        m.fault(out, "a worker loses its channel and works on", state, "channel",
                broker=m.published(state.broker, message_of(w)), workers=placed(state, i, w._replace(lost=1)))


def crash(m, state, i, w, out):
    """The message comes back; mails in sockets may still arrive; a transaction under way is in, is not,
    or comes late."""
    broker = state.broker if w.lost else m.published(state.broker, message_of(w))
    orphans = state.orphans + sockets(m, w)
    gone = placed(state, i, IDLE)
    m.fault(out, "a worker crashes", state, "crash", broker=broker, orphans=orphans, workers=gone,
            ghost=lost_with(m, state, w))
    if not w.txn or w.txn.unsure:
        return
    if m.can(state, "late") and not state.straggler:
        budget = m.spend(state, "late")
        m.fault(out, "a worker crashes, its COMMIT is late", state._replace(budget=budget), "crash",
                broker=broker, orphans=orphans, workers=gone, ghost=lost_with(m, state, w),
                straggler=Straggler(w.txn, w.attempt, w.reading, w.mine))
    matched, row = ledger.execute(m, state.row, w.txn, w.attempt, w.reading, w.mine)
    if matched:
        workers, ghost, straggler = after_execution(m, state, i, w.txn)
        applied = w._replace(txn=())
        ghost = lost_with(m, state._replace(ghost=ghost), applied)
        m.fault(out, f"a worker crashes; committed: {END_NAMES[w.txn.end]}", state, "crash", row=row,
                broker=broker, orphans=orphans, ghost=ghost, straggler=straggler,
                workers=placed(state, i, IDLE, workers))


PHASES = {
    CLAIM_UNSURE: claim_again, CLAIMED: recover, GATHERING: gather, DEFERRING: publish_retry,
    CLOSING: commit, RETRY_LATE: publish_retry_late, LATE: report_late, COPY: chunk_messages.publish_copy,
    RECORD: chunk_messages.record, PARK: chunk_messages.park, DEAD: chunk_messages.publish_dead,
    ACK: chunk_messages.ack,
}
