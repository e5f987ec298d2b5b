"""What signals do to the programs: those that ask for the end get an end in order, once; those that ask
for nothing end nothing."""

import signal
import unittest

from contact_fixture import ContactTestCase
from harness import Stage, binary
from producer_fixture import SLOW, ProducerTestCase, audience

ASK_FOR_THE_END = (signal.SIGHUP, signal.SIGQUIT, signal.SIGINT, signal.SIGTERM, signal.SIGPWR)
ASK_FOR_NOTHING = (signal.SIGUSR1, signal.SIGUSR2, signal.SIGALRM, signal.SIGVTALRM, signal.SIGPROF,
                   signal.SIGPIPE, signal.SIGIO, signal.SIGXFSZ, signal.SIGRTMIN)


class WorkerTest(unittest.TestCase):
    def under_way(self):
        """A worker with mails on the way, whose server stands still: stage, smtp, run, worker."""
        stage = self.enterContext(Stage(recipients=200, campaign={"audience": {"chunk": 50}},
                                        settings={"worker": {"drain": "1m"}}))
        smtp = stage.start_fakesmtp(delay_ms=50, stall_after=40)
        run = stage.produce()
        worker = stage.start_consumer()
        smtp.wait_stalled()
        return stage, smtp, run, worker

    def assert_nobody_unknown(self, stage, smtp, run):
        counts = stage.assert_balanced(run)
        self.assertEqual(counts["unknown"], 0, counts)
        self.assertEqual(counts["sent"], len(smtp.mails()), "every mail's reply was awaited")

    def test_each_signal_that_asks_for_the_end_awaits_replies(self):
        for number in ASK_FOR_THE_END:
            with self.subTest(number.name):
                stage, smtp, run, worker = self.under_way()
                worker.signal(number)
                worker.wait_for_log(rf'msg="stopping" signal={int(number)} ')
                smtp.resume()
                self.assertEqual(worker.wait(), 0, worker.text())
                self.assert_nobody_unknown(stage, smtp, run)
                self.assertEqual(stage.value("SELECT COUNT(*) FROM chunk WHERE token IS NOT NULL"), 0)

    def test_more_signals_do_not_make_the_end_worse(self):
        """As when a terminal is closed: the kernel and the shell both tell it, and somebody types."""
        stage, smtp, run, worker = self.under_way()
        worker.signal(signal.SIGHUP)
        worker.wait_for_log('msg="stopping"')
        for _ in range(3):
            for number in ASK_FOR_THE_END + ASK_FOR_NOTHING:
                worker.signal(number)
        smtp.resume()
        self.assertEqual(worker.wait(), 0, worker.text())
        self.assertEqual(worker.text().count('msg="stopping"'), 1)
        self.assert_nobody_unknown(stage, smtp, run)

    def test_a_signal_that_asks_for_nothing_ends_no_worker(self):
        stage, smtp, run, worker = self.under_way()
        for number in ASK_FOR_NOTHING:
            worker.signal(number)
        smtp.resume()
        stage.wait_quiet(run)
        self.assertTrue(worker.alive, worker)
        self.assertEqual(stage.assert_balanced(run)["sent"], 200)

    def test_a_worker_under_nohup_outlives_its_terminal(self):
        with Stage(recipients=1) as stage:
            smtp = stage.start_fakesmtp()
            run = stage.produce()
            worker = stage.start("nohup", ["nohup", binary("mailflock-consumer"), "-c", stage.config])
            worker.wait_for_log('msg="ready"')
            worker.signal(signal.SIGHUP)
            stage.wait_quiet(run)
            self.assertEqual(len(smtp.mails()), 1)
            self.assertTrue(worker.alive, worker)
            self.assertEqual(worker.stop(), 0)

    def test_before_anything_is_in_hand_the_end_is_at_once(self):
        for number in ASK_FOR_THE_END:
            with self.subTest(number.name), Stage(settings={"database": {"port": 1}}, init=False) as stage:
                worker = stage.start_consumer(ready=False)
                worker.wait_for_log("will try again")
                worker.signal(signal.SIGUSR1)
                worker.signal(number)
                self.assertEqual(worker.wait(), 0, worker.text())


class ContactsTest(ContactTestCase):
    def test_the_keeper_of_the_cache_ends_in_order(self):
        for number in ASK_FOR_THE_END:
            with self.subTest(number.name):
                stage, _ = self.stage_with(1, {"cache_ttl": "1h", "cache": "contacts"},
                                           settings={"contacts": {"exchange": "crm.events"}})
                keeper = stage.start_consumer("--contacts", ready=False)
                keeper.wait_for_log('msg="ready"')
                for other in ASK_FOR_NOTHING:
                    keeper.signal(other)
                keeper.signal(number)
                keeper.wait_for_log('msg="stopped"')
                self.assertEqual(keeper.wait(), 0, keeper.text())


class ProducerTest(ProducerTestCase):
    def test_each_signal_that_asks_for_the_end_is_heard_after_the_page(self):
        for number in ASK_FOR_THE_END:
            with self.subTest(number.name), Stage(
                    recipients=4000, campaign=audience(SLOW)) as stage:
                producer = self.start_slow(stage)
                for other in ASK_FOR_NOTHING:
                    producer.signal(other)
                producer.signal(number)
                if number != signal.SIGINT:  # a second one of these is for those who will not wait
                    producer.signal(number)
                self.open_gate()
                self.assertEqual(producer.wait(), 1, producer.text())
                self.assertIn("stopped by a signal", producer.text())


if __name__ == "__main__":
    unittest.main(verbosity=2)
