"""What the rows of the benchmark share: measuring in turn, and the lines of the table."""

import sys
import time

from figures import Figure

SESSIONS = 32


class Skipped(Exception):
    """This row cannot be measured here."""


class Result:
    def __init__(self, title):
        self.title, self.lines, self.runs, self.facts = title, [], {}, {}
        self.text = []  # lines below the figures

    def add(self, *figures):
        self.lines += figures

    @property
    def disturbed(self):
        """How many of the runs had to share the cores with other things, and of how many."""
        runs = [run for its in self.runs.values() for run in its]
        return sum(run.meter.disturbed for run in runs), len(runs)

    def as_json(self):
        return {
            "title": self.title, "lines": [line.as_json() for line in self.lines],
            "facts": self.facts,
            "runs": {name: [run.as_json() for run in runs] for name, runs in self.runs.items()},
        }


def in_turn(plan, result, contestants):
    """A B A B ...: name -> runs, one of each in every pair. With plan["seconds"], no pair is begun
    that would end later, but the first."""
    began = time.monotonic()
    for pair in range(1, plan["pairs"] + 1):
        for name, measure in contestants.items():
            tell(f"{pair} of {plan['pairs']}: {name}")
            result.runs.setdefault(name, []).append(measure())
        took = time.monotonic() - began
        if took * (pair + 1) / pair > plan.get("seconds", took * (pair + 1)):
            break
    tell("")
    result.facts["pairs"] = pair
    return result.runs


def tell(text):
    """What is going on, on a terminal."""
    if sys.stderr.isatty():
        print(f"\r\033[K{text}", end="", file=sys.stderr, flush=True)


def per_s(runs):
    return [run.per_s for run in runs]


def accepted_per_s(runs):
    return [run.recipients / run.accepted_s for run in runs]


def peak_mib(runs, who):
    return [run.peak_mib[who] for run in runs]


def mails_in_a_commit(runs):
    """How the ledger groups; the producer's few transactions are counted with them."""
    return [run.recipients / run.commits for run in runs]


def cost_lines(runs, who):
    """CPU time a mail, of each process and each thread of the consumer."""
    for name in runs[0].meter.cpu:
        yield Figure(f"  {who}: CPU of {name}", [run.cpu_us(name) for run in runs], "us/mail")
    yield Figure(f"  {who}: CPU of all these", [run.cpu_us(*run.meter.cpu) for run in runs],
                 "us/mail")
    for key in runs[0].meter.threads:
        yield Figure(f"  {who}: CPU of thread {key[1]}",
                     [run.meter.threads[key] * 1e6 / run.recipients for run in runs], "us/mail")
    yield Figure(f"  {who}: cores busy", [100 * run.meter.busy_share for run in runs], "%")
    yield Figure(f"  {who}: of that with other things",
                 [100 * run.meter.others_share for run in runs], "%")


def of(consumers):
    return "1 consumer" if consumers == 1 else f"{consumers} consumers"
