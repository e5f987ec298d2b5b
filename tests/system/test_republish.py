"""Chunks that are published again after the audience has changed (PROTOCOL P5, O1)."""

import unittest

from harness import Stage
from producer_fixture import ProducerTestCase, ids, messages


class RepublishTest(ProducerTestCase):
    def stage_of(self, kind, recipients=1000):
        """A stage whose ids are of this kind, as texts in the order of the numbers."""
        stage = self.enterContext(Stage(recipients=recipients))
        stage.execute(f"ALTER TABLE subscriber MODIFY id {kind} NOT NULL")
        self.spell(stage, kind)
        return stage

    def spell(self, stage, kind):
        if "CHAR" in kind:
            stage.execute("UPDATE subscriber SET id=LPAD(id, 5, '0')")

    def add(self, stage, kind, first, count):
        stage.add_subscribers(count, first=first)
        self.spell(stage, kind)

    def planned_again(self, stage, chunk, attempt=1, digest=None):
        stage.execute("UPDATE chunk SET state='planned', attempt=%s, digest=%s WHERE chunk_no=%s", attempt,
                      digest, chunk)
        stage.execute("UPDATE run SET publishing='open', published_at=NULL")

    def deferred(self, stage, message, positions):
        """These recipients of a chunk are deferred, and it awaits its second attempt (O1)."""
        for p in positions:
            recipient = message["recipients"][p]
            stage.execute("INSERT INTO delivery (run_id, chunk_no, position, recipient_id, email, status, "
                          "attempt, at) VALUES (1, %s, %s, %s, %s, 'deferred', 1, UTC_TIMESTAMP(6))",
                          message["chunk"], p, recipient["id"], recipient["to"])
        self.planned_again(stage, message["chunk"], 2, int(message["digest"], 16))

    # -- rows that came between two chunks, or before the first one

    KINDS = ("BIGINT UNSIGNED", "VARCHAR(20)")

    def test_rows_that_came_before_a_chunk_push_nobody_out_of_it(self):
        for kind in self.KINDS:
            for count in (2, 60, 900):
                with self.subTest(kind, rows=count):
                    stage = self.stage_of(kind)
                    stage.execute("DELETE FROM subscriber WHERE id <= %s", count)
                    self.run_at(stage)
                    first = messages(stage)
                    self.add(stage, kind, 1, count)
                    self.planned_again(stage, 0)
                    self.run_at(stage)
                    self.assertEqual(messages(stage), first[:1])

    def test_rows_that_came_between_two_chunks_push_nobody_out_of_a_retry(self):
        for kind in self.KINDS:
            with self.subTest(kind):
                stage = self.stage_of(kind)
                stage.execute("DELETE FROM subscriber WHERE id BETWEEN 101 AND 300")
                self.run_at(stage)
                before = messages(stage)[1]
                self.assertEqual(int(before["recipients"][0]["id"]), 301)
                self.add(stage, kind, 101, 200)
                self.deferred(stage, before, (0, 50, 99))
                self.run_at(stage)
                (again,) = messages(stage)
                self.assertEqual(again["recipients"], [before["recipients"][p] for p in (0, 50, 99)])

    def test_rows_that_came_into_an_unclaimed_chunk_join_it(self):
        for kind in self.KINDS:
            with self.subTest(kind):
                stage = self.stage_of(kind)
                stage.execute("DELETE FROM subscriber WHERE id BETWEEN 101 AND 850 AND id NOT IN (450, 550)")
                self.run_at(stage)
                messages(stage)
                self.add(stage, kind, 101, 349)
                self.add(stage, kind, 451, 99)
                self.planned_again(stage, 1)
                self.run_at(stage)
                self.assertEqual([int(i) for i in ids(messages(stage))],
                                 [*range(450, 551), *range(851, 949)])

    def test_a_chunk_grown_past_what_a_message_takes_is_an_error(self):
        stage = self.enterContext(Stage(recipients=100))
        stage.execute("UPDATE subscriber SET id=id + 100000 WHERE id > 50")
        self.run_at(stage)
        messages(stage)
        stage.add_subscribers(9900, first=1001)
        self.planned_again(stage, 0)
        self.run_at(stage)
        self.assertEqual(len(ids(messages(stage))), 10000)
        stage.add_subscribers(1, first=51)
        self.planned_again(stage, 0)
        error = self.run_at(stage, code=1)
        self.assertIn("chunk 0: ", error)
        self.assertIn("more than 10000 recipients", error)
        self.assertEqual(messages(stage), [])

    # -- a chunk that cannot be read again

    def with_an_id_twice(self, stage, number):
        stage.execute("ALTER TABLE subscriber DROP PRIMARY KEY")
        stage.execute("INSERT INTO subscriber SELECT * FROM subscriber WHERE id=%s", number)
        return lambda: stage.execute("DELETE FROM subscriber WHERE id=%s LIMIT 1", number)

    def test_a_chunk_that_cannot_be_read_does_not_hold_up_its_run(self):
        stage = self.enterContext(Stage(recipients=500))
        self.run_at(stage)
        first = messages(stage)
        stage.add_subscribers(500, first=501)
        mend = self.with_an_id_twice(stage, 150)
        stage.execute("UPDATE chunk SET state='planned' WHERE chunk_no BETWEEN 1 AND 3")
        stage.execute("UPDATE run SET publishing='open', published_at=NULL, "
                      "created_at=created_at - INTERVAL 1 MINUTE")
        error = self.run_at(stage, code=1)
        self.assertIn("chunk 1: ", error.splitlines()[-1])
        self.assertIn("id '150' of the row after id '150' is a duplicate", error.splitlines()[-1])
        found = messages(stage)
        self.assertEqual([m["chunk"] for m in found], [2, 3, 5, 6, 7, 8, 9])
        self.assertEqual(self.states(stage), {"queued": 9, "planned": 1})
        self.assertEqual(stage.value("SELECT publishing FROM run"), "open")
        self.assertIn("the id '150'", stage.run_program("mailflock-producer", "due", code=1).stderr)
        self.assertEqual(messages(stage), [])
        mend()
        self.assertIn("published=1", stage.run_program("mailflock-producer", "due").stdout)
        self.assert_whole(stage, 1000, [first[0], first[4], *found, *messages(stage)])

    def test_an_overdue_chunk_that_cannot_be_read_does_not_hold_up_others(self):
        stage = self.enterContext(Stage(recipients=300))
        self.run_at(stage)
        first = messages(stage)
        stage.execute("UPDATE chunk SET next_due=UTC_TIMESTAMP(6) - INTERVAL 1 SECOND")
        mend = self.with_an_id_twice(stage, 50)
        done = stage.run_program("mailflock-producer", "due", code=1)
        self.assertIn("chunk 0: ", done.stderr)
        self.assertIn("published=2 overdue=2", done.stdout)
        self.assertEqual(messages(stage), first[1:])
        # It is overdue still, the others no more.
        mend()
        self.assertIn("published=1 overdue=1", stage.run_program("mailflock-producer", "due").stdout)
        self.assertEqual(messages(stage), first[:1])


if __name__ == "__main__":
    unittest.main(verbosity=2)
