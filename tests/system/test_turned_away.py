"""Messages that a worker cannot make mails of: what contradicts the ledger becomes a dead letter, what
somebody else could send waits as a copy, and neither is acked before the broker has confirmed what
stands for it."""

import signal
import unittest

import side_by_side
from harness import Stage, wait_until
from messages import DEAD, LANE, message_id, put, take_chunks


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
            retries = sorted(take_chunks(stage, LANE + ".wait.3600"), key=lambda m: m["chunk"])
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
    def test_a_chunk_whose_transport_a_worker_lacks_waits_for_another(self):
        """It costs the chunk no claim and no attempt, and the worker goes on with others."""
        with Stage(recipients=60) as stage:
            smtp = stage.start_fakesmtp()
            url = stage.settings["transports"]["relay"]["url"]
            stage.write_config(transports={"special": {"type": "smtp", "url": url, "tls": "off"}})
            stage.campaign("special", {"delivery": {"transport": "special"}})
            special = stage.produce("special")
            usual = stage.produce()
            transport = stage.settings["transports"].pop("special")
            stage.write_config()
            worker = stage.start_consumer()
            self.assertEqual(stage.wait_quiet(usual)["sent"], 60)
            worker.wait_for_log(f"no transport 'special'.* run={special}")
            wait = LANE + ".wait.15"
            wait_until(lambda: stage.ready(wait) == 1, 60, "it to be in the delay queue")
            self.assertEqual(stage.one("SELECT claims, attempt, token, seq, started FROM chunk WHERE "
                                       "run_id=%s", special), (0, 1, None, 0, 0))
            self.assertEqual(stage.ready(DEAD), 0)
            self.assertEqual(worker.stop(), 0)
            stage.write_config(transports={"special": transport})
            worker = stage.start_consumer()
            for chunk in take_chunks(stage, wait):  # as when its 15 s are over
                put(stage, chunk)
            self.assertEqual(stage.wait_quiet(special)["sent"], 60)
            for run in (special, usual):
                stage.assert_balanced(run)
            self.assertEqual((smtp.accepted(), smtp.stats()["duplicates"]), (120, 0))
            self.assertEqual(worker.stop(), 0)


class ConfirmTest(unittest.TestCase):
    """PROTOCOL C7, C10: the broker refuses what a worker publishes, and the worker dies."""

    REFUSED = "publish refused, will be repeated"

    def fill(self, stage, queue, exchange="mailflock"):
        """From now on the queue refuses what is published to it."""
        key = "bulk" if queue == DEAD else queue.removeprefix("mailflock.")
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
            delay = LANE + ".wait.3600"
            self.fill(stage, delay)
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
            delay = LANE + ".wait.600"
            self.fill(stage, delay)
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
        with Stage(recipients=40, campaign={"delivery": {"retry": {"delays": ["1h"], "max_age": "1d"}}}
                   ) as stage:
            smtp = stage.start_fakesmtp(rcpt_defer=0.4, seed=2)
            run = stage.produce()
            delay = LANE + ".wait.3600"
            stage.delete_queue(delay)
            worker = stage.start_consumer()
            worker.wait_for_log(self.REFUSED)
            wait_until(lambda: stage.ready(delay), 60, "the retry in a new delay queue")
            wait_until(lambda: stage.value("SELECT attempt FROM chunk") == 2, 60, "the attempt to end")
            for retry in take_chunks(stage, delay):
                put(stage, retry)
            self.exact(stage, run, smtp, sent=40)
            self.assertEqual(worker.stop(), 0)


if __name__ == "__main__":
    side_by_side.main()
