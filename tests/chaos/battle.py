"""One campaign among faults: starts the flock, lets the schedule happen, and waits until every
recipient has its final state and every queue is empty."""

import datetime
import os
import shutil
import sys
import threading
import time

import pika
import pymysql

import claims
from harness import Process, Stage, binary
from schedule import SIGKILLS, WORKERS

LEASE_S, RETRY_S, DRAIN_S = 5, 1, 5
DUE_EVERY_S, DUE_AT_ONCE = 1.0, 3
TICK_S, LOOK_EVERY_S, SAY_EVERY_S = 0.005, 0.3, 2.0
STALL_S = 90  # no mail, no outcome, no fault for so long: it hangs
QUEUES = ["mailflock.bulk.relay", *(f"mailflock.wait.{s}" for s in (1, LEASE_S, 15))]
DEAD = "mailflock.dead"
RELAY_TROUBLE = {"rcpt_defer": 0.02, "rcpt_refuse": 0.01, "dot_defer": 0.02, "dot_refuse": 0.005,
                 "drop_after_dot": 0.003, "drop_before_dot": 0.003}


class NotFinished(Exception):
    pass


class ChaosStage(Stage):
    def print_logs(self, last_lines=20):
        for process in self.processes:
            if process.name.startswith("consumer") and process.alive:
                print(f"---- {process}", file=sys.stderr)
                print("\n".join(process.text().splitlines()[-last_lines:]), file=sys.stderr)


def stage_for(options, shape):
    return ChaosStage(
        recipients=options.recipients,
        settings={
            "start_limit": "60s",
            "worker": {"lease": f"{LEASE_S}s", "drain": f"{DRAIN_S}s"},
            "transports": {"relay": {"connections": shape.connections}},
        })


def write_campaign(stage, policy, options, shape):
    """A campaign with the policy's name and addresses. Reading its audience takes a good part of
    the run, so that producers die in the middle of it."""
    sleep_s = 0.4 * len(options.policies) / options.per_second
    stage.campaign(policy, {
        "audience": {
            "sql": f"SELECT id, CONCAT('{policy}.', email) AS email, name, plan, city "
                   f"FROM subscriber WHERE id > :after AND SLEEP({sleep_s:.6f}) = 0 "
                   "ORDER BY id LIMIT :limit",
            "chunk": shape.chunk,
        },
        "delivery": {"on_crash": policy, "retry": {"delays": [f"{RETRY_S}s"]}},
    })


class Record:
    """How many mails the server has accepted, read as its record grows."""

    def __init__(self, path):
        self.path, self.count, self._at = path, 0, 0

    def look(self):
        if os.path.getsize(self.path) > self._at:
            with open(self.path, "rb") as file:
                file.seek(self._at)
                new = file.read()
            self._at += len(new)
            self.count += new.count(b"\n")
        return self.count


class Worker:
    """One place in the flock: a process, and its successors."""

    def __init__(self):
        self.process = None
        self.state = "down"  # up, frozen, stopping
        self.until = 0.0     # start, thaw


class Publisher:
    """What publishes a campaign's run; when it was killed it is started again."""

    def __init__(self, policy):
        self.policy, self.process, self.start_at = policy, None, 0.0


class Battle:
    def __init__(self, options, shape, faults, services, stage):
        self.options, self.shape, self.services, self.stage = options, shape, services, stage
        self.faults = list(faults)
        self.workers = [Worker() for _ in range(WORKERS)]
        self.started = 0
        self.at = datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
        self.publishers = [Publisher(policy) for policy in options.policies]
        self.recipients = options.recipients * len(options.policies)
        self.due, self.next_due = [], 0.0
        self.smtp = self.record = None
        self.done = {}       # kind -> how many happened
        self.troubles = []   # what no fault explains
        self.threads = []
        self.counts, self.final, self.complete = {}, 0, False
        self.moved_at = self.began = time.monotonic()
        self.next_look = self.next_say = 0.0
        self._db = None

    def say(self, text):
        print(f"{time.monotonic() - self.began:7.2f}s  {text}", flush=True)

    # -- processes

    def start_worker(self, worker):
        worker.process = self.stage.start_consumer(ready=False)
        worker.state = "up"

    def start_producer(self, name, *args):
        argv = [binary("mailflock-producer"), "-c", self.stage.config, *args]
        return Process(name, argv, os.path.join(self.stage.dir, f"{name}.log"),
                       env=self.stage.environment(), cwd=self.stage.dir)

    def keep_worker(self, worker, now):
        process = worker.process
        if worker.state == "down" and now >= worker.until:
            self.start_worker(worker)
        elif worker.state == "frozen" and now >= worker.until:
            process.thaw()
            worker.state = "up"
            self.say(f"thaw {process.name} at {self.progress()}")
        elif worker.state == "up" and not process.alive:
            self.troubles.append(f"{process.name} ended by itself with {process.code}: "
                                 + "\n".join(process.text().splitlines()[-5:]))
            worker.state, worker.until = "down", now + 1
        elif worker.state == "stopping" and not process.alive:
            if process.code:
                self.say(f"{process.name} ended with {process.code} when stopped")
            worker.state, worker.until = "down", now + 0.1
        elif worker.state == "stopping" and now >= worker.until:
            self.troubles.append(f"{process.name} did not stop in time")
            process.kill()

    def keep_producers(self, now):
        for publisher in self.publishers:
            if publisher.process is None and now >= publisher.start_at:
                publisher.process = self.start_producer(f"producer-{publisher.policy}", "run",
                                                        publisher.policy, "--at", self.at)
        self.due = [process for process in self.due if process.alive]
        if now >= self.next_due and len(self.due) < DUE_AT_ONCE:
            self.due.append(self.start_producer("due", "due"))
            self.next_due = now + DUE_EVERY_S

    def producing(self):
        """The producer that publishes, as far as one can see: the oldest that lives."""
        alive = [process for process in self.producers() if process.alive]
        return alive[0] if alive else None

    def producers(self):
        return [p.process for p in self.publishers if p.process] + self.due

    # -- faults

    def able(self, fault):
        """Whether it can happen now; it waits otherwise."""
        if fault.kind in ("worker", "freeze", "stop"):
            return self.workers[fault.worker].state == "up"
        if fault.kind == "producer":
            return self.producing() is not None
        if fault.kind in ("close", "purge"):
            return self.services.is_up("rabbitmq") and not any(t.is_alive() for t in self.threads)
        return self.services.is_up(fault.kind)

    def happen(self, fault, now):
        """Makes it happen; returns to whom."""
        if fault.kind in ("worker", "freeze", "stop"):
            return self.hit_worker(fault, self.workers[fault.worker], now)
        if fault.kind == "producer":
            process = self.producing()
            process.kill()
            for publisher in self.publishers:
                if process is publisher.process:
                    publisher.process, publisher.start_at = None, now + fault.down_s
            return f"{process.name} {process.pid}"
        if fault.kind in ("close", "purge"):
            thread = threading.Thread(target=getattr(self, f"_{fault.kind}"), daemon=True)
            thread.start()
            self.threads.append(thread)
            return "all connections" if fault.kind == "close" else "the lane"
        return str(self.services.kill(fault.kind, fault.down_s))

    def hit_worker(self, fault, worker, now):
        process = worker.process
        if fault.kind == "worker":
            process.kill()
            worker.state, worker.until = "down", now + fault.down_s
        elif fault.kind == "freeze":
            process.freeze()
            worker.state, worker.until = "frozen", now + LEASE_S + fault.down_s * 3
        else:
            process.signal(15)
            worker.state, worker.until = "stopping", now + DRAIN_S + 60
        return f"{process.name} {process.pid}"

    def _close(self):
        management = self.stage.management
        try:
            for connection in management.connections():
                name = connection["name"].replace(" ", "%20").replace(">", "%3E")
                management.call("DELETE", f"/connections/{name}")
        except OSError as e:  # the broker went away, or the connection did
            self.say(f"close: {e}")

    def _purge(self):
        """The lane loses its messages; what is overdue is published again by `due`. Twice, for a
        producer may not have written yet what it published before."""
        management = self.stage.management
        try:
            management.call("DELETE", f"/queues/{management.path}/{QUEUES[0]}/contents")
        except OSError as e:
            self.say(f"purge: {e}")
        for wait_s in (0, 3):
            time.sleep(wait_s)
            self._make_overdue()

    def _make_overdue(self):
        while True:
            try:
                with self.stage.connect_database() as db, db.cursor() as cursor:
                    cursor.execute("UPDATE chunk SET next_due=UTC_TIMESTAMP(6) WHERE state='queued'")
                return
            except pymysql.err.MySQLError:
                time.sleep(0.2)

    def fire(self, now):
        """Those that are due, in order; one whose victim is away does not hold up the others."""
        if not self.faults or self.faults[0].at > self.passed():
            return
        for fault in list(self.faults):
            if fault.at > self.passed():
                break
            if not self.able(fault):
                continue
            if fault.late_s and not self.complete:  # a `due` with nothing to do is over too soon
                time.sleep(fault.late_s)
                if not self.able(fault):
                    continue
            self.faults.remove(fault)
            word = {"worker": "kill", "producer": "kill", "mariadb": "kill mariadb",
                    "rabbitmq": "kill rabbitmq"}.get(fault.kind, fault.kind)
            whom = self.happen(fault, time.monotonic())
            self.done[fault.kind] = self.done.get(fault.kind, 0) + 1
            self.moved_at = now
            self.say(f"{word} {whom} at {self.progress()} (due at {fault.at})")

    def kills(self):
        return sum(self.done.get(kind, 0) for kind in SIGKILLS)

    # -- looking

    def passed(self):
        """Mails that are through: accepted, or ended otherwise as far as the ledger said last."""
        ended = sum(self.counts.get(s, 0) for s in ("failed", "unknown", "suppressed", "skipped"))
        return self.record.count + ended

    def progress(self):
        return f"{self.passed()} of {self.recipients}"

    def _query(self):
        if not self._db:
            self._db = pymysql.connect(
                host=self.stage.settings["database"]["host"],
                port=self.stage.settings["database"]["port"],
                user=self.stage.settings["database"]["user"],
                password=os.environ["MAILFLOCK_DATABASE_PASSWORD"], database=self.stage.database,
                autocommit=True, connect_timeout=2, read_timeout=10, write_timeout=10)
        with self._db.cursor() as cursor:
            cursor.execute(
                "SELECT COALESCE(SUM(recipients),0), COALESCE(SUM(sent),0), "
                "COALESCE(SUM(failed),0), COALESCE(SUM(deferred),0), COALESCE(SUM(suppressed),0), "
                "COALESCE(SUM(skipped),0), COALESCE(SUM(unknown),0), COUNT(*), "
                "COALESCE(SUM(state='done'),0), "
                "(SELECT COUNT(*) FROM run WHERE completed_at IS NOT NULL) FROM chunk")
            return [int(n) for n in cursor.fetchone()]

    def look_at_ledger(self, now):
        self.next_look = now + LOOK_EVERY_S
        if not self.services.is_up("mariadb"):
            return
        try:
            found = self._query()
        except pymysql.err.MySQLError:
            if self._db:
                self._db.close()
                self._db = None
            return
        names = ("recipients", "sent", "failed", "deferred", "suppressed", "skipped", "unknown",
                 "chunks", "done", "complete")
        self.counts = dict(zip(names, found))
        self.complete = self.counts["complete"] == len(self.publishers)

    def say_progress(self, now):
        self.next_say = now + SAY_EVERY_S
        numbers = " ".join(f"{name}={self.counts.get(name, 0)}" for name in (
            "sent", "failed", "deferred", "unknown"))
        self.say(f"progress accepted={self.record.count} {numbers} chunks="
                 f"{self.counts.get('done', 0)}/{self.counts.get('chunks', 0)} "
                 f"kills={self.kills()}")

    def watch_for_stall(self, before, now):
        if (self.record.count, self.counts) != before:
            self.moved_at = now
        if now - self.moved_at > STALL_S:
            raise NotFinished(f"nothing has moved for {STALL_S} s")
        if now - self.began > self.options.limit_s:
            raise NotFinished(f"not finished after {self.options.limit_s:.0f} s")

    # -- the whole

    def tick(self):
        now = time.monotonic()
        before = self.record.count, self.counts
        self.record.look()
        for worker in self.workers:
            self.keep_worker(worker, now)
        self.keep_producers(now)
        for name in self.services.poll():
            self.say(f"{name} is up again")
        self.fire(now)
        if now >= self.next_look:
            self.look_at_ledger(now)
        if now >= self.next_say:
            self.say_progress(now)
        self.watch_for_stall(before, now)
        time.sleep(TICK_S)

    def settled(self):
        """Everything has happened, nothing is broken at the moment, and the run is complete."""
        return (self.complete and not self.faults and all(worker.state == "up" for worker in self.workers)
                and self.services.is_up("rabbitmq") and self.services.is_up("mariadb")
                and not any(thread.is_alive() for thread in self.threads))

    def messages(self):
        """queue -> messages waiting in it; None while the broker does not say."""
        try:
            if self.stage.ready(QUEUES[0]) is None:
                return None
            return {queue: self.stage.ready(queue) or 0 for queue in (*QUEUES, DEAD)}
        except (pika.exceptions.AMQPError, OSError):
            return None

    def wait_for_empty_queues(self):
        end = time.monotonic() + 120
        while True:
            waiting = self.messages()
            if waiting is not None and not any(waiting[queue] for queue in QUEUES):
                break
            if time.monotonic() > end:
                self.troubles.append(f"messages of a complete run never end: {waiting}")
                break
            again = time.monotonic() + 0.2
            while time.monotonic() < again:
                self.tick()
        if waiting and waiting[DEAD]:
            self.troubles.append(f"{waiting[DEAD]} dead letters")

    def stop_all(self):
        for worker in self.workers:
            worker.process.signal(15)
        for worker in self.workers:
            try:
                code = worker.process.wait(DRAIN_S + 60)
                if code:
                    self.troubles.append(f"{worker.process.name} ended with {code} when stopped at "
                                         "the end")
            except AssertionError as e:
                self.troubles.append(str(e))
        for process in self.producers():
            process.end()

    def prepare(self):
        claims.watch(self.stage)
        for policy in self.options.policies:
            write_campaign(self.stage, policy, self.options, self.shape)
        self.smtp = self.stage.start_fakesmtp(
            delay_ms=self.shape.delay_ms, seed=self.shape.fakesmtp_seed, **RELAY_TROUBLE)
        self.record = Record(self.smtp.record)

    def run(self):
        """Returns when all is over; NotFinished where it hangs."""
        self.prepare()
        self.began = self.moved_at = time.monotonic()
        for worker in self.workers:
            self.start_worker(worker)
        while not self.settled():
            self.tick()
        self.seconds = time.monotonic() - self.began
        if self.kills() < self.options.kills:
            self.troubles.append(f"{self.kills()} kills of {self.options.kills}: the run was over "
                                 "before the others")
        self.wait_for_empty_queues()
        self.say_progress(time.monotonic())
        self.stop_all()

    def end(self):
        """What is not in the stage's hands."""
        for process in self.producers():
            process.end()
        for worker in self.workers:
            if worker.state == "frozen":
                worker.process.thaw()
        while not (self.services.is_up("rabbitmq") and self.services.is_up("mariadb")):
            self.services.poll()
            time.sleep(0.1)
        if self._db:
            self._db.close()

    def keep(self, to):
        """Copies logs, record and ledger, for whoever looks for the cause."""
        shutil.rmtree(to, ignore_errors=True)
        shutil.copytree(self.stage.dir, to)
        for table in ("run", "chunk", "delivery", "chaos_claim"):
            with open(os.path.join(to, f"{table}.tsv"), "w", encoding="utf-8") as file:
                for row in self.stage.rows(f"SELECT * FROM {table}"):
                    file.write("\t".join(map(str, row)).replace("\n", " ") + "\n")
