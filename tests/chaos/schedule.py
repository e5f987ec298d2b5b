"""What goes wrong, when and to whom: drawn from the seed alone. When is a number of mails, not a
time, so that a seed means the same on a fast machine and a slow one. Pure."""

import random

WORKERS = 3
SIGKILLS = ("worker", "producer", "rabbitmq", "mariadb")
FIRST, LAST, PUBLISHING = 0.02, 0.90, 0.45  # shares of the recipients


class Fault:
    """kind: one of SIGKILLS; freeze (SIGSTOP past the lease), stop (SIGTERM), close (all AMQP
    connections), purge (the lane's messages are lost). at: as soon as so many mails are through;
    late_s: and a little later, so that it meets other moments than those of the server's record.
    down_s: until it is started again, or the time beyond the lease."""

    __slots__ = ("kind", "worker", "at", "late_s", "down_s")

    def __init__(self, kind, at, rng):
        self.kind, self.at = kind, at
        self.worker = rng.randrange(WORKERS)
        self.late_s = rng.uniform(0, 0.05)
        self.down_s = rng.uniform(0.1, 1.0)

    def __repr__(self):
        who = f" {self.worker + 1}" if self.kind in ("worker", "freeze", "stop") else ""
        return f"{self.kind}{who} at {self.at}"


class Shape:
    """How the relay and the chunks are in this run: few fast connections or many slow ones, with
    about the same number of mails a second."""

    def __init__(self, rng, recipients, per_second):
        self.connections = rng.choice((4, 8, 16, 32))
        self.delay_ms = max(1, round(1000 * WORKERS * self.connections / per_second))
        # Enough chunks for every worker to have some in hand whenever it is hit.
        self.chunk = rng.choice([n for n in (25, 50, 100, 250, 500) if n == 25 or n * 100 <= recipients])
        self.fakesmtp_seed = rng.randrange(1000000)

    def __repr__(self):
        return (f"chunks of {self.chunk}, {self.connections} connections a worker, replies after "
                f"{self.delay_ms} ms")


def _kinds(kills):
    """How many of each."""
    count = {"mariadb": (kills + 6) // 12, "rabbitmq": (kills + 10) // 16,
             "producer": (kills + 3) // 6}
    count["worker"] = kills - sum(count.values())
    if kills:
        count.update(freeze=max(1, kills // 8), stop=max(1, kills // 10),
                     close=max(1, kills // 10), purge=max(1, kills // 25))
    return count


def draw(seed, recipients, kills, per_second):
    """The shape of the run and its faults in order; recipients: of all campaigns together."""
    rng = random.Random(str(seed))
    shape = Shape(rng, recipients, per_second)
    early = []  # the producer is at work in the first part only
    late = []
    for kind, count in _kinds(kills).items():
        (early if kind == "producer" else late).extend([kind] * count)
    faults = []
    for kinds, last in ((early, PUBLISHING), (late, LAST)):
        rng.shuffle(kinds)
        for i, kind in enumerate(kinds):
            share = FIRST + (i + rng.random()) / len(kinds) * (last - FIRST)
            faults.append(Fault(kind, int(share * recipients), rng))
    return shape, sorted(faults, key=lambda fault: fault.at)
