"""For each rule of the protocol that the models cover: a switch that leaves it out, the smallest world in
which that shows, what breaks, and in how many steps."""

from dataclasses import dataclass

from chunk import ChunkModel
from producer import ProducerModel


@dataclass(frozen=True)
class Case:
    """steps is the length of the shortest counterexample."""

    switches: str  # left out together; the first one names the rule
    instead: str   # what is done instead
    breaks: str    # how the violation begins
    steps: int
    world: dict
    model: type = ChunkModel

    @property
    def rule(self):
        return self.switches.split(".")[0]

    def build(self):
        return self.model(off=self.switches.split(), **self.world)


def resend(**world):
    return dict(on_crash="resend", **world)


def new(**world):
    return dict(start="new", **world)


CASES = [
    Case("C1.token", "the token is the worker's name: it may hold two copies", "unknown", 9, dict(double=1)),
    Case("C1.lease", "a claim takes a chunk with a live lease", "unknown", 9, dict(double=1)),
    Case("C1.attempt", "a claim does not look at the attempt: old messages use up claims", "poison", 22,
         dict(refuse=1, double=1, limit=2)),
    Case("C1.digest", "two readings of the audience are mixed", "wrong", 13,
         dict(start="planned", audience=1, crash=2)),
    Case("C1.paused", "a paused run's chunk is claimed", "a chunk of a paused run", 2, dict(pause=1)),
    Case("C1.repeat", "a claim of unknown result is repeated with a new token", "poison", 8,
         dict(unsure=1, limit=2)),
    Case("C2.ahead", "a retry that is ahead of its row is dropped", "forgotten", 14, dict(refuse=1)),
    Case("C2.held", "a message whose chunk is held is dropped", "forgotten", 3, dict(channel=1)),
    Case("C2.copy", "messages go back by nack, which counts as deliveries", "forgotten", 5,
         dict(double=1, crash=1)),
    Case("C3.recover", "what is below the watermark is not ambiguous", "twice", 12, dict(crash=1)),
    Case("C3.order", "cancelled is looked at before ambiguous", "wrong", 13, dict(crash=1, cancel=1)),
    Case("C3.token", "recovery does not look whether the token is its own", "twice", 12,
         resend(expire=1, double=1, crash=1)),
    Case("C3.all", "a retry may leave out what is deferred", "accounts", 30, resend(rewind=1, refuse=2)),
    Case("C3.shortcut", "claims <= 1 alone counts as untouched", "accounts", 14, dict(stop=1, window=2)),
    Case("C4.order", "mails leave before the watermark is committed", "wrong", 4, {}),
    Case("C4.window", "the watermark goes over the whole chunk at once", "window", 4, {}),
    Case("C4.above", "an outcome above the watermark makes room for one more below it", "window", 7,
         dict(n=3, refuse=1)),
    Case("C5.token", "the fence does not look at the token", "twice", 12,
         resend(expire=1, channel=1, crash=1)),
    Case("C5.seq", "the fence does not look at seq: a commit is simply repeated", "accounts", 11,
         dict(unsure=1)),
    Case("C5.match", "rows are inserted before the match is known", "accounts", 12,
         dict(expire=1, channel=1)),
    Case("C5.resync", "a commit of unknown result counts as applied", "wrong", 7, dict(unsure=1)),
    Case("C6.renew", "a lease is not renewed", "unknown", 10, dict(channel=1)),
    Case("C7.order", "the attempt is closed before its retry is published", "forgotten", 12,
         dict(refuse=1, crash=1)),
    Case("C7.confirm", "the retry's confirm is not awaited", "forgotten", 13, dict(refuse=1, unconfirmed=1)),
    Case("C7.reset", "the watermark is kept from attempt to attempt", "unknown", 17, dict(refuse=1)),
    Case("C7.done", "nothing pending counts as finished", "forgotten", 11, dict(refuse=1, crash=1)),
    Case("C8.lower", "a release keeps the watermark", "unknown", 12, dict(stop=1, window=2)),
    Case("C8.record", "a release forgets what has no reply", "wrong", 10, dict(stop=1, window=2)),
    Case("C8.maybe", "a release forgets what was ambiguous and was not sent again", "wrong", 13,
         resend(stop=1, crash=1)),
    Case("C8.copy", "a release acks without a copy", "forgotten", 6, dict(stop=1)),
    Case("C8.confirm", "the copy's confirm is not awaited", "forgotten", 7, dict(stop=1, unconfirmed=1)),
    Case("C8.confirm", "the confirm of the parked copy is not awaited", "forgotten", 5,
         dict(pause=1, unconfirmed=1)),
    Case("C9.void", "an old channel's tag is acked on the new one", "forgotten", 16,
         dict(channel=1, refuse=1)),
    Case("C10.abandon", "an abandoned chunk's message is acked without a copy", "forgotten", 8, dict(late=1)),
    Case("C11.limit", "claims are not limited", "a mail left after too many claims", 11,
         dict(crash=2, limit=2)),
    Case("C11.reset", "outcomes and releases do not reset the claims", "poison", 14, dict(crash=2, limit=3)),
    Case("C11.unknown", "a stuck chunk's ambiguous positions stay pending", "wrong", 12,
         dict(crash=1, limit=2)),
    Case("C11.dead", "a message of a stuck chunk is dropped", "forgotten", 8, dict(crash=2, limit=2)),
    Case("C12.maybe", "what may have been sent can end failed", "wrong", 13,
         resend(crash=1, refuse=1, attempts=1)),
    Case("C13.raise", "a worker that sees seq go back just abandons the chunk", "wrong", 10, dict(rewind=1)),
    Case("C13.known", "the watermark is raised to the worker's, which a release has lowered", "wrong", 18,
         dict(rewind=1, window=2, stop=1)),
    Case("C13.attempt", "a watermark is carried over to an earlier attempt", "wrong", 20,
         dict(rewind=1, refuse=1)),
    Case("C13.digest", "the raised watermark is of no reading of the audience", "wrong", 15,
         dict(start="planned", audience=1, rewind=1, due=1)),
    Case("P1.connection P2.number", "a lost lock goes unnoticed, and chunk_no is MAX + 1 in SQL", "twice", 11,
         dict(connection=1), ProducerModel),
    Case("P2.last", "reading goes on after MAX(last_id), a text", "twice", 16, dict(crash=1), ProducerModel),
    Case("P3.returned", "a returned message counts as confirmed", "forgotten", 2, new(returned=1)),
    Case("P4.queued", "queued is set whatever the chunk's state", "forgotten", 16, dict(start="planned")),
    Case("P4.attempt", "a confirm of an earlier attempt marks a later one queued", "liveness", 6,
         dict(reopen=1), ProducerModel),
    Case("P5.outbox", "what is planned is not published again", "liveness", 1, new(crash=1)),
    Case("P5.empty", "a range that has become empty is not published", "liveness", 4,
         dict(crash=1, leaves=1), ProducerModel),
    Case("P5.done", "publishing is done although something is planned", "liveness", 6, dict(reopen=1),
         ProducerModel),
    Case("P6.overdue", "an overdue chunk is not published again", "liveness", 1, dict(lose=1)),
    Case("P6.overdue", "nor one whose message is parked without a row", "liveness", 4, dict(pause=1, forget=1)),
    Case("P6.resume", "nobody takes up an open run", "liveness", 2, dict(crash=1), ProducerModel),
    Case("P6.sweep", "a run completes only where publishing ends", "liveness", 12, {}, ProducerModel),
    Case("O1.between", "a chunk in the middle of an attempt is opened again", "wrong", 21,
         dict(window=2, resend=1, drop=1, refuse=1, crash=1)),
    Case("O1.between O1.leased", "a chunk in a worker's hands is opened again", "wrong", 19,
         dict(window=2, resend=1, drop=1, refuse=1)),
    Case("O1.all C3.all", "only the chosen are published", "accounts", 22,
         dict(window=2, resend=1, drop=1, refuse=1)),
    Case("O1.token", "marking as sent leaves a lost worker's token in the row", "wrong", 18,
         dict(n=3, mark=1, drop=1, expire=1, unsure=1)),
    Case("O3.leased", "a chunk in a worker's hands is given up", "unknown", 5, dict(skip=1)),
    Case("O3.doubt", "what is given up counts as never sent", "wrong", 9, dict(skip=1, crash=1)),
    Case("O2.row", "a message is parked without a row", "liveness", 3, dict(pause=1)),
    Case("O2.due", "only resume and cancel move what is parked", "liveness", 4, dict(pause=1)),
    Case("O2.moved", "a mover acks before its copy is confirmed", "forgotten", 8, dict(pause=1, unconfirmed=1)),
    Case("O2.idle", "queue and row of a complete run are deleted while somebody is parking", "liveness", 20,
         dict(pause=1, channel=1)),
    Case("O2.columns", "publishing and control are one column", "resurrected", 13, dict(cancel=1),
         ProducerModel),
]

# Rules that have another behind them: left out alone, nothing happens. (switches, world, model)
DOUBLED = [
    ("P1.connection", dict(connection=1), ProducerModel),
    ("P2.number", dict(connection=1), ProducerModel),
    ("O1.leased", dict(resend=1, drop=1, refuse=1), ChunkModel),
]
