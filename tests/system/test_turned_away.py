"""Messages that a worker cannot make mails of: what contradicts the ledger becomes a dead letter, what
somebody else could send waits as a copy, and neither is acked before the broker has confirmed what
stands for it."""

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
            wait_until(lambda: stage.value("SELECT SUM(attempt) FROM chunk") == 6, 30, "three retries")
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
                    properties, _ = stage.take(DEAD, 30)
                    self.assertEqual(properties.headers["x-mailflock-reason"], reason)
                    self.assertEqual(properties.message_id, message_id(retry))
            self.assertEqual(stage.rows("SELECT * FROM delivery ORDER BY 1, 2, 3"), rows)
            self.assertEqual(smtp.accepted(), accepted, "nothing of them was sent")
            for retry in retries:
                put(stage, retry)
            counts = stage.wait_quiet(run)
            self.assertEqual((stage.assert_balanced(run), counts["sent"]), (counts, 90))
            found = stage.compare(run, smtp)
            self.assertEqual((found["accepted"], found["lost"], found["twice"]), (90, [], []))
            self.assertEqual(worker.stop(), 0)


if __name__ == "__main__":
    side_by_side.main()
