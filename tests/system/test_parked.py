"""PROTOCOL O2: messages of a paused run are parked, and moved back once it goes on or is cancelled: by
`mailflock resume` and `cancel`, and by `due` where those were cut off or a worker parked one late."""

import random
import unittest

import side_by_side
from environment import binary_with_faults
from harness import Stage, now_us, wait_until

LANE = "mailflock.bulk.relay"
WAIT = "mailflock.wait.15"


class ParkedTest(unittest.TestCase):
    def begin(self, recipients=100, chunk=10, paused=True, **more):
        """A run, paused before any worker has seen it."""
        self.recipients = recipients
        self.stage = self.enterContext(Stage(recipients=recipients, settings={"worker": {"lease": "5s"}},
                                             campaign={"audience": {"chunk": chunk}}))
        self.smtp = self.stage.start_fakesmtp(**more)
        self.run_id = self.stage.produce()
        self.chunks = -(-recipients // chunk)
        self.queue = f"mailflock.parked.{self.run_id}"
        if paused:
            self.stage.mailflock("pause", self.run_id)

    def parked(self, messages=None):
        messages = self.chunks if messages is None else messages
        wait_until(lambda: self.stage.ready(self.queue) == messages, 60,
                   lambda: f"{messages} messages to be parked, not {self.stage.ready(self.queue)}")

    def exact(self, sent=None, deadline_s=60):
        counts = self.stage.wait_quiet(self.run_id, deadline_s)
        self.assertEqual(self.stage.assert_balanced(self.run_id), counts)
        found = self.stage.compare(self.run_id, self.smtp)
        self.assertEqual((found["lost"], found["twice"], found["wrong"]), ([], [], []))
        self.assertEqual(counts["sent"], self.recipients if sent is None else sent, counts)
        return counts

    def due(self, **more):
        return self.stage.run_program("mailflock-producer", "due", **more).stdout

    def rows(self):
        return self.stage.value("SELECT COUNT(*) FROM parked")

    def age(self, minutes=11):
        """As if the last one had been parked so long ago."""
        self.stage.execute("UPDATE parked SET at=at - INTERVAL %s MINUTE", minutes)

    def test_nothing_circulates_while_a_run_is_paused(self):
        self.begin()
        workers = self.stage.start_consumers(2)
        self.parked()
        self.assertEqual((self.stage.ready(LANE), self.stage.ready(WAIT)), (0, 0))
        queue = self.stage.management.call(
            "GET", f"/queues/{self.stage.management.path}/{self.queue}")
        self.assertEqual(queue["arguments"], {"x-queue-type": "quorum", "x-delivery-limit": 1000000},
                         "nothing leaves it by itself")
        self.assertEqual(self.stage.consumers(self.queue), 0)
        self.assertEqual(self.rows(), 1)
        self.assertEqual(self.due(), "", "and `due` leaves it alone")
        self.stage.execute("UPDATE chunk SET next_due=UTC_TIMESTAMP(6) - INTERVAL 7 HOUR")
        self.age(minutes=60 * 24)
        self.assertEqual(self.due(), "", "however long it is paused")
        self.parked()
        said = self.stage.mailflock("resume", self.run_id)
        self.assertIn(f"{self.chunks} parked messages moved back", said)
        self.assertNotIn("overdue", self.due())
        self.exact()
        self.assertEqual([w.stop() for w in workers], [0, 0])
        self.stage.expect_log_clean(levels=("error", "warn"))

    def test_a_thousand_small_chunks_go_on_at_once(self):
        self.begin(recipients=2000, chunk=2)
        self.stage.start_consumers(2)
        self.parked()
        resumed_us = now_us()
        self.stage.mailflock("resume", self.run_id)
        counts = self.exact()
        self.assertEqual((counts["unknown"], self.stage.value("SELECT MAX(attempt) FROM chunk")), (0, 1))
        first_us = min(mail.at_us for mails in self.smtp.mails().values() for mail in mails)
        print(f"{side_by_side.MEASURED}the first mail was accepted {(first_us - resumed_us) / 1e6:.2f} s "
              "after `resume` began")
        self.assertLess(first_us - resumed_us, 10e6, "what is promised")

    def test_resume_is_killed_in_the_middle(self):
        """What it published and did not acknowledge is there twice."""
        self.begin(recipients=300, chunk=3)
        worker = self.stage.start_consumer()
        self.parked()
        resume = self.stage.start("resume", [binary_with_faults("mailflock"), "-c", self.stage.config,
                                             "resume", str(self.run_id)],
                                  {"MAILFLOCK_FAULT": "moved_not_acked:40"})
        self.assertEqual(resume.wait(), -9)
        wait_until(lambda: self.stage.ready(self.queue), 60, "the others to be parked as before")
        self.assertEqual(self.stage.value("SELECT control FROM run"), "go")
        self.assertIn("unparked=", self.due())
        self.exact()
        self.assertEqual(worker.stop(), 0)

    def test_resumed_again_after_it_was_killed(self):
        self.begin(recipients=300, chunk=3)
        worker = self.stage.start_consumer()
        self.parked()
        self.stage.start("resume", [binary_with_faults("mailflock"), "-c", self.stage.config, "resume",
                                    str(self.run_id)], {"MAILFLOCK_FAULT": "moved_not_acked"}).wait()
        wait_until(lambda: self.stage.ready(self.queue), 60, "the others to be parked as before")
        said = self.stage.mailflock("resume", self.run_id)
        self.assertIn("not paused already", said)
        self.assertIn("parked messages moved back", said)
        self.exact()
        self.assertEqual(worker.stop(), 0)

    def test_a_worker_is_killed_before_its_ack(self):
        """Its message is parked and comes again, and is parked once more."""
        self.begin()
        worker = self.stage.start(
            "worker", [binary_with_faults("mailflock-consumer"), "-c", self.stage.config],
            {"MAILFLOCK_FAULT": "parked_not_acked:3", "MAILFLOCK_WORKER_NAME": "killed"})
        self.assertEqual(worker.wait(), -9)
        other = self.stage.start_consumer()
        wait_until(lambda: self.stage.ready(self.queue) > self.chunks, 60, "more messages than chunks")
        wait_until(lambda: self.stage.ready(LANE) == 0, 60, "none left in the lane")
        self.stage.mailflock("resume", self.run_id)
        self.exact()
        self.assertEqual(other.stop(), 0)

    def test_paused_and_resumed_again_and_again(self):
        """Workers park while `resume` moves: whichever way it goes, nothing waits for `due`."""
        seed = random.randrange(1 << 30)
        dice = random.Random(seed)
        self.begin(recipients=2500, chunk=5, paused=False, delay_ms=200)
        workers = self.stage.start_consumers(2)
        with self.subTest(seed=seed):
            for rounds in range(12):
                done = self.stage.run_program("mailflock", "pause", self.run_id, code=None)
                if "it is complete" in done.stderr:
                    break
                until = now_us() + dice.choice((0, 0, 200_000, 1_500_000))
                wait_until(lambda: now_us() >= until)
                self.stage.mailflock("resume", self.run_id)
            self.assertGreater(rounds, 3)
            self.exact(deadline_s=150)
        self.assertEqual([w.stop() for w in workers], [0, 0])

    def test_cancelled(self):
        self.begin()
        worker = self.stage.start_consumer()
        self.parked()
        self.assertIn("parked messages moved back", self.stage.mailflock("cancel", self.run_id))
        counts = self.exact(sent=0)
        self.assertEqual((counts["skipped"], self.smtp.accepted()), (self.recipients, 0))
        self.assertEqual(worker.stop(), 0)

    def test_without_a_broker_the_run_is_resumed_and_due_moves(self):
        self.begin()
        worker = self.stage.start_consumer()
        self.parked()
        done = self.stage.run_program("mailflock", "resume", self.run_id,
                                      env={"MAILFLOCK_BROKER_PORT": "1"})
        self.assertIn("resumed", done.stdout)
        self.assertIn("were not moved back; 'mailflock-producer due' will do so", done.stderr)
        self.parked()
        self.assertIn(f"unparked={self.chunks}\n", self.due())
        self.exact()
        self.assertEqual(worker.stop(), 0)

    def test_without_rights_on_the_table_control_changes_all_the_same(self):
        for command, control in (("resume", "go"), ("cancel", "cancelled")):
            with self.subTest(command):
                self.begin()
                self.stage.execute("DROP TABLE parked")
                done = self.stage.run_program("mailflock", command, self.run_id)
                self.assertIn("may be published a second time", done.stderr)
                self.assertIn("were not moved back", done.stderr)
                self.assertEqual(self.stage.value("SELECT control FROM run"), control)

    def test_without_the_row_messages_are_put_off(self):
        """The worker may not write it: they wait 15 s at a time, and are not lost."""
        self.begin()
        self.stage.execute("RENAME TABLE parked TO elsewhere")
        worker = self.stage.start_consumer()
        wait_until(lambda: self.stage.ready(WAIT) == self.chunks, 60, "all of them in the delay queue")
        self.assertIn("not parked, but put off", worker.text())
        self.stage.execute("RENAME TABLE elsewhere TO parked")
        self.parked()
        self.stage.mailflock("resume", self.run_id)
        self.exact()
        self.assertEqual(worker.stop(), 0)

    def test_queue_and_row_end(self):
        """Ten minutes after the last message was parked, if the run is complete by then: until then a
        worker may be parking a second message of a chunk that is done."""
        self.begin(delay_ms=10, stall_after=1)
        worker = self.stage.start_consumer()
        self.parked()
        self.stage.mailflock("resume", self.run_id)
        self.smtp.wait_stalled()
        self.age()
        self.due()
        self.assertEqual((self.stage.ready(self.queue), self.rows()), (0, 1), "it is not complete")
        self.stage.mailflock("pause", self.run_id)
        self.smtp.resume()
        wait_until(lambda: self.stage.ready(self.queue), 60, "what is left to be parked again")
        self.stage.mailflock("resume", self.run_id)
        self.exact()
        self.assertIn("completed=1", self.due())
        self.due()
        self.assertEqual((self.stage.ready(self.queue), self.rows()), (0, 1), "it was used just now")
        self.age()
        self.due()
        self.assertEqual((self.stage.ready(self.queue), self.rows()), (None, 0))
        self.assertEqual(worker.stop(), 0)

    def test_opened_again_after_it_was_complete(self):
        """Row and queue stay while it has something to send again."""
        self.begin(dot_refuse=0.5, seed=3)
        worker = self.stage.start_consumer()
        self.parked()
        self.stage.mailflock("resume", self.run_id)
        self.stage.wait_complete(self.run_id)
        self.assertIn("completed=1", self.due())
        self.stage.mailflock("retry", self.run_id, "--code", "554")
        self.assertEqual(worker.stop(), 0)
        # An open run that has just begun is left to its producer.
        self.stage.execute("UPDATE run SET created_at=created_at - INTERVAL 1 MINUTE")
        self.assertIn("published=", self.due())
        self.stage.mailflock("pause", self.run_id)
        worker = self.stage.start_consumer()
        wait_until(lambda: self.stage.ready(self.queue), 60, "the second attempt to be parked")
        self.age()
        self.due()
        self.assertEqual(self.rows(), 1)
        self.assertIn("parked messages moved back", self.stage.mailflock("resume", self.run_id))
        self.stage.wait_quiet(self.run_id)
        self.stage.assert_balanced(self.run_id)
        self.assertEqual(self.stage.value("SELECT MAX(attempt) FROM delivery"), 2)
        self.assertEqual(worker.stop(), 0)

    def test_the_queue_is_deleted(self):
        """By somebody, with all that is in it: the chunks are overdue some time later (P6)."""
        self.begin()
        worker = self.stage.start_consumer()
        self.parked()
        self.stage.delete_queue(self.queue)
        self.assertNotIn("parked messages", self.stage.mailflock("resume", self.run_id))
        self.stage.execute("UPDATE chunk SET next_due=UTC_TIMESTAMP(6) - INTERVAL 1 SECOND")
        self.assertIn(f"overdue={self.chunks}", self.due())
        self.exact()
        self.assertEqual(worker.stop(), 0)

    def test_parked_without_a_row(self):
        """A worker took minutes to park: nobody looks into the queue, and P6 finds the chunks."""
        self.begin()
        worker = self.stage.start_consumer()
        self.parked()
        self.stage.execute("DELETE FROM parked")
        self.stage.mailflock("resume", self.run_id)
        self.stage.execute("UPDATE chunk SET next_due=UTC_TIMESTAMP(6) - INTERVAL 1 SECOND")
        self.assertIn(f"overdue={self.chunks}", self.due())
        self.exact()
        self.assertEqual(worker.stop(), 0)


if __name__ == "__main__":
    side_by_side.main()
