"""Row pressure: one part of the whole is slow, and memory stays bounded everywhere else. What cannot
go on waits in RabbitMQ's queue."""

import os
import signal
import threading
import time

from contestants import Ground, Mailflock
from figures import Figure
from row import Result, in_turn, peak_mib
from rows_others import produce
from watch import service_pid

CONNECTIONS = 20
SLOWER = 100  # the relay, than the audience query
RUNS_MS, STANDS_MS = 5, 45  # a service that gets a tenth of the time
LOOKS = 12  # lines of the curve


class Slowed:
    """A service that is stopped most of the time (SIGSTOP), and goes on at the end."""

    def __init__(self, name):
        self.pid, self.over = service_pid(name), threading.Event()
        self.thread = threading.Thread(target=self._slow, daemon=True)

    def _slow(self):
        while not self.over.wait(RUNS_MS / 1000):
            os.kill(self.pid, signal.SIGSTOP)
            self.over.wait(STANDS_MS / 1000)
            os.kill(self.pid, signal.SIGCONT)

    def __enter__(self):
        self.thread.start()

    def __exit__(self, *_):
        self.over.set()
        self.thread.join()


class Watched(Mailflock):
    """Looks at the queue and at the memory of all while it runs."""

    def start_producer(self, recipients):
        self.producer = super().start_producer(recipients)
        self.began, self.samples, self.channel = time.monotonic(), [], self.stage.channel()
        return self.producer

    def done(self):
        done = super().done()
        queue = self.channel.queue_declare("mailflock.bulk.relay", passive=True).method.message_count
        self.samples.append((time.monotonic() - self.began, done, queue, rss_mib(self.producer.pid),
                             max(rss_mib(c.pid) for c in self.consumers)))
        return done

    def run(self, recipients, watched=()):
        run = super().run(recipients, watched)
        run.curve = self.samples
        return run


def rss_mib(pid):
    """Resident now; 0 for one that has ended."""
    try:
        with open(f"/proc/{pid}/statm", encoding="utf-8") as statm:
            return int(statm.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20
    except (OSError, IndexError):
        return 0.0


def curve(samples):
    """A few of the samples, as lines."""
    yield f"  {'seconds':>10}{'recorded':>12}{'chunks waiting':>16}{'producer':>14}{'consumer':>14}"
    step = max(1, len(samples) // LOOKS)
    for at, done, queue, producer, consumer in samples[::step]:
        ended = f"{producer:.1f} MiB" if producer else "ended"
        yield f"  {at:>10.1f}{done:>12,}{queue:>16,}{ended:>14}{consumer:>10.1f} MiB"


def pressure(plan):
    n, slow_n = plan["pressure"]
    result = Result(f"one part is slow, 1 consumer, {CONNECTIONS} connections; a tenth of the time "
                    f"for a slow service, {slow_n:,} recipients")
    with Ground(n, CONNECTIONS) as stage:
        ours = Watched(stage)
        query_s = produce(stage, ours, "mailflock.bulk.relay", n).per_s
        delay_ms = max(1, round(CONNECTIONS * 1000 * SLOWER / query_s))

        def slow_relay():
            server = stage.start_fakesmtp(delay_ms=delay_ms)
            run = ours.run(n)
            server.stop()
            return run

        def slow(service):
            server = stage.start_fakesmtp()
            with Slowed(service):
                run = ours.run(slow_n)
            server.stop()
            return run

        runs = in_turn({**plan, "pairs": min(plan["pairs"], 2)}, result, {
            "relay": slow_relay, "MariaDB": lambda: slow("mariadb"),
            "RabbitMQ": lambda: slow("rabbitmq")})
    result.facts |= {"audience_per_s": query_s, "relay_ms": delay_ms,
                     "curve": {name: its[0].curve for name, its in runs.items()}}
    result.title += (f"; the relay takes {delay_ms} ms a mail, {n:,} recipients, the audience query "
                     f"and all of the producer {query_s:,.0f}/s")
    for name, its in runs.items():
        result.add(
            Figure(f"slow {name}: mails/s", [r.per_s for r in its], "mails/s"),
            Figure(f"slow {name}: memory of the consumer", peak_mib(its, "consumer"), "MiB",
                   ("<=", 32)),
            Figure(f"slow {name}: memory of the producer", peak_mib(its, "producer"), "MiB",
                   ("<=", 16)))
    result.text = list(curve(runs["relay"][0].curve))
    return result
