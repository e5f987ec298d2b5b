"""A worker's last steps with a message that it has no further use for: a copy to a delay queue, parked, a
dead letter, the ack. Mirrors consumer/intake.c and ledger_park of ledger_control.c."""

from chunk_state import ACK, COPY, IDLE, PARK, PAUSED, message_of, placed


def publish_copy(m, state, i, w, out):
    broker = m.published(state.broker, message_of(w))
    acking = placed(state, i, w._replace(phase=ACK))
    m.step(out, "a copy goes to the delay queue, confirmed", state, broker=broker, workers=acking)
    if m.can(state, "unconfirmed"):
        m.fault(out, "a copy goes to the delay queue, the confirm is lost", state, "unconfirmed",
                broker=broker)
        if not m.on["C8.confirm"]:
            m.fault(out, "the copy never reached the broker", state, "unconfirmed", workers=acking)


def record(m, state, i, w, out):
    """ledger_park, O2: the row first. Then control is read again: it may change once more before the message
    is parked, and who has changed it looks for the row."""
    recorded = state.parking._replace(row=1) if m.on["O2.row"] else state.parking
    m.step(out, "a worker records that the run has parked messages", state, parking=recorded,
           workers=placed(state, i, w._replace(phase=PARK)))
    copying = placed(state, i, w._replace(phase=COPY))
    if state.row.control != PAUSED:
        m.step(out, "a worker records it, and finds the run not paused", state, parking=recorded,
               workers=copying)
    if m.can(state, "unsure"):
        m.fault(out, "a worker cannot record it", state, "unsure", workers=copying)


def park(m, state, i, w, out):
    messages = m.published(state.parking.messages, message_of(w))
    parked, acking = state.parking._replace(messages=messages), placed(state, i, w._replace(phase=ACK))
    m.step(out, "a message is parked, confirmed", state, parking=parked, workers=acking)
    if m.can(state, "unconfirmed"):
        m.fault(out, "a message is parked, the confirm is lost", state, "unconfirmed", parking=parked)
        if not m.on["C8.confirm"]:
            m.fault(out, "the parked copy never reached the broker", state, "unconfirmed", workers=acking)


def publish_dead(m, state, i, w, out):
    letter = message_of(w)
    dead = state.dead if letter in state.dead else state.dead + (letter,)
    m.step(out, "a dead letter, confirmed", state, dead=dead, workers=placed(state, i, w._replace(phase=ACK)))


def ack(m, state, i, w, out):
    m.step(out, "a worker acks", state, workers=placed(state, i, IDLE))
    if w.lost and not m.on["C9.void"]:
        for j, other in enumerate(state.workers):
            if j != i and other and not other.lost:
                workers = placed(state, j, other._replace(lost=1))
                m.step(out, "a worker acks by an old tag: another message is gone", state,
                       workers=placed(state, i, IDLE, workers))
