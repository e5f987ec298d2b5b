"""What processes cost: CPU time to the nanosecond, by process and by thread, and when the services
have come to rest."""

import glob
import os
import time

from environment import ROOT

SERVICES = ("mariadb", "rabbitmq")
REST_S = 0.1  # looked at for so long
REST_SHARE = 0.1  # of a core: less is rest
REST_DEADLINE_S = 10
DISTURBED = 0.25  # of all cores: with more of them at other things, a measurement says little


def cpu_ns(pid):
    """CPU time of all threads so far; of an ended process too, until it is waited for."""
    return time.clock_gettime_ns((~pid << 3) | 2)  # clock_getcpuclockid(3)


def threads_ns(pid):
    """Thread name -> CPU time so far; threads of one name together, the first one as main."""
    found = {}
    for task in glob.glob(f"/proc/{pid}/task/*"):
        with open(f"{task}/comm", encoding="utf-8") as comm:
            name = "main" if task.endswith(f"/{pid}") else comm.read().strip()
        with open(f"{task}/schedstat", encoding="utf-8") as schedstat:
            found[name] = found.get(name, 0) + int(schedstat.read().split()[0])
    return found


def machine_ns():
    """Busy time of all cores so far, in ticks of 10 ms."""
    with open("/proc/stat", encoding="utf-8") as stat:
        user, nice, system, _idle, _iowait, irq, softirq, steal = map(
            int, stat.readline().split()[1:9])
    ticks = user + nice + system + irq + softirq + steal
    return ticks * (1_000_000_000 // os.sysconf("SC_CLK_TCK"))


def has_ended(pid):
    """Whether this child of ours has ended; it stays to be waited for."""
    return os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None


def service_pid(name):
    with open(os.path.join(ROOT, ".dev", "run", f"{name}.pid"), encoding="utf-8") as file:
        return int(file.read().split()[0])


def rest():
    """Waits until the services have done what the last measurement left them to do."""
    pids = [service_pid(name) for name in SERVICES]
    end = time.monotonic() + REST_DEADLINE_S
    while time.monotonic() < end:
        before = sum(map(cpu_ns, pids))
        time.sleep(REST_S)
        if sum(map(cpu_ns, pids)) - before < REST_S * REST_SHARE * 1e9:
            return


class Meter:
    """CPU time from its making to stop(). processes: name -> pids; threads are told apart for the
    names in by_thread. busy_share: of all cores, how much was busy; others_share: of that, what
    other processes were busy with."""

    def __init__(self, processes, by_thread=()):
        self.processes, self.by_thread = processes, by_thread
        self.cpu, self.threads = {}, {}
        self._gone = {}
        self._began = self._now()
        self._began_machine, self._began_at = machine_ns(), time.monotonic()

    def _now(self):
        found = {name: sum(map(cpu_ns, pids)) for name, pids in self.processes.items()}
        for name in self.by_thread:
            for pid in self.processes[name]:
                for thread, ns in threads_ns(pid).items():
                    found[name, thread] = found.get((name, thread), 0) + ns
        return found

    def add(self, name, seconds):
        """A process that began and ended meanwhile."""
        self.cpu[name] = self.cpu.get(name, 0) + seconds

    def stop(self):
        for key, ns in self._now().items():
            into = self.threads if isinstance(key, tuple) else self.cpu
            into[key] = (ns - self._began.get(key, 0)) / 1e9
        busy_s = (machine_ns() - self._began_machine) / 1e9
        self.busy_share = busy_s / ((time.monotonic() - self._began_at) * os.cpu_count())
        self.others_share = max(0, 1 - sum(self.cpu.values()) / busy_s) if busy_s else 0
        self.disturbed = self.busy_share * self.others_share > DISTURBED
