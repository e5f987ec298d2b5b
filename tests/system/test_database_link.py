"""The connection between a worker and its database falls silent: the worker finds out, and renews its
lease over another connection, before the lease is over."""

import unittest

from environment import ENV
from flow import FlowTest
from harness import wait_until
from silent_proxy import SilentProxy


class SilenceTest(FlowTest):
    """The server still has the lost session, and the rows that its transaction has locked."""

    def silenced(self, lease_s, times=3, **more):
        proxy = SilentProxy((ENV["MAILFLOCK_DATABASE_HOST"], int(ENV["MAILFLOCK_DATABASE_PORT"])))
        self.addCleanup(proxy.close)
        self.flow(recipients=3000, workers=1, lease_s=lease_s, held=True, **more,
                  worker_env={"MAILFLOCK_DATABASE_PORT": str(proxy.port),
                              "MAILFLOCK_DATABASE_HOST": "127.0.0.1"})
        other = self.stage.start_consumer()  # it would take what the first one loses
        self.workers.append(other)
        first = self.workers[0]
        for n in range(times):
            self.smtp.resume()
            self.more(100)
            proxy.silence()
            wait_until(lambda: first.text().count("database connection is back") > n, 60,
                       "the worker to connect anew")
        self.assert_exact(deadline_s=120)
        self.assertEqual(self.lines("lease lost"), 0)
        self.assertEqual(self.lines("late replies"), 0)
        return first

    def test_of_a_long_lease(self):
        """It is not waited for the lease: with one of 10 minutes this test would not end in time."""
        self.silenced(600, times=1)

    def test_of_a_short_lease(self):
        """Nothing is lost to the other worker."""
        first = self.silenced(15)
        self.assertIn("the lost session is ended", first.text())


if __name__ == "__main__":
    unittest.main(verbosity=2)
