"""A worker that may have few files open: its connections leave room for everything else."""

import os
import re
import unittest
import urllib.request

from harness import Stage, binary, free_port, wait_until

CONFIGURED = 50


class FileLimitTest(unittest.TestCase):
    def start_limited(self, stage, soft, hard, **env):
        """A worker under these limits of open files."""
        worker = stage.start("worker", ["prlimit", f"--nofile={soft}:{hard}", binary("mailflock-consumer"),
                                        "-c", stage.config], env)
        worker.wait_for_log('msg="ready"')
        return worker

    def open_files(self, worker):
        """With core_dumps: otherwise only root may look."""
        return len(os.listdir(f"/proc/{worker.pid}/fd"))

    def test_few_files_leave_room_for_database_broker_and_metrics(self):
        port = free_port()
        relay = {"connections": CONFIGURED}
        with Stage(recipients=600, campaign={"audience": {"chunk": 100}},
                   settings={"transports": {"relay": relay}, "core_dumps": True}) as stage:
            smtp = stage.start_fakesmtp(delay_ms=50, stall_after=100)
            run = stage.produce()
            worker = self.start_limited(stage, 96, 96, MAILFLOCK_WORKER_LISTEN=f"127.0.0.1:{port}")
            capped = int(worker.wait_for_log(
                rf'transport=relay connections=(\d+) configured={CONFIGURED} allowed=96 needed=')[1])
            self.assertTrue(1 < capped < CONFIGURED, capped)
            smtp.wait_stalled()
            self.assertLess(self.open_files(worker), 96 - 5)
            for _ in range(3):
                stage.cut_database()
                smtp.resume()
                seen = len(smtp.mails())
                wait_until(lambda: len(smtp.mails()) > seen or stage.is_complete(run), 60, "more mails")
                with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=60) as page:
                    self.assertIn(b"mailflock_connections_open", page.read())
            stage.wait_quiet(run)
            self.assertEqual(stage.assert_balanced(run)["sent"], 600)
            used = {mail.connection for mails in smtp.mails().values() for mail in mails}
            self.assertGreater(len(used), 1)
            self.assertNotRegex(worker.text(), "(?i)too many open")
            self.assertEqual(worker.stop(), 0)

    def test_sixty_four_files_are_enough_for_a_run(self):
        with Stage(recipients=400, campaign={"audience": {"chunk": 100}},
                   settings={"transports": {"relay": {"connections": CONFIGURED}}}) as stage:
            smtp = stage.start_fakesmtp(delay_ms=20, stall_after=50)
            run = stage.produce()
            worker = self.start_limited(stage, 64, 64)
            smtp.wait_stalled()
            stage.cut_database()
            smtp.resume()
            stage.wait_quiet(run)
            self.assertEqual(stage.assert_balanced(run)["sent"], 400)
            self.assertNotRegex(worker.text(), "(?i)too many open|cannot connect|no database")
            self.assertEqual(worker.stop(), 0)

    def test_a_limit_that_may_be_raised_is_raised(self):
        with Stage(recipients=1, settings={"transports": {"relay": {"connections": CONFIGURED}}}) as stage:
            stage.start_fakesmtp()
            worker = self.start_limited(stage, 64, 4096)
            with open(f"/proc/{worker.pid}/limits", encoding="ascii") as limits:
                raised = int(re.search(r"Max open files\s+(\d+)", limits.read())[1])
            self.assertGreaterEqual(raised, 4 * CONFIGURED)
            self.assertNotIn("open files", worker.text())

    def test_a_limit_that_leaves_no_connection_is_an_error(self):
        with Stage(recipients=1) as stage:
            worker = stage.start("worker", ["prlimit", "--nofile=20:20", binary("mailflock-consumer"),
                                            "-c", stage.config])
            self.assertEqual(worker.wait(), 1, worker.text())
            self.assertIn("20 open files are allowed, but", worker.text())


if __name__ == "__main__":
    unittest.main(verbosity=2)
