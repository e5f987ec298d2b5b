"""Interruptions in the middle of a run: the workers' connections and queue are taken away, the ledger's
rows are locked, the SMTP server stops or stalls, a worker freezes or loses a chunk. The others, or the
same worker afterwards, bring it to its end by themselves: nobody is lost, nobody gets a second copy."""

import time

import pymysql

import side_by_side
from flow import CHUNK, CONNECTIONS, LANE, LEASE_S, WINDOW, FlowTest
from harness import FakeSmtp, binary, now_us, wait_until


class BrokerTest(FlowTest):
    def test_connections_closed_by_the_broker(self):
        self.flow(recipients=1600, lease_s=15, held=True)
        self.stage.management.close_connections()
        self.forget_broker()
        wait_until(lambda: self.lines("connection lost") >= 2, 60, "both to notice")
        self.assertFalse(self.stage.is_complete(self.run_id))
        self.smtp.resume()
        self.assert_exact()
        self.assertGreaterEqual(self.lines('msg="connected"'), 2)

    def test_queue_deleted_under_the_consumers(self):
        self.flow(workers=1, prefetch=2, held=True)
        wait_until(lambda: self.stage.ready(LANE), 60, "messages that no worker has")
        self.stage.delete_queue(LANE)
        self.workers[0].wait_for_log("the broker ended our consumer")
        wait_until(lambda: self.stage.consumers(), 60, "it to declare the queue and consume again")
        self.smtp.resume()
        # The messages went with the queue. Their chunks are overdue some time later.
        held = "SELECT COUNT(*) FROM chunk WHERE token IS NOT NULL"
        wait_until(lambda: not self.stage.value(held), 60, "what was in hand to end")
        self.assertGreater(self.stage.counts(self.run_id)["pending"], 0)
        self.stage.execute("UPDATE chunk SET next_due=UTC_TIMESTAMP(6) - INTERVAL 1 SECOND "
                           "WHERE state<>'done'")
        done = self.stage.run_program("mailflock-producer", "due")
        self.assertIn("overdue=", done.stdout)
        self.assert_exact()


class LedgerTest(FlowTest):
    def test_nothing_goes_beyond_the_watermark(self):
        """PROTOCOL C4: while the ledger cannot commit, the sender comes to a stop where it said."""
        self.flow(workers=1, recipients=150, delay_ms=200, held=True)
        with self.stage.connect_database() as db, db.cursor() as cursor:

            def stopped_in_the_middle():
                db.begin()
                cursor.execute("SELECT chunk_no, started FROM chunk FOR UPDATE")
                rows = cursor.fetchall()
                if any(0 < started < CHUNK for _, started in rows):
                    return rows
                db.rollback()
                self.a_little()
                return None

            rows = wait_until(stopped_in_the_middle, 60, "a chunk of which only a part may be sent")
            allowed = {(chunk, p) for chunk, started in rows for p in range(started)}
            self.smtp.resume()
            wait_until(lambda: self.accepted() >= allowed, 60, "what may be sent to be sent")
            # Now its commit waits for these rows, and nothing else moves. With this lease the server ends
            # the wait after 1 s, and the worker tries again.
            waiting = ("SELECT COUNT(*) FROM information_schema.processlist WHERE db=DATABASE() AND "
                       "info LIKE 'UPDATE chunk SET seq=%%' AND time_ms > 300")
            wait_until(lambda: self.stage.value(waiting), 60, "a commit that waits")
            self.assertEqual(self.accepted(), allowed)
            self.assertFalse(self.stage.is_complete(self.run_id))
            db.rollback()
        self.assert_exact()

    def test_a_chunk_taken_away_is_abandoned_alone(self):
        """PROTOCOL C5: the fenced UPDATE does not match, and the others of the group do."""
        self.flow(workers=1, delay_ms=200, recipients=150, prefetch=3, held=True)
        taken = self.stage.execute("UPDATE chunk SET token=4711, lease_until=UTC_TIMESTAMP(6) + "
                                   "INTERVAL 1 HOUR WHERE chunk_no=0 AND token IS NOT NULL")
        self.assertEqual(taken, 1)
        self.smtp.resume()
        self.workers[0].wait_for_log("lease lost.* chunk=0 ")
        started = self.stage.value("SELECT started FROM chunk WHERE chunk_no=0")
        wait_until(lambda: self.stage.value("SELECT state FROM chunk WHERE chunk_no=1") == "done", 60)
        self.assertLessEqual({p for chunk, p in self.accepted() if chunk == 0}, set(range(started)))
        self.assertLess(started, 50)
        self.stage.execute("UPDATE chunk SET lease_until=UTC_TIMESTAMP(6) WHERE token=4711")
        self.assert_exact(unknown=WINDOW)
        self.assertEqual(self.lines("lease lost"), 1)


    def test_the_server_ends_the_transaction_of_a_frozen_worker(self):
        """PROTOCOL C5: its locks are gone after about a lease, though its connection still stands."""
        self.flow(workers=1, recipients=300, delay_ms=200, campaign={"audience": {"chunk": 300}})
        (worker,) = self.workers
        wait_until(lambda: self.freeze_in_transaction(worker), 60, "it to be frozen with a chunk locked")
        with self.stage.connect_database() as db, db.cursor() as cursor:
            cursor.execute("SET innodb_lock_wait_timeout=60")
            cursor.execute("SELECT token FROM chunk FOR UPDATE")  # fails while it is still locked
        worker.thaw()
        self.assert_exact()

    def freeze_in_transaction(self, worker):
        """The worker updates its chunk, and is kept from its delivery rows until it is frozen. False
        where that failed, and it runs on."""
        with self.stage.connect_database() as db, db.cursor() as cursor:
            db.begin()
            try:
                cursor.execute("INSERT IGNORE INTO delivery (run_id, chunk_no, position, recipient_id, "
                               "email, status, attempt, at) SELECT %s, 0, id - 1, id, '', 'sent', 1, "
                               "UTC_TIMESTAMP() FROM subscriber ORDER BY id DESC", (self.run_id,))
            except pymysql.err.OperationalError:
                return False  # a deadlock with the worker
            wait_until(lambda: self.stage.value("SELECT COUNT(*) FROM information_schema.processlist WHERE "
                                                "db=%s AND info LIKE 'INSERT INTO delivery%%'",
                                                self.stage.database), 60, "it to wait for us")
            worker.freeze()
            db.rollback()
            try:
                cursor.execute("SELECT token FROM chunk FOR UPDATE NOWAIT")
                db.rollback()
            except pymysql.err.OperationalError:
                return True
        worker.thaw()
        return False


class SmtpTest(FlowTest):
    def test_stopped_and_started(self):
        self.flow(held=True)
        self.smtp.stop()
        for worker in self.workers:
            worker.wait_for_log("cannot connect")
        again = FakeSmtp(binary("fakesmtp"), self.stage.dir, "again", port=self.smtp.port, delay_ms=50,
                         record=self.smtp.record)
        self.stage.processes.append(again)
        self.smtp = again  # has the record now, and is asked for what it has not written yet
        # A mail that waited for its reply is unknown, at most one on each connection.
        self.assert_exact(unknown=2 * CONNECTIONS)
        self.assertEqual(self.stage.rows("SELECT DISTINCT attempt FROM delivery"), [(1,)])

    def test_stalls_longer_than_a_lease(self):
        lease_s = 15
        self.flow(lease_s=lease_s, held=True)
        owners, last = self.stage.one("SELECT COUNT(DISTINCT owner), MAX(lease_until) FROM chunk "
                                      "WHERE token IS NOT NULL")
        self.assertEqual(owners, 2)
        renewed = "SELECT MIN(lease_until) > %s + INTERVAL %s SECOND FROM chunk WHERE token IS NOT NULL"
        wait_until(lambda: self.stage.value(renewed, last, lease_s), 120, "C6: leases are renewed")
        self.smtp.resume()
        self.assert_exact()
        self.assertEqual(self.lines("lease lost"), 0)

    def test_stalls_longer_than_replies_are_awaited(self):
        self.flow(relay={"final_reply_timeout": "12s", "reply_timeout": "12s"}, held=True)
        for worker in self.workers:
            worker.wait_for_log("no reply in time")
        self.smtp.resume()
        self.assert_exact(unknown=2 * CONNECTIONS)


class WorkerTest(FlowTest):
    FROZEN_S = 60

    def test_frozen_beyond_its_lease_hold(self):
        self.frozen("hold")

    def test_frozen_beyond_its_lease_resend(self):
        self.frozen("resend")

    def frozen(self, policy):
        self.flow(workers=1, recipients=200, campaign={"delivery": {"on_crash": policy}}, held=True)
        (frozen,) = self.workers
        frozen.freeze()
        self.smtp.resume()
        thaw_at = time.monotonic() + self.FROZEN_S
        leased = "SELECT COUNT(*) FROM chunk WHERE lease_until>UTC_TIMESTAMP(6)"
        wait_until(lambda: not self.stage.value(leased), 60, "its leases to end")
        # RabbitMQ gives a silent worker's messages to others only after two heartbeats.
        self.stage.management.close_connections()
        self.forget_broker()
        self.workers.append(self.stage.start_consumer())
        self.stage.wait_quiet(self.run_id)
        before = self.stage.counts(self.run_id)
        twice = len(self.stage.compare(self.run_id, self.smtp)["twice"])
        time.sleep(max(0, thaw_at - time.monotonic()))
        thawed_us = now_us()
        frozen.thaw()
        frozen.wait_for_log("lease lost")
        if policy == "hold":
            frozen.wait_for_log("late replies: unknown is sent")
        wait_until(lambda: not self.stage.ready(f"mailflock.wait.{LEASE_S}") and not self.stage.ready(LANE),
                   60, "the copies to be dropped")
        late = [m for mails in self.smtp.mails().values() for m in mails if m.at_us > thawed_us]
        self.assertEqual(late, [], "it sent after its lease was gone")
        after = self.stage.assert_balanced(self.run_id)
        found = self.stage.compare(self.run_id, self.smtp)
        self.assertEqual(found["lost"] + found["wrong"] + found["strange"], [])
        self.assertEqual(len(found["twice"]), twice)
        if policy == "hold":
            self.assertTrue(0 < before["unknown"] <= WINDOW, before)
            self.assertEqual(twice, 0)
            # PROTOCOL C12: the replies that waited for it make unknown ones sent.
            self.assertLess(after["unknown"], before["unknown"])
        else:
            self.assertTrue(0 < twice <= WINDOW, twice)
            self.assertEqual((after["sent"], after["unknown"]), (200, 0))
        self.assertEqual([w.stop() for w in self.workers], [0, 0])


if __name__ == "__main__":
    side_by_side.main()
