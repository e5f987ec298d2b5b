"""Processes that tests start: each with a log file, known by pid, and ended whatever happens."""

import contextlib
import ctypes
import json
import os
import random
import re
import signal
import socket
import subprocess
import threading
import time

PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None, use_errno=True)


class NotInTime(AssertionError):
    pass


def wait_until(condition, deadline_s=60, what=None, every_s=0.02):
    """The first true answer of condition(), or NotInTime after deadline_s. `what` names what was
    awaited; it may be a function that describes the state at the deadline."""
    end = time.monotonic() + deadline_s
    while True:
        found = condition()
        if found:
            return found
        if time.monotonic() >= end:
            text = what() if callable(what) else what or getattr(condition, "__name__", "condition")
            raise NotInTime(f"not within {deadline_s} s: {text}")
        time.sleep(every_s)


def free_port():
    """A port that nothing listens on now, of those that the kernel gives to nobody by itself: otherwise
    some connection could have it before the server does. Rather let the server choose, where it can."""
    with open("/proc/sys/net/ipv4/ip_local_port_range", encoding="ascii") as limits:
        end = int(limits.read().split()[0])
    while True:
        port = random.randrange(10000, max(end, 20000))
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


def answers(port, deadline_s=30):
    """Whether something on this port of loopback greets like an SMTP server."""
    try:
        with socket.create_connection(("127.0.0.1", port), deadline_s) as peer:
            peer.settimeout(deadline_s)
            return peer.recv(3)[:1] in (b"2", b"4", b"5")
    except OSError:
        return False


def _die_with_parent():
    _libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


class Process:
    """One program with its output in log (stdout too, unless out is given)."""

    def __init__(self, name, argv, log, env=None, out=None, cwd=None):
        self.name, self.argv, self.log, self.out = name, [str(a) for a in argv], log, out
        # The kernel ties the death signal to the thread that forked, so only the main one asks.
        main = threading.current_thread() is threading.main_thread()
        self._log_start = os.path.getsize(log) if os.path.exists(log) else 0
        with open(log, "ab") as log_file, open(out or os.devnull, "ab") as out_file:
            self.popen = subprocess.Popen(
                self.argv,
                stdin=subprocess.DEVNULL,
                stdout=out_file if out else log_file,
                stderr=log_file,
                env=env,
                cwd=cwd,
                preexec_fn=_die_with_parent if main else None,
            )
        self.pid = self.popen.pid
        self._peak_kib = 0

    def __repr__(self):
        return f"<{self.name} pid={self.pid} code={self.popen.returncode}>"

    @property
    def alive(self):
        return self.popen.poll() is None

    @property
    def code(self):
        """Exit status, negative for a signal; None while it runs."""
        return self.popen.poll()

    def signal(self, number):
        if self.alive:
            self.popen.send_signal(number)

    def freeze(self):
        self.signal(signal.SIGSTOP)
        wait_until(self.is_frozen, 60, f"{self.name} to be frozen")

    def is_frozen(self):
        with open(f"/proc/{self.pid}/stat", encoding="utf-8") as stat:
            return stat.read().rsplit(")", 1)[1].split()[0] in "Tt"

    def thaw(self):
        self.signal(signal.SIGCONT)

    def kill(self):
        """SIGKILL, and gone when it returns."""
        self.peak_kib()
        self.signal(signal.SIGKILL)
        return self.popen.wait(60)

    def stop(self, deadline_s=60):
        """SIGTERM; returns the exit status. Fails when it does not end in time."""
        self.peak_kib()
        self.signal(signal.SIGTERM)
        return self.wait(deadline_s)

    def wait(self, deadline_s=60):
        """Awaits its end; returns the exit status."""
        try:
            return self.popen.wait(deadline_s)
        except subprocess.TimeoutExpired:
            raise NotInTime(f"{self.name} (pid {self.pid}) did not end within {deadline_s} s") from None

    def end(self):
        """For cleaning up: asks, then insists. Never raises."""
        if self.alive:
            self.signal(signal.SIGCONT)
            self.signal(signal.SIGTERM)
            try:
                self.popen.wait(10)
            except subprocess.TimeoutExpired:
                self.popen.kill()
                self.popen.wait()

    def _status_kib(self, field):
        try:
            with open(f"/proc/{self.pid}/status", encoding="utf-8") as status:
                found = re.search(rf"^{field}:\s+(\d+) kB", status.read(), re.M)
        except OSError:
            return 0
        return int(found[1]) if found else 0

    def rss_kib(self):
        return self._status_kib("VmRSS")

    def peak_kib(self):
        """The most it had resident (VmHWM); after its end, what it had when last asked or stopped."""
        self._peak_kib = max(self._peak_kib, self._status_kib("VmHWM"))
        return self._peak_kib

    def cpu_s(self):
        """Processor time so far, user and system."""
        with open(f"/proc/{self.pid}/stat", encoding="utf-8") as stat:
            fields = stat.read().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def text(self):
        """Its log so far; not that of an earlier process with the same file."""
        with open(self.log, "rb") as log:
            log.seek(self._log_start)
            return log.read().decode(errors="replace")

    def wait_for_log(self, pattern, deadline_s=60):
        """The first match of the pattern in its log."""

        def found():
            match = re.search(pattern, self.text(), re.M)
            if not match and not self.alive:
                raise AssertionError(f"{self.name} ended with {self.code} before it said {pattern!r}")
            return match

        return wait_until(found, deadline_s, f"{pattern!r} in the log of {self.name}")


class Accepted:
    """One line of fakesmtp's record."""

    __slots__ = ("message_id", "connection", "rcpt", "at_us")

    def __init__(self, line):
        self.message_id, connection, self.rcpt, at_us = line.split("\t")
        self.connection, self.at_us = int(connection), int(at_us)


def read_record(path):
    """message id (without brackets) -> list of Accepted; an id with two of them is a duplicate."""
    found = {}
    try:
        with open(path, encoding="utf-8", errors="replace") as record:
            for line in record:
                if line.endswith("\n"):  # the last one may be on its way
                    mail = Accepted(line[:-1])
                    found.setdefault(mail.message_id, []).append(mail)
    except FileNotFoundError:
        pass
    return found


class FakeSmtp(Process):
    """tests/fakes/fakesmtp; its options as keywords: FakeSmtp(..., rcpt_defer=0.1, multiline=True).
    A second one with the same record goes on in it; port=N takes the port of one that ended."""

    def __init__(self, program, directory, name="fakesmtp", **options):
        record = options.setdefault("record", os.path.join(directory, f"{name}.record"))
        argv = [program]
        for key, value in options.items():
            flag = "--" + key.replace("_", "-")
            if value is True:
                argv.append(flag)
            elif value is not None and value is not False:
                argv += [flag, str(value)]
        path = os.path.join(directory, name)
        self._seen = os.path.getsize(path + ".out") if os.path.exists(path + ".out") else 0
        super().__init__(name, argv, path + ".log", out=path + ".out")
        self.record = record
        self._stalled = False
        self.port = wait_until(self._port, 60, lambda: f"fakesmtp to start: {self.text()}")

    def _said(self):
        with open(self.out, "rb") as out:
            out.seek(self._seen)
            return out.read().decode()

    def _port(self):
        match = re.match(r"port=(\d+)\n", self._said())
        if not match and not self.alive:
            raise AssertionError(f"fakesmtp ended with {self.code}: {self.text()}")
        return int(match[1]) if match else None

    @property
    def url(self):
        return f"smtp://127.0.0.1:{self.port}"

    def _stats_lines(self):
        return [line for line in self._said().splitlines(True) if line.endswith("}\n")]

    def stats(self):
        """Its counts: accepted, connections, open, refused, deferred, dropped, violations, ..."""
        if self.alive:
            before = len(self._stats_lines())
            self.signal(signal.SIGUSR1)
            wait_until(lambda: len(self._stats_lines()) > before or not self.alive, 60,
                       "fakesmtp to report")
        return json.loads(self._stats_lines()[-1])

    def accepted(self):
        return self.stats()["accepted"]

    def mails(self):
        """All that it has accepted until now."""
        self.stats()
        return read_record(self.record)

    def _toggle(self, stalled):
        if self._stalled != stalled:
            word = f"reading={'no' if stalled else 'yes'}\n"
            before = self._said().count(word)
            self.signal(signal.SIGUSR2)
            wait_until(lambda: self._said().count(word) > before or not self.alive, 60, word)
            self._stalled = stalled

    def stall(self):
        """Reads nothing and answers nothing, on any connection, until resume()."""
        self._toggle(True)

    def wait_stalled(self, deadline_s=60):
        """Returns when it has stalled by itself, as stall_after=N tells it to."""
        wait_until(lambda: "reading=no\n" in self._said() or not self.alive, deadline_s,
                   f"{self.name} to have accepted enough and to stall")
        self._stalled = True

    def resume(self):
        self._toggle(False)


class StarttlsServer(Process):
    """tests/fakes/starttls_server.py; its options as keywords: no_auth=True, user="u"."""

    def __init__(self, program, directory, name="starttls", **options):
        self.dir = os.path.join(directory, name)
        os.makedirs(self.dir, exist_ok=True)
        argv = ["/usr/bin/python3", program, "--dir", self.dir]
        for key, value in options.items():
            flag = "--" + key.replace("_", "-")
            argv += [flag] if value is True else [flag, str(value)]
        super().__init__(name, argv, os.path.join(directory, f"{name}.log"))
        self.scheme = "smtps" if options.get("smtps") else "smtp"
        self.port = int(self.wait_for_log(r"^port=(\d+)$")[1])
        self.ca_file = os.path.join(self.dir, "ca.pem")

    @property
    def url(self):
        return f"{self.scheme}://localhost:{self.port}"

    def mails(self):
        """The accepted mails: dicts of from, to, content, user, tls."""
        with open(os.path.join(self.dir, "mails.jsonl"), encoding="utf-8") as mails:
            return [json.loads(line) for line in mails if line.endswith("\n")]


class SmtpSink(Process):
    """Postfix's smtp-sink; options as it takes them."""

    def __init__(self, directory, name="sink", options=(), backlog=1000):
        self.port = free_port()
        user = ["-u", "postfix"] if os.geteuid() == 0 else []
        argv = ["smtp-sink", *user, *options, f"127.0.0.1:{self.port}", str(backlog)]
        path = os.environ.get("PATH", "") + ":/usr/sbin:/sbin"
        super().__init__(name, argv, os.path.join(directory, f"{name}.log"),
                         env={**os.environ, "PATH": path})
        wait_until(self._ready, 60, lambda: f"smtp-sink to start: {self.text()}")

    def _ready(self):
        if not self.alive:
            raise AssertionError(f"smtp-sink ended with {self.code}: {self.text()}")
        return answers(self.port)

    @property
    def url(self):
        return f"smtp://127.0.0.1:{self.port}"
