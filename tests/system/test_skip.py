"""mailflock skip: a chunk that can neither be sent nor published again is ended by the operator."""

import unittest

from harness import Stage, binary, wait_until

LANE = "mailflock.bulk.relay"


class SkipTest(unittest.TestCase):
    def lose(self, stage, smtp):
        """A run whose one chunk is begun: the worker died with mails on the way, the message is gone, and
        so is one of the recipients."""
        run = stage.produce()
        worker = stage.start_consumer()
        smtp.wait_stalled()
        wait_until(lambda: stage.counts(run)["sent"] >= 20, 60, "some outcomes")
        worker.kill()
        smtp.resume()
        wait_until(lambda: stage.ready(LANE) == 1, 60, "its message to come back")
        stage.execute("UPDATE chunk SET lease_until=UTC_TIMESTAMP(6) + INTERVAL 1 HOUR")
        stage.delete_queue(LANE)
        stage.execute("DELETE FROM subscriber WHERE id=200")
        return run

    def refused(self, stage, *args, says):
        tables = ("chunk", "delivery")
        before = [stage.rows(f"SELECT * FROM {t}") for t in tables]
        self.assertRegex(stage.run_program("mailflock", "skip", *args, code=1).stderr, says)
        self.assertEqual([stage.rows(f"SELECT * FROM {t}") for t in tables], before)

    def due(self, stage):
        """due, when everything is overdue; the worker's lease is over, and no chunk was just begun."""
        stage.execute("UPDATE chunk SET next_due=UTC_TIMESTAMP(6) - INTERVAL 1 SECOND WHERE state<>'done'")
        stage.execute("UPDATE run SET created_at=created_at - INTERVAL 1 MINUTE")
        process = stage.start_producer("due")
        self.assertEqual(process.wait(), 0, process.text())
        return process.text()

    def test_what_is_left_is_skipped_or_unknown(self):
        with Stage(recipients=200, campaign={"audience": {"chunk": 200}},
                   settings={"worker": {"lease": "5s"}}) as stage:
            smtp = stage.start_fakesmtp(delay_ms=50, stall_after=40)
            run = self.lose(stage, smtp)
            self.refused(stage, run, "--chunk", "0", says="is in a worker's hands")
            self.refused(stage, run, "--chunk", "1", says="has no chunk 1")
            stage.execute("UPDATE chunk SET lease_until=UTC_TIMESTAMP(6) - INTERVAL 1 SECOND")
            self.assertIn("the audience has changed", self.due(stage))
            started, sent = stage.one("SELECT started, sent FROM chunk")
            said = stage.mailflock("skip", run, "--chunk", "0")
            self.assertEqual(said, f"run {run}, chunk 0: done: {200 - started} recipients skipped, "
                                   f"{started - sent} unknown\n")
            counts = stage.assert_balanced(run)
            self.assertEqual((counts["sent"], counts["unknown"], counts["skipped"]),
                             (sent, started - sent, 200 - started))
            self.assertGreater(counts["unknown"], 0)
            stage.mailflock("audit", run)
            self.assertEqual(stage.one("SELECT recipient_id, email, detail FROM delivery WHERE "
                                       "position=199"), ("?199", "", "given up by the operator"))
            accepted = {int(m.rcpt.removeprefix("user").split("@")[0]) - 1
                        for mails in smtp.mails().values() for m in mails}
            kept = {p for p, in stage.rows("SELECT position FROM delivery WHERE status IN "
                                           "('sent','unknown')")}
            self.assertLessEqual(accepted, kept, "who may have got it is not skipped")
            self.assertIn("completed=1", self.due(stage))
            self.refused(stage, run, "--chunk", "0", says="is done: nothing to skip")

    def test_a_chunk_that_was_never_claimed_leaves_sound_accounts(self):
        with Stage(recipients=30) as stage:
            run = stage.produce()
            stage.delete_queue(LANE)
            self.assertIn("30 recipients skipped, 0 unknown", stage.mailflock("skip", run, "--chunk=0"))
            self.assertEqual(stage.assert_balanced(run)["skipped"], 30)
            self.assertRegex(stage.mailflock("audit", run), "breaches=0 balanced=yes")

    def test_deferred_recipients_end_too(self):
        with Stage(recipients=60, campaign={"audience": {"chunk": 60},
                                            "delivery": {"retry": {"delays": ["30m"]}}}) as stage:
            stage.start_fakesmtp(rcpt_defer=1.0, defer_times=0)
            run = stage.produce()
            worker = stage.start_consumer()
            wait_until(lambda: stage.value("SELECT attempt FROM chunk") == 2 and
                       stage.counts(run)["deferred"] == 60, 60, "the second attempt")
            self.assertEqual(worker.stop(), 0)
            stage.execute("UPDATE chunk SET attempt=3, started=10, token=NULL, lease_until=NULL")
            stage.execute("UPDATE delivery SET attempt=2, maybe=IF(position>=50,1,0)")
            stage.execute("UPDATE delivery SET attempt=3 WHERE position<5")
            self.assertIn("45 recipients skipped, 15 unknown", stage.mailflock("skip", run, "--chunk=0"))
            stage.assert_balanced(run)
            stage.mailflock("audit", run)
            self.assertEqual([p for p, in stage.rows("SELECT position FROM delivery WHERE "
                                                     "status='unknown' ORDER BY 1")],
                             [*range(5, 10), *range(50, 60)])

    def test_an_operator_who_vanishes_blocks_no_worker(self):
        with Stage(recipients=10, settings={"worker": {"lease": "5s"}}) as stage:
            run = stage.produce()
            with stage.connect_database() as other, other.cursor() as cursor:
                cursor.execute("START TRANSACTION")
                cursor.execute("INSERT INTO delivery (run_id, chunk_no, position, recipient_id, email,"
                               " status, attempt, at) VALUES (%s, 0, 5, '5', '', 'sent', 1, NOW())", (run,))
                skip = stage.start("skip", [binary("mailflock"), "-c", stage.config, "skip", str(run),
                                            "--chunk", "0"])
                inserting = "SELECT COUNT(*) FROM information_schema.processlist WHERE db=DATABASE()" \
                            " AND info LIKE 'INSERT INTO delivery%'"
                wait_until(lambda: stage.value(inserting), 60, "the chunk to be in its hands")
                skip.freeze()
                cursor.execute("ROLLBACK")
                cursor.execute("SET innodb_lock_wait_timeout=30")
                cursor.execute("UPDATE chunk SET owner='a worker'")
            self.assertTrue(skip.alive)
            skip.thaw()
            self.assertEqual(skip.wait(60), 1)
            self.assertEqual(stage.one("SELECT state, owner FROM chunk"), ("queued", "a worker"))

    def test_wrong_usage_is_exit_2(self):
        with Stage() as stage:
            for args in ((), ("1",), ("1", "--chunk"), ("1", "--chunk", "x"), ("1", "--chunk", "-1"),
                         ("1", "--chunk", "4294967296"), ("1", "2", "--chunk", "0")):
                with self.subTest(args=args):
                    stage.run_program("mailflock", "skip", *args, code=2)
            self.refused(stage, "7", "--chunk", "0", says="run")


if __name__ == "__main__":
    unittest.main(verbosity=2)
