"""A publish that RabbitMQ never confirms, as one to a quorum queue without a leader: the connection is
given up after 30 s, the program says so, and what was on its way goes out again. Nobody is lost or gets
two mails, whether the message was in its queue or not."""

import unittest

import side_by_side
from contact_fixture import ContactTestCase
from frame_proxy import FrameProxy
from harness import Stage, wait_until
from messages import DEAD, LANE, take_chunks

DEADLINE_S = 120
SAID = r"RabbitMQ at \S+ did not confirm a publish to exchange %s with key %s for 3\d{4} ms: "


class UnconfirmedTest(ContactTestCase):
    def proxy(self, what="publishes"):
        proxy = FrameProxy(what)
        self.addCleanup(proxy.close)
        return proxy, {"MAILFLOCK_BROKER_PORT": str(proxy.port)}

    def stage_of(self, **more):
        return self.enterContext(Stage(recipients=200, campaign={"audience": {"chunk": 20}}, **more))

    def assert_sent(self, stage, run, smtp):
        counts = stage.wait_quiet(run, DEADLINE_S)
        self.assertEqual(counts["sent"], 200, counts)
        stage.assert_balanced(run)
        found = stage.compare(run, smtp)
        self.assertEqual((found["lost"], found["twice"], found["wrong"], found["strange"]),
                         ([], [], [], []))

    def assert_lost_once(self, process, proxy, line, exchange, key="bulk.relay"):
        text = process.text()
        self.assertRegex(text, f'level=warn .*msg="{line}.*{SAID % (exchange, key)}')
        self.assertEqual(text.count(f'msg="{line}'), 1, text)
        self.assertGreater(proxy.swallowed, 0)
        self.assertEqual(proxy.connections, 2)

    def test_retries_that_reached_no_queue(self):
        self.retries("publishes")

    def test_retries_that_are_in_their_queue(self):
        self.retries("confirms")

    def retries(self, what):
        stage = self.stage_of()
        proxy, through = self.proxy(what)
        smtp = stage.start_fakesmtp(rcpt_defer=0.5)
        run = stage.produce()
        worker = stage.start_consumer(env=through)
        self.assert_sent(stage, run, smtp)
        self.assert_lost_once(worker, proxy, "connection lost", r"mailflock\.wait\.1")
        self.assertEqual(worker.stop(60), 0)

    def test_copies_that_reached_no_queue(self):
        stage = self.stage_of()
        proxy, through = self.proxy()
        smtp = stage.start_fakesmtp()
        run = stage.produce()
        stage.mailflock("pause", run)
        worker = stage.start_consumer(env=through)
        wait_until(lambda: "connection lost" in worker.text(), DEADLINE_S, "the loss")
        worker.wait_for_log(f'nothing is parked for some minutes" run={run}')
        wait_until(lambda: stage.ready("mailflock.wait.15") == 10, 60, "them to be delayed, not parked")
        stage.mailflock("resume", run)
        self.assert_sent(stage, run, smtp)
        self.assert_lost_once(worker, proxy, "connection lost", "mailflock", rf"parked\.{run}")
        self.assertEqual(worker.stop(60), 0)
        self.assertEqual(stage.ready(LANE), 0)

    def test_chunks_of_the_producer_that_reached_no_queue(self):
        stage = self.stage_of()
        proxy, through = self.proxy()
        producer = stage.start_producer("run", "welcome", env=through)
        self.assertEqual(producer.wait(DEADLINE_S), 0, producer.text())
        self.assert_lost_once(producer, proxy, "lost the broker", "mailflock")
        self.assertEqual(sorted(m["chunk"] for m in take_chunks(stage)), list(range(10)))
        self.assertEqual(stage.rows("SELECT DISTINCT state FROM chunk"), [("queued",)])

    def test_the_dead_letter_of_an_event_that_reached_no_queue(self):
        stage, _ = self.stage_with(0, {"cache_ttl": "1h", "cache": "contacts"},
                                   settings={"contacts": {"exchange": "crm.events"}})
        proxy, through = self.proxy()
        keeper = stage.start_consumer("--contacts", ready=False, env=through)
        wait_until(lambda: 'msg="ready"' in keeper.text() or not keeper.alive, 60, "it to begin")
        stage.publish(b"no JSON", "contact.updated", exchange="crm.events")
        wait_until(lambda: stage.ready(DEAD) == 1, DEADLINE_S, "the dead letter")
        self.assert_lost_once(keeper, proxy, "no broker", r"mailflock\.dead", "contacts")
        self.assertEqual(keeper.stop(60), 0)
        self.assertEqual(stage.ready("mailflock.contacts"), 0)


if __name__ == "__main__":
    side_by_side.main()
