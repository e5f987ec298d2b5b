"""Explicit-state exploration: every state a model can reach, breadth first.

A model has four methods:

    initial()          the first state
    successors(state)  [(label, is_fault, state), ...]: every step that can be taken
    violation(state)   what is wrong with the state, or None
    is_final(state)    whether everything is settled: nothing is left to be done

States are hashable. Breadth first means that the first violation found has a shortest counterexample.
Liveness is judged afterwards, by going backwards from the final states over all steps but faults: a
state that is not met on the way can never come to an end again, however kind the world is to it.
"""

import gc
import time
from array import array
from dataclasses import dataclass, field


@dataclass
class Result:
    """What an exploration found. complete: nothing was left out within the bounds."""

    states: int = 0
    finals: int = 0
    depth: int = 0
    seconds: float = 0.0
    complete: bool = True
    violation: str | None = None
    trace: list = field(default_factory=list)  # [(label, state), ...] from the first step on


class Graph:
    """The states found, who found them, and the steps between them that are not faults."""

    def __init__(self, first):
        self.number = {first: 0}
        self.states = [first]
        self.parents = array("i", [-1])
        self.sources, self.targets = array("i"), array("i")

    def add(self, state, parent):
        """Returns the number of the state; -1 where it was known already."""
        number = len(self.states)
        known = self.number.setdefault(state, number)
        if known != number:
            return known
        self.states.append(state)
        self.parents.append(parent)
        return number

    def add_step(self, source, target):
        self.sources.append(source)
        self.targets.append(target)

    def trace(self, model, number):
        """The steps from the first state to this one; labels are found by taking them again."""
        path = []
        while number > 0:
            path.append(number)
            number = self.parents[number]
        steps, at = [], self.states[0]
        for number in reversed(path):
            wanted = self.states[number]
            steps.append((next(label for label, _, state in model.successors(at) if state == wanted),
                          wanted))
            at = wanted
        return steps

    def first_that_cannot_end(self, finals):
        """The number of the first state from which no final one can be reached without a fault."""
        count = len(self.states)
        offsets = array("i", bytes(4 * (count + 1)))
        for target in self.targets:
            offsets[target + 1] += 1
        for i in range(count):
            offsets[i + 1] += offsets[i]
        fill, backwards = array("i", offsets), array("i", bytes(4 * len(self.targets)))
        for source, target in zip(self.sources, self.targets):
            backwards[fill[target]] = source
            fill[target] += 1
        reached, stack = bytearray(count), list(finals)
        for number in stack:
            reached[number] = 1
        while stack:
            number = stack.pop()
            for i in range(offsets[number], offsets[number + 1]):
                source = backwards[i]
                if not reached[source]:
                    reached[source] = 1
                    stack.append(source)
        number = reached.find(0)
        return None if number < 0 else number


def explore(model, max_states=None, max_seconds=None, progress=None):
    """Explores the model and returns a Result. Past a limit it stops, and the result is not complete.
    progress(states, seconds) is called now and then."""
    gc.disable()  # states hold no cycles, and looking for some among millions of them takes its time
    try:
        return search(model, max_states, max_seconds, progress)
    finally:
        gc.enable()


def search(model, max_states, max_seconds, progress):
    began = time.monotonic()
    graph, result, finals = Graph(model.initial()), Result(), []
    depths, at = array("H", [0]), 0

    def fail(why, number):
        result.violation, result.trace = why, graph.trace(model, number)

    while at < len(graph.states) and not result.violation:
        state = graph.states[at]
        why = model.violation(state)
        if why:
            fail(why, at)
            break
        if model.is_final(state):
            finals.append(at)
        for _, is_fault, successor in model.successors(state):
            number = graph.add(successor, at)
            if number == len(depths):
                depths.append(depths[at] + 1)
            if not is_fault and number != at:
                graph.add_step(at, number)
        at += 1
        if at % 20000 == 0:
            seconds = time.monotonic() - began
            if progress:
                progress(len(graph.states), seconds)
            if (max_states and len(graph.states) > max_states) or (max_seconds and seconds > max_seconds):
                result.complete = False
                break
    result.depth = depths[at - 1] if at else 0
    if result.complete and not result.violation:
        stuck = graph.first_that_cannot_end(finals)
        if stuck is not None:
            fail("liveness: from here no step but a fault leads to an end", stuck)
    result.states, result.finals = len(graph.states), len(finals)
    result.seconds = time.monotonic() - began
    return result
