"""mailflock dead: letters that real workers gave up, looked at, given back to their lane, and ended."""

import json
import unittest

import pika

from harness import Stage, wait_until

LANE, DEAD = "mailflock.bulk.relay", "mailflock.dead"
HELD_MAX = 1000  # letters that one command reads without settling them


def dead_count(stage, count):
    """Counts of a quorum queue follow a moment after the fact."""
    wait_until(lambda: stage.ready(DEAD) == count, 60,
               lambda: f"{count} dead letters, not {stage.ready(DEAD)}")


def letters(stage):
    return stage.mailflock_json("dead", "list")["letters"]


def bury(stage, body, routing_key="bulk.relay", **more):
    """A dead letter as a worker publishes it."""
    stage.publish(body, routing_key=routing_key, exchange="mailflock.dead", **more)


def take_letter(stage):
    """Takes one dead letter; returns its text."""
    _, body = stage.take(DEAD)
    return body.decode()


def poison(stage, started=0):
    """A produced run whose one chunk a real worker found to be poison; the worker is stopped."""
    run = stage.produce()
    stage.execute("UPDATE chunk SET claims=5, started=%s WHERE run_id=%s", started, run)
    worker = stage.start_consumer()
    dead_count(stage, 1)
    assert stage.value("SELECT state FROM chunk WHERE run_id=%s", run) == "stuck"
    assert worker.stop() == 0
    assert stage.ready(LANE) == 0
    stage.assert_balanced(run)
    return run


class DeadTest(unittest.TestCase):
    def refused(self, stage, *args, says, code=1):
        """Says so on stderr, and leaves the ledger and the letters as they were."""
        tables = ("chunk", "delivery")
        before, there = [stage.rows(f"SELECT * FROM {t}") for t in tables], stage.ready(DEAD)
        done = stage.run_program("mailflock", "dead", *args, code=code)
        self.assertRegex(done.stderr, says)
        self.assertEqual([stage.rows(f"SELECT * FROM {t}") for t in tables], before)
        dead_count(stage, there)

    def assert_over(self, stage, run, smtp, **counts):
        """The run is complete with these counts, its accounts balance, and ledger and server agree."""
        got = stage.wait_quiet(run)
        self.assertEqual({k: v for k, v in got.items() if v and k != "recipients"}, counts)
        stage.assert_balanced(run)
        stage.mailflock("audit", run)
        found = stage.compare(run, smtp)
        self.assertEqual([found[k] for k in ("accepted", "lost", "twice", "wrong", "strange")],
                         [counts.get("sent", 0), [], [], [], []])

    def test_no_letters_is_no_failure(self):
        with Stage() as stage:
            for args in (("list",), ("requeue", "all"), ("drop", "all")):
                self.assertEqual(stage.mailflock("dead", *args), "no dead letters\n")
            self.assertEqual(stage.mailflock_json("dead", "list"), {"letters": [], "more": 0})
            self.refused(stage, "show", "1", says="no dead letter 1: the queue has 0")

    def test_wrong_usage_is_exit_2(self):
        with Stage() as stage:
            for args in ((), ("bury",), ("list", "1"), ("show",), ("show", "all"), ("drop", "1", "2"),
                         ("drop", "1", "--force"), ("show", "1", "--json"), ("drop", "--nope")):
                with self.subTest(args=args):
                    stage.run_program("mailflock", "dead", *args, code=2)

    def test_queues_that_are_missing_are_named(self):
        with Stage(init=False) as stage:
            done = stage.run_program("mailflock", "dead", "list", code=1)
            self.assertIn("run 'mailflock init' first", done.stderr)

    def test_a_malformed_message(self):
        with Stage() as stage:
            worker = stage.start_consumer()
            stage.publish(b'{"v":1,\x1b[31m"run":"\xff', message_id="from elsewhere\x1b")
            dead_count(stage, 1)
            for _ in range(3):  # reading leaves it there
                (letter,) = letters(stage)
            self.assertEqual({k: letter[k] for k in ("number", "queue", "bytes", "run", "recipients")},
                             {"number": 1, "queue": "bulk.relay", "bytes": 20, "run": None,
                              "recipients": None})
            self.assertTrue(letter["reason"])
            shown = stage.mailflock("dead", "show", "1")
            self.assertIn('{"v":1,?[31m"run":"?\n', shown)
            self.assertIn(f"x-mailflock-reason: {letter['reason']}", shown)
            for text in (shown, stage.mailflock("dead", "list")):
                self.assertNotIn("\x1b", text)
                self.assertIn(letter["reason"], text)
            for which in ("2", "0", "99999999999999999999", "1/2/3"):
                for action in ("show", "requeue", "drop"):
                    self.refused(stage, action, which, says=f"no dead letter {which}: .* has 1")
            self.refused(stage, "requeue", "1", says="--force")
            self.refused(stage, "requeue", "all", says="--force")
            said = worker.text().count("dead letter")
            self.assertIn("requeued", stage.mailflock("dead", "requeue", "1", "--force"))
            wait_until(lambda: worker.text().count("dead letter") > said, 60, "the worker to have it again")
            dead_count(stage, 1)  # straight back, as was said
            self.assertRegex(stage.mailflock("dead", "drop", "1"), "dropped: no chunk, 20 bytes: .")
            dead_count(stage, 0)
            self.refused(stage, "drop", "1", says="no dead letter 1: the queue has 0")

    def test_letters_that_no_worker_can_read_or_knows(self):
        with Stage() as stage:
            worker = stage.start_consumer()
            stage.publish(b"x" * (17 << 20))  # a worker rejects it, the broker makes it a letter
            dead_count(stage, 1)
            stage.publish('{"v":1,"run":77,"chunk":3,"attempt":1,"digest":"0123456789abcdef","recipients":[]}',
                          message_id="77/3/1")
            dead_count(stage, 2)
            large, strange = letters(stage)
            self.assertEqual((large["reason"], large["bytes"]), ("rejected", 17 << 20))
            self.assertIn("larger than", stage.mailflock("dead", "show", "1"))
            self.refused(stage, "requeue", "1", "--force", says="larger than .*drop")
            self.assertEqual((strange["id"], strange["run"], strange["recipients"]), ("77/3/1", 77, 0))
            self.refused(stage, "requeue", "77/3/1", says="no such chunk; .*--force")
            said = worker.text().count("dead letter")
            stage.mailflock("dead", "requeue", "77/3/1", "--force")
            wait_until(lambda: worker.text().count("dead letter") > said, 60, "the worker to have it again")
            dead_count(stage, 2)
            self.assertRegex(stage.mailflock("dead", "drop", "77/3/1"), r"^dead letter \d \(77/3/1\): "
                             "dropped: 0 recipients: the ledger has no such chunk\n$")
            dead_count(stage, 1)

    def test_what_the_broker_made_a_letter_says_so(self):
        with Stage() as stage:
            stage.publish("x", message_id="thrown out")
            channel = stage.channel()
            method, _, _ = channel.basic_get(LANE)
            channel.basic_reject(method.delivery_tag, requeue=False)
            channel.close()
            dead_count(stage, 1)
            bury(stage, "y", message_id="without a reason")
            dead_count(stage, 2)
            self.assertEqual([(x["id"], x["queue"], x["reason"]) for x in letters(stage)],
                             [("thrown out", "bulk.relay", "rejected"),
                              ("without a reason", "bulk.relay", "by the broker")])
            self.assertIn("x-first-death-queue: mailflock.bulk.relay\n",
                          stage.mailflock("dead", "show", "thrown out"))

    def test_letters_go_back_to_their_own_queue(self):
        with Stage() as stage:
            for lane, message_id in (("bulk.relay", "b"), ("fast.relay", "f")):
                stage.publish("x", routing_key=lane, exchange="mailflock.dead", message_id=message_id)
            dead_count(stage, 2)
            stage.mailflock("dead", "requeue", "all", "--force")
            dead_count(stage, 0)
            for queue, message_id in ((LANE, "b"), ("mailflock.fast.relay", "f")):
                properties, body = stage.take(queue)
                self.assertEqual((properties.message_id, body), (message_id, b"x"))
                self.assertEqual(properties.delivery_mode, 2)
                self.assertNotIn("x-mailflock-reason", properties.headers or {})

    def test_a_letter_that_comes_from_no_lane_keeps_back_no_other(self):
        with Stage() as stage:
            stage.channel().queue_bind(DEAD, "mailflock.dead", "contact.updated")
            bury(stage, "x", routing_key="contact.updated")
            dead_count(stage, 1)
            bury(stage, "y", routing_key="fast.relay")
            dead_count(stage, 2)
            done = stage.run_program("mailflock", "dead", "requeue", "all", "--force", code=1)
            self.assertRegex(done.stderr, r"letter 1 \(test\) is not requeued: it comes from no lane; .*drop")
            self.assertIn("letter 2 (test): requeued to mailflock.fast.relay", done.stdout)
            dead_count(stage, 1)

    def test_a_stuck_chunk_is_requeued_and_finished(self):
        with Stage(recipients=50) as stage:
            smtp = stage.start_fakesmtp()
            run = poison(stage)
            (letter,) = letters(stage)
            self.assertEqual({k: letter[k] for k in ("id", "run", "chunk", "attempt", "recipients")},
                             {"id": f"{run}/0/1", "run": run, "chunk": 0, "attempt": 1,
                              "recipients": 50})
            shown = stage.mailflock("dead", "show", f"{run}/0/1")
            self.assertIn("user50@example.net", shown)
            self.assertGreaterEqual(shown.count('\n{"p":'), 50)
            seq = stage.value("SELECT seq FROM chunk")
            self.assertIn("was stuck", stage.mailflock("dead", "requeue", f"{run}/0/1"))
            self.assertEqual(stage.one("SELECT state, claims, token, seq, next_due > UTC_TIMESTAMP() "
                                       "FROM chunk"), ("queued", 0, None, seq + 1, 1))
            dead_count(stage, 0)
            stage.start_consumer()
            self.assert_over(stage, run, smtp, sent=50)

    def test_a_requeue_that_broke_off_is_repeated(self):
        with Stage(recipients=50) as stage:
            smtp = stage.start_fakesmtp()
            run = poison(stage)
            copy = take_letter(stage)
            for _ in range(3):  # the second and third: published, but not acked
                bury(stage, copy, message_id=f"{run}/0/1")
            stage.execute("UPDATE chunk SET state='queued', claims=0")  # the ledger, and no further
            dead_count(stage, 3)
            self.assertIn("its chunk is open", stage.mailflock("dead", "requeue", "2"))
            self.assertEqual(stage.mailflock("dead", "requeue", f"{run}/0/1").count("requeued"), 2)
            wait_until(lambda: stage.ready(LANE) == 3, 60, "three copies in the lane")
            stage.start_consumer()
            self.assert_over(stage, run, smtp, sent=50)
            bury(stage, copy)
            dead_count(stage, 1)
            self.refused(stage, "requeue", "all", says="its chunk is done; .*drop")
            self.assertIn("50 recipients: its chunk is done\n", stage.mailflock("dead", "drop", "1"))
            self.assert_over(stage, run, smtp, sent=50)

    def test_a_stuck_chunk_is_dropped(self):
        with Stage(recipients=50) as stage:
            smtp = stage.start_fakesmtp()
            run = poison(stage, started=7)
            copy = take_letter(stage)
            for _ in range(2):  # a drop that broke off before its ack
                bury(stage, copy, message_id=f"{run}/0/1")
            dead_count(stage, 2)
            said = stage.mailflock("dead", "drop", "all").splitlines()
            self.assertIn("43 recipients skipped, 0 unknown", said[0])
            self.assertIn("50 recipients: its chunk is done", said[1])
            dead_count(stage, 0)
            self.assert_over(stage, run, smtp, skipped=43, unknown=7)
            self.assertEqual(stage.one("SELECT status, attempt, detail, recipient_id, email FROM "
                                       "delivery WHERE position=49"),
                             ("skipped", 1, "dropped by the operator", "50", "user50@example.net"))
            worker = stage.start_consumer()
            # Who was dropped can be sent to after all.
            stage.mailflock("retry", run, "--status", "skipped")
            stage.execute("UPDATE run SET created_at=created_at - INTERVAL 1 MINUTE")
            self.assertEqual(stage.start_producer("due").wait(), 0)
            wait_until(lambda: stage.counts(run)["sent"] == 43, 60, "the retry")
            self.assert_over(stage, run, smtp, sent=43, unknown=7)
            self.assertEqual(worker.stop(), 0)

    def test_a_dropped_retry_ends_what_was_deferred(self):
        with Stage(recipients=40) as stage:
            smtp = stage.start_fakesmtp(rcpt_defer=1.0)
            run = stage.produce()
            # As if the second attempt had been claimed five times in vain, before it is claimed.
            stage.execute("CREATE TRIGGER in_vain BEFORE UPDATE ON chunk FOR EACH ROW SET NEW.claims="
                          "IF(NEW.attempt=2 AND OLD.attempt=1, 5, NEW.claims)")
            worker = stage.start_consumer()
            wait_until(lambda: stage.value("SELECT state FROM chunk") == "stuck", 60, "its second claim")
            stage.execute("UPDATE delivery SET maybe=1 WHERE position < 10")
            dead_count(stage, 1)
            self.assertEqual(worker.stop(), 0)
            self.assertEqual(stage.value("SELECT state FROM chunk"), "stuck")
            self.assertIn("30 recipients skipped, 10 unknown",
                          stage.mailflock("dead", "drop", f"{run}/0/2"))
            self.assert_over(stage, run, smtp, skipped=30, unknown=10)
            self.assertEqual(stage.rows("SELECT DISTINCT status, maybe, attempt FROM delivery ORDER BY 1"),
                             [("skipped", 0, 2), ("unknown", 1, 2)])

    def test_letters_that_do_not_fit_the_ledger_change_nothing(self):
        with Stage(recipients=20) as stage:
            smtp = stage.start_fakesmtp()
            run = poison(stage)
            chunk = json.loads(take_letter(stage))
            bury(stage, json.dumps({**chunk, "digest": "0123456789abcdef"}))
            bury(stage, json.dumps({**chunk, "attempt": 2}))
            bury(stage, json.dumps({**chunk, "recipients": chunk["recipients"][:5]}))
            dead_count(stage, 3)
            self.refused(stage, "requeue", "1", says="another reading of the audience")
            self.refused(stage, "requeue", "2", says="stuck at an earlier attempt")
            self.refused(stage, "drop", "3", says="still there: .*the letter does not name")
            for number in (2, 1):
                self.assertIn("20 recipients: its chunk", stage.mailflock("dead", "drop", number))
            self.assertEqual(stage.value("SELECT state FROM chunk"), "stuck")
            self.assertEqual(stage.counts(run)["pending"], 20)
            stage.take(DEAD)
            bury(stage, json.dumps(chunk))
            dead_count(stage, 1)
            stage.mailflock("dead", "requeue", "all")
            stage.start_consumer()
            self.assert_over(stage, run, smtp, sent=20)

    def test_more_letters_than_are_read_at_once(self):
        with Stage() as stage:
            channel = stage.channel()
            for i in range(HELD_MAX + 5):
                channel.basic_publish("mailflock.dead", "bulk.relay", f"letter {i + 1}".encode(),
                                      pika.BasicProperties(delivery_mode=2))
            channel.close()
            dead_count(stage, HELD_MAX + 5)
            got = stage.mailflock_json("dead", "list")
            self.assertEqual((len(got["letters"]), got["more"]), (HELD_MAX, 5))
            self.assertIn("... and 5 more", stage.mailflock("dead", "list").splitlines()[-1])
            self.assertIn("letter 1000\n", stage.mailflock("dead", "show", "1000"))
            self.assertEqual(len(stage.mailflock("dead", "drop", "all").splitlines()), HELD_MAX + 5)
            dead_count(stage, 0)


if __name__ == "__main__":
    unittest.main(verbosity=2)
