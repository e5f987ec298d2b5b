"""RabbitMQ and MariaDB fail while mails flow: the workers live through it by themselves, nobody is lost,
and nobody gets a second copy. Both are this test's own."""

import time
import unittest

import private_services

services = private_services.start()
unittest.addModuleCleanup(services.stop)

from flow import LEASE_S, FlowTest  # noqa: E402 (harness takes the services' addresses)
from harness import wait_until  # noqa: E402


class BrokerTest(FlowTest):
    def test_killed_and_started(self):
        """What was confirmed is there again."""
        self.flow(rcpt_defer=0.3, lease_s=15, held=True)
        self.smtp.resume()
        services.kill("rabbitmq")
        wait_until(lambda: self.lines("connection lost") >= 2, 60, "both to notice")
        services.begin("rabbitmq")
        self.forget_broker()
        wait_until(lambda: self.lines('msg="connected"') >= 2, 60, "both to connect again")
        self.assert_exact()

    def test_memory_alarm(self):
        """Publishers have to wait, so retries and acks do; what is in hand goes out meanwhile."""
        def watermark(value):
            services.rabbitmq_eval(f"vm_memory_monitor:set_vm_memory_high_watermark({value}).")

        self.addCleanup(watermark, "{absolute, 1000000000}")
        lease_s = 15
        self.flow(rcpt_defer=0.2, lease_s=lease_s, held=True)  # or nothing might be left to publish
        watermark("0.0001")
        self.smtp.resume()
        wait_until(lambda: self.lines("asks publishers to wait"), 60, "the alarm to be noticed")
        time.sleep(lease_s)  # what is in hand stays there: leases are renewed
        watermark("{absolute, 1000000000}")
        wait_until(lambda: self.lines("takes messages again"), 60, "the alarm to be over")
        self.assert_exact()
        self.assertEqual(self.lines("lease lost"), 0)


class DatabaseTest(FlowTest):
    def test_restart(self):
        self.flow(lease_s=15, held=True)
        self.smtp.resume()
        services.restart("mariadb")
        self.assert_exact()
        self.assertGreaterEqual(self.lines("database connection is back"), 2)

    def test_killed_and_started(self):
        """Whether the commit under way was applied shows afterwards."""
        self.flow(delay_ms=50, lease_s=15, held=True)
        for _ in range(2):
            self.smtp.resume()
            services.kill("mariadb")
            services.begin("mariadb")
            self.stage._db = None
            self.more()
        self.assert_exact()

    def test_frozen_beyond_the_leases(self):
        self.flow()
        self.addCleanup(services.thaw, "mariadb")
        services.freeze("mariadb")
        time.sleep(LEASE_S * 1.6)
        accepted = len(self.smtp.mails())
        time.sleep(20 - LEASE_S * 1.6)
        self.assertEqual(len(self.smtp.mails()), accepted, "nothing is sent without watermark and lease")
        services.thaw("mariadb")
        self.assert_exact()

    def test_writes_refused(self):
        """As with a full disk, or after a failover: the server is there and takes nothing. Another one
        may, at the same address: the workers connect anew."""
        self.flow(lease_s=15, held=True)
        self.addCleanup(services.sql_as_root, "SET GLOBAL read_only=0")
        services.sql_as_root("SET GLOBAL read_only=1")
        self.smtp.resume()
        wait_until(lambda: self.lines("database connection is back") >= 2, 60, "both to look again")
        services.sql_as_root("SET GLOBAL read_only=0")
        self.assert_exact()


if __name__ == "__main__":
    unittest.main(verbosity=2)
