"""A stage for one system test: a database, a RabbitMQ virtual host and a directory of its own, the
real binaries, and SMTP servers to send to. Everything is gone at the end of the `with`, failure or
not; the logs are printed when it failed. Tests may run side by side.

    with Stage(recipients=1000) as stage:
        smtp = stage.start_fakesmtp(rcpt_refuse=0.01)
        run = stage.produce("welcome")
        stage.start_consumer()
        stage.wait_complete(run)
        stage.assert_balanced(run)
        stage.expect_log_clean()

The services are those of ./dev up; MF_KEEP=1 in the environment keeps the directory.
"""

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import uuid

import pika
import pymysql

from environment import ENV, ROOT, binary, have_binary
from libconfig import config_file_text, merge
from management import Management
from postfix import Postfix
from processes import (Accepted, FakeSmtp, NotInTime, Process, SmtpSink, StarttlsServer, answers,
                       free_port, read_record, wait_until)

STATUSES = ("sent", "failed", "deferred", "suppressed", "skipped", "unknown")
STALLED = (r'level=warn .*mod=(ledger msg="(claim failed|commit failed|database connection lost)|'
           r'broker msg="connection lost")')
SANITIZER = re.compile(r"(Address|Thread|Leak|UndefinedBehavior)Sanitizer|runtime error:")

CAMPAIGN = {
    "audience": {
        "sql": "SELECT id, email, name, plan, city FROM subscriber "
               "WHERE active = 1 AND id > :after ORDER BY id LIMIT :limit",
        "chunk": 100,
    },
    "content": {
        "from": "Mailflock <news@example.com>",
        "to_name": "{{name}}",
        "subject": "{{name}}님, 환영합니다 🎉",
        "text": "welcome.txt",
        "html": "welcome.html",
    },
    "delivery": {
        "transport": "relay",
        "lane": "bulk",
        "on_crash": "hold",
        "retry": {"delays": ["1s"], "max_attempts": 5, "max_age": "1h"},
    },
}

TEMPLATES = {
    "welcome.txt": "안녕하세요 {{name}},\n\nyour plan is {{plan}}, your city {{city}}.\n",
    "welcome.html": "<p>안녕하세요 <b>{{name}}</b>, your plan is {{plan}}, your city {{city}}.</p>\n",
}

NAMES = ("김민준", "이서연", "박지후", "Zoë Ångström", "José Muñoz", "Łukasz Żółć", "Jürgen Groß",
         "Anna 🌷", "최수아 🎈", "O'Brien & Sons", "Grace Hopper", "山田太郎")
CITIES = ("서울", "부산", "Zürich", "São Paulo", "Kraków", "Reykjavík", "Boston")

SUBSCRIBER = """CREATE TABLE IF NOT EXISTS subscriber (
  id BIGINT UNSIGNED NOT NULL PRIMARY KEY, email VARCHAR(320) NOT NULL, name VARCHAR(255) NOT NULL,
  plan VARCHAR(32) NOT NULL, city VARCHAR(64) NOT NULL, active TINYINT NOT NULL DEFAULT 1
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4"""


class Stage:
    """recipients: rows put into table subscriber. settings, campaign: changes to mailflock.cfg and
    to campaign `welcome`, as nested dicts. init=False leaves tables and queues to the test.
    long_name: the database's is longer than a lock's name can hold."""

    def __init__(self, recipients=0, settings=None, campaign=None, init=True, long_name=False):
        self.id = uuid.uuid4().hex[:10]
        self.database = f"mailflock_test_{self.id}{'_of_a_long_name' if long_name else ''}"
        self.vhost = f"mailflock-test-{self.id}"
        self.management = Management(self.vhost)
        self.processes = []
        self._ends = []  # more to be done at the end, the last first
        self._db = self._amqp = None
        self._started = {}
        self._init, self._recipients = init, recipients
        self._campaign = campaign or {}
        self.settings = {
            "broker": {
                "host": ENV["MAILFLOCK_BROKER_HOST"],
                "port": int(ENV["MAILFLOCK_BROKER_PORT"]),
                "vhost": self.vhost,
                "user": ENV["MAILFLOCK_BROKER_USER"],
            },
            "database": {
                "host": ENV["MAILFLOCK_DATABASE_HOST"],
                "port": int(ENV["MAILFLOCK_DATABASE_PORT"]),
                "name": self.database,
                "user": ENV["MAILFLOCK_DATABASE_USER"],
            },
            "start_limit": "20s",
            "log": {"level": "info"},
            "worker": {"lane": "bulk", "prefetch": 4, "lease": "10s", "drain": "10s"},
            "transports": {
                "relay": {"type": "smtp", "url": "smtp://127.0.0.1:1", "tls": "off",
                          "connections": 8},
            },
        }
        merge(self.settings, settings or {})

    # -- begin and end

    def __enter__(self):
        self.dir = tempfile.mkdtemp(prefix=f"mailflock-{self.id}-")
        try:
            self._enter()
        except BaseException:
            self._leave(failed=True)
            raise
        return self

    def _enter(self):
        for name in ("campaigns", "templates"):
            os.mkdir(os.path.join(self.dir, name))
        self.config = os.path.join(self.dir, "mailflock.cfg")
        self.write_config()
        for name, text in TEMPLATES.items():
            self.template(name, text)
        self.campaign("welcome", self._campaign)
        with self.connect_database(None) as db, db.cursor() as cursor:
            cursor.execute(f"CREATE DATABASE {self.database} CHARACTER SET utf8mb4")
        self.management.create()
        if self._init:
            self.mailflock("init")
        if self._recipients:
            self.add_subscribers(self._recipients)

    def __exit__(self, kind, value, trace):
        self._leave(failed=kind is not None)
        if kind is None and self._sanitizer_reports:
            raise AssertionError("a sanitizer complained:\n" + self._sanitizer_reports)

    def _leave(self, failed):
        for process in reversed(self.processes):
            process.end()
        for end in reversed(self._ends):
            end()
        self._sanitizer_reports = "\n".join(
            line for p in self.processes for line in p.text().splitlines() if SANITIZER.search(line))
        if failed or self._sanitizer_reports:
            self.print_logs()
        if self._amqp:
            try:
                self._amqp.close()
            except pika.exceptions.AMQPError:
                pass
        for clean in (self._drop_database, self.management.delete):
            try:
                clean()
            except Exception as e:  # the outcome of the test itself matters more
                print(f"stage {self.id}: cleaning up: {e}", file=sys.stderr)
        if os.environ.get("MF_KEEP"):
            print(f"stage {self.id}: kept {self.dir}", file=sys.stderr)
        else:
            shutil.rmtree(self.dir, ignore_errors=True)

    def _drop_database(self):
        if self._db:
            self._db.close()
            self._db = None
        with self.connect_database(None) as db, db.cursor() as cursor:
            cursor.execute("SET lock_wait_timeout=10")
            cursor.execute(f"DROP DATABASE IF EXISTS {self.database}")

    def print_logs(self, last_lines=80):
        for process in self.processes:
            lines = process.text().splitlines()
            print(f"---- {process} {' '.join(process.argv)}: {len(lines)} lines", file=sys.stderr)
            print("\n".join(lines[-last_lines:]), file=sys.stderr)

    # -- configuration

    def write_config(self, **changes):
        """Writes mailflock.cfg anew, after nested changes: write_config(worker={"lease": "5s"})."""
        merge(self.settings, changes)
        with open(self.config, "w", encoding="utf-8") as file:
            file.write(config_file_text(self.settings))

    def campaign(self, name, changes=None, **more):
        """Writes campaign `name`: the usual one with nested changes."""
        definition = merge(merge(json.loads(json.dumps(CAMPAIGN)), changes or {}), more)
        with open(os.path.join(self.dir, "campaigns", f"{name}.cfg"), "w", encoding="utf-8") as f:
            f.write(config_file_text(definition))

    def template(self, name, text):
        with open(os.path.join(self.dir, "templates", name), "w", encoding="utf-8") as file:
            file.write(text)

    def relay(self, url, **changes):
        """Points transport `relay` elsewhere: a url or something that has one."""
        url = getattr(url, "url", url)
        self.write_config(transports={"relay": {"url": url, **changes}})

    def environment(self, **more):
        """What our programs get: none of the caller's MAILFLOCK_ variables, only the secrets."""
        env = {k: v for k, v in ENV.items() if not k.startswith("MAILFLOCK_")}
        env["MAILFLOCK_BROKER_PASSWORD"] = ENV["MAILFLOCK_BROKER_PASSWORD"]
        env["MAILFLOCK_DATABASE_PASSWORD"] = ENV["MAILFLOCK_DATABASE_PASSWORD"]
        env.update(more)
        return {k: v for k, v in env.items() if v is not None}

    # -- our programs

    def start(self, name, argv, env=None):
        """Any program, logged and ended with the stage."""
        process = Process(name, argv, os.path.join(self.dir, f"{name}.log"),
                          env=self.environment(**(env or {})), cwd=self.dir)
        self.processes.append(process)
        return process

    def _next_name(self, kind):
        self._started[kind] = self._started.get(kind, 0) + 1
        return f"{kind}{self._started[kind]}"

    def start_consumer(self, *args, env=None, ready=True):
        """Starts mailflock-consumer; returns when it consumes, unless ready=False. env: more
        variables, such as MAILFLOCK_WORKER_LEASE="5s"."""
        name = self._next_name("consumer")
        least = self.consumers() if ready else 0
        env = {"MAILFLOCK_WORKER_NAME": f"{name}-{self.id}", **(env or {})}
        process = self.start(name, [binary("mailflock-consumer"), "-c", self.config, *args], env)
        if ready:
            ready_at = None

            def consuming():
                nonlocal least, ready_at
                if not process.alive:
                    raise AssertionError(f"{name} ended with {process.code}:\n{process.text()}")
                # The broker may still have counted one that was killed: it goes at any time from now
                # on, and when that and the new one fell between two looks, the count did not change.
                now = self.consumers()
                if not ready_at and 'msg="ready"' in process.text():
                    ready_at = time.monotonic()
                if now > least or (now and ready_at and time.monotonic() - ready_at > 5):
                    return True
                least = now
                return False
            wait_until(consuming, 60, f"{name} to consume")
        return process

    def start_consumers(self, count, **more):
        return [self.start_consumer(**more) for _ in range(count)]

    def start_producer(self, *args, env=None):
        """Starts mailflock-producer with args, as in start_producer("run", "welcome")."""
        argv = [binary("mailflock-producer"), "-c", self.config, *args]
        return self.start(self._next_name("producer"), argv, env)

    def produce(self, campaign="welcome", *args, at=None, code=0, deadline_s=60):
        """Runs mailflock-producer run to its end; returns the run's id (None with code != 0)."""
        when = ["--at", at] if at else []
        process = self.start_producer("run", campaign, *when, *args)
        got = process.wait(deadline_s)
        if got != code:
            raise AssertionError(f"mailflock-producer ended with {got}, not {code}:\n{process.text()}")
        return self.run_id(campaign) if code == 0 else None

    def run_program(self, name, *args, code=0, env=None, deadline_s=60):
        """Runs one of our programs (after -c CONFIG) to its end: a CompletedProcess of text."""
        done = subprocess.run([binary(name), "-c", self.config, *map(str, args)],
                              stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, text=True, timeout=deadline_s, cwd=self.dir,
                              env=self.environment(**(env or {})))
        if SANITIZER.search(done.stderr):
            raise AssertionError(f"{name} {args}: {done.stderr}")
        if code is not None and done.returncode != code:
            raise AssertionError(f"{name} {' '.join(map(str, args))} ended with {done.returncode}, not "
                                 f"{code}:\n{done.stdout}{done.stderr}")
        return done

    def mailflock(self, *args, **more):
        """mailflock ARGS; returns its stdout."""
        return self.run_program("mailflock", *args, **more).stdout

    def mailflock_json(self, *args, **more):
        return json.loads(self.mailflock(*args, "--json", **more))

    # -- SMTP servers

    def start_fakesmtp(self, use=True, name=None, **options):
        """Starts fakesmtp (options as keywords) and points the relay at it, unless use=False."""
        server = FakeSmtp(binary("fakesmtp"), self.dir, name or self._next_name("fakesmtp"),
                          **options)
        self.processes.append(server)
        if use:
            self.relay(server)
        return server

    def start_sink(self, *options, use=True):
        """Starts Postfix's smtp-sink with its own options and points the relay at it."""
        server = SmtpSink(self.dir, self._next_name("sink"), options)
        self.processes.append(server)
        if use:
            self.relay(server)
        return server

    def start_starttls(self, use=True, **options):
        """Starts the server that demands STARTTLS and AUTH (user mailflock, password secret), and
        points the relay at it, trusting its authority."""
        server = StarttlsServer(os.path.join(ROOT, "tests", "fakes", "starttls_server.py"), self.dir,
                                self._next_name("starttls"), **options)
        self.processes.append(server)
        if use:
            self.relay(server, tls="require", ca_file=server.ca_file,
                       user=options.get("user", "mailflock"),
                       password=options.get("password", "secret"))
        return server

    def start_postfix(self, use=True, **more):
        """Starts a private Postfix (postfix.why_not() first) and points the relay at it."""
        server = Postfix(self.dir, **more)
        self._ends.append(server.stop)
        if use:
            self.relay(server)
        return server

    # -- database

    def connect_database(self, database=..., **more):
        """A connection of its own, autocommit, times in UTC; the caller closes it. more: options of
        pymysql.connect."""
        return pymysql.connect(
            host=ENV["MAILFLOCK_DATABASE_HOST"], port=int(ENV["MAILFLOCK_DATABASE_PORT"]),
            user=ENV["MAILFLOCK_DATABASE_USER"], password=ENV["MAILFLOCK_DATABASE_PASSWORD"],
            database=self.database if database is ... else database, charset="utf8mb4",
            autocommit=True, init_command="SET time_zone='+00:00'", connect_timeout=60, **more)

    def _execute(self, sql, args):
        for last in (False, True):
            if not self._db:
                self._db = self.connect_database()
            try:
                cursor = self._db.cursor()
                cursor.execute(sql, args or None)
                return cursor
            except (pymysql.err.OperationalError, pymysql.err.InterfaceError) as e:
                # A test may have restarted the server; anything else is the caller's.
                if last or e.args[0] not in (0, 2006, 2013):
                    raise
                self._db.close()
                self._db = None

    def rows(self, sql, *args):
        """All rows, as tuples. %s in the statement takes the args."""
        with self._execute(sql, args) as cursor:
            return list(cursor.fetchall())

    def one(self, sql, *args):
        """The first row, or None."""
        with self._execute(sql, args) as cursor:
            return cursor.fetchone()

    def value(self, sql, *args):
        """The first column of the first row, or None."""
        row = self.one(sql, *args)
        return row[0] if row else None

    def execute(self, sql, *args):
        """Runs a statement; returns the affected rows."""
        with self._execute(sql, args) as cursor:
            return cursor.rowcount

    def add_subscribers(self, count, first=1, domain="example.net"):
        """user1@example.net ...: names and cities in many scripts."""
        self.execute(SUBSCRIBER)
        for start in range(first, first + count, 5000):
            rows = [
                (i, f"user{i}@{domain}", NAMES[i % len(NAMES)], ("free", "pro")[i % 2],
                 CITIES[i % len(CITIES)])
                for i in range(start, min(start + 5000, first + count))
            ]
            if not self._db:
                self._db = self.connect_database()
            with self._db.cursor() as cursor:
                cursor.executemany(
                    "INSERT INTO subscriber (id, email, name, plan, city) VALUES (%s,%s,%s,%s,%s)",
                    rows)

    def cut_database(self):
        """Ends every connection to the database but this one."""
        for number, in self.rows("SELECT id FROM information_schema.processlist WHERE db=%s AND "
                                 "id<>CONNECTION_ID()", self.database):
            try:
                self.execute(f"KILL {number}")
            except pymysql.err.MySQLError as e:
                if e.args[0] != 1094:  # it was gone already
                    raise

    # -- the ledger

    def run_id(self, campaign="welcome"):
        """The newest run of a campaign, or None."""
        return self.value("SELECT MAX(id) FROM run WHERE campaign=%s", campaign)

    def counts(self, run):
        """The sums over the run's chunk rows: recipients, every status, and pending."""
        columns = ("recipients", *STATUSES)
        sums = self.one(f"SELECT {','.join(f'COALESCE(SUM(`{c}`),0)' for c in columns)} FROM chunk "
                        "WHERE run_id=%s", run)
        counts = dict(zip(columns, map(int, sums)))
        counts["pending"] = counts["recipients"] - sum(counts[s] for s in STATUSES)
        return counts

    def delivery_counts(self, run):
        """The same by the delivery rows: every status, 0 included."""
        found = dict(self.rows("SELECT status, COUNT(*) FROM delivery WHERE run_id=%s GROUP BY 1", run))
        return {status: int(found.get(status, 0)) for status in STATUSES}

    def is_complete(self, run):
        """Publishing done, no chunk with pending or deferred positions."""
        counts = self.counts(run)
        done = self.value("SELECT publishing FROM run WHERE id=%s", run) == "done"
        return done and not counts["pending"] and not counts["deferred"]

    def wait_complete(self, run, deadline_s=60):
        wait_until(lambda: self.is_complete(run), deadline_s,
                   lambda: f"run {run} to be complete: {self.counts(run)}", 0.05)
        return self.counts(run)

    def wait_quiet(self, run, deadline_s=60):
        """Complete, every chunk done or stuck, and no message left in lane or delay queues."""
        counts = self.wait_complete(run, deadline_s)
        wait_until(lambda: not self.value("SELECT COUNT(*) FROM chunk WHERE run_id=%s AND "
                                          "(token IS NOT NULL OR state NOT IN ('done','stuck'))", run),
                   deadline_s, f"every chunk of run {run} to be closed")
        return counts

    def imbalances(self, run):
        """What breaks the accounts of a run; an empty list is good."""
        wrong = []
        columns = ",".join(f"c.`{s}`" for s in STATUSES)
        tallies = ",".join(f"COALESCE(SUM(d.status='{s}'),0)" for s in STATUSES)
        rows = self.rows(
            f"SELECT c.chunk_no, c.recipients, {columns}, {tallies}, COALESCE(MAX(d.position),-1) "
            "FROM chunk c LEFT JOIN delivery d ON d.run_id=c.run_id AND d.chunk_no=c.chunk_no "
            "WHERE c.run_id=%s GROUP BY c.chunk_no", run)
        for chunk_no, recipients, *numbers, last in rows:
            counters = [int(n) for n in numbers[:len(STATUSES)]]
            tally = [int(n) for n in numbers[len(STATUSES):]]
            if counters != tally:
                wrong.append(f"chunk {chunk_no}: counters {counters}, delivery rows {tally}")
            if sum(counters) > recipients or last >= recipients:
                wrong.append(f"chunk {chunk_no}: {recipients} recipients, outcomes {counters}, "
                             f"last position {last}")
        twice = self.rows("SELECT recipient_id, COUNT(*) FROM delivery WHERE run_id=%s "
                          "GROUP BY 1 HAVING COUNT(*)>1 LIMIT 5", run)
        if twice:
            wrong.append(f"recipients with more than one row: {twice}")
        return wrong

    def assert_balanced(self, run):
        """The accounts of the run hold (DESIGN's invariants); returns the counts."""
        wrong = self.imbalances(run)
        if wrong:
            raise AssertionError(f"run {run} does not balance:\n" + "\n".join(wrong))
        return self.counts(run)

    run_balanced = assert_balanced

    def compare(self, run, *records):
        """The ledger against what servers recorded (record files, or FakeSmtp). Message ids in
        lists: lost (ledger says sent, nobody accepted it), twice (accepted more than once), wrong
        (accepted, but the ledger says neither sent, deferred nor unknown), strange (accepted, not in
        the ledger). And the number accepted."""
        mails = {}
        for record in records:
            found = record.mails() if isinstance(record, FakeSmtp) else read_record(record)
            for message_id, times in found.items():
                mails.setdefault(message_id, []).extend(times)
        ledger = {message_id.strip("<>"): status for message_id, status in self.rows(
            "SELECT message_id, status FROM delivery WHERE run_id=%s AND message_id<>''", run)}
        may = ("sent", "unknown", "deferred")
        return {
            "accepted": len(mails),
            "lost": [i for i, status in ledger.items() if status == "sent" and i not in mails],
            "twice": [i for i, times in mails.items() if len(times) > 1],
            "wrong": [i for i in mails if i in ledger and ledger[i] not in may],
            "strange": [i for i in mails if i not in ledger],
        }

    # -- the broker, as it is now

    def channel(self):
        """A pika channel on the stage's vhost."""
        if not self._amqp or not self._amqp.is_open:
            account = pika.PlainCredentials(ENV["MAILFLOCK_BROKER_USER"],
                                            ENV["MAILFLOCK_BROKER_PASSWORD"])
            self._amqp = pika.BlockingConnection(pika.ConnectionParameters(
                ENV["MAILFLOCK_BROKER_HOST"], int(ENV["MAILFLOCK_BROKER_PORT"]), self.vhost, account,
                heartbeat=0, socket_timeout=60, stack_timeout=120))
        return self._amqp.channel()

    def _declared(self, queue):
        try:
            channel = self.channel()
            method = channel.queue_declare(queue, passive=True).method
            channel.close()
            return method
        except pika.exceptions.ChannelClosedByBroker as e:
            if e.reply_code == 404:
                return None
            raise
        except pika.exceptions.AMQPError:
            self._amqp = None  # a test may have closed it, or restarted the server
            return None

    def ready(self, queue="mailflock.bulk.relay"):
        """Messages waiting in a queue, those held by consumers excluded; None: no such queue."""
        declared = self._declared(queue)
        return declared.message_count if declared else None

    def consumers(self, queue=None):
        """Of a queue; without one, of the lane that our workers serve."""
        declared = self._declared(queue or f"mailflock.{self.settings['worker']['lane']}.relay")
        return declared.consumer_count if declared else 0

    def delete_queue(self, queue):
        channel = self.channel()
        channel.queue_delete(queue)
        channel.close()

    def publish(self, body, routing_key="bulk.relay", exchange="mailflock", headers=None,
                message_id="test", content_type="application/json"):
        """Publishes any bytes, confirmed."""
        channel = self.channel()
        channel.confirm_delivery()
        channel.basic_publish(
            exchange, routing_key, body if isinstance(body, bytes) else body.encode(),
            pika.BasicProperties(content_type=content_type, delivery_mode=2, headers=headers,
                                 message_id=message_id), mandatory=True)
        channel.close()

    def refuses(self, routing_key, exchange="mailflock"):
        """Whether the broker refuses (nack) a message that is published now."""
        try:
            self.publish("probe", routing_key, exchange)
        except pika.exceptions.NackError:
            return True
        return False

    def take(self, queue, deadline_s=60):
        """Takes one message out of a queue: (properties, body). Fails when none comes."""
        def got():
            channel = self.channel()
            method, properties, body = channel.basic_get(queue, auto_ack=True)
            channel.close()
            return (properties, body) if method else None
        return wait_until(got, deadline_s, f"a message in {queue}")

    # -- logs

    def expect_log_clean(self, allow=(), levels=("error",), processes=None):
        """No line of these levels in the logs of our programs, but for those that match a pattern
        of allow; nor for warnings of what a machine that stands still for seconds brings about."""
        bad = []
        allow = (*allow, STALLED)
        level = re.compile(r'level=(%s)\b|"level":\s*"(%s)"' % (("|".join(levels),) * 2))
        for process in processes or self.processes:
            if isinstance(process, (FakeSmtp, SmtpSink, StarttlsServer)):
                continue
            for line in process.text().splitlines():
                if level.search(line) and not any(re.search(pattern, line) for pattern in allow):
                    bad.append(f"{process.name}: {line}")
        if bad:
            raise AssertionError("unexpected in the logs:\n" + "\n".join(bad[:20]))


def now_us():
    """The clock of fakesmtp's record."""
    return time.monotonic_ns() // 1000


__all__ = ["Accepted", "ENV", "FakeSmtp", "Management", "NotInTime", "Postfix", "Process", "ROOT",
           "STATUSES", "SmtpSink", "Stage", "StarttlsServer", "answers", "binary",
           "config_file_text", "free_port", "have_binary", "merge", "now_us", "read_record",
           "wait_until"]
