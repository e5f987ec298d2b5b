"""The processes of ./dev demo: each in a session of its own, so that Ctrl-C reaches only the demo,
which then ends them; and killed by the kernel should the demo itself be killed."""

import contextlib
import ctypes
import os
import random
import re
import resource
import shutil
import signal
import socket
import subprocess
import time

CONNECTIONS = 20  # of one consumer: transports.relay.connections of config/mailflock.cfg
START_S = 60  # for a server to be ready
PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None)


def _prepare():
    """In the child, before it becomes the program."""
    _libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)


class Program:
    def __init__(self, name, argv, log, env=None, out=None, cwd=None):
        self.name, self.log = name, log
        self.asked = False  # to end
        self.may_end_with = (None, 0) if "producer" in name else (None,)
        self._peak_kib = 0
        with open(log, "wb") as log_file, open(out or os.devnull, "wb") as out_file:
            self.popen = subprocess.Popen(argv, env=env, cwd=cwd, stdin=subprocess.DEVNULL,
                                          stdout=out_file if out else log_file, stderr=log_file,
                                          start_new_session=True, preexec_fn=_prepare)

    def code(self):
        """Its exit status, None while it runs."""
        return self.popen.poll()

    def peak_kib(self):
        """The most it had resident so far, as of the last call while it ran. Not ru_maxrss, which
        includes what the child had as a copy of this process."""
        try:
            with open(f"/proc/{self.popen.pid}/status", encoding="utf-8") as status:
                found = re.search(r"^VmHWM:\s+(\d+) kB", status.read(), re.M)
        except OSError:
            found = None
        if found:
            self._peak_kib = max(self._peak_kib, int(found[1]))
        return self._peak_kib


    def obituary(self):
        code = self.popen.wait()
        how = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with {code}"
        with open(self.log, encoding="utf-8", errors="replace") as log:
            last = log.read()[-4000:].splitlines()[-5:]
        end = "ends with:" if last else "is empty"
        return "\n  ".join([f"{self.name} {how}; {self.log} {end}", *last])

    def said(self, text):
        with open(self.log, encoding="utf-8", errors="replace") as log:
            return text in log.read()

    def wait(self, deadline_s):
        """The exit status, None if it does not end in time."""
        try:
            return self.popen.wait(deadline_s)
        except subprocess.TimeoutExpired:
            return None

    def terminate(self):
        self.asked = True
        if self.code() is None:
            self.popen.terminate()

    def end(self):
        """After terminate(): waits a little, then insists."""
        if self.wait(3) is None:
            self.popen.kill()
            self.popen.wait()


def free_port():
    """Of those that the kernel gives to nobody by itself, so that no connection has it meanwhile."""
    with open("/proc/sys/net/ipv4/ip_local_port_range", encoding="ascii") as limits:
        end = int(limits.read().split()[0])
    while True:
        port = random.randrange(10000, max(end, 20000))
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


class Sink(Program):
    """Postfix's smtp-sink. With -c it keeps a running count on its standard output; with keep it
    also appends every mail to a file, which costs it more time than all the rest."""

    def __init__(self, consumers, keep, directory, log):
        os.mkdir(directory)
        self.out, self.mails = os.path.join(directory, "count"), os.path.join(directory, "mails")
        argv = ["smtp-sink", "-c", "-m", str(consumers * CONNECTIONS + 20)]
        if keep:
            argv += ["-D", "mails"]
        if os.geteuid() == 0:
            # It wants to be somebody else, and makes its file relative to where it is.
            argv += ["-u", "postfix"]
            shutil.chown(directory, "postfix")
        self.port = free_port()
        self.what = f"smtp-sink, on port {self.port}"
        super().__init__("smtp-sink", [*argv, f"127.0.0.1:{self.port}", "1000"],
                         log, out=self.out, cwd=directory)
        end = time.monotonic() + START_S
        while not self.greets():
            if self.code() is not None or time.monotonic() > end:
                self.popen.kill()
                raise OSError(self.obituary())
            time.sleep(0.01)

    @property
    def url(self):
        return f"smtp://127.0.0.1:{self.port}"

    def greets(self):
        try:
            with socket.create_connection(("127.0.0.1", self.port), 5) as peer:
                return peer.recv(3) == b"220"
        except OSError:
            return False

    def count(self):
        """Mails accepted, by its own last word on that."""
        with open(self.out, "rb") as out:
            out.seek(max(0, os.path.getsize(self.out) - 200))
            found = re.findall(rb"mesg=(\d+)\r", out.read())
        return int(found[-1]) if found else 0

    def kept(self):
        """What it kept: its own lines about the envelope, then the mail as it arrived."""
        with open(self.mails, "rb") as mails:
            return mails.read()


class Server(Program):
    """One of tests/fakes, ready when it has printed port=N, with a record of one line for each mail
    or call."""

    def __init__(self, name, argv, directory, log):
        os.mkdir(directory)
        self.out, self.record = os.path.join(directory, "out"), os.path.join(directory, "record")
        super().__init__(name, [*argv, "--record", self.record], log, out=self.out)
        end = time.monotonic() + START_S
        while not (said := self.first_word(self.out)):
            if self.code() is not None or time.monotonic() > end:
                self.popen.kill()
                raise OSError(self.obituary())
            time.sleep(0.01)
        self.port = int(said[1])

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}"

    @staticmethod
    def first_word(out):
        with open(out, encoding="utf-8") as text:
            return re.match(r"port=(\d+)\n", text.read())

    def lines(self):
        with open(self.record, encoding="utf-8") as record:
            return [line for line in record if line.endswith("\n")]


class SlowRelay(Server):
    """fakesmtp, which takes its time for each reply, as relays in other places do."""

    def __init__(self, program, delay_ms, directory, log):
        self.what = f"fakesmtp, which takes {delay_ms} ms"
        super().__init__("fakesmtp", [program, "--delay-ms", str(delay_ms)], directory, log)

    @property
    def url(self):
        return f"smtp://127.0.0.1:{self.port}"

    def count(self):
        """Mails accepted: those that it has not written down yet as well, while it lives."""
        words = self.counts()
        self.popen.send_signal(signal.SIGUSR1)  # it writes its record, then its counts
        end = time.monotonic() + 60
        while self.code() is None and time.monotonic() < end and self.counts() == words:
            time.sleep(0.005)
        return len(self.lines())

    def counts(self):
        """How often it has said its counts."""
        with open(self.out, encoding="utf-8") as out:
            return out.read().count("}\n")
