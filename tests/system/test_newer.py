"""A rolling upgrade: newer producers write what this worker cannot read yet. It waits for a newer worker,
uses up no claim, and fills no log; what is broken is a dead letter as before."""

import json
import unittest

from harness import Stage, wait_until
from messages import DEAD, LANE, put, take_chunks

WAITS = "mailflock.wait.15"


class NewerTest(unittest.TestCase):
    def stage_of(self, **more):
        return Stage(recipients=200, campaign={"audience": {"chunk": 20}}, **more)

    def wait_for_copies(self, stage, worker, count):
        wait_until(lambda: stage.ready(WAITS) == count, 60, f"{count} messages to wait")
        self.assertEqual(stage.ready(DEAD), 0)
        self.assertTrue(worker.alive)

    def version(self, stage, run, version):
        content = json.loads(stage.value("SELECT content FROM run WHERE id=%s", run))
        content["v"] = version
        stage.execute("UPDATE run SET content=%s WHERE id=%s", json.dumps(content), run)

    def test_a_newer_content_waits_for_a_newer_worker(self):
        with self.stage_of() as stage:
            smtp = stage.start_fakesmtp()
            run = stage.produce()
            self.version(stage, run, 2)
            older = stage.start_consumer()
            self.wait_for_copies(stage, older, 10)
            self.assertEqual(stage.rows("SELECT DISTINCT claims, attempt, state FROM chunk"),
                             [(0, 1, "queued")])
            self.assertEqual(smtp.mails(), {})
            said = older.text().count("left to a newer worker")
            self.assertEqual(said, 1, older.text())
            self.assertIn(f"run {run}: the run's content has version 2, this program reads up to 1",
                          older.text())
            self.assertEqual(older.stop(), 0)
            self.version(stage, run, 1)  # this build is the newer one from here on
            stage.start_consumer()
            counts = stage.wait_quiet(run)
            self.assertEqual(counts["sent"], 200, counts)
            stage.assert_balanced(run)

    def test_another_run_is_sent_meanwhile(self):
        with self.stage_of() as stage:
            stage.start_fakesmtp()
            newer = stage.produce()
            self.version(stage, newer, 7)
            older = stage.start_consumer()
            self.wait_for_copies(stage, older, 10)
            run = stage.produce(at="2026-11-29T00:00:00Z")
            self.assertEqual(stage.value("SELECT COUNT(*) FROM run"), 2)
            self.assertNotEqual(run, newer)
            stage.wait_quiet(run)
            self.assertEqual(stage.ready(DEAD), 0)

    def test_a_newer_message_waits_for_a_newer_worker(self):
        with self.stage_of() as stage:
            smtp = stage.start_fakesmtp()
            run = stage.produce()
            chunks = take_chunks(stage)
            self.assertEqual(len(chunks), 10)
            for chunk in chunks:
                put(stage, chunk, v=2, more={"than": "version 1 has"})
            older = stage.start_consumer()
            self.wait_for_copies(stage, older, 10)
            self.assertEqual(older.text().count("left to a newer worker"), 1, older.text())
            self.assertEqual(older.stop(), 0)
            copies = take_chunks(stage, WAITS)
            key = "chunk"
            self.assertEqual(sorted(copies, key=lambda c: c[key]),
                             [{**c, "v": 2, "more": {"than": "version 1 has"}}
                              for c in sorted(chunks, key=lambda c: c[key])])
            for chunk in chunks:
                put(stage, chunk)
            stage.start_consumer()
            stage.wait_quiet(run)
            self.assertEqual(len(smtp.mails()), 200)

    def test_what_is_broken_is_a_dead_letter(self):
        with self.stage_of() as stage:
            stage.start_fakesmtp()
            run = stage.produce()
            chunks = take_chunks(stage)
            worker = stage.start_consumer()
            wrong = (1.5, -1, "2", None, 0)
            for chunk, version in zip(chunks, wrong):
                put(stage, chunk, v=version)
            wait_until(lambda: stage.ready(DEAD) == len(wrong), 60, "the dead letters")
            self.version(stage, run, "2")
            put(stage, chunks[-1])
            wait_until(lambda: stage.ready(DEAD) == len(wrong) + 1, 60, "one more")
            self.assertEqual(stage.ready(WAITS), 0)
            self.assertEqual(worker.stop(), 0)


if __name__ == "__main__":
    unittest.main(verbosity=2)
