"""Explores the models of this directory.

    check.py small    each rule's shortest counterexample, and the small worlds to the end
    check.py large    the large worlds to the end
    check.py show C8  the counterexamples of a rule, step by step

Ends with 1 where something is not as rules.py and bounds.py say."""

import sys

import bounds
import rules
from chunk import ChunkModel
from chunk_state import describe
from explore import explore


def text_of(model, world):
    """chunk crash=1 expire=1"""
    name = "chunk" if model is ChunkModel else "run"
    return " ".join([name] + [f"{key}={value}" for key, value in world.items()])


def print_trace(result, model):
    for label, state in result.trace:
        print(f"    {label}")
        if isinstance(model, ChunkModel):
            for line in describe(state):
                print(f"        {line}")
    print(f"    -> {result.violation}")


def check_case(case):
    """A rule left out: the violation must be the one that is known, and as near."""
    result = explore(case.build())
    found = result.violation or "nothing"
    good = found.startswith(case.breaks) and len(result.trace) == case.steps
    mark = "" if good else "UNEXPECTED: "
    print(f"{case.switches:26} {len(result.trace):5} steps  {mark}{found}", flush=True)
    return good, result.states


def check_doubled(switches, world, model):
    result = explore(model(off=switches.split(), **world))
    good = not result.violation
    found = "nothing: another rule stands behind it" if good else f"UNEXPECTED: {result.violation}"
    print(f"{switches:26}     - steps  {found}", flush=True)
    return good, result.states


def report_progress(states, seconds):
    if sys.stdout.isatty():
        print(f"\r  ... {states} states, {seconds:.0f} s", end="", flush=True)


def check_world(model, world):
    """All rules in force: nothing may be violated, and every state must be able to come to an end."""
    built = model(**world)
    result = explore(built, progress=report_progress)
    good = not result.violation and result.finals > 0
    clear = "\r" if sys.stdout.isatty() else ""
    print(f"{clear}{result.states:9} states {result.depth:4} deep {result.finals:6} ends"
          f" {result.seconds:7.1f} s  {text_of(model, world)}", flush=True)
    if not good:
        print_trace(result, built)
    return good, result.states


def conclude(results):
    bad = sum(not good for good, _ in results)
    print(f"model: explored={len(results)} states={sum(states for _, states in results)} failed={bad}")
    return 1 if bad else 0


def small():
    results = [check_case(case) for case in rules.CASES]
    results += [check_doubled(*doubled) for doubled in rules.DOUBLED]
    return conclude(results + [check_world(*world) for world in bounds.SMALL])


def large():
    return conclude([check_world(*world) for world in bounds.LARGE])


def show(name):
    cases = [case for case in rules.CASES if name in (case.rule, *case.switches.split())]
    for case in cases:
        model = case.build()
        print(f"{case.switches}: {case.instead} ({text_of(case.model, case.world)})")
        print_trace(explore(model), model)
    if not cases:
        known = " ".join(dict.fromkeys(case.rule for case in rules.CASES))
        print(f"check.py: there is no rule {name}; there are {known}", file=sys.stderr)
    return 0 if cases else 2


def main(argv):
    if argv[1:] == ["small"]:
        return small()
    if argv[1:] == ["large"]:
        return large()
    if len(argv) == 3 and argv[1] == "show":
        return show(argv[2])
    print(__doc__, file=sys.stderr)
    return 2


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv))
    except BrokenPipeError:
        sys.stderr.close()
        sys.exit(1)
