"""Messages that a worker cannot make mails of: what contradicts the ledger becomes a dead letter, what
somebody else could send waits as a copy, and neither is acked before the broker has confirmed what
stands for it."""

import signal
import unittest

import side_by_side
from harness import Stage, wait_until
from messages import DEAD, LANE, message_id, old_lane, put, take_chunks


class ContradictionTest(unittest.TestCase):
    """PROTOCOL C3: a retry has to agree with the ledger's rows."""

    def test_retries_that_contradict_the_ledger_are_dead_letters(self):
        with Stage(recipients=90, settings={"worker": {"lease": "5s"}},
                   campaign={"audience": {"chunk": 30},
                             "delivery": {"retry": {"delays": ["1h"], "max_age": "1d"}}}) as stage:
            smtp = stage.start_fakesmtp(rcpt_defer=0.5, seed=1)
            run = stage.produce()
            worker = stage.start_consumer()
            wait_until(lambda: stage.value("SELECT SUM(attempt) FROM chunk") == 6, 60, "three retries")
            retries = sorted(take_chunks(stage, "mailflock.wait.3600"), key=lambda m: m["chunk"])
            people = [retry["recipients"] for retry in retries]
            self.assertEqual([len(p) > 1 for p in people], [True] * 3)
            newcomer = {**people[1][-1], "p": 30, "id": "4711"}
            forged = (
                ([{**people[0][0], "id": "4711"}, *people[0][1:]],
                 f"position {people[0][0]['p']} is not the ledger's recipient"),
                ([*people[1], newcomer], "position 30 has no earlier attempt"),
                (people[2][1:],
                 f"position {people[2][0]['p']} is deferred, and not in this retry of the chunk"),
            )
            rows, accepted = stage.rows("SELECT * FROM delivery ORDER BY 1, 2, 3"), smtp.accepted()
            for retry, (recipients, reason) in zip(retries, forged):
                with self.subTest(reason):
                    put(stage, retry, recipients=recipients)
                    properties, _ = stage.take(DEAD, 60)
                    self.assertEqual(properties.headers["x-mailflock-reason"], reason)
                    self.assertEqual(properties.message_id, message_id(retry))
            self.assertEqual(stage.rows("SELECT * FROM delivery ORDER BY 1, 2, 3"), rows)
            self.assertEqual(smtp.accepted(), accepted, "nothing of them was sent")
            self.assertEqual(stage.rows("SELECT claims, token FROM chunk"), [(0, None)] * 3,
                             "they leave the chunks as they were")
            for retry in retries:
                put(stage, retry)
            counts = stage.wait_quiet(run)
            self.assertEqual((stage.assert_balanced(run), counts["sent"]), (counts, 90))
            found = stage.compare(run, smtp)
            self.assertEqual((found["accepted"], found["lost"], found["twice"]), (90, [], []))
            self.assertEqual(worker.stop(), 0)


class ReadingTest(unittest.TestCase):
    """PROTOCOL P5: of two readings of the audience the first that was claimed wins."""

    def test_another_reading_of_a_begun_chunk_is_dropped(self):
        with Stage(recipients=100) as stage:
            smtp = stage.start_fakesmtp(delay_ms=300, stall_after=10)
            run = stage.produce()
            first = stage.start_consumer()
            smtp.wait_stalled()
            first.signal(signal.SIGTERM)
            first.wait_for_log('msg="stopping"')
            smtp.resume()
            self.assertEqual(first.wait(), 0)
            self.assertGreater(stage.assert_balanced(run)["pending"], 0)
            wait_until(lambda: stage.ready(LANE) == 1, 60, "it to be given back")
            (chunk,) = take_chunks(stage)
            strangers = [{**r, "id": f"{r['id']}0", "to": f"stranger{r['id']}@example.net"}
                         for r in chunk["recipients"]]
            put(stage, chunk, recipients=strangers, digest="0123456789abcdef")
            second = stage.start_consumer()
            second.wait_for_log("another reading of the audience was claimed first")
            self.assertEqual(stage.value("SELECT claims FROM chunk"), 0)
            put(stage, chunk)
            counts = stage.wait_quiet(run)
            self.assertEqual((stage.assert_balanced(run), counts["sent"]), (counts, 100))
            rcpts = [mail.rcpt for mails in smtp.mails().values() for mail in mails]
            self.assertEqual(sorted(rcpts), sorted(f"user{i}@example.net" for i in range(1, 101)))
            self.assertEqual(stage.ready(DEAD), 0)
            self.assertEqual(second.stop(), 0)


class TransportTest(unittest.TestCase):
    def special(self, stage):
        """A run whose transport the settings have no more."""
        url = stage.settings["transports"]["relay"]["url"]
        stage.write_config(transports={"special": {"type": "smtp", "url": url, "tls": "off"}})
        stage.campaign("special", {"delivery": {"transport": "special"}})
        run = stage.produce("special")
        transport = stage.settings["transports"].pop("special")
        stage.write_config()
        return run, transport

    def untouched(self, stage, run):
        self.assertEqual(stage.one("SELECT claims, attempt, token, seq, started FROM chunk WHERE "
                                   "run_id=%s", run), (0, 1, None, 0, 0))
        self.assertEqual(stage.ready(DEAD), 0)

    def end(self, stage, smtp, transport, special, usual):
        stage.write_config(transports={"special": transport})
        worker = stage.start_consumer()
        self.assertEqual(stage.wait_quiet(special)["sent"], 60)
        for run in (special, usual):
            stage.assert_balanced(run)
        self.assertEqual((smtp.accepted(), smtp.stats()["duplicates"]), (120, 0))
        self.assertEqual(worker.stop(), 0)

    def test_a_chunk_whose_transport_a_worker_lacks_waits_for_another(self):
        """It stays in its queue; the worker goes on with others."""
        with Stage(recipients=60) as stage:
            smtp = stage.start_fakesmtp()
            special, transport = self.special(stage)
            usual = stage.produce()
            worker = stage.start_consumer()
            self.assertEqual(stage.wait_quiet(usual)["sent"], 60)
            self.assertEqual(stage.ready("mailflock.bulk.special"), 1)
            self.untouched(stage, special)
            self.assertEqual(worker.stop(), 0)
            self.end(stage, smtp, transport, special, usual)

    def test_a_message_of_an_earlier_version_goes_on_to_the_queue_of_its_transport(self):
        """It comes from the queue that the lane had, and the worker lacks its transport."""
        with Stage(recipients=60) as stage:
            smtp = stage.start_fakesmtp()
            special, transport = self.special(stage)
            (chunk,) = take_chunks(stage, "mailflock.bulk.special")
            old_lane(stage)
            put(stage, chunk, "bulk")
            usual = stage.produce()
            worker = stage.start_consumer()
            self.assertEqual(stage.wait_quiet(usual)["sent"], 60)
            worker.wait_for_log(f"no transport 'special'.* run={special}")
            wait_until(lambda: stage.ready("mailflock.wait.15") == 1, 60, "it to be in the delay queue")
            self.untouched(stage, special)
            self.assertTrue(stage.value("SELECT next_due > UTC_TIMESTAMP() + INTERVAL 10 MINUTE FROM "
                                        "chunk WHERE run_id=%s", special), "P6: it is not overdue")
            wait_until(lambda: stage.ready("mailflock.bulk.special") == 1, 60, "it to be in its queue")
            self.assertEqual(stage.ready("mailflock.bulk"), 0)
            self.assertEqual(worker.stop(), 0)
            self.end(stage, smtp, transport, special, usual)


class EarlierVersionTest(unittest.TestCase):
    """Queues by lane alone: nobody publishes there any more, and workers empty them."""

    def test_old_queues_are_drained(self):
        with Stage(recipients=300) as stage:
            smtp = stage.start_fakesmtp(rcpt_defer=0.1, seed=3)
            run = stage.produce()
            chunks = take_chunks(stage)
            old_lane(stage, delay_s=3)
            for chunk in chunks[:2]:
                put(stage, chunk, "bulk")
            for chunk in chunks[2:]:  # it comes back by its lane while the workers are at work
                put(stage, chunk, "bulk.wait.3")
            workers = stage.start_consumers(2)
            self.assertEqual(stage.wait_quiet(run)["sent"], 300)
            self.assertGreater(stage.value("SELECT MAX(attempt) FROM chunk"), 1, "there were retries")
            found = stage.compare(run, smtp)
            self.assertEqual((found["lost"], found["twice"]), ([], []))
            self.assertEqual((stage.ready("mailflock.bulk"), stage.ready("mailflock.bulk.wait.3")), (0, 0))
            self.assertEqual([w.stop() for w in workers], [0, 0])
            stage.expect_log_clean()


class ConfirmTest(unittest.TestCase):
    """PROTOCOL C7, C10: the broker refuses what a worker publishes, and the worker dies."""

    REFUSED = "publish refused, will be repeated"

    def fill(self, stage, queue, exchange="mailflock"):
        """From now on the queue refuses what is published to it."""
        key = "bulk.relay"
        stage.publish("filler", key, exchange)
        wait_until(lambda: stage.ready(queue) == 1, 60, "the filler")
        stage.management.call("PUT", f"/policies/{stage.management.path}/full",
                              {"pattern": f"^{queue}$", "apply-to": "queues",
                               "definition": {"max-length": 0, "overflow": "reject-publish"}})
        wait_until(lambda: stage.refuses(key, exchange), 60, f"{queue} to refuse")

    def empty(self, stage, queue):
        """It takes messages again."""
        stage.management.call("DELETE", f"/policies/{stage.management.path}/full")
        channel = stage.channel()
        channel.queue_purge(queue)
        channel.close()

    def refused(self, stage, worker):
        """The worker has tried three times, and then dies; its message comes back."""
        wait_until(lambda: worker.text().count(self.REFUSED) >= 3, 60, "three refusals")
        self.assertEqual(stage.ready(LANE), 0, "it is still in the worker's hands")
        worker.kill()
        wait_until(lambda: stage.ready(LANE) == 1, 60, "the message to come back: it was not acked")

    def exact(self, stage, run, smtp, sent):
        counts = stage.wait_quiet(run)
        self.assertEqual((stage.assert_balanced(run), counts["sent"]), (counts, sent))
        found = stage.compare(run, smtp)
        self.assertEqual((found["accepted"], found["lost"], found["twice"]), (sent, [], []))

    def test_an_attempt_ends_only_when_its_retry_is_confirmed(self):
        with Stage(recipients=40, settings={"worker": {"lease": "5s"}},
                   campaign={"delivery": {"retry": {"delays": ["1h"], "max_age": "1d"}}}) as stage:
            smtp = stage.start_fakesmtp(rcpt_defer=0.4, seed=2)
            run = stage.produce()
            delay = "mailflock.wait.3600"
            self.fill(stage, delay, delay)
            first = stage.start_consumer()
            self.refused(stage, first)
            self.assertGreater(stage.counts(run)["deferred"], 0)
            self.assertEqual(stage.one("SELECT attempt, state, token IS NULL FROM chunk"),
                             (1, "queued", 0))
            self.empty(stage, delay)
            second = stage.start_consumer()
            wait_until(lambda: stage.value("SELECT attempt FROM chunk") == 2, 60, "the retry")
            wait_until(lambda: stage.ready(delay), 60, "its message")
            for retry in take_chunks(stage, delay):
                put(stage, retry)
            self.exact(stage, run, smtp, sent=40)
            self.assertEqual(second.stop(), 0)

    def test_a_message_is_acked_only_when_its_copy_is_confirmed(self):
        with Stage(recipients=40, settings={"worker": {"lease": "10m"}}) as stage:
            smtp = stage.start_fakesmtp()
            run = stage.produce()
            delay = "mailflock.wait.600"
            self.fill(stage, delay, delay)
            stage.execute("UPDATE chunk SET state='queued', token=4711, "
                          "lease_until=UTC_TIMESTAMP(6) + INTERVAL 1 HOUR")  # somebody holds it
            first = stage.start_consumer()
            self.refused(stage, first)
            self.empty(stage, delay)
            stage.execute("UPDATE chunk SET lease_until=UTC_TIMESTAMP(6) - INTERVAL 1 SECOND")
            second = stage.start_consumer()
            self.exact(stage, run, smtp, sent=40)
            self.assertEqual(second.stop(), 0)

    def test_a_bad_message_is_acked_only_when_its_dead_letter_is_confirmed(self):
        with Stage() as stage:
            self.fill(stage, DEAD, "mailflock.dead")
            stage.publish("no chunk")
            first = stage.start_consumer()
            self.refused(stage, first)
            self.empty(stage, DEAD)
            second = stage.start_consumer()
            properties, body = stage.take(DEAD, 60)
            self.assertEqual(body, b"no chunk")
            self.assertIn("not JSON", properties.headers["x-mailflock-reason"])
            self.assertEqual(second.stop(), 0)

    def test_a_delay_queue_that_is_missing_is_declared(self):
        """Before the worker has seen it, and after: its queue alone, and with the exchange."""
        delays = {"delivery": {"retry": {"delays": ["1h"], "max_age": "1d"}}}
        with Stage(recipients=40, campaign=delays) as stage:
            smtp = stage.start_fakesmtp(rcpt_defer=0.4, defer_times=0, seed=2)
            delay = "mailflock.wait.3600"
            for name in ("one", "two", "three"):
                stage.campaign(name, delays)
            runs = [stage.produce(name) for name in ("one", "two", "three")]
            chunks = take_chunks(stage)
            worker = None
            for run, chunk in zip(runs, chunks, strict=True):
                channel = stage.channel()
                channel.queue_delete(delay)
                if run == runs[2]:
                    channel.exchange_delete(delay)
                channel.close()
                worker = worker or stage.start_consumer()
                put(stage, chunk)
                wait_until(lambda: stage.value("SELECT attempt FROM chunk WHERE run_id=%s", run) == 2,
                           60, "the attempt to end")
                wait_until(lambda: stage.ready(delay) == 1, 60, "the retry in a new delay queue")
                self.assertEqual(self.REFUSED in worker.text(), run != runs[0])
            self.assertIn('msg="connection lost"', worker.text())
            found = [stage.compare(run, smtp) for run in runs]
            self.assertEqual([(f["lost"], f["twice"]) for f in found], [([], [])] * 3)
            self.assertEqual(worker.stop(), 0)


if __name__ == "__main__":
    side_by_side.main()
