"""Pause, cancel and stop while a relay is slow to answer: replies on the way are awaited for much longer
than a lease, and what a slow relay has accepted is recorded as sent."""

import signal
import unittest

from flow import CONNECTIONS, LEASE_S, FlowTest
from harness import wait_until


class ReleaseTest(FlowTest):
    def begin(self, command, on_crash="hold", **more):
        """The server stands still with mails that it was handed; then the command. Returns when two
        leases have passed since, with the chunks still in hand."""
        self.flow(recipients=200, workers=1, prefetch=1, held=True,
                  campaign={"delivery": {"on_crash": on_crash}}, **more)
        self.stage.mailflock(command, self.run_id)
        self.held_for(2 * LEASE_S)

    def held_for(self, seconds):
        """Leases are renewed: a chunk is in hand by then, at the latest."""
        end = self.stage.value("SELECT UTC_TIMESTAMP(6) + INTERVAL %s SECOND", seconds)
        lease = "SELECT MAX(lease_until) FROM chunk WHERE token IS NOT NULL"

        def later():
            until = self.stage.value(lease)
            self.assertIsNotNone(until, "the chunk was given back before the replies came")
            return until > end
        wait_until(later, 60, "the lease to be renewed")

    def free(self):
        return not self.stage.value("SELECT COUNT(*) FROM chunk WHERE token IS NOT NULL")

    def answered(self):
        """The server goes on, the chunk is given back: all that was accepted is sent, and no more."""
        self.smtp.resume()
        wait_until(self.free, 60, "the chunk to be given back")
        counts = self.stage.assert_balanced(self.run_id)
        self.assertEqual(counts["unknown"], 0, counts)
        self.assertEqual(counts["deferred"], 0, counts)
        self.assertEqual(counts["sent"], len(self.smtp.mails()))
        self.assertLess(counts["sent"], self.recipients)
        self.assertEqual(self.lines("lease lost"), 0)
        return counts

    def test_paused(self):
        for on_crash in ("hold", "resend"):
            with self.subTest(on_crash):
                self.begin("pause", on_crash)
                self.answered()
                self.stage.mailflock("resume", self.run_id)
                self.assert_exact()

    def test_cancelled(self):
        self.begin("cancel")
        self.smtp.resume()
        counts = self.stage.wait_quiet(self.run_id)
        self.assertEqual(self.stage.assert_balanced(self.run_id), counts)
        self.assertEqual(counts["unknown"], 0, counts)
        self.assertEqual(counts["sent"], len(self.smtp.mails()))
        self.assertEqual(counts["sent"] + counts["skipped"], self.recipients)

    def test_paused_and_cancelled(self):
        self.begin("pause")
        self.stage.mailflock("cancel", self.run_id)
        self.held_for(LEASE_S)
        self.smtp.resume()
        counts = self.stage.wait_quiet(self.run_id)
        self.assertEqual(counts["unknown"], 0, counts)
        self.assertEqual(counts["sent"], len(self.smtp.mails()))
        self.assertEqual(counts["sent"] + counts["skipped"], self.recipients)

    def test_paused_and_resumed(self):
        self.begin("pause")
        self.stage.mailflock("resume", self.run_id)
        self.held_for(LEASE_S)
        self.smtp.resume()
        self.assert_exact()

    def test_a_stop_ends_the_waiting(self):
        """It has its own limit, worker.drain: what is not answered by then is unknown."""
        self.begin("pause")
        self.workers[0].signal(signal.SIGTERM)
        self.assertEqual(self.workers[0].wait(60), 0)
        self.assertTrue(self.free())
        counts = self.stage.assert_balanced(self.run_id)
        self.assertTrue(0 < counts["unknown"] <= CONNECTIONS, counts)

    def test_replies_that_came_while_the_worker_stood_still(self):
        """More connections than one round of events tells of, and the time to stop is over when it goes
        on: what is there is read before anything is given up."""
        connections = 150
        self.flow(recipients=1000, workers=1, lease_s=60, held=True, relay={"connections": connections},
                  campaign={"audience": {"chunk": 500}})
        worker = self.workers[0]
        self.smtp.resume()
        self.more(2 * connections)
        self.smtp.stall()
        worker.signal(signal.SIGTERM)
        worker.wait_for_log("stopping")
        worker.freeze()
        self.smtp.resume()
        ended = self.stage.value("SELECT UTC_TIMESTAMP(6) + INTERVAL 7 SECOND")  # the drain time is 5 s
        wait_until(lambda: self.stage.value("SELECT UTC_TIMESTAMP(6)") > ended, 60, "the end of the wait")
        worker.thaw()
        self.assertEqual(worker.wait(60), 0)
        counts = self.stage.assert_balanced(self.run_id)
        self.assertEqual(counts["unknown"], 0, counts)
        self.assertEqual(counts["sent"], len(self.smtp.mails()))

    def test_replies_that_never_come(self):
        """The relay's own limit counts: final_reply_timeout."""
        self.begin("pause", relay={"final_reply_timeout": "15s"})
        wait_until(self.free, 60, "the chunk to be given back")
        counts = self.stage.assert_balanced(self.run_id)
        self.assertTrue(0 < counts["unknown"] <= CONNECTIONS, counts)


if __name__ == "__main__":
    unittest.main(verbosity=2)
