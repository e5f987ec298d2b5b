"""The consumer against relays that misbehave at random: what they accepted, against the ledger. Runs
many seeds at once, each with a relay, a transport and a campaign of its own.

MF_RELAY_SEEDS=N: that many, from a random one on. MF_RELAY_SEED=S: that one alone, with its trace.
./dev relays sets them.
"""

import collections
import json
import os
import random
import sys
import time
import unittest

from environment import ROOT
from harness import Process, Stage, wait_until

sys.path.insert(0, os.path.join(ROOT, "tests", "fakes"))
import relay_verdict  # noqa: E402
from relay_plan import LARGE_BYTES, MISDEEDS, Plan  # noqa: E402

SEEDS, AT_ONCE = 200, 50
RECIPIENTS, LARGE_RECIPIENTS = 24, 8
QUIET_S = 150
STANDSTILL_S = 3
TRACES_MAX = 3


class Relays(Process):
    def __init__(self, stage, seeds):
        self.dir = os.path.join(stage.dir, "relays")
        os.mkdir(self.dir)
        program = os.path.join(ROOT, "tests", "fakes", "random_relay.py")
        super().__init__("relays", ["/usr/bin/python3", program, "--dir", self.dir, *seeds],
                         os.path.join(stage.dir, "relays.log"))
        stage.processes.append(self)
        self.ports = {int(s): p for s, p in json.loads(self.wait_for_log(r"^ports=(.*)$")[1]).items()}

    def record(self):
        self.stop()
        with open(os.path.join(self.dir, "record.json"), encoding="utf-8") as record:
            return {int(seed): conns for seed, conns in json.load(record).items()}


def transport(plan, port):
    return {"type": "smtp", "url": f"{'smtps' if plan.tls == 'smtps' else 'smtp'}://localhost:{port}",
            "tls": "off" if plan.tls == "off" else "require", "tls_verify": False, "connections": 3,
            "connect_timeout": "2s", "reply_timeout": "1s", "final_reply_timeout": "2s",
            "messages_per_connection": 10}


def campaign(plan, slot):
    first = slot * 1000
    count = LARGE_RECIPIENTS if plan.large else RECIPIENTS
    return {"audience": {"sql": "SELECT id, email, name, plan, city FROM subscriber WHERE id > :after "
                                f"AND id > {first} AND id <= {first + count} ORDER BY id LIMIT :limit",
                         "chunk": 12},
            "content": {"attachments": ["large.bin"] if plan.large else None},
            "delivery": {"transport": f"r{plan.seed}",
                         "retry": {"delays": ["1s"], "max_attempts": 3, "max_age": "1h"}}}


class RandomRelayTest(unittest.TestCase):
    def test_what_they_accepted_agrees_with_the_ledger(self):
        """hold: nobody is sent who was not accepted, nobody accepted twice, and nobody who was accepted
        is failed, unless the relay has lied after the final dot."""
        wrong, self.seen = [], collections.Counter()
        for seeds in self.batches():
            wrong += self.run_batch(seeds)
        for seed, rcpt, text in wrong:
            print(f"seed {seed}: {rcpt}: {text}")
        self.assertEqual(wrong, [], f"seeds {sorted({seed for seed, *_ in wrong})}")
        if not {"MF_RELAY_SEED", "MF_RELAY_SEEDS"} & set(os.environ):
            self.assert_not_idle()

    def assert_not_idle(self):
        """Relays did all that they are there for, and did not keep the mails from being accepted."""
        self.assertEqual([kind for kind in MISDEEDS if self.seen[kind] < 10], [], self.seen)
        self.assertGreater(self.seen["sent"], self.seen["recipients"] / 2, self.seen)
        self.assertGreater(self.seen["failed"], 0, self.seen)
        self.assertGreater(self.seen["unknown"], 0, self.seen)

    def batches(self):
        if "MF_RELAY_SEED" in os.environ:
            return [[int(os.environ["MF_RELAY_SEED"])]]
        first, count = 1, SEEDS
        if "MF_RELAY_SEEDS" in os.environ:
            first, count = random.randrange(1000, 10**8), int(os.environ["MF_RELAY_SEEDS"])
            print(f"seeds from {first} to {first + count - 1}", flush=True)
        seeds = list(range(first, first + count))
        return [seeds[i:i + AT_ONCE] for i in range(0, count, AT_ONCE)]

    def run_batch(self, seeds):
        plans = [Plan(seed) for seed in seeds]
        with Stage(init=False, settings={"worker": {"prefetch": 100}}) as stage:
            relays = Relays(stage, seeds)
            self.prepare(stage, plans, relays)
            for plan in plans:
                stage.produce(f"c{plan.seed}")
            consumer = stage.start_consumer()
            self.stand_still(stage, consumer)
            ledgers = {plan.seed: self.ledger(stage, plan.seed) for plan in plans}
            self.assertEqual(consumer.stop(), 0, consumer.text()[-2000:])
            return self.judge(plans, relays.record(), ledgers)

    def stand_still(self, stage, consumer):
        """In the middle of its work, for longer than it waits for replies: those that came meanwhile
        count all the same."""
        wait_until(lambda: stage.value("SELECT COUNT(*) FROM delivery"), 60, "an outcome")
        consumer.freeze()
        time.sleep(STANDSTILL_S)
        consumer.thaw()

    def prepare(self, stage, plans, relays):
        stage.write_config(transports={f"r{p.seed}": transport(p, relays.ports[p.seed]) for p in plans})
        stage.template("large.bin", random.Random(0).randbytes(LARGE_BYTES * 3 // 4).hex()[:LARGE_BYTES])
        for slot, plan in enumerate(plans):
            stage.campaign(f"c{plan.seed}", campaign(plan, slot))
            stage.add_subscribers(LARGE_RECIPIENTS if plan.large else RECIPIENTS, slot * 1000 + 1)
        stage.mailflock("init")

    def ledger(self, stage, seed):
        """address -> (status, attempt, code, detail), when the run has come to its end; it balances."""
        run = stage.run_id(f"c{seed}")
        stage.wait_quiet(run, QUIET_S)
        stage.assert_balanced(run)
        stage.mailflock("audit", run)
        return {f"user{number}@example.net": outcome for number, *outcome in stage.rows(
            "SELECT recipient_id, status, attempt, code, detail FROM delivery WHERE run_id=%s", run)}

    def judge(self, plans, record, ledgers):
        wrong, shown = [], 0
        for plan in plans:
            conns, outcomes = record[plan.seed], ledgers[plan.seed]
            ledger = {rcpt: outcome[0] for rcpt, outcome in outcomes.items()}
            found = relay_verdict.problems(conns, ledger)
            wrong += [(plan.seed, rcpt, text) for rcpt, text in found]
            self.count(conns, ledger)
            for rcpt, text in found[:1] if shown < TRACES_MAX else []:
                print(f"---- {plan}\n{rcpt}: {text}\nthe ledger says {outcomes.get(rcpt)}")
                for n, conn in enumerate(conns):
                    if any(rcpt in line for line in conn["trace"]):
                        print(f"connection {n}:\n  " + "\n  ".join(conn["trace"]))
                shown += 1
        return wrong

    def count(self, conns, ledger):
        self.seen.update(ledger.values())
        self.seen["recipients"] += len(ledger)
        self.seen.update(line.split(" -- ")[1] for conn in conns for line in conn["trace"] if " -- " in line)


if __name__ == "__main__":
    unittest.main()
