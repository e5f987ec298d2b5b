"""A private Postfix that delivers to a Maildir: a real server at the other end of the wire.

    with Postfix(directory) as postfix:
        ... send to postfix.url, any address @example.net ...
        wait_until(lambda: len(postfix.mails()) == 10)

Everything is below `directory`: configuration, queue, data, mail and log. It listens on loopback
only, and relays to nobody. It needs root, as Postfix does: skip the test where why_not() says why.
"""

import os
import shutil
import subprocess
import tempfile

from processes import Process, answers, free_port, wait_until

SBIN = "/usr/lib/postfix/sbin"
PATH = os.environ.get("PATH", "") + ":/usr/sbin:/sbin"
NOBODY = 65534

MAIN = """\
compatibility_level = 3.6
queue_directory = {dir}/queue
data_directory = {dir}/data
maillog_file = {dir}/log/maillog
maillog_file_prefixes = {dir}
myhostname = postfix.example
mydestination =
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
mynetworks =
alias_maps =
alias_database =
local_recipient_maps =
smtpd_relay_restrictions = reject_unauth_destination
smtpd_client_connection_count_limit = 0
default_transport = error:this server delivers nothing elsewhere
relay_transport = error:this server delivers nothing elsewhere
local_transport = error:this server has no local users
virtual_transport = virtual
virtual_mailbox_domains = {domains}
virtual_mailbox_base = {dir}/mail
virtual_mailbox_maps = static:inbox/
virtual_uid_maps = static:{uid}
virtual_gid_maps = static:{uid}
in_flow_delay = 0
disable_dns_lookups = yes
smtputf8_enable = yes
"""

MASTER = """\
127.0.0.1:{port} inet n - n - {processes} smtpd
cleanup   unix  n - n - 0 cleanup
qmgr      unix  n - n 300 1 qmgr
rewrite   unix  - - n - - trivial-rewrite
bounce    unix  - - n - 0 bounce
defer     unix  - - n - 0 bounce
trace     unix  - - n - 0 bounce
error     unix  - - n - - error
virtual   unix  - n n - - virtual
anvil     unix  - - n - 1 anvil
proxymap  unix  - - n - - proxymap
tlsmgr    unix  - - n 1000? 1 tlsmgr
postlog   unix-dgram n - n - 1 postlogd
"""


def why_not():
    """Why no private Postfix can run here, or None."""
    if os.geteuid() != 0:
        return "a private Postfix needs root"
    if not os.path.exists(os.path.join(SBIN, "master")):
        return f"Postfix is not installed in {SBIN}"
    return None


class Postfix:
    def __init__(self, directory, domains=("example.net",), settings="", processes=50):
        """settings: more lines of main.cf."""
        reason = why_not()
        if reason:
            raise RuntimeError(reason)
        # Postfix's user has to get through to its files, which a private directory forbids.
        self.dir = tempfile.mkdtemp(prefix="mailflock-postfix-")
        self.process = None
        try:
            self._write(domains, settings, processes)
            self._start(directory)
        except BaseException:
            self.stop()
            raise

    def _write(self, domains, settings, processes):
        os.chmod(self.dir, 0o755)
        for name in ("config", "queue", "data", "log", "mail"):
            os.mkdir(os.path.join(self.dir, name), 0o755)
        shutil.chown(os.path.join(self.dir, "data"), "postfix")
        os.chown(os.path.join(self.dir, "mail"), NOBODY, NOBODY)
        self.port = free_port()
        self._write_file("main.cf", MAIN.format(dir=self.dir, domains=" ".join(domains),
                                                uid=NOBODY) + settings)
        self._write_file("master.cf", MASTER.format(port=self.port, processes=processes))

    def _write_file(self, name, text):
        with open(os.path.join(self.dir, "config", name), "w", encoding="utf-8") as file:
            file.write(text)

    def _start(self, directory):
        config = os.path.join(self.dir, "config")
        check = subprocess.run(["postfix", "-c", config, "check"], stdin=subprocess.DEVNULL,
                               stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                               timeout=60, env={**os.environ, "PATH": PATH})
        if check.returncode:
            raise RuntimeError(f"postfix check: {check.stdout}{self.log()}")
        # -s keeps the master in the foreground: our child, ended by its own pid.
        self.process = Process("postfix", [f"{SBIN}/master", "-c", config, "-s"],
                               os.path.join(directory, "postfix.log"),
                               env={**os.environ, "PATH": PATH, "MAIL_CONFIG": config})
        wait_until(self._ready, 60, lambda: f"Postfix to start: {self.process.text()}{self.log()}")

    def _ready(self):
        if not self.process.alive:
            raise AssertionError(f"Postfix ended: {self.process.text()}{self.log()}")
        return answers(self.port)

    @property
    def url(self):
        return f"smtp://127.0.0.1:{self.port}"

    def log(self):
        try:
            with open(os.path.join(self.dir, "log", "maillog"), encoding="utf-8") as log:
                return log.read()
        except FileNotFoundError:
            return ""

    def mails(self):
        """The delivered mails, as bytes."""
        new = os.path.join(self.dir, "mail", "inbox", "new")
        found = []
        for name in sorted(os.listdir(new)) if os.path.isdir(new) else []:
            with open(os.path.join(new, name), "rb") as mail:
                found.append(mail.read())
        return found

    def mail_count(self):
        new = os.path.join(self.dir, "mail", "inbox", "new")
        return len(os.listdir(new)) if os.path.isdir(new) else 0

    def end(self):
        """Ends the server and its daemons, and keeps the mails."""
        if self.process:
            self.process.end()
            pids = self.daemons()
            wait_until(lambda: not any(map(is_running, pids)), 60, f"Postfix's daemons {pids} to end")

    def daemons(self):
        """The daemons still there: those that work below our queue directory."""
        queue = os.path.realpath(os.path.join(self.dir, "queue"))
        found = []
        for pid in filter(str.isdigit, os.listdir("/proc")):
            try:
                if os.readlink(f"/proc/{pid}/cwd").startswith(queue):
                    found.append(int(pid))
            except OSError:
                pass
        return found

    def stop(self):
        self.end()
        shutil.rmtree(self.dir, ignore_errors=True)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()


def is_running(pid):
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8") as stat:
            return stat.read().rsplit(")", 1)[1].split()[0] not in "ZX"
    except OSError:
        return False
