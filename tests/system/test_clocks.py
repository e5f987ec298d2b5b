"""Workers and producers whose calendar is hours off: the database's clock judges what is too late, and
what is recorded has its time."""

import datetime
import email.utils
import os
import re
import unittest
import urllib.request

from harness import Stage, binary, free_port, wait_until

HOURS = (2, -2)
MAX_AGE = {"delivery": {"retry": {"delays": ["1s"], "max_attempts": 5, "max_age": "1h"}}}
UTC = datetime.timezone.utc


class ClockTest(unittest.TestCase):
    def skewed(self, hours):
        library = os.path.join(os.path.dirname(binary("fakesmtp")), "libskewclock.so")
        if not os.path.exists(library):
            self.skipTest("a sanitizer does not go together with a library put before all others")
        return {"LD_PRELOAD": library, "SKEWCLOCK_S": str(hours * 3600)}

    def assert_skewed(self, process, hours):
        said = process.wait_for_log(r"the database's, which counts\" ahead_s=(-?\d+)")
        self.assertLess(abs(int(said[1]) - hours * 3600), 60)

    def test_all_are_sent_at_the_databases_time(self):
        for hours in HOURS:
            with self.subTest(hours), Stage(recipients=500, campaign=MAX_AGE) as stage:
                smtp = stage.start_fakesmtp(rcpt_defer=0.1)
                before = stage.value("SELECT UTC_TIMESTAMP(6)")
                run = stage.produce()
                worker = stage.start_consumer(env=self.skewed(hours))
                counts = stage.wait_quiet(run)
                after = stage.value("SELECT UTC_TIMESTAMP(6)")
                self.assertEqual(counts["sent"], 500, counts)
                self.assertEqual(len(smtp.mails()), 500)
                stage.assert_balanced(run)
                first, last = stage.one("SELECT MIN(at), MAX(at) FROM delivery")
                second = datetime.timedelta(seconds=1)
                self.assertTrue(before - second <= first <= last <= after + second,
                                (before, first, last, after))
                self.assert_skewed(worker, hours)

    def test_what_is_too_late_is_skipped_and_said_once_a_chunk(self):
        with Stage(recipients=250, campaign=MAX_AGE) as stage:
            smtp = stage.start_fakesmtp()
            at = stage.value("SELECT UTC_TIMESTAMP() - INTERVAL 90 MINUTE")
            run = stage.produce(at=at.isoformat() + "Z")
            worker = stage.start_consumer(env=self.skewed(-2))
            counts = stage.wait_quiet(run)
            self.assertEqual(counts["skipped"], 250, counts)
            self.assertEqual(smtp.mails(), {})
            said = re.findall(r"too late: max_age has passed.* chunk=(\d+) recipients=(\d+) "
                              r"age_s=(\d+) max_age_s=3600\n", worker.text())
            self.assertEqual(sorted((int(chunk), int(n)) for chunk, n, _ in said),
                             [(0, 100), (1, 100), (2, 50)])
            for _, _, age_s in said:
                self.assertTrue(5400 <= int(age_s) < 5400 + 120, age_s)

    def test_mails_are_dated_by_the_databases_clock(self):
        for hours in HOURS:
            with self.subTest(hours), Stage(recipients=3) as stage:
                server = stage.start_starttls()
                # Certificates are judged by the host's calendar, which is wrong here.
                stage.write_config(transports={"relay": {"tls_verify": False}})
                before = stage.value("SELECT UTC_TIMESTAMP()").replace(tzinfo=UTC)
                run = stage.produce()
                stage.start_consumer(env=self.skewed(hours))
                stage.wait_quiet(run)
                after = stage.value("SELECT UTC_TIMESTAMP()").replace(tzinfo=UTC)
                minute = datetime.timedelta(minutes=1)
                for mail in server.mails():
                    date = re.search(r"^Date: (.*?)\r?$", mail["content"], re.M)[1]
                    at = email.utils.parsedate_to_datetime(date)
                    self.assertTrue(before - minute <= at <= after + minute, date)
                self.assertEqual(len(server.mails()), 3)

    def test_the_time_in_the_queue_is_by_the_databases_clock(self):
        """Of a producer and a worker that are four hours apart."""
        port = free_port()
        with Stage(recipients=100, settings={"worker": {"listen": f"127.0.0.1:{port}"}}) as stage:
            stage.start_fakesmtp()
            producer = stage.start_producer("run", "welcome", env=self.skewed(-2))
            self.assertEqual(producer.wait(), 0, producer.text())
            stage.start_consumer(env=self.skewed(2))
            stage.wait_quiet(stage.run_id())

            def waited_s():
                with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics") as page:
                    found = re.search(r"^mailflock_queue_wait_seconds_sum (\S+)", page.read().decode(), re.M)
                return float(found[1]) if found else None
            self.assertTrue(0 <= wait_until(waited_s, 30, "the metric") < 600)


if __name__ == "__main__":
    unittest.main(verbosity=2)
