"""PROTOCOL C4: what a worker's death leaves ambiguous, at full speed. smtp-sink answers at once, so the
window is as wide as it becomes: outcomes come by the thousand a second."""

import unittest

from harness import Stage, wait_until
from side_by_side import MEASURED

RECIPIENTS, CONNECTIONS = 20000, 32
PROMISED = 512  # docs/protocol.md: the most that one worker's crash leaves ambiguous


class WindowTest(unittest.TestCase):
    def killed_in_the_middle(self, stage):
        """The run. Where the machine was so busy that the worker was killed after the end: another."""
        for name in ("welcome", "again", "once-more"):
            stage.campaign(name, {"audience": {"chunk": 1000}})
            run = stage.produce(name)
            worker = stage.start_consumer()
            wait_until(lambda: stage.counts(run)["sent"] >= RECIPIENTS // 10, 60, "some mails", 0.005)
            worker.kill()
            if stage.counts(run)["pending"]:
                return run
        self.fail("it was never killed in the middle of a run")

    def test_a_kill_at_full_speed_leaves_no_more_ambiguous_than_promised(self):
        with Stage(recipients=RECIPIENTS, settings={
                "worker": {"lease": "5s"}, "transports": {"relay": {"connections": CONNECTIONS}}}) as stage:
            stage.start_sink()
            run = self.killed_in_the_middle(stage)
            sent = stage.counts(run)["sent"]
            second = stage.start_consumer()
            counts = stage.wait_quiet(run)
            print(f"{MEASURED}killed after {sent} of {RECIPIENTS} mails: {counts['unknown']} unknown")
            self.assertEqual(stage.assert_balanced(run), counts)
            self.assertLessEqual(counts["unknown"], PROMISED)
            self.assertEqual(counts["sent"] + counts["unknown"], RECIPIENTS)
            stage.mailflock("audit", run)
            self.assertEqual(second.stop(), 0)


if __name__ == "__main__":
    unittest.main(verbosity=2)
