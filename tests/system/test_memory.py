"""What strangers and operators can make a worker hold: its peak (VmHWM) stays near what it has anyway."""

import datetime
import os
import random
import unittest

from contact_fixture import ContactTestCase
from contact_service import text
from harness import Stage, wait_until
from messages import DEAD

MIB = 1024  # KiB
MESSAGE_MAX = 4 << 20
ITEMS = {"numbers": ("[", "0", "]"), "texts": ("[", '""', "]"), "lists": ("[", "[]", "]"),
         "members": ("{", '"":0', "}"), "maps": ("[", '{"":0}', "]")}


def filled(kind, size):
    """A JSON value of about that many bytes, of as many small ones as fit."""
    before, item, behind = ITEMS[kind]
    return before + ",".join([item] * ((size - 2) // (len(item) + 1))) + behind


def chunk(variables, run=1):
    return ('{"v":1,"run":%d,"chunk":0,"attempt":1,"digest":"0123456789abcdef","recipients":[{"p":0,'
            '"id":"1","to":"a@b.example","vars":{"x":%s}}]}' % (run, variables))


class MessageTest(unittest.TestCase):
    def test_a_message_of_many_small_values_takes_little_before_it_is_refused(self):
        """A body is held twice while it is a message of the broker and a dead letter on its way."""
        for kind in ITEMS:
            with self.subTest(kind), Stage() as stage:
                stage.start_fakesmtp()
                worker = stage.start_consumer()
                before = worker.peak_kib()
                for body in (chunk(filled(kind, MESSAGE_MAX - 200)), filled(kind, MESSAGE_MAX)):
                    stage.publish(body)
                wait_until(lambda: stage.ready(DEAD) == 2, 60, "the dead letters")
                self.assertLess(worker.peak_kib() - before, 24 * MIB)
                self.assertEqual(worker.stop(), 0)


    def test_the_most_values_that_are_taken_are_a_small_multiple_of_the_largest_body(self):
        body = chunk("{" + ",".join(f'"n{i:06}":"{i:06}"' for i in range(195000)) + "}")
        self.assertLess(len(body), MESSAGE_MAX)
        with Stage() as stage:
            stage.start_fakesmtp()
            worker = stage.start_consumer()
            before = worker.peak_kib()
            stage.publish(body)
            wait_until(lambda: stage.ready(DEAD) == 1, 60, "the dead letter")
            self.assertIn("there is no run 1", worker.text(), "it was read to its end")
            self.assertLess(worker.peak_kib() - before, 16 * MESSAGE_MAX // 1024)


class RunTest(unittest.TestCase):
    RUNS, FILE_MIB = 12, 5

    def test_many_runs_with_large_files_are_not_all_kept(self):
        with Stage(recipients=1) as stage:
            server = stage.start_fakesmtp()
            worker = stage.start_consumer()
            for number in range(self.RUNS):
                with open(os.path.join(stage.dir, "templates", "large.bin"), "wb") as file:
                    file.write(random.Random(number).randbytes(self.FILE_MIB << 20))
                stage.campaign("welcome", content={"attachments": ["large.bin"]})
                at = datetime.datetime.now(datetime.timezone.utc) - datetime.timedelta(minutes=number)
                stage.wait_quiet(stage.produce(at=at.strftime("%Y-%m-%dT%H:%M:%SZ")))
            self.assertEqual(server.accepted(), self.RUNS)
            self.assertLess(worker.rss_kib(), 64 * MIB, "32 MiB of runs, and itself")
            self.assertLess(worker.peak_kib(), 96 * MIB, "and what it takes to read one")
            self.assertEqual(worker.stop(), 0)


class ContactTest(ContactTestCase):
    def test_an_event_of_many_small_values_takes_little_before_it_is_refused(self):
        stage, _ = self.stage_with(1, {"cache_ttl": "1h", "cache": "contacts"},
                                   settings={"contacts": {"exchange": "crm.events"}})
        keeper = stage.start_consumer("--contacts", ready=False)
        keeper.wait_for_log('msg="ready"')
        before = keeper.peak_kib()
        for kind in ITEMS:
            event = '{"id":"1","version":1,"x":%s}' % filled(kind, (1 << 20) - 100)
            stage.publish(event, "contact.updated", "crm.events")
        wait_until(lambda: stage.ready(DEAD) == len(ITEMS), 60, "the dead letters")
        self.assertLess(keeper.peak_kib() - before, 2 * len(ITEMS) * MIB + 8 * MIB)
        self.assertEqual(keeper.stop(), 0)

    def test_an_answer_of_many_small_values_takes_little_before_it_is_refused(self):
        stage, service = self.stage_with(10)
        for kind in ITEMS:
            with self.subTest(kind):
                service.plan = [text('{"contacts":[{"id":"1","x":%s}]}' % filled(kind, 3 << 20))]
                producer = stage.start_producer("run", "welcome", "--at", "2026-01-02T03:04:05Z")
                peak = 0
                while producer.alive:
                    peak = max(peak, producer.peak_kib())
                self.assertNotEqual(producer.code, 0)
                self.assertIn("holds more than 50000 values", producer.text())
                self.assertLess(peak, 40 * MIB)


if __name__ == "__main__":
    unittest.main(verbosity=2)
