"""What ./dev demo shows: a line per step with its seconds, a bar on a terminal or a line a second
elsewhere, rows of figures. 79 columns."""

import contextlib
import os
import shutil
import sys
import time

STEP = "  {:<12}{:<52} {:>6.1f} s"  # as demo_line in dev.d/demo.sh has it
BAR = 24
LINE_EVERY_S = 1.0


def counted(number, thing):
    return f"{number:,} {thing}" + ("" if number == 1 else "s")


class Screen:
    def __init__(self):
        sys.stdout.reconfigure(errors="replace")
        self.terminal = sys.stdout.isatty() and os.environ.get("TERM", "dumb") != "dumb"

    def say(self, text=""):
        print(text, flush=True)

    def row(self, name, value, note=""):
        self.say(f"  {name:<12}{value:>11}  {note}".rstrip())

    def draw(self, text):
        """On a terminal: this instead of what the line has."""
        if self.terminal:
            width = shutil.get_terminal_size((80, 24)).columns - 1
            print(f"\r\033[K{text[:width]}", end="", flush=True)

    def step(self, name, work):
        """Calls work(), which returns what it did."""
        began = time.monotonic()
        self.draw(f"  {name} ...")
        try:
            text = work()
        finally:
            self.draw("")
        self.say(STEP.format(name, text, time.monotonic() - began))

    @contextlib.contextmanager
    def progress(self, total):
        bar = Progress(self, total)
        try:
            yield bar
        except BaseException:
            self.draw("")
            raise
        bar.finish()

    def interrupted(self):
        self.draw("")
        self.say("demo: interrupted; what it had started has ended. The services are still up:")
        self.say("demo: ./dev down stops them")


class Progress:
    def __init__(self, screen, total):
        self.screen, self.total = screen, total
        self.began = self.said = time.monotonic()
        self.seen = [(self.began, 0)]  # of the last second

    def line(self, done):
        now = time.monotonic()
        self.seen.append((now, done))
        while len(self.seen) > 2 and now - self.seen[0][0] > 1:
            self.seen.pop(0)
        (since, before) = self.seen[0]
        rate = (done - before) / (now - since) if now > since else 0
        share = done / self.total
        filled = int(share * BAR)
        bar = "#" * filled + "-" * (BAR - filled)
        return (f"  {'sending':<12}[{bar}] {int(share * 100):3}%  {done:,} of {self.total:,}  "
                f"{rate:,.0f}/s")

    def show(self, done):
        now = time.monotonic()
        if self.screen.terminal:
            self.screen.draw(self.line(done))
        elif now - self.said >= LINE_EVERY_S:
            self.said += LINE_EVERY_S
            self.screen.say(f"  {'sending':<12}{done:,} of {self.total:,}")

    def finish(self):
        self.screen.draw("")
        self.screen.say(STEP.format("sending", f"{counted(self.total, 'outcome')} in the ledger",
                                    time.monotonic() - self.began))
