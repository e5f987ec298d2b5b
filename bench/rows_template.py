"""Row mustache: what sections, loops and partials cost the sender, for the newsletters of config/ with
their sample data. tests/tools/bench_campaign builds the mails, without a network; it says what is
compared."""

import os
import re
import subprocess

from environment import binary
from figures import Figure
from row import Result, tell
from shipped import ShippedStage

CAMPAIGNS = ("newsletter", "personal-newsletter")
RECIPIENTS = 500
LINE = re.compile(r"octets=(\d+) templates_ns=(\d+) plain_octets=\d+ variables_ns=(\d+)")


class Letters:
    """A campaign with a chunk of its recipients, as a worker gets it."""

    def __init__(self, stage, name):
        self.stage, self.name = stage, name
        self.chunk = os.path.join(stage.dir, f"{name}.chunk")
        stage.produce(name)
        _, body = stage.take("mailflock.bulk.relay", 60)
        with open(self.chunk, "wb") as file:
            file.write(body)
        self.octets, self.templates, self.variables = 0, [], []

    def measure(self, mails):
        out = subprocess.run(
            [binary("bench_campaign"), self.stage.config, self.name, self.chunk, str(mails)],
            check=True, text=True, stdout=subprocess.PIPE, cwd=self.stage.dir,
            env=self.stage.environment()).stdout
        octets, templates, variables = map(int, LINE.match(out).groups())
        self.octets = octets
        self.templates.append(templates / 1000)
        self.variables.append(variables / 1000)


def mustache(plan):
    result = Result(f"building the mails of two newsletters of config/, {plan['mustache']:,} mails "
                    "each, CPU time; against plain variables")
    result.facts["pairs"] = plan["pairs"]
    with ShippedStage() as stage:
        stage.load("subscribers.sql", RECIPIENTS)
        letters = [Letters(stage, name) for name in CAMPAIGNS]
        for pair in range(1, plan["pairs"] + 1):
            tell(f"{pair} of {plan['pairs']}")
            for letter in letters:
                letter.measure(plan["mustache"])
        tell("")
    for letter in letters:
        result.facts[f"{letter.name} octets"] = letter.octets
        result.add(
            Figure(f"{letter.name}: its templates", letter.templates, "us/mail"),
            Figure(f"{letter.name}: plain variables only", letter.variables, "us/mail"),
            Figure(f"{letter.name}: more than plain variables",
                   [a - b for a, b in zip(letter.templates, letter.variables)], "us/mail",
                   ("<=", 3)))
    return result
