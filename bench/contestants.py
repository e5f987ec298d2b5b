"""Those that are compared: Mailflock as a whole, the same work done by Node, and Postfix's
smtp-source, which does nothing but SMTP. Each has run(recipients), which answers a Run.

The wall clock of a Run goes from the start of the producer (of smtp-source) to the last outcome in
the database (to the end of smtp-source). Consumers wait for work before that, as in service.
"""

import json
import os
import shutil
import time

from environment import ENV, binary
import latency
from harness import CITIES, NAMES, Stage, free_port
from watch import Meter, cpu_ns, has_ended, rest, service_pid

HERE = os.path.dirname(os.path.abspath(__file__))
PEERS = os.path.join(ENV["MF_ROOT"], ".dev", "bench", "peers")
STALL_S = 60  # without a further outcome
POLL_S, LOOK_MAX_S = 0.004, 0.2
NODE_QUEUE = "node.chunks"

# The rows that both sides read: names and cities in many scripts, as the tests have them.
LOAD = """INSERT INTO subscriber (id, email, name, plan, city)
SELECT seq, CONCAT('user', seq, '@example.net'), ELT(1 + seq MOD {n_names}, {names}),
  IF(seq MOD 2, 'pro', 'free'), ELT(1 + seq MOD {n_cities}, {cities})
FROM seq_{first}_to_{last}"""

OUTCOME = """CREATE TABLE outcome (
  run BIGINT UNSIGNED NOT NULL, recipient_id BIGINT UNSIGNED NOT NULL, email VARCHAR(320) NOT NULL,
  status VARCHAR(12) NOT NULL, code SMALLINT UNSIGNED NOT NULL, detail VARCHAR(255) NOT NULL,
  message_id VARCHAR(160) NOT NULL, at DATETIME(3) NOT NULL, PRIMARY KEY (run, recipient_id)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4"""

CONTENT = {
    "from": "Mailflock <news@example.com>",
    "to_name": "{{name}}",
    "subject": "News from {{city}}",
    "text": "plain.txt",
    "list_unsubscribe": "https://example.com/unsubscribe?id={{id}}",
}

# As shipped: config/mailflock.cfg and config/campaigns/welcome.cfg.
SETTINGS = {"worker": {"prefetch": 4, "lease": "60s", "drain": "30s"}}
DELIVERY = {"retry": {"delays": ["1m", "5m", "30m", "2h"], "max_attempts": 5, "max_age": "1d"}}
CHUNK = 500


class Failed(AssertionError):
    """A contestant did not do its work: there is nothing to compare."""


class Run:
    """What one run came to."""

    def __init__(self, recipients):
        self.recipients = recipients
        self.wall_s = self.accepted_s = None
        self.meter = self.commits = self.latency = None
        self.peak_mib = {}

    def finish(self, meter, wall_s, accepted_s=None):
        meter.stop()
        self.meter, self.wall_s, self.accepted_s = meter, wall_s, accepted_s
        return self

    @property
    def per_s(self):
        return self.recipients / self.wall_s

    def cpu_us(self, *names):
        """CPU time a recipient of these processes."""
        return sum(self.meter.cpu[name] for name in names) * 1e6 / self.recipients

    def as_json(self):
        us = 1e6 / self.recipients
        return {
            "recipients": self.recipients, "wall_s": self.wall_s, "accepted_s": self.accepted_s,
            "cpu_us_each": {name: s * us for name, s in self.meter.cpu.items()},
            "thread_us_each": {name: s * us for (_, name), s in self.meter.threads.items()},
            "cores_busy": self.meter.busy_share, "busy_with_others": self.meter.others_share,
            "peak_mib": self.peak_mib, "commits": self.commits, "latency_ms": self.latency,
        }


class Ground(Stage):
    """A stage of the tests, fresh and filled with subscribers, its settings those of config/."""

    def __init__(self, subscribers, connections):
        super().__init__(settings=SETTINGS)
        self.connections, self.n_subscribers = connections, subscribers

    def _enter(self):
        super()._enter()
        self.write_config(transports={"relay": {"connections": self.connections,
                                                "messages_per_connection": 0}})
        shutil.copy(os.path.join(HERE, "templates", "plain.txt"),
                    os.path.join(self.dir, "templates"))
        self.add_subscribers(1)  # makes the table
        self._load()

    def _load(self):
        def texts(values):
            return ",".join("'" + value.replace("'", "''") + "'" for value in values)

        if self.n_subscribers > 1:
            self.execute(LOAD.format(n_names=len(NAMES), names=texts(NAMES), n_cities=len(CITIES),
                                     cities=texts(CITIES), first=2, last=self.n_subscribers))


def next_look_s(so_far_s, share):
    """When to look again: looking costs the database something, so not often before the end."""
    left_s = so_far_s * (1 - share) / share if share else 10 * POLL_S
    return min(LOOK_MAX_S, max(POLL_S, left_s / 3))


class Flow:
    """What Mailflock and its peer have in common: a producer that comes and goes, and consumers."""

    def __init__(self, stage, consumers=1):
        self.stage, self.n_consumers = stage, consumers
        self.consumers = []

    def run(self, recipients, watched=()):
        """watched: name -> pid of further processes whose CPU time is of interest."""
        self.prepare(recipients)
        self.consumers = [self.start_consumer() for _ in range(self.n_consumers)]
        try:
            rest()
            run = self._run(recipients, dict(watched))
        finally:
            for consumer in self.consumers:
                consumer.end()
        for consumer in self.consumers:
            if consumer.code != 0:
                raise Failed(f"{consumer.name} ended with {consumer.code}:\n{consumer.text()}")
        return run

    def _run(self, recipients, watched):
        run = Run(recipients)
        pids = {name: [pid] for name, pid in watched.items()}
        pids |= {name: [service_pid(name)] for name in ("mariadb", "rabbitmq")}
        pids["consumer"] = [c.pid for c in self.consumers]
        commits = self.commits()
        meter = Meter(pids, by_thread=("consumer",))
        self.before_start()
        began = time.monotonic()
        producer = self.start_producer(recipients)
        ended = self._await(producer, recipients, meter, run)
        run.finish(meter, ended - began)
        run.commits = self.commits() - commits
        run.latency = self.latencies()
        run.peak_mib["consumer"] = max(c.peak_kib() for c in self.consumers) / 1024
        run.accepted_s = self.accepted_span()
        return run

    def commits(self):
        """Transactions that the database has committed so far, whosoever."""
        return int(self.stage.one("SHOW GLOBAL STATUS LIKE 'Com_commit'")[1])

    def latencies(self):
        """By stage and percentile, where the consumers tell."""
        return None

    def run_producer(self, recipients):
        """The producer alone, to its end."""
        rest()
        run = Run(recipients)
        meter = Meter({name: [service_pid(name)] for name in ("mariadb", "rabbitmq")})
        began = time.monotonic()
        producer = self.start_producer(recipients)
        while not self._reap(producer, meter, run):
            run.peak_mib["producer"] = producer.peak_kib() / 1024
            time.sleep(POLL_S)
        return run.finish(meter, time.monotonic() - began)

    def before_start(self):
        """The last moment before the clock starts."""

    def _await(self, producer, recipients, meter, run):
        """Watches until the producer has ended and every recipient has an outcome; answers when the
        last outcome was seen."""
        began = moved = look_at = time.monotonic()
        done, producing, ended = 0, True, None
        while producing or not ended:
            if producing:
                run.peak_mib["producer"] = producer.peak_kib() / 1024
                producing = not self._reap(producer, meter, run)
            now = time.monotonic()
            if not ended and now >= look_at:
                before, done = done, self.done()
                now = time.monotonic()
                moved = now if done > before else moved
                ended = now if done >= recipients else None
                look_at = now + next_look_s(now - began, done / recipients)
            self._expect_alive()
            if now - moved > STALL_S:
                raise Failed(f"{done} of {recipients} sent, no more of them for {STALL_S} s")
            if not ended:
                time.sleep(POLL_S if producing else max(0, look_at - now))
        return ended

    def _reap(self, producer, meter, run):
        if not has_ended(producer.pid):
            return False
        meter.add("producer", cpu_ns(producer.pid) / 1e9)
        if producer.wait(5) != 0:
            raise Failed(f"{producer.name} ended with {producer.code}:\n{producer.text()}")
        return True

    def _expect_alive(self):
        for consumer in self.consumers:
            if has_ended(consumer.pid):
                raise Failed(f"{consumer.name} ended:\n{consumer.text()}")


class Mailflock(Flow):
    def __init__(self, stage, consumers=1, content=None, delivery=None, chunk=CHUNK, name="plain"):
        super().__init__(stage, consumers)
        self.content, self.delivery = content or CONTENT, delivery or {}
        self.chunk, self.name = chunk, name

    def prepare(self, recipients):
        stage = self.stage
        stage.execute("TRUNCATE delivery")
        stage.execute("TRUNCATE chunk")
        stage.execute("DELETE FROM run")
        sql = ("SELECT id, email, name, plan, city FROM subscriber WHERE active = 1 "
               f"AND id > :after AND id <= {recipients} ORDER BY id LIMIT :limit")
        gone = {key: None for key in ("html", "text", "list_unsubscribe")}
        stage.campaign(self.name, {
            "audience": {"sql": sql, "chunk": self.chunk},
            "content": {**gone, **self.content},
            "delivery": {**DELIVERY, **self.delivery},
        })
        self.at_s = None

    def start_consumer(self):
        port = free_port()
        # Not by its queue: another build (row change) may call that otherwise.
        consumer = self.stage.start_consumer(
            env={"MAILFLOCK_WORKER_LISTEN": f"127.0.0.1:{port}"}, ready=False)
        consumer.wait_for_log('msg="ready"')
        consumer.bench_port = port
        return consumer

    def latencies(self):
        return latency.quantiles([consumer.bench_port for consumer in self.consumers])

    def start_producer(self, recipients):
        at = time.gmtime(self.at_s or time.time())
        return self.stage.start_producer("run", self.name, "--at",
                                         time.strftime("%Y-%m-%dT%H:%M:%SZ", at))

    def done(self):
        sent, other = self.stage.one(
            "SELECT COALESCE(SUM(sent),0), "
            "COALESCE(SUM(failed+deferred+suppressed+skipped+unknown),0) FROM chunk")
        if other:
            raise Failed(f"{other} recipients were not sent")
        return int(sent)

    def accepted_span(self):
        """From the first accepted mail to the last, by the worker's clock."""
        return float(self.stage.value(
            "SELECT TIMESTAMPDIFF(MICROSECOND, MIN(at), MAX(at))/1e6 FROM delivery"))


class Node(Flow):
    """bench/peers, with the same number of connections, chunk size and prefetch."""

    def __init__(self, stage, consumers=1):
        super().__init__(stage, consumers)
        self.started = 0
        self.run_no = 0
        stage.execute(OUTCOME)

    def prepare(self, recipients):
        stage = self.stage
        stage.execute("TRUNCATE outcome")
        self.run_no += 1
        relay = stage.settings["transports"]["relay"]
        host, port = relay["url"].removeprefix("smtp://").split(":")
        broker, database = stage.settings["broker"], stage.settings["database"]
        self.task = json.dumps({
            "run": self.run_no, "recipients": recipients, "chunk": CHUNK,
            "prefetch": stage.settings["worker"]["prefetch"], "queue": NODE_QUEUE,
            "broker": {"hostname": broker["host"], "port": broker["port"],
                       "vhost": broker["vhost"], "username": broker["user"]},
            "database": {"host": database["host"], "port": database["port"],
                         "user": database["user"], "database": database["name"]},
            "relay": {"host": host, "port": int(port), "connections": relay["connections"]},
            "content": {**CONTENT, "text": os.path.join(stage.dir, "templates", CONTENT["text"])},
        })

    def _start(self, program):
        self.started += 1
        argv = ["node", os.path.join(PEERS, program), self.task]
        return self.stage.start(f"node{self.started}", argv, {"NODE_ENV": "production"})

    def start_consumer(self):
        consumer = self._start("consumer.mjs")
        consumer.wait_for_log(r"^ready$")
        consumer.bench_read = 0
        consumer.bench_done = 0
        return consumer

    def start_producer(self, recipients):
        return self._start("producer.mjs")

    def done(self):
        """By what the consumers say after each chunk: counting the rows would cost more."""
        for consumer in self.consumers:
            with open(consumer.log, "rb") as log:
                log.seek(consumer.bench_read)
                text = log.read()
            whole = text[:text.rfind(b"\n") + 1]
            consumer.bench_read += len(whole)
            consumer.bench_done += sum(int(line[5:]) for line in whole.splitlines()
                                       if line.startswith(b"done="))
        return sum(consumer.bench_done for consumer in self.consumers)

    def accepted_span(self):
        sent, span = self.stage.one(
            "SELECT SUM(status='sent'), TIMESTAMPDIFF(MICROSECOND, MIN(at), MAX(at))/1e6 "
            "FROM outcome")
        if sent != json.loads(self.task)["recipients"]:
            raise Failed(f"Node sent {sent} mails: {self.consumers[0].text()[-2000:]}")
        return float(span)


class SmtpSource:
    """smtp-source -d: one message after the other over each of its sessions."""

    def __init__(self, stage, sessions, length):
        self.stage, self.sessions, self.length = stage, sessions, length
        self.started = 0

    def run(self, recipients, watched=()):
        rest()
        self.started += 1
        run = Run(recipients)
        port = self.stage.settings["transports"]["relay"]["url"].rsplit(":", 1)[1]
        meter = Meter({name: [pid] for name, pid in dict(watched).items()})
        argv = [shutil.which("smtp-source", path=os.environ["PATH"] + ":/usr/sbin"), "-d",
                "-s", self.sessions, "-m", recipients, "-l", self.length, "-M", "example.com",
                "-f", "news@example.com", "-t", "user@example.net", f"127.0.0.1:{port}"]
        began = time.monotonic()
        source = self.stage.start(f"smtp-source{self.started}", argv)
        os.waitid(os.P_PID, source.pid, os.WEXITED | os.WNOWAIT)
        ended = time.monotonic()
        meter.add("smtp-source", cpu_ns(source.pid) / 1e9)
        if source.wait(5) != 0:
            raise Failed(f"smtp-source ended with {source.code}: {source.text()}")
        return run.finish(meter, ended - began)


def mail_size(stage, contestant, recipients=300):
    """Mean octets of a contestant's mails on the wire with their headers, as a server counts."""
    relay = dict(stage.settings["transports"]["relay"])
    server = stage.start_fakesmtp()
    contestant.run(recipients)
    stats = server.stats()
    if stats["violations"] or stats["accepted"] != recipients:
        raise Failed(f"mails of {type(contestant).__name__} came out wrong: {stats}")
    server.stop()
    stage.write_config(transports={"relay": relay})
    return stats["bytes"] / recipients


def same_size(stage, sessions, wanted):
    """An SmtpSource whose messages have as many octets as wanted."""
    probe = 1000
    header = mail_size(stage, SmtpSource(stage, 4, probe), 20) - probe
    return SmtpSource(stage, sessions, round(wanted - header))


def have_node():
    return bool(shutil.which("node")) and os.path.isdir(os.path.join(PEERS, "node_modules"))


def have_programs():
    """Fails early where a program of ours is missing."""
    for name in ("mailflock", "mailflock-producer", "mailflock-consumer", "fakesmtp"):
        binary(name)
