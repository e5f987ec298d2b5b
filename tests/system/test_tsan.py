"""The consumer's threads under ThreadSanitizer: two workers, refusals and deferrals, connections lost on
every side, a worker that freezes until its lease is gone, and a stop in the middle. Not how much is
sent matters here but that the threads meet nowhere but in their queues; Stage fails on any report.

With --all (./dev test --tsan), the tests of other files too, with the consumer under
ThreadSanitizer.
"""

import importlib
import inspect
import os
import signal
import sys
import time
import unittest
import urllib.request

import side_by_side
from harness import ENV, Stage, free_port, wait_until

OTHERS = ("test_consumer", "test_dead", "test_dialogues", "test_interruptions", "test_scenes",
          "test_smtp_peers", "test_smtp_trouble")
RECIPIENTS = 2000


def watched_consumer():
    build = ENV.get("MF_BUILD_TSAN") or ENV["MF_BUILD"] + "-tsan"
    path = os.path.join(build, "mailflock-consumer")
    if not os.access(path, os.X_OK):
        raise AssertionError(f"{path} is missing: it is the consumer under ThreadSanitizer; run ./dev "
                             "build --tsan, or set MF_BUILD_TSAN")
    return path


def setUpModule():
    ENV.setdefault("MF_CONSUMER", watched_consumer())


class ThreadTest(unittest.TestCase):
    def read_metrics(self, port):
        """By one more thread of the worker."""
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=60) as answer:
            self.assertIn(b"mailflock_outcomes_total", answer.read())

    def test_threads_meet_in_queues_only(self):
        with Stage(recipients=RECIPIENTS,
                   settings={"worker": {"lease": "5s", "drain": "5s"},
                             "transports": {"relay": {"connections": 8}}},
                   campaign={"audience": {"chunk": 100}}) as stage:
            smtp = stage.start_fakesmtp(rcpt_refuse=0.02, rcpt_defer=0.05, dot_defer=0.02,
                                        drop_before_dot=0.01, drop_after_dot=0.002, delay_ms=20,
                                        stall_after=100)
            stage.campaign("later", {"audience": {"chunk": 100}})
            run = stage.produce()
            port = free_port()
            first = stage.start_consumer(env={"MAILFLOCK_WORKER_LISTEN": f"127.0.0.1:{port}"})
            second = stage.start_consumer()
            smtp.wait_stalled()
            self.read_metrics(port)
            held = "SELECT COUNT(*) FROM chunk WHERE owner=%s AND token IS NOT NULL"
            wait_until(lambda: stage.value(held, f"{first.name}-{stage.id}"), 60, "chunks of the first")

            first.freeze()
            smtp.resume()
            name = f"{first.name}-{stage.id}"
            stage.cut_database()
            stage.management.close_connections()
            second.wait_for_log("connected.*epoch=1")
            wait_until(lambda: not stage.value("SELECT COUNT(*) FROM chunk WHERE owner=%s AND "
                                               "token IS NOT NULL", name), 60,
                       "the frozen worker's chunks to be taken over")
            first.thaw()
            first.wait_for_log("lease lost")
            self.read_metrics(port)
            self.assertEqual(first.stop(), 0)

            # By now the run may be over. Another one cannot be, for it goes on only a little at a time.
            def begun():
                smtp.resume()
                time.sleep(0.2)
                smtp.stall()
                return stage.counts(later)["sent"]

            smtp.stall()
            later = stage.produce("later")
            wait_until(begun, 60, "mails of the second run")
            second.signal(signal.SIGTERM)
            second.wait_for_log('msg="stopping"')
            smtp.resume()
            self.assertEqual(second.wait(), 0, "stopped in the middle")
            self.assertGreater(stage.counts(later)["pending"], 0)
            third = stage.start_consumer()
            for number, refused in ((run, "failed"), (later, "suppressed")):
                counts = stage.wait_quiet(number, 60)
                self.assertTrue(counts["sent"] and counts[refused], counts)
                stage.assert_balanced(number)
            self.assertEqual(third.stop(), 0)
            found = [stage.compare(number, smtp) for number in (run, later)]
            self.assertEqual([f[k] for f in found for k in ("lost", "twice", "wrong")], [[]] * 6)
            self.assertEqual(set(found[0]["strange"]) & set(found[1]["strange"]), set(),
                             "mails of neither run")


def tests_of(suite):
    for item in suite:
        if isinstance(item, unittest.TestSuite):
            yield from tests_of(item)
        else:
            yield item


def bounds_memory(test):
    """Of which the sanitizer takes several times as much."""
    return "peak_kib" in inspect.getsource(getattr(test, test.id().rpartition(".")[2]))


def everything(loader, own, _):
    """The load_tests of --all."""
    for name in OTHERS:
        for test in tests_of(loader.loadTestsFromModule(sys.modules[name])):
            if bounds_memory(test):
                print(f"left out, for it bounds the memory: {test.id()}")
            else:
                own.addTest(test)
    return own


if __name__ == "__main__":
    setUpModule()
    for other in OTHERS:  # by these names side_by_side calls this file for one test
        globals()[other] = importlib.import_module(other)
    if sys.argv[1:] == ["--all"]:
        del sys.argv[1]
        load_tests = everything
        side_by_side.main(at_once=2)
    else:
        unittest.main(verbosity=2)
