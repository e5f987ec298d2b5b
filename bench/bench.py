"""The part of ./dev bench that measures; see docs/performance.md. Called by dev.d/bench.sh when all
is built and the services are up: bench.py [--quick] [--only ROW,...] [--pairs N]
"""

import json
import os
import platform
import signal
import statistics
import subprocess
import sys
import tempfile
import time
import traceback

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.append(os.path.join(os.path.dirname(HERE), "tests", "system"))

from environment import ROOT  # found by the path above
from contestants import have_programs
from figures import line
from plan import arguments
from row import Skipped
from rows import ROWS, summary

STAGE_S = 1  # for the database of a row, its virtual host, and their end
QUICK_S = 50  # for all rows together
RESULT = os.path.join(ROOT, ".dev", "bench.json")


def first_line(*argv):
    try:
        done = subprocess.run(argv, capture_output=True, text=True, timeout=20,
                              env={**os.environ, "PATH": os.environ["PATH"] + ":/usr/sbin"})
        return (done.stdout or done.stderr).splitlines()[0].strip()
    except (OSError, IndexError, subprocess.SubprocessError):
        return "-"


def cpu_model():
    with open("/proc/cpuinfo", encoding="utf-8") as info:
        names = (text.split(":", 1)[1].strip() for text in info if text.startswith("model name"))
        return next(names, "-")


def syscall_ns():
    """CPU time of a bare system call; on some virtual machines ten times that on others."""
    rounds = 200_000
    costs = []
    for call in (int, os.getppid):
        began = time.process_time_ns()
        for _ in range(rounds):
            call()
        costs.append((time.process_time_ns() - began) / rounds)
    return round(costs[1] - costs[0])


def fdatasync_ms():
    """The median time until 4 KiB more are on the disk below .dev."""
    times = []
    with tempfile.TemporaryFile(dir=os.path.join(ROOT, ".dev"), buffering=0) as file:
        for _ in range(50):
            file.write(bytes(4096))
            began = time.monotonic()
            os.fdatasync(file.fileno())
            times.append((time.monotonic() - began) * 1000)
    return round(statistics.median(times), 2)


def machine():
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return {
        "cores": os.cpu_count(), "cpu": cpu_model(), "memory_gib": round(memory, 1),
        "kernel": platform.release(), "syscall_ns": syscall_ns(), "fdatasync_ms": fdatasync_ms(),
        "load_before": os.getloadavg()[0],
        "mariadb": first_line("mariadbd", "--version"),
        "postfix": first_line("postconf", "-hd", "mail_version"),
        "node": first_line("node", "--version"), "haproxy": first_line("haproxy", "-v"),
        "commit": first_line("git", "-C", ROOT, "describe", "--always", "--dirty"),
    }


def interrupt(number, _frame):
    raise KeyboardInterrupt(number)


def show(name, result):
    print(f"{name}: {result.title}; {result.facts['pairs']} in turn")
    for figure in result.lines:
        print(line(figure))
    for text in result.text:
        print(text)
    disturbed, runs = result.disturbed
    if disturbed:
        print(f"  NOTE: other programs had more than a quarter of the cores in {disturbed} of {runs} "
              "runs; by wall\n  clock, the side with more processes gains from that")
    print(flush=True)


def save(args, about, results, skipped):
    text = json.dumps({
        "quick": args.quick, "machine": about, "skipped": skipped, "summary": summary(results),
        "rows": {name: result.as_json() for name, result in results.items()},
    }, ensure_ascii=False, indent=1)
    with open(RESULT + ".new", "w", encoding="utf-8") as file:
        file.write(text + "\n")
    os.replace(RESULT + ".new", RESULT)


def last_line(results):
    return "bench: " + " ".join(f"{name}={'-' if value is None else format(value, '.4g')}"
                                for name, value in summary(results).items())


def measure(args, about):
    """Row by row; answers the results and whether each row was measured or left out for a reason.
    What went wrong in one row does not take the others along."""
    plan, results, skipped, whole = args.plan, {}, {}, True
    start = time.monotonic()
    for n, name in enumerate(args.rows):
        began = time.monotonic()
        if args.quick:
            plan["seconds"] = (start + QUICK_S - began) / (len(args.rows) - n) - STAGE_S
        try:
            result = ROWS[name](plan)
        except Skipped as e:
            skipped[name] = str(e)
            print(f"{name}: skipped: {e}\n", flush=True)
            continue
        except Exception as e:  # whatever it was, the other rows are independent of it
            whole = False
            traceback.print_exc()
            print(f"{name}: FAILED: {e}\n", flush=True)
            continue
        result.facts |= {"took_s": time.monotonic() - began, "load_after": os.getloadavg()[0]}
        results[name] = result
        show(name, result)
        save(args, about, results, skipped)
    return results, whole


def main():
    args = arguments()
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, interrupt)
    have_programs()
    about = machine()
    print(f"{about['cores']} x {about['cpu']}, {about['memory_gib']} GiB, Linux {about['kernel']}, "
          f"system call {about['syscall_ns']} ns, fdatasync {about['fdatasync_ms']} ms, "
          f"load {about['load_before']:.2f}; sides in turn: median, least .. most\n", flush=True)
    results, whole = measure(args, about)
    if results:
        print(f"all figures, run by run: {RESULT}")
    print(last_line(results), flush=True)
    return 0 if whole else 1


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit("bench: interrupted")
