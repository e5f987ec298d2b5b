"""common/broker while RabbitMQ has a memory alarm. The alarm concerns every publisher of the node, so
this runs alone, and puts the watermark back whatever happens."""

import os
import re
import subprocess
import unittest

from broker_fixture import TIMEOUT, BrokerTestCase

MONITOR = "vm_memory_monitor"


def rabbitmq_eval(expression):
    command = [os.environ["MF_RABBITMQCTL"], "eval", expression]
    done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=60)
    return done.stdout.strip()


def set_watermark(value):
    rabbitmq_eval(f"{MONITOR}:set_vm_memory_high_watermark({value}).")


class AlarmTest(BrokerTestCase):
    def setUp(self):
        super().setUp()
        before = rabbitmq_eval(f"{MONITOR}:get_vm_memory_high_watermark().")
        self.assertRegex(before, re.compile(r"^[0-9.]+$|^\{absolute,.*\}$"))
        self.restore = lambda: set_watermark(before)
        self.addCleanup(self.restore)

    def test_alarm_blocks_publishing_and_its_end_lets_it_go_on(self):
        probe = self.declared()
        self.confirmed(probe)
        set_watermark("0.0001")
        written = probe.ok("publish", "mailflock", self.lane, "1/1/1", 1000)["tag"]
        event = probe.event()
        self.assertEqual(event["kind"], "blocked", event.line)
        self.assertIn("memory", event["reason"])
        self.assertEqual(probe.ok("state")["blocked"], 1)
        for words in (
            ("publish", "mailflock", self.lane, "1/2/1", 1000),
            ("declare", self.lane, 50),
            ("consume", self.lane, 1),
        ):
            answer = probe(*words)
            self.assertEqual((answer["verb"], answer["code"]), ("err", TIMEOUT), answer.line)
            self.assertIn("memory", answer["text"])
        self.assertEqual(probe.ok("state")["unconfirmed"], 1)

        self.restore()
        events = [probe.event(), probe.event()]
        self.assertEqual({e["kind"] for e in events}, {"unblocked", "confirmed"})
        self.assertIn(written, [e.get("tag") for e in events])
        self.confirmed(probe)

    def test_publisher_that_does_not_listen_is_told_not_now_and_loses_nothing(self):
        probe = self.declared()
        self.confirmed(probe)
        set_watermark("0.0001")
        written = []
        while len(written) < 1000:
            answer = probe("publish", "mailflock", self.lane, f"1/{len(written)}/1", 50_000)
            if answer["verb"] == "err":
                break
            written.append(answer["tag"])
        self.assertEqual((answer["verb"], answer["code"]), ("err", TIMEOUT), answer.line)
        self.assertIn("does not read", answer["text"])

        self.restore()
        confirmed = []
        while len(confirmed) < len(written):
            event = probe.event()
            self.assertIn(event["kind"], ("blocked", "unblocked", "confirmed"), event.line)
            if event["kind"] == "confirmed":
                confirmed.append(event["tag"])
        self.assertEqual(sorted(confirmed), written)

    def test_close_while_blocked_does_not_hang(self):
        probe = self.declared()
        set_watermark("0.0001")
        probe.ok("publish", "mailflock", self.lane, "1/1/1", 1000)
        self.assertEqual(probe.event()["kind"], "blocked")
        self.assertLess(probe.ok("close")["ms"], 30000)


if __name__ == "__main__":
    unittest.main(verbosity=2)
