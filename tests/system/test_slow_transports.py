"""Transports that are down, or slow, in front of others: each has its own queue and its own slots in a
worker, so a campaign on another transport does not wait for them."""

import time
import unittest
import urllib.request

import side_by_side
from harness import CAMPAIGN, Stage, free_port, wait_until
from messages import old_lane, put, take_chunks

LEASE_S = 10
HEALTHY = 400  # recipients of the campaign that must not suffer


class SlowTransportTest(unittest.TestCase):
    def stage(self, chunk, recipients, **bad):
        """Campaign `bad` goes by transport `bad`, `welcome` by `relay`."""
        stage = self.enterContext(Stage(recipients=HEALTHY, settings={
            "worker": {"lease": f"{LEASE_S}s"},
            "transports": {"bad": {"type": "smtp", "tls": "off", "connections": 8, **bad}}}))
        sql = CAMPAIGN["audience"]["sql"].replace("active = 1", f"id <= {recipients}")
        stage.campaign("bad", {"delivery": {"transport": "bad"}, "audience": {"sql": sql, "chunk": chunk}})
        stage.campaign("welcome", {"audience": {"chunk": 50}})
        self.smtp = stage.start_fakesmtp(delay_ms=20)
        return stage

    moments = 0

    def produce(self, stage):
        """Another run of the healthy campaign, however quickly after the last one."""
        self.moments += 1
        moment = time.gmtime(time.time() - 60 * self.moments)
        return stage.produce(at=time.strftime("%Y-%m-%dT%H:%M:%SZ", moment))

    def alone(self, stage):
        """How long the healthy campaign takes with nothing in front of it."""
        began = time.monotonic()
        self.assertEqual(stage.wait_quiet(self.produce(stage))["sent"], HEALTHY)
        return time.monotonic() - began

    def beside(self, stage, bad_run, alone_s):
        """The same while the other one is there; it has not moved meanwhile."""
        began = time.monotonic()
        run = self.produce(stage)
        self.assertEqual(stage.wait_quiet(run)["sent"], HEALTHY)
        took_s = time.monotonic() - began
        print(f"{side_by_side.MEASURED}alone {alone_s:.2f} s, beside the other {took_s:.2f} s")
        self.assertLess(took_s, 3 * alone_s + 10)
        counts = stage.counts(bad_run)
        self.assertGreater(counts["pending"], 0, counts)
        return counts

    def gauge(self, port, transport):
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=60) as answer:
            text = answer.read().decode()
        return int(text.split(f'mailflock_transport_up{{transport="{transport}"}} ')[1].split("\n")[0])

    def everything_once(self, stage, run, smtp, recipients):
        counts = stage.wait_quiet(run, 120)
        self.assertEqual((stage.assert_balanced(run), counts["sent"]), (counts, recipients))
        found = stage.compare(run, smtp)
        self.assertEqual((found["accepted"], found["lost"], found["twice"]), (recipients, [], []))

    def dead_relay(self, chunks, chunk):
        """chunks of a relay that is not there, before a healthy campaign; later it is there."""
        port, listen = free_port(), free_port()
        recipients = chunks * chunk
        stage = self.stage(chunk, recipients, url=f"smtp://127.0.0.1:{port}")
        workers = [stage.start_consumer(env={"MAILFLOCK_WORKER_LISTEN": f"127.0.0.1:{listen}"}),
                   stage.start_consumer()]
        alone_s = self.alone(stage)
        bad = stage.produce("bad")
        queue = "mailflock.bulk.bad"
        for worker in workers:  # each has as many of its chunks as it takes
            worker.wait_for_log("cannot connect.*transport=bad")
        counts = self.beside(stage, bad, alone_s)
        self.assertEqual((counts["sent"], counts["pending"]), (0, recipients))

        # Each worker keeps one as a probe. The others are given back, once, and wait.
        for worker in workers:
            worker.wait_for_log('msg="transport is down" transport=bad')
        wait_until(lambda: stage.ready(queue) == chunks - 2, 60, "all but two to wait")
        self.assertEqual((self.gauge(listen, "bad"), self.gauge(listen, "relay")), (0, 1))
        self.assertEqual(stage.value("SELECT COUNT(*) FROM chunk WHERE run_id=%s AND token IS NOT NULL",
                                     bad), 2)
        self.beside(stage, bad, alone_s)
        self.assertEqual(stage.ready(queue), chunks - 2, "what waits there goes round in no circle")
        self.assertEqual(stage.value("SELECT MAX(claims) FROM chunk WHERE run_id=%s", bad), 1)

        there = stage.start_fakesmtp(use=False, port=port)
        for worker in workers:
            worker.wait_for_log('msg="transport is back" transport=bad', 120)
        self.everything_once(stage, bad, there, recipients)
        wait_until(lambda: self.gauge(listen, "bad") == 1, 60, "the gauge")
        self.assertEqual([w.stop() for w in workers], [0, 0])
        stage.expect_log_clean()

    def test_ten_chunks_of_a_dead_relay_hold_up_nobody(self):
        self.dead_relay(10, 40)

    def test_three_hundred_small_chunks_of_a_dead_relay_hold_up_nobody(self):
        self.dead_relay(300, 1)

    def test_a_relay_of_one_mail_a_second_holds_up_nobody(self):
        stage = self.stage(40, 400, url="smtp://127.0.0.1:1", connections=1)
        slow = stage.start_fakesmtp(use=False, delay_ms=1000)
        stage.write_config(transports={"bad": {"url": slow.url}})
        workers = stage.start_consumers(2)
        alone_s = self.alone(stage)
        bad = stage.produce("bad")
        wait_until(lambda: slow.accepted() >= 2, 60, "it to be at work")
        for _ in range(2):
            counts = self.beside(stage, bad, alone_s)
            self.assertLess(counts["sent"], 200, "it is slow")
        before = slow.accepted()
        wait_until(lambda: slow.accepted() > before, 60, "it to go on")
        self.assertEqual([w.stop() for w in workers], [0, 0])

    def test_a_dead_relay_in_a_queue_of_an_earlier_version_holds_up_nobody(self):
        """There the chunks of all transports stand in one queue."""
        port = free_port()
        stage = self.stage(10, 100, url=f"smtp://127.0.0.1:{port}")
        bad, healthy = stage.produce("bad"), stage.produce()
        dead = take_chunks(stage, "mailflock.bulk.bad")
        chunks = take_chunks(stage)
        old_lane(stage)
        for chunk in [*dead, *chunks]:
            put(stage, chunk, "bulk")
        workers = stage.start_consumers(2)
        self.assertEqual(stage.wait_quiet(healthy)["sent"], HEALTHY)
        self.assertEqual(stage.counts(bad)["pending"], 100)
        wait_until(lambda: stage.ready("mailflock.bulk.bad") == 8, 60, "all but two to wait")
        there = stage.start_fakesmtp(use=False, port=port)
        self.everything_once(stage, bad, there, 100)
        self.assertEqual([w.stop() for w in workers], [0, 0])


if __name__ == "__main__":
    side_by_side.main()
