"""What there is in the chunk's world: the words, the records, and how they are written down.

One chunk of N positions, a few workers, a broker, a database, a mail server, a producer and an
operator. A state is a tuple of small tuples; sets of positions are bit masks. What differs only in
names is one state: workers and messages are sorted, and seq counts from the row's.
"""

from collections import namedtuple

# Status of a position. OPEN is a worker's word only: given back unanswered (PROTOCOL C8).
NONE, SENT, FAILED, DEFERRED, SUPPRESSED, SKIPPED, UNKNOWN, OPEN = range(8)
STATUS_NAMES = ("-", "sent", "failed", "deferred", "suppressed", "skipped", "unknown", "open")
COUNTERS = UNKNOWN  # sent .. unknown

PLANNED, QUEUED, DONE, STUCK = range(4)
CHUNK_STATE_NAMES = ("planned", "queued", "done", "stuck")

GO, PAUSED, CANCELLED = range(3)
CONTROL_NAMES = ("go", "paused", "cancelled")

# The row of table chunk, its rows of table delivery, and run.control. digest: 0 = NULL, else the
# reading of the audience + 1. held: token is not NULL. live: the lease has not ended.
Row = namedtuple("Row", "state attempt held live digest started claims seq rows counters control")

# A message: the positions it carries, from which reading of the audience; returns counts nacks.
Message = namedtuple("Message", "attempt mask reading returns")

# A worker with a chunk in hand; () is one without. mine: the row's token is its own.
#   known     old: status of the rows at recovery     maybe: may have been sent earlier
#   work      what is to be sent; granted: how many of it the watermark covers
#   started   the watermark that is committed         poison: too many claims without progress
#   answered  of work: with an outcome                outcomes: those not in a transaction yet
#   flying    handed over, no reply                   accepted: the server took it, reply on its way
#   deferred  committed as deferred in this attempt   stopping: nothing more is handed over
#   then      the token in the copy of the database is its own
#   known     past the last position that may have been sent before its claim
Worker = namedtuple("Worker", "phase attempt mask reading lost mine seq work answered granted started"
                              " outcomes maybe old deferred flying accepted poison stopping txn then known")

# Where a worker is with its chunk.
(CLAIM_UNSURE, CLAIMED, GATHERING, DEFERRING, CLOSING, RETRY_LATE, LATE, COPY, RECORD, PARK, DEAD,
 ACK) = range(12)
PHASE_NAMES = ("claim unsure", "claimed", "gathering", "deferring", "closing", "retry after bump",
               "late replies", "to copy", "to record", "to park", "to dead letters", "to ack")

# A transaction under way; unsure: the connection is gone and nobody told the result.
Transaction = namedtuple("Transaction", "end outcomes old started granted seq unsure")
GO_ON, END_DONE, END_BUMP, END_RELEASE, END_STUCK = range(5)
END_NAMES = ("go on", "done", "bump", "release", "stuck")

# A statement whose client is gone, and which the server may still execute.
Straggler = namedtuple("Straggler", "txn attempt reading mine")

# The producer with this chunk: () or one of these. READ: it has read the row; SENT_OUT: confirmed.
Producer = namedtuple("Producer", "phase why attempt digest")
READ, CONFIRMED = range(2)
OUTBOX, OVERDUE = range(2)

# What is parked (O2). row: there is one in table parked. messages: in the queue of parked messages. movers:
# who took one of them and has not acked it.
Parking = namedtuple("Parking", "row messages movers")
Mover = namedtuple("Mover", "phase message")
LOOKING, TAKEN, COPIED = range(3)
MOVER_NAMES = ("looking", "taken", "copied")
NOT_PARKED = Parking(0, (), ())

# What nobody in the system knows, kept to judge by. accepted: times, per recipient id; ambiguous: times that
# a worker was lost with it; resent: by the operator; marked: positions that the operator called sent;
# takeovers: claims since the last progress of a chunk whose last claim had not come to an end.
Ghost = namedtuple("Ghost", "accepted ambiguous resent marked deadline takeovers broken")

# orphans: recipients whose mails are in sockets that nobody has any more. dead: the dead letters. backup: the
# row as it is in a copy of the database; RESTORED once that has replaced it and no worker has noticed; or ().
State = namedtuple("State",
                   "row broker dead workers orphans straggler producer audience ghost budget backup parking")
RESTORED = "restored"

IDLE = ()


def outcome(status, maybe=0):
    """An outcome in a worker's hands."""
    return status | maybe << 3


def outcome_status(value):
    return value & 7


def outcome_maybe(value):
    return value >> 3


def delivery(status, maybe, reading, attempt):
    """A row of table delivery; 0 stands for no row."""
    return status | maybe << 3 | reading << 4 | attempt << 5


def delivery_status(value):
    return value & 7


def delivery_maybe(value):
    return value >> 3 & 1


def delivery_reading(value):
    return value >> 4 & 1


def delivery_attempt(value):
    return value >> 5


def worker(phase, message, n, lost=0, **others):
    """A worker that has this message of a chunk of n positions in hand, and nothing else but others."""
    zero = (0,) * n
    plain = Worker(phase, message.attempt, message.mask, message.reading, lost, 0, 0, 0, 0, 0, 0,
                   zero, 0, zero, 0, 0, 0, 0, 0, (), 0, 0)
    return plain._replace(**others) if others else plain


def placed(state, i, w, others=None):
    """The workers with w in place i."""
    workers = list(state.workers if others is None else others)
    workers[i] = w
    return tuple(workers)


def message_of(w):
    """The message that a worker has in hand."""
    return Message(w.attempt, w.mask, w.reading, 0)


def positions(mask):
    """The positions in a mask, ascending."""
    position, found = 0, []
    while mask:
        if mask & 1:
            found.append(position)
        mask >>= 1
        position += 1
    return found


def lowest(mask):
    return (mask & -mask).bit_length() - 1


def describe_row(row):
    rows = " ".join(
        f"{STATUS_NAMES[delivery_status(r)]}@{delivery_attempt(r)}{'?' * delivery_maybe(r)}" if r else "-"
        for r in row.rows)
    lease = "live" if row.live else "ended" if row.held else "none"
    return (f"chunk {CHUNK_STATE_NAMES[row.state]} attempt={row.attempt} lease={lease} "
            f"started={row.started} claims={row.claims} [{rows}] {CONTROL_NAMES[row.control]}")


def describe_worker(w):
    text = f"{PHASE_NAMES[w.phase]} a{w.attempt}{positions(w.mask)}"
    if w.work:
        text += f" work={positions(w.work)} started={w.started}"
    if w.flying or w.accepted:
        text += f" flying={positions(w.flying)} accepted={positions(w.accepted)}"
    if any(w.outcomes):
        text += f" has {[STATUS_NAMES[outcome_status(o)] for o in w.outcomes]}"
    if w.txn:
        text += f" txn {END_NAMES[w.txn.end]}{' unsure' * w.txn.unsure}"
    flags = [name for name, on in (("token gone", not w.mine and w.phase < COPY), ("channel lost", w.lost),
                                   ("stopping", w.stopping), ("poison", w.poison)) if on]
    return f"{text} {','.join(flags)}".rstrip()


def describe_parking(parking):
    parked = " ".join(f"a{m.attempt}{positions(m.mask)}" for m in parking.messages)
    movers = ", ".join(f"{MOVER_NAMES[v.phase]} a{v.message.attempt}" if v.message else "looking"
                       for v in parking.movers)
    return f"parked: {'row' if parking.row else 'no row'}, queue [{parked}], movers [{movers}]"


def describe(state):
    """The state in a few lines, for counterexamples."""
    lines = [describe_row(state.row)]
    lines += [f"worker: {describe_worker(w)}" for w in state.workers if w]
    if state.broker:
        lines.append("broker: " + " ".join(f"a{m.attempt}{positions(m.mask)}" for m in state.broker))
    if state.parking != NOT_PARKED:
        lines.append(describe_parking(state.parking))
    if state.dead:
        lines.append("dead letters: " + " ".join(f"a{m.attempt}{positions(m.mask)}" for m in state.dead))
    if state.backup and state.backup != RESTORED:
        lines.append(f"copy: {describe_row(state.backup)}")
    if any(state.ghost.accepted) or state.orphans:
        lines.append(f"mail server: accepted {state.ghost.accepted}, in lost sockets {state.orphans}")
    return lines
