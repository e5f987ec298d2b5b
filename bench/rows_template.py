"""Row mustache: what sections, loops and partials cost the sender. tests/tools/bench_mime builds the
mails, without a network; it says what is compared."""

import re
import subprocess

from environment import binary
from figures import Figure
from row import Result, tell

FORMS = {"sections": "sections, partials, a loop", "variables": "a variable for each place",
         "one list": "the whole list in one variable"}
LINE = re.compile(r"^newsletter, (.*?)\s+(\d+) bytes\s+(\d+) ns/mail", re.MULTILINE)


def mustache(plan):
    result = Result(f"a newsletter with preferences and a list of ten items, "
                    f"{plan['mustache']:,} mails, CPU time of building them")
    ns = {name: [] for name in FORMS}
    result.facts["pairs"] = plan["pairs"]
    for pair in range(1, plan["pairs"] + 1):
        tell(f"{pair} of {plan['pairs']}")
        out = subprocess.run([binary("bench_mime"), str(plan["mustache"])], check=True, text=True,
                             stdout=subprocess.PIPE).stdout
        for name, octets, taken in LINE.findall(out):
            ns[name].append(int(taken))
            result.facts["octets"] = int(octets)
    tell("")
    for name, what in FORMS.items():
        result.add(Figure(what, [n / 1000 for n in ns[name]], "us/mail"))
    for name in ("variables", "one list"):
        result.add(Figure(f"more than {FORMS[name]}",
                          [(a - b) / 1000 for a, b in zip(ns["sections"], ns[name])], "us/mail",
                          ("<=", 3)))
    return result
