"""The sender allocates nothing per mail: its allocations do not grow with the number of mails."""

import os
import unittest

from environment import binary
from harness import Stage


def sender_allocations(recipients):
    """Allocations of the sender's thread over one run of that many recipients."""
    with Stage(recipients=recipients, campaign={"audience": {"chunk": 500}}) as stage:
        counts = os.path.join(stage.dir, "allocations")
        stage.start_fakesmtp()
        library = os.path.join(os.path.dirname(binary("fakesmtp")), "libmalloccount.so")
        consumer = stage.start_consumer(env={"LD_PRELOAD": library, "MALLOCCOUNT": counts})
        run = stage.produce("welcome")
        stage.wait_complete(run)
        stage.assert_balanced(run)
        assert consumer.stop() == 0
        with open(counts, encoding="ascii") as lines:
            return sum(int(n) for name, n in map(str.split, lines) if name == "sender")


class SteadyState(unittest.TestCase):
    def test_the_sender_allocates_nothing_per_mail(self):
        few, many = sender_allocations(1000), sender_allocations(11000)
        print(f"sender's allocations: {few} for 1,000 mails, {many} for 11,000")
        self.assertGreater(few, 0, "the library did not count")
        # 20 chunks more, some allocations each; 10,000 mails more, none each
        self.assertLess(many - few, 1000)


if __name__ == "__main__":
    unittest.main()
