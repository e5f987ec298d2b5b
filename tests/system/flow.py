"""A run under way, for tests that disturb it: what is the same for all of them."""

import contextlib
import time
import unittest

import pika
from harness import Stage, wait_until

LANE = "mailflock.bulk.relay"
LEASE_S = 5
CONNECTIONS = 8
CHUNK = 50
WINDOW = 4 * CONNECTIONS  # more than the window of one worker becomes at these speeds


class FlowTest(unittest.TestCase):
    def flow(self, recipients=800, workers=2, delay_ms=100, prefetch=4, campaign=None, relay=None,
             lease_s=LEASE_S, held=False, worker_env=None, before=None,
             **smtp):
        """A run under way, some 5 s long, each worker at work: stage, smtp, run, workers. held: the
        server stands still, so that the run is not over however long the test takes; it goes on with
        self.smtp.resume()."""
        self.recipients = recipients
        campaign = {"audience": {"chunk": CHUNK}, **(campaign or {})}
        self.stage = self.enterContext(Stage(
            recipients=recipients, campaign=campaign,
            settings={"worker": {"lease": f"{lease_s}s", "prefetch": prefetch, "drain": "5s"},
                      "transports": {"relay": {"connections": CONNECTIONS, **(relay or {})}}}))
        self.smtp = self.stage.start_fakesmtp(delay_ms=delay_ms, stall_after=CONNECTIONS, **smtp)
        self.run_id = self.stage.produce()
        if before:
            before(self.stage)
        self.workers = self.stage.start_consumers(workers, env=worker_env)
        self.smtp.wait_stalled()
        at_work = "SELECT COUNT(DISTINCT worker) FROM delivery"
        wait_until(lambda: self.stage.value(at_work) == workers or self.a_little(), 60,
                   "each worker to send")
        if not held:
            self.smtp.resume()

    def a_little(self):
        """Lets some more mails through, and holds again."""
        self.smtp.resume()
        time.sleep(0.05)
        self.smtp.stall()

    def until(self, accepted):
        accepted = min(accepted, self.recipients)
        wait_until(lambda: len(self.smtp.mails()) >= accepted, 60, f"{accepted} mails")

    def more(self, accepted=20):
        """Awaits mails beyond those that are accepted by now."""
        self.until(len(self.smtp.mails()) + accepted)

    def accepted(self):
        """(chunk, position) of every mail that the server has accepted."""
        numbers = [int(mail.rcpt.split("@")[0].removeprefix("user")) - 1
                   for mails in self.smtp.mails().values() for mail in mails]
        return {divmod(number, CHUNK) for number in numbers}

    def forget_broker(self):
        """The test's own connection to RabbitMQ is gone, or will be."""
        amqp, self.stage._amqp = self.stage._amqp, None
        with contextlib.suppress(pika.exceptions.AMQPError):
            amqp.close()

    def lines(self, text):
        return sum(w.text().count(text) for w in self.workers)

    def assert_exact(self, unknown=0, deadline_s=60):
        """It ends, the accounts balance, server and ledger agree, at most so many are unknown."""
        stage, run = self.stage, self.run_id
        counts = stage.wait_quiet(run, deadline_s)
        self.assertEqual(stage.assert_balanced(run), counts)
        stage.mailflock("audit", run)
        found = stage.compare(run, self.smtp)
        self.assertEqual((found["lost"], found["twice"], found["wrong"], found["strange"]),
                         ([], [], [], []))
        self.assertLessEqual(counts["unknown"], unknown, counts)
        self.assertEqual(counts["sent"] + counts["unknown"], self.recipients, counts)
        self.assertGreaterEqual(found["accepted"], counts["sent"])
        for worker in self.workers:
            self.assertTrue(worker.alive, worker)
        self.assertEqual([w.stop() for w in self.workers], [0] * len(self.workers))
        return counts
