"""Processes that are not our children, by their number. Nothing of the harness, which looks for the
services when it is imported."""

import os
import signal
import time


def is_dead(pid):
    """Whether nothing of it is left, or only a zombie."""
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as stat:
            return stat.read().rsplit(")", 1)[1].split()[0] in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return True


def kill(pid):
    """SIGKILL, and dead when it returns: before that, whoever starts it again finds it alive."""
    os.kill(pid, signal.SIGKILL)
    end = time.monotonic() + 60
    while not is_dead(pid):
        if time.monotonic() > end:
            raise AssertionError(f"process {pid} does not die")
        time.sleep(0.01)
