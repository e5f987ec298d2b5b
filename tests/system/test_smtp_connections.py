"""The consumer's connections are its own: libcurl, which opened them, closes none of them."""

import os
import unittest

from environment import binary
from harness import Stage

RECIPIENTS, CONNECTIONS, MAILS = 1000, 4, 50


class AgeTest(unittest.TestCase):
    def test_a_connection_older_than_libcurl_likes_is_used_on(self):
        """When libcurl opens a connection it closes others that are 118 s old, 0.6 s here. Some
        recipients are refused, so that the connections come to their limits at different times."""
        settings = {"transports": {"relay": {
            "connections": CONNECTIONS, "messages_per_connection": MAILS, "connect_timeout": "5m",
            "reply_timeout": "30m", "final_reply_timeout": "30m"}}}
        library = os.path.join(os.path.dirname(binary("fakesmtp")), "libfastclock.so")
        with Stage(recipients=RECIPIENTS, settings=settings) as stage:
            smtp = stage.start_fakesmtp(delay_ms=20, rcpt_refuse=0.3)
            worker = stage.start_consumer(env={"LD_PRELOAD": library})
            run = stage.produce()
            counts, stats = stage.wait_complete(run), smtp.stats()
            self.assertEqual((counts["sent"], counts["failed"]), (stats["accepted"], stats["refused"]))
            self.assertEqual(counts["sent"] + counts["failed"], RECIPIENTS)
            self.assertEqual(stats["violation_kinds"], {})
            # As many connections as the limit asks for, and the last ones, which did not reach it.
            self.assertLessEqual(stats["connections"], RECIPIENTS // MAILS + CONNECTIONS)
            self.assertEqual(stage.compare(run, smtp)["twice"], [])
            stage.assert_balanced(run)
            self.assertEqual(worker.stop(), 0)


if __name__ == "__main__":
    unittest.main(verbosity=2)
