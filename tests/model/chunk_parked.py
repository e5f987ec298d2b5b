"""Parked messages of a paused run (O2): who moves them back, and who ends queue and row. Mirrors
common/parked.c and parked_move.c. How workers park is in chunk_worker.py."""

from chunk_state import COPIED, DONE, LOOKING, NOT_PARKED, PARK, PAUSED, TAKEN, Mover, Parking

MOVERS_MAX = 2


def steps(m, state, out):
    parking = state.parking
    if parking == NOT_PARKED:
        return
    for i, mover in enumerate(parking.movers):
        if not i or mover != parking.movers[i - 1]:
            MOVERS[mover.phase](m, state, i, mover, out)
    if parking.row and state.row.control != PAUSED and m.on["O2.due"]:
        take(m, state, parking, out)
    sweep(m, state, out)
    forget(m, state, out)
    if m.can(state, "lose"):
        for message in dict.fromkeys(parking.messages):
            m.fault(out, "somebody empties the queue of parked messages", state, "lose",
                    parking=parking._replace(messages=m.without(parking.messages, message)))


# --- small help


def messages(parking):
    """All that the broker has, those that a mover took too: its ack is missing."""
    return parking.messages + tuple(mover.message for mover in parking.movers if mover.message)


def messages_to_move(parking):
    """Those that somebody moves, or will: without the row nobody looks for them."""
    return messages(parking) if parking.row else messages(parking._replace(messages=()))


def is_over(m, state):
    """Queue and row are gone. What was parked after `due` had deleted the row stays."""
    parking = state.parking
    return not parking.row and not parking.movers and (not parking.messages or m.spent(state, "forget"))


def in_order(parking, workers):
    """The row counts as deleted as soon as `due` may do it, which is as good as any later time: only who
    parks a message or moves it could notice."""
    row = parking.row
    if row and not parking.messages and not parking.movers and not someone_parks(workers):
        return NOT_PARKED
    return Parking(row, tuple(sorted(parking.messages)), tuple(sorted(parking.movers)))


def someone_parks(workers):
    return any(w and w.phase == PARK for w in workers)


def replaced(parking, i, *mover):
    """The parking with this mover, or none, in place i."""
    return parking._replace(movers=parking.movers[:i] + mover + parking.movers[i + 1:])


def taken_back(m, parking, i):
    """The connection of mover i is gone: what it has not acked is in the queue again."""
    back = m.published(parking.messages, parking.movers[i].message)
    return replaced(parking, i)._replace(messages=back)


# --- moving


def mover_starts(m, parking):
    """`mailflock resume` and cancel, once they have changed control. What they can do, `due` can do at any
    time: they are of interest only where it does not."""
    if m.on["O2.due"] or not parking.row or len(parking.movers) == MOVERS_MAX:
        return parking
    return parking._replace(movers=parking.movers + (Mover(LOOKING, ()),))


def take(m, state, parking, out):
    """The mover has seen that the run goes on and has a row; both may change before its message is moved."""
    if len(parking.movers) == MOVERS_MAX:
        return
    for message in dict.fromkeys(parking.messages):
        rest, mover = m.without(parking.messages, message), Mover(TAKEN, message)
        m.step(out, f"a mover takes the parked message of attempt {message.attempt}", state,
               parking=parking._replace(messages=rest, movers=parking.movers + (mover,)))


def look(m, state, i, mover, out):
    """Only with O2.due off."""
    alone = replaced(state.parking, i)
    take(m, state, alone, out)
    if not state.parking.messages:
        m.step(out, "a mover finds the queue empty, ends", state, parking=alone)


def move(m, state, i, mover, out):
    """A confirmed copy goes to the run's own queue."""
    parking = state.parking
    broker = m.published(state.broker, mover.message)
    m.step(out, "a mover publishes it, confirmed", state, broker=broker,
           parking=replaced(parking, i, mover._replace(phase=COPIED)))
    if m.can(state, "crash"):
        m.fault(out, "a mover crashes before its copy is out", state, "crash",
                parking=taken_back(m, parking, i))
    if m.can(state, "unconfirmed"):
        m.fault(out, "a mover publishes it, the confirm is lost", state, "unconfirmed", broker=broker,
                parking=taken_back(m, parking, i))
        if not m.on["O2.moved"]:
            m.fault(out, "a mover acks it, its copy never reached the broker", state, "unconfirmed",
                    parking=replaced(parking, i))


def acknowledge(m, state, i, mover, out):
    parking = state.parking
    m.step(out, "a mover acks the parked message", state, parking=replaced(parking, i))
    if m.can(state, "crash"):
        m.fault(out, "a mover crashes before its ack", state, "crash", parking=taken_back(m, parking, i))


MOVERS = {LOOKING: look, TAKEN: move, COPIED: acknowledge}


# --- the end of queue and row


def sweep(m, state, out):
    """`due` deletes queue and row when the queue is empty, nobody moves from it, and nobody has parked for so
    long that whoever recorded it is done (in_order)."""
    row, parking = state.row, state.parking
    if row.state == DONE and parking.row and not parking.movers and not m.on["O2.idle"]:
        m.step(out, "due deletes queue and row of the complete run", state, parking=NOT_PARKED)


def forget(m, state, out):
    """`due` is wrong in that: a worker, a mover or itself took longer than it waits."""
    parking = state.parking
    if not parking.row or not m.can(state, "forget"):
        return
    if not parking.messages and not parking.movers:
        if someone_parks(state.workers):
            m.fault(out, "due deletes the row while a worker is parking", state, "forget", parking=NOT_PARKED)
        return
    m.fault(out, "due deletes queue and row, and what was parked since it looked", state, "forget",
            parking=NOT_PARKED)
