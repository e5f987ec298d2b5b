"""A thread of a worker that goes no further, while the others look well: /livez and the log tell it. What
only waits, for a database that is silent, is not called stuck."""

import re
import time
import unittest
import urllib.error
import urllib.request

import side_by_side
from broker_fixture import Proxy
from environment import ENV, binary_with_faults
from harness import Stage, free_port, wait_until

STUCK_S, LEASE_S = 10, 5
LIMIT_S = STUCK_S + 3 * LEASE_S  # of the ledger thread, the longest of all


class StuckTest(unittest.TestCase):
    def stage_to_watch(self, smtp=None, **settings):
        self.port = free_port()
        stage = self.enterContext(Stage(recipients=200, settings={
            "worker": {"stuck_after": f"{STUCK_S}s", "lease": f"{LEASE_S}s",
                       "listen": f"127.0.0.1:{self.port}"},
            "broker": {"connect_timeout": "1s"},
            "database": {"connect_timeout": "1s", **settings}}))
        self.smtp = stage.start_fakesmtp(**(smtp or {}))
        return stage

    def ask(self, path):
        """status, text"""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=60) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as e:
            with e:
                return e.code, e.read().decode()

    def silence(self):
        """thread -> seconds since its last turn"""
        _, page = self.ask("/metrics")
        found = re.findall(r'^mailflock_thread_silent_seconds\{thread="(\w+)"\} (\S+)$', page, re.M)
        return {name: float(seconds) for name, seconds in found}

    def hang(self, thread, point):
        stage = self.stage_to_watch()
        worker = stage.start("worker", [binary_with_faults("mailflock-consumer"), "-c", stage.config],
                             {"MAILFLOCK_FAULT_HANG": point})
        worker.wait_for_log('msg="ready"')
        self.assertEqual(self.ask("/livez"), (200, "stuck=no\n"))
        self.assertEqual(self.ask("/healthz"),
                         (200, "broker=connected database=connected stopping=no stuck=no\n"))
        stage.produce()
        wait_until(lambda: self.ask("/livez")[0] == 503, LIMIT_S + 60, "the thread to be missed")
        self.assertEqual(self.ask("/livez"), (503, f"stuck={thread}\n"))
        code, text = self.ask("/healthz")
        self.assertEqual((code, text.split()[-1]), (503, f"stuck={thread}"))
        silent = self.silence()
        self.assertEqual(max(silent, key=silent.get), thread, silent)
        self.assertGreater(silent[thread], STUCK_S)
        self.assertEqual(len([s for s in silent.values() if s < STUCK_S]), 2, silent)
        return worker

    def test_a_sender_that_hangs_is_told(self):
        worker = self.hang("sender", "mails_on_the_wire")
        worker.wait_for_log('msg="a thread is stuck" thread=sender')
        worker.kill()

    def test_a_ledger_that_hangs_is_told(self):
        worker = self.hang("ledger", "before_claim")
        worker.wait_for_log('msg="a thread is stuck" thread=ledger')
        worker.kill()

    def test_a_broker_thread_that_hangs_is_told(self):
        self.hang("broker", "closed_not_acked").kill()

    def test_nobody_is_stuck_while_the_database_is_silent(self):
        """Outcomes are there that it does not take."""
        to = (ENV["MAILFLOCK_DATABASE_HOST"], int(ENV["MAILFLOCK_DATABASE_PORT"]))
        proxy = Proxy(to=to)
        self.addCleanup(proxy.close)
        stage = self.stage_to_watch({"delay_ms": 50, "stall_after": 20}, host="127.0.0.1",
                                    port=proxy.port)
        stage.produce()
        worker = stage.start_consumer()
        self.smtp.wait_stalled()
        proxy.stalled.set()
        self.smtp.resume()
        end = time.monotonic() + LIMIT_S + 5
        lost = False
        while time.monotonic() < end:
            self.assertEqual(self.ask("/livez"), (200, "stuck=no\n"), self.silence())
            lost = lost or self.ask("/healthz")[0] == 503
            time.sleep(0.2)
        self.assertTrue(lost, "it cannot work meanwhile")
        self.assertIn('msg="no database"', worker.text())
        worker.kill()


if __name__ == "__main__":
    side_by_side.main()
