"""mailflock-producer when something happens in the middle of a run."""

import hashlib
import re
import signal
import unittest

from broker_fixture import Proxy
from harness import Stage, wait_until
from producer_fixture import AT, LANE, SLOW, ProducerTestCase, audience, messages


class TroubleTest(ProducerTestCase):
    def test_killed_in_the_middle_it_goes_on_where_it_was(self):
        with Stage(recipients=20000, campaign=audience(SLOW, chunk=50)) as stage:
            self.start_slow(stage).kill()
            self.open_gate()
            before = stage.value("SELECT COUNT(*) FROM chunk")
            self.assertLess(before, 400)
            stage.campaign("welcome", {"audience": {"chunk": 50}})
            # The server may take a moment to notice that the lock's owner is gone.
            wait_until(lambda: stage.run_program("mailflock-producer", "run", "welcome", "--at", AT,
                                                 code=None).returncode == 0, 60, "the lock")
            self.assert_whole(stage, 20000, messages(stage))

    def test_planned_chunks_are_published_from_their_range(self):
        with Stage(recipients=1000) as stage:
            self.run_at(stage)
            first = messages(stage)
            stage.execute("UPDATE chunk SET state='planned' WHERE chunk_no IN (0, 4, 9)")
            stage.execute("DELETE FROM subscriber WHERE id BETWEEN 401 AND 500")
            stage.execute("UPDATE run SET publishing='open', published_at=NULL")
            self.assertIn("published=3", self.run_at(stage))
            again = messages(stage)
            self.assertEqual([m["chunk"] for m in again], [0, 4, 9])
            self.assertEqual((again[0], again[2]), (first[0], first[9]))
            self.assertEqual(again[1]["recipients"], [])
            self.assertEqual(self.states(stage), {"queued": 10})

    def test_a_consumers_state_is_not_overwritten(self):
        """PROTOCOL P4: the chunk is done before its confirm is written down."""
        with Stage(recipients=300) as stage:
            self.run_at(stage)
            messages(stage)
            stage.execute("UPDATE chunk SET state='planned' WHERE chunk_no<>0")
            stage.execute("UPDATE run SET publishing='open'")
            with stage.connect_database() as db, db.cursor() as fast_worker:
                db.begin()
                fast_worker.execute("SELECT state FROM chunk WHERE chunk_no=1 FOR UPDATE")
                producer = stage.start_producer("run", "welcome", "--at", AT)
                wait_until(lambda: stage.ready(LANE) == 2, 60, "both messages")
                fast_worker.execute("UPDATE chunk SET state='done' WHERE chunk_no=1")
                db.commit()
            self.assertEqual(producer.wait(), 0, producer.text())
            self.assertEqual([r[0] for r in stage.rows("SELECT state FROM chunk ORDER BY chunk_no")],
                             ["queued", "done", "queued"])

    def test_a_later_attempt_is_not_taken_for_the_one_that_was_confirmed(self):
        with Stage(recipients=300) as stage:
            self.run_at(stage)
            messages(stage)
            stage.execute("UPDATE chunk SET state='planned' WHERE chunk_no<>0")
            stage.execute("UPDATE run SET publishing='open'")
            with stage.connect_database() as db, db.cursor() as operator:
                db.begin()
                operator.execute("SELECT state FROM chunk WHERE chunk_no=1 FOR UPDATE")
                producer = stage.start_producer("run", "welcome", "--at", AT)
                wait_until(lambda: stage.ready(LANE) == 2, 60, "both messages")
                # Done by a worker, and opened again by an operator: the outbox has another attempt.
                operator.execute("UPDATE chunk SET attempt=2, digest=1 WHERE chunk_no=1")
                db.commit()
            self.assertEqual(producer.wait(), 0, producer.text())
            self.assertEqual([r[0] for r in stage.rows("SELECT state FROM chunk ORDER BY chunk_no")],
                             ["queued", "planned", "queued"])
            messages(stage)
            self.run_at(stage)
            self.assertEqual([(m["chunk"], m["attempt"]) for m in messages(stage)], [(1, 2)])
            self.assertEqual(self.states(stage), {"queued": 3})

    def test_two_producers_at_once(self):
        with Stage(recipients=20000, campaign=audience(SLOW)) as stage:
            first = self.start_slow(stage)
            error = self.run_at(stage, code=1)
            self.assertIn("another producer is publishing this run", error)
            self.open_gate()
            self.assertEqual(first.wait(), 0, first.text())
            self.assert_whole(stage, 20000, messages(stage))

    def test_chunk_rows_of_another_producer_stop_it(self):
        with Stage(recipients=20000, campaign=audience(SLOW)) as stage:
            producer = self.start_slow(stage)
            stage.execute("INSERT INTO chunk (run_id, chunk_no, first_id, last_id, recipients) "
                          "VALUES (1, 180, '1', '1', 1)")
            self.open_gate()
            self.assertEqual(producer.wait(), 1)
            self.assertIn("another producer is at work", producer.text())

    def test_a_signal_ends_it_after_the_page(self):
        with Stage(recipients=20000, campaign=audience(SLOW)) as stage:
            producer = self.start_slow(stage)
            producer.signal(signal.SIGTERM)
            self.open_gate()
            self.assertEqual(producer.wait(), 1)
            self.assertIn("stopped by a signal", producer.text())
            self.assertEqual(list(self.states(stage)), ["queued"])
            go_on = re.search(r'go_on="mailflock-producer run welcome --at (\S+)"', producer.text())
            found = messages(stage)
            stage.campaign("welcome", {})
            self.run_at(stage, at=go_on[1])
            self.assert_whole(stage, 20000, found + messages(stage))

    def test_a_cancelled_run_is_published_no_further(self):
        with Stage(recipients=20000, campaign=audience(SLOW)) as stage:
            producer = self.start_slow(stage)
            stage.execute("UPDATE run SET control='cancelled'")
            self.open_gate()
            self.assertEqual(producer.wait(), 0, producer.text())
            self.assertIn("cancelled: publishing stopped", producer.text())
            self.assertLess(stage.value("SELECT COUNT(*) FROM chunk"), 200)
            self.assertIn("cancelled: nothing to do", self.run_at(stage))
            self.assertEqual(stage.value("SELECT publishing FROM run"), "open")

    def test_a_paused_run_is_published(self):
        with Stage(recipients=20000, campaign=audience(SLOW)) as stage:
            producer = self.start_slow(stage)
            stage.execute("UPDATE run SET control='paused'")
            self.open_gate()
            self.assertEqual(producer.wait(), 0, producer.text())
            self.assert_whole(stage, 20000, messages(stage))

    def test_a_lost_database_connection_ends_the_attempt(self):
        with Stage(recipients=20000, campaign=audience(SLOW)) as stage:
            producer = self.start_slow(stage)
            for (connection,) in stage.rows(
                    "SELECT id FROM information_schema.processlist WHERE db=%s AND id<>CONNECTION_ID()",
                    stage.database):
                try:
                    stage.execute(f"KILL {connection}")
                except Exception as e:
                    if e.args[0] != 1094:  # it was gone already
                        raise
            self.open_gate()
            self.assertEqual(producer.wait(), 1, producer.text())
            self.assertIn("stays open", producer.text())
            stage.campaign("welcome", {})
            self.run_at(stage)
            self.assert_whole(stage, 20000, messages(stage))

    def test_a_lost_lock_ends_the_attempt(self):
        """PROTOCOL P1: it goes on over no other connection, which would not have the lock."""
        with Stage(recipients=20000, campaign=audience(SLOW)) as stage:
            producer = self.start_slow(stage)
            owner = stage.value(f"SELECT IS_USED_LOCK('mailflock.run.{stage.database}.1')")
            stage.execute(f"KILL {owner}")
            self.assertEqual(producer.wait(), 1, producer.text())
            self.assertIn("stays open", producer.text())
            stage.campaign("welcome", {})
            self.run_at(stage)
            self.assert_whole(stage, 20000, messages(stage))

    def test_the_lock_of_a_long_database_has_the_name_that_it_had(self):
        """PROTOCOL P1: producers of two versions exclude one another. Before, the server's own
        SHA1() made the name, which MySQL 9 does not have."""
        with Stage(recipients=20000, campaign=audience(SLOW), long_name=True) as stage:
            self.assertGreater(len(stage.database), 28)
            lock = f"mailflock.run.{hashlib.sha1(stage.database.encode()).hexdigest()[:28]}.1"
            producer = self.start_slow(stage)
            self.assertTrue(stage.value("SELECT IS_USED_LOCK(%s)", lock))
            self.open_gate()
            self.assertEqual(producer.wait(), 0, producer.text())

    def test_a_lost_broker_connection_is_replaced(self):
        with Stage(recipients=20000, campaign=audience(SLOW, chunk=20)) as stage:
            producer = self.start_slow(stage)
            producer.freeze()  # the management's figures are seconds old
            wait_until(lambda: stage.management.connections(), 60, "the connection to be listed")
            stage.management.close_connections()
            stage._amqp = None
            producer.thaw()
            self.open_gate()
            self.assertEqual(producer.wait(), 0, producer.text())
            self.assertIn("lost the broker, connecting again", producer.text())
            self.assert_whole(stage, 20000, messages(stage))

    def test_a_dead_link_to_the_broker_is_replaced(self):
        with Stage(recipients=20000, campaign=audience(SLOW, chunk=20)) as stage:
            proxy = Proxy()
            self.addCleanup(proxy.close)
            stage.write_config(broker={"port": proxy.port, "heartbeat": "1s", "connect_timeout": "1s"})
            producer = self.start_slow(stage)
            proxy.stalled.set()
            self.open_gate()
            wait_until(lambda: "lost the broker" in producer.text(), 60, "the loss to be noticed")
            proxy.stalled.clear()
            self.assertEqual(producer.wait(), 0, producer.text())
            self.assert_whole(stage, 20000, messages(stage))

    def test_refused_chunks_stay_planned(self):
        with Stage(recipients=20000, campaign=audience(SLOW)) as stage:
            producer = self.start_slow(stage)
            wait_until(lambda: stage.ready(LANE), 60, "messages")
            found = messages(stage)
            stage.delete_queue(LANE)
            self.open_gate()
            self.assertEqual(producer.wait(), 1, producer.text())
            self.assertRegex(producer.text(), r"RabbitMQ refuses chunks of run 1: .*no queue is bound")
            states = self.states(stage)
            self.assertGreater(states["planned"], 0)
            lost = stage.rows("SELECT chunk_no FROM chunk WHERE state='queued'")
            # What was in the queue went with it: the operator deleted it. All else is published.
            stage.execute("UPDATE chunk SET state='planned'")
            stage.campaign("welcome", {})
            self.run_at(stage)
            self.assertTrue(lost)
            self.assert_whole(stage, 20000, found + messages(stage))

if __name__ == "__main__":
    unittest.main(verbosity=2)
