"""mailflock-producer due (PROTOCOL P6)."""

import unittest

from harness import Stage, wait_until
from producer_fixture import LANE, SLOW, ProducerTestCase, audience, messages


class DueTest(ProducerTestCase):
    def due(self, stage, code=0):
        return stage.run_program("mailflock-producer", "due", code=code).stdout

    def test_due_goes_on_with_open_runs(self):
        with Stage(recipients=20000, campaign=audience(SLOW, chunk=50)) as stage:
            producer = self.start_slow(stage)
            self.assertEqual(self.due(stage), "", "the run has its producer")
            producer.kill()
            self.open_gate()
            stage.campaign("welcome", {"audience": {"chunk": 50}})
            stage.execute("UPDATE run SET created_at=created_at - INTERVAL 1 MINUTE")
            wait_until(lambda: self.due(stage), 60, "due to do something")
            self.assert_whole(stage, 20000, messages(stage))
            self.assertEqual(self.due(stage), "")

    def test_due_publishes_overdue_chunks_again(self):
        with Stage(recipients=300) as stage:
            self.run_at(stage)
            first = messages(stage)
            past = "UPDATE chunk SET next_due=UTC_TIMESTAMP(6) - INTERVAL 1 SECOND"
            self.assertEqual(self.due(stage), "")
            stage.execute(f"{past} WHERE chunk_no IN (1, 2)")
            stage.execute("UPDATE chunk SET token=7, lease_until=UTC_TIMESTAMP(6) + INTERVAL 1 HOUR "
                          "WHERE chunk_no=2")
            self.assertIn("published=1 overdue=1", self.due(stage))
            self.assertEqual(messages(stage), [first[1]])
            self.assertEqual(self.due(stage), "", "its next_due was moved")
            stage.execute("UPDATE chunk SET lease_until=UTC_TIMESTAMP(6) - INTERVAL 1 HOUR")
            self.assertIn("published=1", self.due(stage))
            # As long as messages wait in the lane, nothing is added to them.
            stage.execute(past)
            self.assertEqual(self.due(stage), "")
            self.assertEqual(messages(stage), [first[2]])
            # Another digest would be dropped by every worker.
            stage.execute("UPDATE chunk SET digest=1 WHERE chunk_no=0")
            stage.execute(f"{past} WHERE chunk_no=0")
            self.due(stage)
            self.assertEqual([m["chunk"] for m in messages(stage)], [1, 2])

    def test_a_queue_that_nobody_consumes_does_not_grow(self):
        """Workers lack the transport, or are not there: for days."""
        with Stage(recipients=1000) as stage:
            stage.campaign("other", {"audience": {"chunk": 50}})
            self.run_at(stage)
            self.run_at(stage, campaign="other")
            for hours in (1, 7, 7, 30):
                stage.execute("UPDATE chunk SET next_due=UTC_TIMESTAMP(6) - INTERVAL %s HOUR", hours)
                self.due(stage)
                self.assertEqual(stage.ready(LANE), 30, f"overdue for {hours} hours")
            # What is lost comes again, and no more than that, whichever run it is of.
            lost = [stage.take(LANE) for _ in range(2)]
            wait_until(lambda: stage.ready(LANE) == 28, 60, "two to be gone")
            self.due(stage)
            self.assertEqual(stage.ready(LANE), 30)
            self.assertEqual(len(lost), 2)

    def test_what_is_lost_among_others_that_wait_is_found_after_hours(self):
        with Stage(recipients=1000) as stage:
            self.run_at(stage)
            properties, _ = stage.take(LANE)
            self.assertEqual(properties.message_id, "1/0/1")
            stage.execute("UPDATE chunk SET next_due=UTC_TIMESTAMP(6) - INTERVAL 5 HOUR")
            self.assertEqual(self.due(stage), "")
            stage.execute("UPDATE chunk SET next_due=UTC_TIMESTAMP(6) - INTERVAL 7 HOUR")
            self.assertIn("published=1 overdue=1", self.due(stage))
            self.assert_whole(stage, 1000, messages(stage))

    def test_what_the_broker_does_not_take_stays_overdue(self):
        with Stage(recipients=200) as stage:
            self.run_at(stage)
            first = messages(stage)
            stage.execute("UPDATE chunk SET next_due=UTC_TIMESTAMP(6) - INTERVAL 1 SECOND")
            stage.campaign("welcome", audience(SLOW.replace("id < 3000", "id < 150")))
            self.hold_gate(stage)  # before the second chunk
            due = stage.start_producer("due")
            wait_until(lambda: stage.ready(LANE), 60, "the first chunk to be published")
            stage.delete_queue(LANE)
            self.open_gate()
            self.assertEqual(due.wait(), 1, due.text())
            self.assertIn("did not take every overdue chunk", due.text())
            stage.campaign("welcome")
            self.assertIn("published=2 overdue=2", self.due(stage))
            self.assertEqual(messages(stage), first)

    def test_what_is_due_anew_since_it_was_read_stays_so(self):
        """The lane loses its messages while `due` is still reading the other chunks' ranges."""
        with Stage(recipients=200) as stage:
            self.run_at(stage)
            first = messages(stage)
            past = "UPDATE chunk SET next_due=UTC_TIMESTAMP(6) - INTERVAL {} SECOND"
            stage.execute(past.format(2))
            stage.campaign("welcome", audience(SLOW.replace("id < 3000", "id < 150")))
            self.hold_gate(stage)  # before the second chunk
            due = stage.start_producer("due")
            wait_until(lambda: stage.ready(LANE), 60, "the first chunk to be published")
            self.assertEqual(messages(stage), first[:1])
            stage.execute(past.format(1))
            self.open_gate()
            self.assertEqual(due.wait(), 0, due.text())
            self.assertEqual(messages(stage), first[1:])
            stage.campaign("welcome")
            self.assertIn("published=2 overdue=2", self.due(stage))
            self.assertEqual(messages(stage), first)

    def test_due_lets_workers_skip_what_a_cancelled_run_had_planned(self):
        with Stage(recipients=300) as stage:
            self.run_at(stage)
            messages(stage)
            stage.execute("UPDATE run SET publishing='open', published_at=NULL, control='cancelled', "
                          "created_at=created_at - INTERVAL 1 MINUTE")
            stage.execute("UPDATE chunk SET state='planned'")
            self.assertIn("published=3", self.due(stage))
            stage.start_consumer()
            wait_until(lambda: stage.counts(1)["skipped"] == 300, 60, "all to be skipped")
            self.assertIn("completed=1", self.due(stage))
            stage.assert_balanced(1)

    def test_due_publishes_only_the_deferred_of_a_later_attempt(self):
        with Stage(recipients=200) as stage:
            self.run_at(stage)
            first = messages(stage)[1]
            for position, status in ((0, "sent"), (3, "deferred"), (50, "deferred"), (99, "deferred")):
                stage.execute(
                    "INSERT INTO delivery (run_id, chunk_no, position, recipient_id, email, status, "
                    "attempt, at) VALUES (1, 1, %s, %s, %s, %s, 1, UTC_TIMESTAMP(6))",
                    position, str(101 + position), f"user{101 + position}@example.net", status)
            stage.execute("UPDATE chunk SET attempt=2, digest=%s, next_due=UTC_TIMESTAMP(6) - INTERVAL "
                          "1 SECOND WHERE chunk_no=1", int(first["digest"], 16))
            stage.execute("UPDATE subscriber SET name='New Name' WHERE id=104")
            stage.execute("DELETE FROM subscriber WHERE id=151")
            self.assertIn("published=1 overdue=1", self.due(stage))
            (message,) = messages(stage)
            self.assertEqual((message["attempt"], message["digest"], message["message_id"]),
                             (2, first["digest"], "1/1/2"))
            got = message["recipients"]
            self.assertEqual([(r["p"], r["id"]) for r in got], [(3, "104"), (50, "151"), (99, "200")])
            self.assertEqual(got[0]["vars"]["name"], "New Name")
            self.assertIn("no longer in the audience", got[1]["fail"])
            self.assertEqual(got[2], first["recipients"][99])

    def test_a_run_opened_again_takes_nobody_new(self):
        with Stage(recipients=100) as stage:
            self.run_at(stage)
            (first,) = messages(stage)
            stage.execute(
                "INSERT INTO delivery (run_id, chunk_no, position, recipient_id, email, status, "
                "attempt, at) VALUES (1, 0, 4, '5', 'user5@example.net', 'deferred', 1, "
                "UTC_TIMESTAMP(6))")
            stage.execute("UPDATE chunk SET state='planned', attempt=2, next_due=NULL, digest=%s",
                          int(first["digest"], 16))
            stage.execute("UPDATE run SET publishing='open', completed_at=NULL, "
                          "created_at=created_at - INTERVAL 1 DAY")
            stage.add_subscribers(50, first=101)
            self.assertIn("published=1", self.due(stage))
            (message,) = messages(stage)
            self.assertEqual([(r["p"], r["id"]) for r in message["recipients"]], [(4, "5")])
            self.assertEqual(stage.rows("SELECT publishing, (SELECT COUNT(*) FROM chunk) FROM run"),
                             [("done", 1)])

    def test_due_completes_runs(self):
        with Stage(recipients=200) as stage:
            self.run_at(stage)
            done = "UPDATE chunk SET state='done', sent=98, failed=1, unknown=1 WHERE chunk_no=%s"
            stage.execute(done, 0)
            self.assertEqual(self.due(stage), "")
            self.assertIsNone(stage.value("SELECT completed_at FROM run"))
            stage.execute(done, 1)
            self.assertIn("completed=1", self.due(stage))
            self.assertIsNotNone(stage.value("SELECT completed_at FROM run"))

if __name__ == "__main__":
    unittest.main(verbosity=2)
