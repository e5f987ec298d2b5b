"""The part of ./dev demo that comes when everything is built and the services are up: a campaign
goes out, is watched, counted and shown. Called by dev.d/demo.sh, which has checked the arguments
and read .dev/env: main.py CAMPAIGN RECIPIENTS CONSUMERS.

It works in a database and a virtual host of its own, made anew each time, with the configuration,
campaign, templates and sample data of config/. A first mail goes to Postfix's smtp-sink, which
keeps it to be shown at the end. Then comes a relay that only counts, and whose count is held
against the ledger. What differs from campaign to campaign is in campaigns.py.
"""

import contextlib
import datetime
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time

import pymysql

import sample
from campaigns import CAMPAIGNS
from places import Broker, Sample, connect
from programs import Program, Sink
from screen import Screen, counted

DATABASE = "mailflock_demo"
VHOST = "mailflock-demo"
PRODUCER_POLL_S, POLL_S = 0.005, 0.1
READY_S = 120
STALL_S = 120  # twice the lease of config/mailflock.cfg: by then another consumer has taken over
SLOWEST_PER_S = 500  # what the deadline allows for
LISTED_CONSUMERS = 8


class Trouble(Exception):
    """What went wrong, to be told."""


class Interrupted(BaseException):
    """A signal asks for the end."""


def mebibytes(program):
    return f"{program.peak_kib() / 1024:.1f} MiB"


def interrupt(number, _frame):
    raise Interrupted(number)


class Demo:
    def __init__(self, campaign, recipients, consumers):
        self.campaign, self.recipients, self.n_consumers = campaign, recipients, consumers
        self.screen = Screen()
        self.root, self.build = os.environ["MF_ROOT"], os.environ["MF_BUILD"]
        self.log = os.path.join(self.root, ".dev", "log")
        self.config = os.path.join(self.root, "config", "mailflock.cfg")
        self.programs = []  # all that were started
        self.consumers, self.producer, self.sink = [], None, None  # those of the campaign
        self.first_run, self.first_mail, self.left_out = 0, None, 0
        self.counts = {"recipients": 0, "sent": 0, "failed": 0, "unknown": 0, "pending": recipients}
        self.status = {}

    def __enter__(self):
        self.dir = tempfile.mkdtemp(prefix="mailflock-demo-")
        os.chmod(self.dir, 0o711)  # smtp-sink, started as root, becomes somebody else
        return self

    def __exit__(self, *_):
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
        for program in self.programs:
            program.terminate()
        for program in self.programs:
            program.end()
        shutil.rmtree(self.dir, ignore_errors=True)

    # -- programs

    def start_server(self, kind, name, *args):
        """kind(*args, directory, log), as the classes of programs.py have it."""
        log = os.path.join(self.log, f"demo-{name}.log")
        self.programs.append(kind(*args, os.path.join(self.dir, name), log))
        return self.programs[-1]

    def start(self, program, name, *args, **more):
        argv = [os.path.join(self.build, program), "-c", self.config, *args]
        self.programs.append(Program(name, argv, os.path.join(self.log, f"demo-{name}.log"),
                                     env={**self.environment, **more}))
        return self.programs[-1]

    def start_consumer(self, name, sink):
        return self.start("mailflock-consumer", name, MAILFLOCK_WORKER_NAME=f"demo-{name}",
                          MAILFLOCK_WORKER_LANE=self.campaign.lane,
                          MAILFLOCK_TRANSPORTS_RELAY_URL=sink.url)

    def mailflock(self, *args, check=True):
        argv = [os.path.join(self.build, "mailflock"), "-c", self.config, *map(str, args)]
        done = subprocess.run(argv, env=self.environment, stdin=subprocess.DEVNULL,
                              capture_output=True, text=True, timeout=300)
        if check and done.returncode:
            raise Trouble(f"mailflock {args[0]} failed: {done.stderr.strip()}")
        return done

    def expect_alive(self):
        """Servers live on, and a producer that has ended has succeeded."""
        for program in self.programs:
            if not program.asked and program.code() not in program.may_end_with:
                raise Trouble(program.obituary())

    def wait(self, condition, deadline_s, what):
        end = time.monotonic() + deadline_s
        while not condition():
            self.expect_alive()
            if time.monotonic() > end:
                raise Trouble(f"waited {deadline_s} s for {what}; see {self.log}/demo-*.log")
            time.sleep(0.01)

    def stop(self, *programs):
        """Asks them to end; Trouble with those that end badly."""
        for program in programs:
            program.peak_kib()
            program.terminate()
        for program in programs:
            if program.wait(60) != 0:
                program.popen.kill()
                raise Trouble(program.obituary())

    # -- the scenes

    def init(self):
        with connect(None) as db, db.cursor() as cursor:
            cursor.execute("SET lock_wait_timeout=10")
            cursor.execute(f"DROP DATABASE IF EXISTS {DATABASE}")
            cursor.execute(f"CREATE DATABASE {DATABASE} CHARACTER SET utf8mb4")
        self.db = connect(DATABASE)
        Broker(VHOST).recreate()
        self.environment = {**os.environ, "MAILFLOCK_DATABASE_NAME": DATABASE,
                            "MAILFLOCK_BROKER_VHOST": VHOST}
        self.mailflock("init")
        samples = os.path.join(self.root, "config", "samples")
        self.sample = Sample(self.db, os.path.join(samples, self.campaign.sample))
        return f"database {DATABASE}, virtual host {VHOST}"

    def send_first(self):
        """A run for one recipient, to a sink that keeps the mail."""
        self.sample.load(1, 1)
        sink = self.start_server(Sink, "first-sink", 1, True)
        consumer = self.start_consumer("first-consumer", sink)
        minute_ago = datetime.datetime.now(datetime.timezone.utc) - datetime.timedelta(minutes=1)
        self.start("mailflock-producer", "first-producer", "run", self.campaign.name,
                   "--at", minute_ago.strftime("%Y-%m-%dT%H:%M:%SZ"))
        self.wait(lambda: self.look(), READY_S, "the first mail")
        self.stop(consumer)
        self.first_run, self.first_mail = self.value("SELECT MAX(id) FROM run"), sink.kept()
        self.stop_sink(sink)
        return "to the first of them, and kept: it is shown below"

    def stop_sink(self, sink):
        """smtp-sink has no end of its own."""
        sink.terminate()
        sink.wait(10)

    def load(self):
        self.sample.load(2, self.recipients)
        self.left_out = self.value("SELECT COUNT(*) FROM left_out")
        return (f"{counted(self.recipients, self.campaign.person)}, and {self.left_out:,} who "
                f"{self.campaign.left_out}")

    def start_consumers(self):
        self.sink = self.campaign.start_relay(self)
        for number in range(1, self.n_consumers + 1):
            self.consumers.append(self.start_consumer(f"consumer{number}", self.sink))
        self.wait(lambda: all(c.said('msg="ready"') for c in self.consumers), READY_S,
                  "the consumers to be ready")
        return f"{self.n_consumers} ready; the relay is {self.sink.what}"

    def send(self):
        """The campaign, watched to its end."""
        began = moved = next_look = time.monotonic()
        self.producer = self.start("mailflock-producer", "producer", "run", self.campaign.name)
        deadline = began + 300 + self.recipients / SLOWEST_PER_S
        last = -1
        with self.screen.progress(self.recipients) as progress:
            while True:
                self.producer.peak_kib()
                now = time.monotonic()
                if now >= next_look:
                    next_look = now + POLL_S
                    over = self.look()
                    settled = self.recipients - self.counts["pending"]
                    progress.show(settled)
                    if over:
                        return
                    self.expect_alive()
                    if settled != last:
                        moved, last = now, settled
                    if now > deadline:
                        raise Trouble(f"not done after {now - began:.0f} s")
                    if now - moved > STALL_S:
                        raise Trouble(f"nothing has been sent for {STALL_S} s")
                time.sleep(PRODUCER_POLL_S if self.producer.code() is None else POLL_S / 2)

    def value(self, sql):
        with self.db.cursor() as cursor:
            cursor.execute(sql)
            return cursor.fetchone()[0]

    def look(self):
        """Reads the counts of the run; whether it is over."""
        for consumer in self.consumers:
            consumer.peak_kib()
        with self.db.cursor() as cursor:
            published = self.value(
                f"SELECT COUNT(*) FROM run WHERE id > {self.first_run} AND publishing = 'done'")
            cursor.execute(
                "SELECT COALESCE(SUM(recipients),0), COALESCE(SUM(sent),0), COALESCE(SUM(failed),0),"
                " COALESCE(SUM(`unknown`),0), COALESCE(SUM(suppressed + skipped),0),"
                " COALESCE(SUM(state NOT IN ('done', 'stuck')),0) FROM chunk "
                f"WHERE run_id > {self.first_run}")
            planned, sent, failed, unknown, other, open_chunks = map(int, cursor.fetchone())
        total = planned if published else max(planned, self.recipients)
        self.counts = {"recipients": planned, "sent": sent, "failed": failed, "unknown": unknown,
                       "pending": total - sent - failed - unknown - other}
        return published and not open_chunks

    def settle(self):
        """Everything that must be true now: a list of what is not."""
        wrong = []
        self.wait(lambda: self.producer.code() is not None, 30, "the producer to end")
        self.stop(*self.consumers)
        self.look()
        self.status = json.loads(self.mailflock("status", self.campaign.name, "--json").stdout)
        audit = self.mailflock("audit", check=False)
        if audit.returncode:
            wrong.append("mailflock audit: " + (audit.stdout + audit.stderr).strip())
        if self.counts["recipients"] != self.recipients:
            wrong.append(f"{counted(self.recipients, self.campaign.person)}, but the ledger has "
                         f"{self.counts['recipients']:,} recipients")
        strangers = self.value(
            f"SELECT COUNT(*) FROM delivery WHERE run_id > {self.first_run} "
            "AND CAST(recipient_id AS UNSIGNED) IN (SELECT id FROM left_out)")
        if strangers:
            wrong.append(f"{strangers:,} who {self.campaign.left_out} are in the ledger")
        if self.counts["pending"]:
            wrong.append(f"{self.counts['pending']:,} recipients are still pending")
        if self.sink.count() != self.counts["sent"]:
            wrong.append(f"the ledger says {self.counts['sent']:,} sent, but the relay counted "
                         f"{self.sink.count():,}")
        return wrong

    def since_scheduled(self):
        """Seconds from the run's scheduled moment to the last accepted mail."""
        scheduled, last = (datetime.datetime.fromisoformat(self.status[name])
                           for name in ("scheduled_at", "last_accepted_at"))
        return (last - scheduled).total_seconds()

    # -- what is shown at the end

    def table(self, wrong):
        row = self.screen.row
        self.screen.say()
        for name, count in self.counts.items():
            row(name, f"{count:,}")
        seconds, rate = self.status.get("seconds"), self.status.get("rate")
        if seconds is not None:
            row("mails/s", f"{rate:,.0f}" if rate else "-")
            row("seconds", f"{seconds:.2f}", "from the first to the last accepted mail")
            row("in all", f"{self.since_scheduled():.2f}",
                "from the scheduled moment to the last accepted mail")
        if self.producer:
            row("producer", mebibytes(self.producer), "memory at its peak")
        if len(self.consumers) <= LISTED_CONSUMERS:
            for consumer in self.consumers:
                row(consumer.name, mebibytes(consumer), "memory at its peak")
        else:
            most = max(self.consumers, key=Program.peak_kib)
            row("consumers", mebibytes(most),
                f"memory at its peak: the most of {len(self.consumers)}")
        row(self.sink.name, f"{self.sink.count():,}", "mails accepted, by its own count")
        self.campaign.rows(row)
        if not wrong:
            row("left out", f"{self.left_out:,}", f"who {self.campaign.left_out} got nothing")
            row("audit", "balanced", "one outcome for each, and every sum agrees")

    def next_runs(self):
        """When cron would have it sent, where it has a schedule: the next three times."""
        fields = [line.split() for line in
                  self.mailflock("schedule", "--next", 20).stdout.splitlines()[1:]]
        return [f"{day} {local} {zone}" for _, day, local, zone, campaign in fields
                if campaign == self.campaign.name][:3]

    def hints(self):
        say = self.screen.say
        say("The services are still up, and the campaign is there to be looked at:")
        say(f"  RabbitMQ    {os.environ['MF_MGMT_URL']}/#/queues?vhost={VHOST}")
        say("              (user mailflock, password mailflock)")
        say(f"  MariaDB     ./dev sql {DATABASE} -e 'SELECT * FROM delivery LIMIT 5'")
        say(f"  logs        {os.path.relpath(self.log, self.root)}/demo-*.log")
        for number, when in enumerate(self.next_runs()):
            say(f"  {'' if number else 'due next':<12}{when}")
        say("  stop        ./dev down")
        say()

    def play(self):
        """The whole; returns the exit status."""
        wrong = []
        try:
            for name, scene in (("init", self.init), *self.campaign.scenes(self),
                                ("first mail", self.send_first), ("people", self.load),
                                ("consumers", self.start_consumers)):
                self.screen.step(name, scene)
            self.send()
            wrong = self.settle()
        except (Trouble, pymysql.err.Error, OSError, subprocess.TimeoutExpired) as trouble:
            wrong = [str(trouble)]
        if self.sink:
            self.table(wrong)
        self.screen.say()
        if self.first_mail and not wrong:
            sample.show(self.screen, self.first_mail)
        if not wrong:
            self.hints()
        for reason in wrong:
            self.screen.say(f"demo: {reason}")
        counts = " ".join(f"{name}={count}" for name, count in self.counts.items())
        self.screen.say(f"demo: {counts} balanced={'no' if wrong else 'yes'}")
        return 1 if wrong else 0


def main():
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, interrupt)
    demo = Demo(CAMPAIGNS[sys.argv[1]], int(sys.argv[2]), int(sys.argv[3]))
    try:
        with demo:
            return demo.play()
    except Interrupted as signal_number:
        with contextlib.suppress(OSError):
            demo.screen.interrupted()
        return 128 + signal_number.args[0]
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1


if __name__ == "__main__":
    sys.exit(main())
