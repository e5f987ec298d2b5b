"""Rows with a relay that records when it accepted what, and that takes its time."""

import time

from contestants import Failed, Ground, Mailflock, Node, SmtpSource, have_node
import latency
from figures import Figure, ratios
from row import Result, accepted_per_s, in_turn, of

DELAY_MS = 50
DELAY_CONNECTIONS = 20
BURST_CONNECTIONS = 200


def delayed(stage, contestant, recipients):
    """A run against a relay of its own, whose record says when it accepted."""
    server = stage.start_fakesmtp(delay_ms=DELAY_MS)
    run = contestant.run(recipients)
    times = accepted_at(server, recipients)
    run.accepted_s = (times[-1] - times[0]) / 1e6
    run.times = times
    server.stop()
    return run


def accepted_at(server, recipients):
    """When the mails were accepted, CLOCK_MONOTONIC in microseconds, in order."""
    stats = server.stats()
    if stats["violations"] or stats["duplicates"] or stats["accepted"] != recipients:
        raise Failed(f"the relay saw {stats}")
    with open(server.record, encoding="utf-8") as record:
        return sorted(int(line.rsplit("\t", 1)[1]) for line in record)


def efficiency(runs, connections):
    """Mails/s of a connection over the most possible, one in each delay. The first mail of each
    connection is left out: with it the clock starts."""
    most = connections * 1000 / DELAY_MS
    return [steady_per_s(run, connections) / most for run in runs]


def steady_per_s(run, connections):
    times = run.times
    return (len(times) - connections) / ((times[-1] - times[connections - 1]) / 1e6)


def rtt(plan):
    """One round trip a mail is what the wire allows."""
    connections = DELAY_CONNECTIONS
    ours_n, source_n, node_n = plan["rtt"]
    result = Result(f"a relay that takes {DELAY_MS} ms for each flight of replies, {connections} "
                    f"connections; 1 is a mail every {DELAY_MS} ms on each")
    with Ground(ours_n, connections) as stage:
        contestants = {"mailflock": lambda: delayed(stage, Mailflock(stage), ours_n),
                       "smtp-source": lambda: delayed(stage, SmtpSource(stage, connections, 1500),
                                                      source_n)}
        if have_node():
            peer = Node(stage)
            contestants["nodemailer"] = lambda: delayed(stage, peer, node_n)
        runs = in_turn(plan, result, contestants)
    for name, its in runs.items():
        budget = (">=", 0.95) if name == "mailflock" else None
        result.add(Figure(f"{name}, by the relay's clock", efficiency(its, connections), "x",
                          budget))
    for name, its in runs.items():
        most = connections * 1000 / DELAY_MS
        result.add(Figure(f"{name}, by wall clock, start included", [r.per_s / most for r in its],
                          "x", note=f"{its[0].recipients:,} mails"))
    result.add(*latency.lines(runs["mailflock"]))
    return result


def scaling(plan):
    """More consumers, each with connections of its own."""
    counts, each = plan["scaling_consumers"], plan["scaling"]
    result = Result(f"more consumers, {DELAY_CONNECTIONS} connections each, {each:,} recipients "
                    f"for each, relay of {DELAY_MS} ms")
    with Ground(each * max(counts), DELAY_CONNECTIONS) as stage:
        # Chunks small enough that all consumers end at about the same time.
        contestants = {
            of(count): lambda count=count: delayed(
                stage, Mailflock(stage, count, chunk=100), each * count)
            for count in counts}
        runs = in_turn(plan, result, contestants)
    one = accepted_per_s(runs[of(counts[0])])
    for name, its in runs.items():
        result.add(Figure(f"{name}, first to last accepted mail", accepted_per_s(its), "mails/s"))
    for count in counts[1:]:
        result.add(ratios(f"{count} over 1", accepted_per_s(runs[of(count)]), one))
    return result


class OnTheSecond(Mailflock):
    """Starts its producer at the next whole second, the scheduled one."""

    def before_start(self):
        self.at_s = int(time.time() + 1.1)
        time.sleep(self.at_s - time.time() - 0.005)
        while time.time() < self.at_s:
            pass
        self.clock_offset_s = time.time() - time.monotonic()

    def after_schedule_ms(self, at_us):
        return (at_us / 1e6 + self.clock_offset_s - self.at_s) * 1000


def timed(stage, recipients, **options):
    """A run from the scheduled second on, against a relay of its own."""
    server = stage.start_fakesmtp(**options)
    ours = OnTheSecond(stage)
    run = ours.run(recipients)
    times = accepted_at(server, recipients)
    server.stop()
    run.first_ms, run.last_ms = ours.after_schedule_ms(times[0]), ours.after_schedule_ms(times[-1])
    return run


def first(plan):
    """How long the first one waits."""
    n = plan["first"]
    result = Result(f"scheduled second to the first mail accepted, {n:,} recipients, "
                    f"{DELAY_CONNECTIONS} connections; the consumer has none open yet")
    with Ground(n, DELAY_CONNECTIONS) as stage:
        runs = in_turn(plan, result, {
            "at once": lambda: timed(stage, n), "late": lambda: timed(stage, n, delay_ms=DELAY_MS)})
    result.add(
        Figure("relay that answers at once", [r.first_ms for r in runs["at once"]], "ms",
               ("<=", 200)),
        Figure(f"relay of {DELAY_MS} ms: 3 of its flights come first",
               [r.first_ms for r in runs["late"]], "ms"))
    return result


def burst(plan):
    """A few thousand, at once."""
    n = plan["burst"]
    result = Result(f"scheduled second to all of {n:,} recipients accepted, {BURST_CONNECTIONS} "
                    f"connections, relay of {DELAY_MS} ms")
    with Ground(n, BURST_CONNECTIONS) as stage:
        runs = in_turn(plan, result, {"mailflock": lambda: timed(stage, n, delay_ms=DELAY_MS)})
    flights = 2 + -(-n // BURST_CONNECTIONS)
    result.add(
        Figure("first mail accepted", [r.first_ms for r in runs["mailflock"]], "ms"),
        Figure("all accepted", [r.last_ms / 1000 for r in runs["mailflock"]], "s",
               note=f"no less than {flights * DELAY_MS / 1000:g} s by the relay's delay alone"))
    return result
