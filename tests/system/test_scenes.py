"""Scenes that tests/model or ./dev chaos found, played with the real programs: what an earlier worker
left is put into the ledger by hand."""

import unittest

from harness import Stage, wait_until

LANE, DEAD = "mailflock.bulk.relay", "mailflock.dead"


def leave(stage, run, started):
    """The chunk as a worker leaves it that died after its watermark was committed."""
    stage.execute("UPDATE chunk SET state='queued', claims=1, started=%s, token=1, owner='first', "
                  "lease_until=UTC_TIMESTAMP(6) - INTERVAL 1 SECOND WHERE run_id=%s", started, run)


class SceneTest(unittest.TestCase):
    def test_what_may_have_been_sent_stays_so_when_it_is_given_back_unsent(self):
        """C8, C12: the second worker could not send again what the first one may have sent."""
        campaign = {"delivery": {"on_crash": "resend"}}
        with Stage(recipients=6, campaign=campaign) as stage:  # its relay does not exist
            run = stage.produce()
            leave(stage, run, started=4)
            second = stage.start_consumer()
            wait_until(lambda: stage.value("SELECT started FROM chunk WHERE run_id=%s", run) == 6, 60,
                       "the second worker to have claimed the chunk")
            self.assertEqual(second.stop(), 0)
            self.assertEqual(stage.one("SELECT started, token FROM chunk WHERE run_id=%s", run), (0, None))
            self.assertEqual(stage.rows("SELECT position, status, attempt, maybe FROM delivery"
                                        " WHERE run_id=%s ORDER BY position", run),
                             [(p, "deferred", 0, 1) for p in range(4)])
            stage.assert_balanced(run)

            smtp = stage.start_fakesmtp(rcpt_refuse=1)
            stage.start_consumer()
            counts = stage.wait_quiet(run)
            self.assertEqual((counts["unknown"], counts["failed"]), (4, 2))
            self.assertEqual(smtp.accepted(), 0)
            stage.assert_balanced(run)
            stage.mailflock("audit", run)

    def test_what_an_earlier_worker_left_does_not_use_up_the_window(self):
        """Both connections wait with mails of the first chunk until the window has room for them, and
        the second chunk has as much at risk, from its first worker, as the window is large."""
        campaign = {"delivery": {"on_crash": "resend"}, "audience": {"chunk": 6}}
        settings = {"transports": {"relay": {"connections": 2}}}
        with Stage(recipients=12, campaign=campaign, settings=settings) as stage:
            smtp = stage.start_fakesmtp(delay_ms=50)
            run = stage.produce()
            leave(stage, run, started=4)
            stage.execute("UPDATE chunk SET claims=0, started=0, token=NULL, lease_until=NULL "
                          "WHERE chunk_no=0")
            stage.start_consumer()
            self.assertEqual(stage.wait_quiet(run)["sent"], 12)
            self.assertEqual(smtp.accepted(), 12)
            self.assertEqual(stage.value("SELECT SUM(maybe) FROM delivery"), 4)

    def test_a_stuck_chunk_has_a_dead_letter_though_its_worker_died_before_it(self):
        """C11: the message came again."""
        with Stage(recipients=3) as stage:
            run = stage.produce()
            stage.execute("UPDATE chunk SET state='stuck', claims=5 WHERE run_id=%s", run)
            worker = stage.start_consumer()
            properties, _ = stage.take(DEAD)
            self.assertIn("stuck", properties.headers["x-mailflock-reason"])
            self.assertEqual(worker.stop(), 0)
            self.assertEqual(stage.ready(LANE), 0)

    def test_marking_as_sent_takes_the_chunk_from_a_worker_that_was_cut_off(self):
        """O1: seq moves, and the worker must not take that for its own commit."""
        with Stage(recipients=2) as stage:
            run = stage.produce()
            leave(stage, run, started=1)
            stage.execute("UPDATE chunk SET unknown=1, seq=2 WHERE run_id=%s", run)
            stage.execute("INSERT INTO delivery (run_id, chunk_no, position, recipient_id, email, status, "
                          "attempt, maybe, at) VALUES (%s, 0, 0, '1', 'user1@example.net', 'unknown', 1, 1, "
                          "UTC_TIMESTAMP(6))", run)
            stage.mailflock("unknown", run, "--mark-sent")
            self.assertEqual(stage.one("SELECT seq, token, lease_until, sent, unknown FROM chunk"
                                       " WHERE run_id=%s", run), (3, None, None, 1, 0))


if __name__ == "__main__":
    unittest.main(verbosity=2)
