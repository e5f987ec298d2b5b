"""RabbitMQ and MariaDB of one test's own, to be stopped, frozen and restarted without disturbing other
tests. Import this before harness: from then on harness talks to these.

    import private_services
    services = private_services.start()
    from harness import Stage

They are those of ./dev up, started from a copy of dev and dev.d in a temporary directory. They end with
the test, however it ends.
"""

import os
import shutil
import signal
import subprocess
import tempfile

import pids

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
# Waits for the end of its standard input, which comes with ours, even by SIGKILL.
GUARD = 'read -r _; "$1/dev" clean >/dev/null 2>&1; rm -rf -- "$1"'


class Services:
    def __init__(self, mariadb_options=""):
        self._mariadb_options = mariadb_options
        self.dir = tempfile.mkdtemp(prefix="mailflock-services-")
        shutil.copy(os.path.join(ROOT, "dev"), self.dir)
        shutil.copytree(os.path.join(ROOT, "dev.d"), os.path.join(self.dir, "dev.d"))
        self._guard = subprocess.Popen(["bash", "-c", GUARD, "bash", self.dir], stdin=subprocess.PIPE,
                                       start_new_session=True)
        try:
            self.dev("up")
        except BaseException:
            self.stop()
            raise
        self._take_environment()

    def dev(self, *args):
        """./dev ARGS in the copy; returns what it printed."""
        env = {k: v for k, v in os.environ.items()
               if not k.startswith(("MAILFLOCK_", "RABBITMQ_", "ERL_"))}
        env["MF_MARIADB_OPTIONS"] = self._mariadb_options
        done = subprocess.run([os.path.join(self.dir, "dev"), *args], stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=400,
                              env=env)
        if done.returncode:
            raise AssertionError(f"dev {' '.join(args)} ended with {done.returncode}:\n{done.stdout}")
        return done.stdout

    def _take_environment(self):
        build = os.environ.get("MF_BUILD") or os.path.join(ROOT, ".dev", "build")
        env = os.path.join(self.dir, ".dev", "env")
        text = subprocess.run(["bash", "-c", '. "$1" && env -0', "bash", env], check=True,
                              stdout=subprocess.PIPE).stdout.decode()
        os.environ.update(pair.split("=", 1) for pair in text.split("\0") if "=" in pair)
        os.environ["MF_BUILD"] = build
        os.environ.setdefault("MF_BUILD_FAULTS", build + "-faults")

    # One of them: rabbitmq or mariadb.

    def begin(self, name):
        self.dev("service", "start", name)

    def end(self, name):
        self.dev("service", "stop", name)

    def restart(self, name):
        self.dev("service", "restart", name)

    def pid(self, name):
        with open(os.path.join(self.dir, ".dev", "run", f"{name}.pid"), encoding="utf-8") as file:
            return int(file.read().split()[0])

    def kill(self, name):
        """SIGKILL, as a power cut; begin() starts it again."""
        pids.kill(self.pid(name))

    def freeze(self, name):
        os.kill(self.pid(name), signal.SIGSTOP)

    def thaw(self, name):
        os.kill(self.pid(name), signal.SIGCONT)

    def sql_as_root(self, statement):
        subprocess.run(["mariadb", "--no-defaults", "-S", os.environ["MF_DB_SOCKET"], "-e", statement],
                       check=True, timeout=60, stdout=subprocess.DEVNULL)

    def rabbitmq_eval(self, expression):
        return self.dev("rabbitmqctl", "eval", expression)

    def stop(self):
        self._guard.stdin.close()
        self._guard.wait(400)


def start(**options):
    """mariadb_options: more options of mariadbd, as one text."""
    return Services(**options)
