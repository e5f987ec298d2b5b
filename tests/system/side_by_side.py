"""Runs the tests of a file several at a time, each in a process of its own: for tests that mostly wait,
for leases and delays, and that have a Stage of their own.

    if __name__ == "__main__":
        side_by_side.main()

With arguments it is unittest.main: test_consumer.py ConsumerTest.test_usage
"""

import ctypes
import signal
import subprocess
import sys
import tempfile
import time
import unittest

PR_SET_PDEATHSIG = 1
DEADLINE_S = 270  # for one test
MEASURED = "measured: "  # what stands behind it is shown of a test that passed, too
_libc = ctypes.CDLL(None, use_errno=True)


def _die_with_parent():
    _libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def _names(suite):
    for item in suite:
        if isinstance(item, unittest.TestSuite):
            yield from _names(item)
        else:
            yield item.id().removeprefix("__main__.")


class _Child:
    def __init__(self, name):
        self.name, self.started = name, time.monotonic()
        self.output = tempfile.TemporaryFile()
        self.process = subprocess.Popen([sys.executable, sys.argv[0], "-v", name], stdout=self.output,
                                        stdin=subprocess.DEVNULL, stderr=subprocess.STDOUT,
                                        preexec_fn=_die_with_parent)

    def ended(self):
        if self.process.poll() is None and time.monotonic() - self.started > DEADLINE_S:
            self.process.kill()
            self.process.wait()
        return self.process.poll() is not None

    def report(self):
        """Prints how it went; the output only of one that failed, and what was measured. True when it
        is fine."""
        good = self.process.returncode == 0
        print(f"{time.monotonic() - self.started:6.1f} s  {self.name} ... "
              f"{'ok' if good else f'FAILED ({self.process.returncode})'}", flush=True)
        self.output.seek(0)
        text = self.output.read().decode(errors="replace")
        if not good or "skipped" in text:
            print(text, flush=True)
        else:
            for line in text.splitlines():
                if MEASURED in line:
                    print(line[line.index(MEASURED):], flush=True)
        self.output.close()
        return good


def main(at_once=2):
    if len(sys.argv) > 1:
        unittest.main()
    waiting = list(_names(unittest.defaultTestLoader.loadTestsFromModule(sys.modules["__main__"])))
    started, total, running, failed = time.monotonic(), len(waiting), [], []
    while waiting or running:
        while waiting and len(running) < at_once:
            running.append(_Child(waiting.pop(0)))
        for child in [c for c in running if c.ended()]:
            running.remove(child)
            if not child.report():
                failed.append(child.name)
        time.sleep(0.02)
    print(f"\nRan {total} tests in {time.monotonic() - started:.1f}s\n")
    if failed:
        sys.exit("FAILED: " + ", ".join(failed))
    print("OK")
