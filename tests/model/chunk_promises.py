"""What must hold in every state of the chunk's world, and when everything is settled."""

import chunk_parked
from chunk_state import (
    COUNTERS, DEFERRED, DONE, FAILED, QUEUED, RESTORED, SENT, SKIPPED, STATUS_NAMES, STUCK, SUPPRESSED,
    UNKNOWN, delivery_attempt, delivery_maybe, delivery_reading, delivery_status)


def violation(m, state):
    """The first promise that is broken, or None. While the ledger knows less than a worker, there are none of
    what it says; when the worker has noticed, they hold again (C13)."""
    if state.backup == RESTORED:
        return accounts(m, state.row) or copies(m, state.ghost)
    return (state.ghost.broken or accounts(m, state.row) or copies(m, state.ghost)
            or unambiguous(m, state) or poison(m, state) or represented(m, state)
            or next((why for p in range(m.n) if (why := position(m, state, p))), None)
            or window(m, state))


def is_final(m, state):
    """The chunk is done, or stuck with a dead letter, and nothing of it is left anywhere. Where `due` was too
    early, what was parked later may be: nobody looks for it."""
    row = state.row
    settled = row.state == DONE or (row.state == STUCK and state.dead)
    return bool(settled and not state.broker and not any(state.workers) and not state.orphans
                and not state.straggler and not state.producer and chunk_parked.is_over(m, state))


def accounts(m, row):
    """The invariants of `mailflock audit`."""
    count = [0] * COUNTERS
    for r in row.rows:
        if r:
            count[delivery_status(r) - 1] += 1
    if tuple(count) != row.counters:
        return f"accounts: counters {row.counters}, rows {tuple(count)}"
    if row.state == DONE and not all(row.rows):
        return "accounts: done with pending positions"
    if row.state == DONE and count[DEFERRED - 1]:
        return "accounts: done with deferred positions"
    return None


def copies(m, ghost):
    """hold: nobody is accepted twice; resend: only who was ambiguous. The operator's resend allows one
    more."""
    for recipient, times in enumerate(ghost.accepted):
        allowed = 1 + ghost.resent[recipient] + (ghost.ambiguous[recipient] if m.resend else 0)
        if times > allowed:
            return f"twice: recipient {recipient} was accepted {times} times, allowed are {allowed}"
    return None


def position(m, state, p):
    """What the ledger says of a position against what the mail server knows."""
    row, ghost = state.row, state.ghost
    r = row.rows[p]
    status = delivery_status(r)
    reading = delivery_reading(r) if r else max(0, row.digest - 1)
    accepted = ghost.accepted[m.recipient(p, reading)]
    if status == SENT and not accepted and not ghost.marked >> p & 1:
        return f"lost: {p} is sent in the ledger, and was never accepted"
    if not accepted or status in (SENT, UNKNOWN):
        return None
    if status in (FAILED, SKIPPED, SUPPRESSED):
        return f"wrong: {p} is {STATUS_NAMES[status]} in the ledger, and was accepted"
    if delivery_maybe(r):
        return None
    if status == DEFERRED and delivery_attempt(r) >= row.attempt:
        return f"wrong: {p} is deferred without a doubt in the ledger, and was accepted"
    if p >= row.started or row.state == STUCK:
        return f"wrong: {p} counts as never handed over in the ledger, and was accepted"
    return None


def unambiguous(m, state):
    """Nothing is called unknown unless somebody was lost, frozen or did not answer."""
    if not any(delivery_status(r) == UNKNOWN for r in state.row.rows) or state.ghost.deadline:
        return None
    if any(m.spent(state, fault) for fault in ("crash", "expire", "late", "drop", "rewind")):
        return None
    return "unknown: without anything ambiguous having happened"


def poison(m, state):
    """C11: stuck is only what was claimed often enough without any progress."""
    if state.row.state != STUCK:
        return None
    if state.ghost.takeovers < m.limit - 1:
        return f"poison: stuck after {state.ghost.takeovers} claims that came to nothing"
    if not any(m.spent(state, fault) for fault in ("crash", "expire", "late", "rewind")):
        return "poison: stuck, and no worker was ever lost"
    return None


def window(m, state):
    """C4: a crash leaves no more positions ambiguous than the window says."""
    row = state.row
    count = sum(1 for r in row.rows[:row.started]
                if not r or (delivery_status(r) == DEFERRED and delivery_attempt(r) < row.attempt))
    if row.state != QUEUED or count <= m.window or m.spent(state, "rewind"):
        return None
    return f"window: a crash would leave {count} positions ambiguous, allowed are {m.window}"


def represented(m, state):
    """C10: as long as the chunk is open, a message of its attempt is with the broker (parked ones count), in
    hand, or a dead letter that the operator has not given back yet. For a stuck one there is a letter, or will be."""
    row = state.row
    if row.state not in (QUEUED, STUCK):
        return None
    if any(m.spent(state, fault) for fault in ("lose", "rewind", "forget")):
        return None
    messages = state.broker + state.dead + chunk_parked.messages(state.parking)
    if any(stands_for(row, message) for message in messages):
        return None
    if any(w and not w.lost and stands_for(row, w) for w in state.workers):
        return None
    if row.state == STUCK:
        return "forgotten: the chunk is stuck, and there is no dead letter"
    return "forgotten: the chunk is open, and no message of it is left"


def stands_for(row, message):
    return message.attempt == row.attempt and (not row.digest or row.digest == message.reading + 1)
