"""A program that crashes leaves no core dump, which would hold its passwords, unless that was asked for."""

import glob
import os
import signal
import subprocess
import unittest

from harness import Stage, binary, wait_until
from producer_fixture import SLOW, ProducerTestCase, audience

CLD_KILLED, CLD_DUMPED = 2, 3
PASSWORD = "Tr0ub4dor-of-the-relay"
CONTACTS = {"contacts": {"exchange": "crm.events"}}


def written_by_kernel():
    with open("/proc/sys/kernel/core_pattern", encoding="ascii") as pattern:
        return not pattern.read().startswith("|")


class CoreDumpTest(ProducerTestCase):
    def stage_with_secret(self, **settings):
        return self.enterContext(Stage(
            recipients=4000, campaign=audience(SLOW),
            settings={"transports": {"relay": {"user": "mailflock", "password": PASSWORD,
                                              "allow_plaintext_login": True}}, **settings}))

    def start(self, stage, program, *args):
        """With no limit on core dumps, as after `ulimit -c unlimited`."""
        return stage.start(program, ["prlimit", "--core=unlimited", binary(program), "-c", stage.config,
                                     *args])

    def crash(self, process):
        """Crashes it; returns whether the kernel says that it dumped a core."""
        process.signal(signal.SIGABRT)
        info = os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        self.assertIn(info.si_code, (CLD_KILLED, CLD_DUMPED), process.text())
        self.assertEqual(info.si_status, signal.SIGABRT)
        self.assertEqual(process.wait(), -signal.SIGABRT)
        return info.si_code == CLD_DUMPED

    def cores(self, stage):
        return glob.glob(os.path.join(stage.dir, "core*"))

    def programs(self, stage):
        """All that run for a while, each when it knows its passwords."""
        worker = self.start(stage, "mailflock-consumer")
        worker.wait_for_log('msg="ready"')
        yield worker
        keeper = self.start(stage, "mailflock-consumer", "--contacts")
        wait_until(lambda: keeper.text().count('msg="ready"') >= 1, 60, "the keeper to be ready")
        yield keeper
        self.hold_gate(stage)
        producer = self.start(stage, "mailflock-producer", "run", "welcome")
        wait_until(lambda: stage.value("SELECT COUNT(*) FROM chunk") >= 2, 60, "chunks")
        yield producer
        console = self.start(stage, "mailflock", "status", "welcome", "--watch")
        wait_until(lambda: console.text(), 60, "the status")
        yield console

    def test_a_crash_leaves_no_core(self):
        stage = self.stage_with_secret(**CONTACTS)
        for process in self.programs(stage):
            with self.subTest(os.path.basename(process.argv[2])):
                with open(f"/proc/{process.pid}/limits", encoding="ascii") as limits:
                    self.assertRegex(limits.read(), r"Max core file size +0 ")
                self.assertFalse(self.crash(process))
                self.assertEqual(self.cores(stage), [])

    def test_a_core_that_was_asked_for_is_written(self):
        """So that the other test could fail."""
        if not written_by_kernel():
            self.skipTest("kernel.core_pattern gives core dumps to a program, which does as it likes")
        stage = self.stage_with_secret(core_dumps=True, **CONTACTS)
        for process in self.programs(stage):
            with self.subTest(os.path.basename(process.argv[2])):
                self.assertTrue(self.crash(process))
                for path in self.cores(stage):  # none, where the pattern names another directory
                    with open(path, "rb") as core:
                        self.assertIn(PASSWORD.encode(), core.read())
                    os.unlink(path)

    def test_the_account_that_runs_it_cannot_read_its_environment(self):
        stage = self.stage_with_secret()
        os.chmod(stage.dir, 0o755)
        nobody = ["setpriv", "--reuid=65534", "--clear-groups"]
        program = binary("mailflock-consumer")
        if subprocess.run([*nobody, program, "-V"], check=False, capture_output=True).returncode:
            self.skipTest("another account cannot be used here, or cannot reach the program")
        worker = stage.start("worker", [*nobody, program, "-c", stage.config])
        worker.wait_for_log('msg="ready"')
        self.assertEqual(os.stat(f"/proc/{worker.pid}/environ").st_uid, 0)
        self.assertEqual(worker.stop(), 0)


if __name__ == "__main__":
    unittest.main(verbosity=2)
