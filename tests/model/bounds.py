"""The worlds that are explored to the end with all rules in force: SMALL ones in every test run, LARGE ones
by ./dev model."""

from chunk import ChunkModel
from producer import ProducerModel
from rules import resend


def chunk(**world):
    return ChunkModel, world


def run(**world):
    return ProducerModel, world


SMALL = [
    chunk(crash=2, expire=1),
    chunk(crash=1, unsure=1, late=1),
    chunk(crash=1, channel=1, double=1),
    chunk(crash=1, refuse=1, unconfirmed=1),
    chunk(window=2, stop=1, crash=1),
    chunk(pause=1, cancel=1, crash=1),
    chunk(pause=1, double=1),
    chunk(pause=1, channel=1),
    chunk(n=1, pause=1, crash=1, unconfirmed=1),
    chunk(pause=1, forget=1, lose=1),
    chunk(drop=1, resend=1, refuse=1),
    chunk(n=3, mark=1, drop=1, expire=1, unsure=1),
    chunk(start="planned", audience=1, crash=2),
    chunk(start="new", returned=1, lose=1, due=1),
    chunk(limit=2, crash=2, requeue=1, bury=1),
    chunk(attempts=1, refuse=1, retry=1, suppress=1, crash=1),
    chunk(rewind=1, refuse=1),
    chunk(start="planned", audience=1, lose=1, due=1, crash=1, skip=1),
    chunk(**resend(crash=1, expire=1, refuse=1)),
    chunk(**resend(crash=1, unsure=1, late=1)),
    chunk(**resend(stop=1, crash=1, cancel=1)),
    chunk(**resend(pause=1, crash=1)),
    chunk(**resend(attempts=1, refuse=1, crash=2)),
    chunk(**resend(limit=2, crash=2, stop=1)),
    chunk(**resend(drop=1, resend=1, crash=1)),
    chunk(**resend(rewind=1, refuse=1)),
    run(crash=1, returned=1),
    run(crash=1, reopen=1),
    run(cancel=1, crash=1),
    run(leaves=1, unconfirmed=1),
    run(connection=1),
]

LARGE = [
    chunk(crash=2, expire=1, unsure=1, refuse=1),
    chunk(window=2, crash=2, expire=1, channel=1),
    chunk(window=2, crash=2, expire=1, unsure=1, refuse=1),
    chunk(n=3, window=2, crash=2, expire=2, refuse=1),
    chunk(n=4, window=2, crash=1, expire=1, unsure=1, refuse=1),
    chunk(workers=3, crash=2, expire=2, double=1, channel=1),
    chunk(channel=1, crash=1, expire=1, unconfirmed=1, refuse=1),
    chunk(late=1, unsure=1, crash=1, expire=1, refuse=1),
    chunk(late=1, crash=1, resend=1, drop=1),
    chunk(window=2, stop=2, crash=1, expire=1, unsure=1),
    chunk(window=2, stop=1, crash=1, expire=1, unsure=1, refuse=1),
    chunk(window=2, cancel=1, pause=1, crash=1, expire=1),
    chunk(cancel=1, pause=1, stop=1, crash=1, unsure=1, refuse=1),
    chunk(pause=2, crash=1, refuse=1),
    chunk(pause=1, crash=2, unconfirmed=1, double=1),
    chunk(pause=1, cancel=1, forget=1, crash=1, channel=1),
    chunk(pause=1, limit=2, crash=2, requeue=1, bury=1),
    chunk(window=2, drop=1, resend=1, crash=1, expire=1),
    chunk(drop=1, resend=2, crash=1, refuse=1),
    chunk(n=3, mark=1, drop=1, expire=2, unsure=1, crash=1),
    chunk(limit=3, crash=3, expire=1, unsure=1),
    chunk(limit=2, crash=3, refuse=1, requeue=1, bury=1),
    chunk(start="planned", audience=1, crash=2, expire=1, unsure=1, due=1),
    chunk(attempts=1, refuse=1, retry=1, suppress=1, crash=2, expire=1),
    chunk(n=3, window=2, rewind=1, stop=1, refuse=1),
    chunk(rewind=1, late=1, unsure=1, refuse=1),
    chunk(**resend(window=2, crash=2, expire=1)),
    chunk(**resend(crash=2, expire=1, refuse=2)),
    chunk(**resend(crash=1, expire=1, unsure=1, late=1, refuse=1)),
    chunk(**resend(channel=1, crash=1, expire=1, refuse=1)),
    chunk(**resend(window=2, stop=1, crash=1, expire=1)),
    chunk(**resend(stop=2, crash=1, expire=1, refuse=1)),
    chunk(**resend(cancel=1, stop=1, crash=1, expire=1)),
    chunk(**resend(pause=1, stop=1, crash=1)),
    chunk(**resend(pause=1, forget=1, lose=1, crash=1, refuse=1)),
    chunk(**resend(limit=3, crash=3, stop=1, requeue=1)),
    chunk(**resend(limit=2, crash=3, refuse=1, requeue=1, bury=1, unsure=1)),
    chunk(**resend(n=3, window=2, crash=1, expire=1, refuse=1)),
    chunk(**resend(n=3, mark=1, drop=1, unsure=1, expire=1, crash=1)),
    chunk(**resend(drop=1, resend=1, crash=1, expire=1, refuse=1)),
    chunk(**resend(rewind=1, stop=1, refuse=1)),
    chunk(**resend(rewind=1, refuse=2)),
    run(crash=2, connection=1),
    run(crash=1, returned=1, unconfirmed=1, leaves=1),
    run(crash=1, reopen=1, cancel=1, unconfirmed=1),
    run(recipients=4, crash=1, connection=1),
]
