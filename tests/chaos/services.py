"""The private RabbitMQ and MariaDB of a chaos run, in a directory of their own: it kills them."""

import fcntl
import os
import subprocess
import sys
import time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(1, os.path.join(ROOT, "tests", "system"))
import pids  # noqa: E402

DEV = os.path.join(ROOT, "dev")
OURS = ("MAILFLOCK_", "MF_", "RABBITMQ_", "ERL_EPMD_")


class Services:
    def __init__(self, state):
        self.state = state
        self._starting = {}  # name -> (Popen or None, not before)
        os.makedirs(state, exist_ok=True)
        self._lock = open(os.path.join(state, "chaos.lock"), "w", encoding="ascii")

    def _environment(self):
        env = {k: v for k, v in os.environ.items() if not k.startswith(OURS)}
        env["MF_STATE"] = self.state
        return env

    def _dev(self, *args):
        with open(os.path.join(self.state, "dev.log"), "ab") as log:
            return subprocess.Popen([DEV, *args], env=self._environment(), stdin=subprocess.DEVNULL,
                                    stdout=log, stderr=log, start_new_session=True)

    def _dev_done(self, *args):
        if self._dev(*args).wait(400):
            raise RuntimeError(f"./dev {' '.join(args)} failed; see {self.state}/dev.log")

    def __enter__(self):
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print("waiting for another ./dev chaos to end", flush=True)
            fcntl.flock(self._lock, fcntl.LOCK_EX)
        try:
            self._dev_done("up")
            self._take_environment()
        except BaseException:
            self._dev_done("down")
            raise
        return self

    def __exit__(self, *_):
        for started, _ in self._starting.values():
            if started:
                started.wait(400)
        self._dev_done("down")

    def _take_environment(self):
        """Makes these services the ones that the harness finds, whatever the caller has sourced."""
        keep = {"MF_BUILD": os.environ.get("MF_BUILD") or os.path.join(ROOT, ".dev", "build"),
                "MF_CONSUMER": os.environ.get("MF_CONSUMER", "")}
        for name in [name for name in os.environ if name.startswith(OURS)]:
            del os.environ[name]
        text = subprocess.run(["bash", "-c", '. "$1" && env -0', "bash",
                               os.path.join(self.state, "env")], check=True,
                              stdout=subprocess.PIPE, env=self._environment()).stdout.decode()
        os.environ.update(pair.split("=", 1) for pair in text.split("\0") if pair.startswith(OURS))
        os.environ.update(keep)

    # -- crashes

    def _pid(self, name):
        with open(os.path.join(self.state, "run", f"{name}.pid"), encoding="ascii") as file:
            return int(file.read().split()[0])

    def is_up(self, name):
        return name not in self._starting

    def kill(self, name, down_s):
        """SIGKILL; poll() starts it again after down_s. Returns the pid."""
        pid = self._pid(name)
        pids.kill(pid)
        self._starting[name] = (None, time.monotonic() + down_s)
        return pid

    def poll(self):
        """Goes on with starting; returns the names of those that are up again now."""
        up = []
        for name, (started, not_before) in list(self._starting.items()):
            if not started and time.monotonic() >= not_before:
                self._starting[name] = (self._dev("service", "start", name), 0)
            elif started and started.poll() is not None:
                if started.returncode:
                    raise RuntimeError(f"{name} did not start again; see {self.state}/dev.log")
                del self._starting[name]
                up.append(name)
        return up
