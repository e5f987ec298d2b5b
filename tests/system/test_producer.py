"""mailflock-producer run: whole runs, audiences of every kind, and what it cannot begin without."""

import json
import unittest

import pymysql

from harness import Stage, binary
from producer_fixture import AT, LANE, ProducerTestCase, audience, ids, messages


class RunTest(ProducerTestCase):
    # -- a run, and the same run again

    def test_a_fresh_run_publishes_all_and_a_second_call_nothing(self):
        with Stage(recipients=1234) as stage:
            self.assertEqual(
                self.run_at(stage),
                f"run=1 campaign=welcome scheduled_at={AT} chunks=13 recipients=1234 published=13\n")
            found = messages(stage)
            self.assert_whole(stage, 1234, found)
            first = found[0]
            self.assertEqual((first["v"], first["run"], first["attempt"], first["key"],
                              first["message_id"]), (1, 1, 1, "bulk.relay", "1/0/1"))
            self.assertEqual(first["recipients"][1], {
                "p": 1, "id": "2", "to": "user2@example.net",
                "vars": {"id": 2, "email": "user2@example.net", "name": "박지후", "plan": "free",
                         "city": "Zürich"}})
            self.assertEqual(self.run_at(stage),
                             f"run=1 campaign=welcome scheduled_at={AT} already published: nothing "
                             "to do\n")
            self.assertEqual(messages(stage), [])
            # Another moment is another run.
            self.assertIn("run=2", self.run_at(stage, at="2026-01-03T03:04:05Z"))
            self.assertEqual(len(messages(stage)), 13)

    def test_an_empty_audience_is_a_complete_run(self):
        with Stage() as stage:
            stage.add_subscribers(0)
            self.assertIn("chunks=0 recipients=0 published=0", self.run_at(stage))
            self.assertTrue(stage.value("SELECT publishing='done' AND completed_at IS NOT NULL FROM run"))
            self.assertIn("already published", self.run_at(stage))

    def test_the_content_is_stored_with_the_run(self):
        with Stage(recipients=10, campaign={"delivery": {"lane": "fast", "retry": {
                "delays": ["2s", "1m"]}}}) as stage:
            stage.produce("welcome")
            content = json.loads(stage.value("SELECT content FROM run"))
            self.assertEqual((content["subject"], content["lane"], content["delays_s"]),
                             ("{{name}}님, 환영합니다 🎉", "fast", [2, 60]))
            self.assertEqual(len(messages(stage, "mailflock.fast.relay")), 1)
            for queue in ("mailflock.wait.2", "mailflock.wait.1", "mailflock.wait.60",
                          "mailflock.wait.10", "mailflock.dead"):
                self.assertEqual(stage.ready(queue), 0, queue)

    def test_without_a_time_it_is_the_databases_now(self):
        with Stage(recipients=10) as stage:
            before = stage.value("SELECT UTC_TIMESTAMP()")
            stage.produce("welcome")
            self.assertTrue(before <= stage.value("SELECT scheduled_at FROM run")
                            <= stage.value("SELECT UTC_TIMESTAMP()"))

    def test_a_dry_run_shows_the_first_mail_and_writes_nothing(self):
        sql = ("SELECT id, IF(id = 7, 'nobody', email) AS email, name, plan, city FROM subscriber "
               "WHERE id > :after ORDER BY id LIMIT :limit")
        with Stage(recipients=2345, campaign=audience(sql)) as stage:
            done = stage.run_program("mailflock-producer", "run", "welcome", "--at", AT, "--dry-run")
            mail, summary = done.stdout.rsplit("\n", 2)[:2]
            self.assertEqual(summary, f"dry_run=yes campaign=welcome scheduled_at={AT} chunks=24 "
                                      "recipients=2345 undeliverable=1")
            self.assertIn("<user1@example.net>", mail)
            self.assertIn("From: Mailflock <news@example.com>", mail)
            self.assertEqual(stage.value("SELECT COUNT(*) FROM run"), 0)
            self.assertEqual(stage.value("SELECT COUNT(*) FROM chunk"), 0)
        with Stage(init=False, recipients=3) as stage:
            stage.run_program("mailflock-producer", "run", "welcome", "--dry-run")
            self.assertIsNone(stage.ready(LANE), "a queue was declared")

    # -- ids of other kinds

    def test_text_ids_in_the_order_of_their_collation(self):
        sql = "SELECT id, email FROM person WHERE id > :after ORDER BY id LIMIT :limit"
        for column in ("CHAR(36) COLLATE utf8mb4_general_ci", "VARCHAR(64) COLLATE utf8mb4_bin", "UUID"):
            with self.subTest(column=column), Stage(campaign=audience(sql)) as stage:
                try:
                    stage.execute(f"CREATE TABLE person (id {column} PRIMARY KEY, email VARCHAR(99))")
                except pymysql.err.ProgrammingError as e:
                    if e.args[0] != 1064:  # MySQL has no type UUID
                        raise
                    self.skipTest(str(e))
                new = "IF(seq % 3, MD5(seq), UPPER(MD5(seq)))" if column != "UUID" else "UUID()"
                stage.execute(f"INSERT INTO person SELECT {new}, CONCAT('u', seq, '@example.net') "
                              "FROM seq_1_to_3000")
                self.run_at(stage)
                want = [r[0] for r in stage.rows("SELECT id FROM person ORDER BY id")]
                found = messages(stage)
                self.assertEqual(ids(found), want)
                # Read again by their ranges, the chunks are the same.
                stage.execute("UPDATE chunk SET state='planned' WHERE chunk_no IN (0, 5, 29)")
                stage.execute("UPDATE run SET publishing='open'")
                self.assertIn("published=3", self.run_at(stage))
                self.assertEqual(messages(stage), [found[0], found[5], found[29]])

    def test_integer_ids_at_both_ends_of_their_range(self):
        for kind, low in (("BIGINT UNSIGNED", 0), ("BIGINT", -2**63)):
            top = low + 2**64 - 1 if low == 0 else 2**63 - 1
            want = [low + (low < 0), low + 2, -5, 1, 2**31, 2**53, top - 1, top]
            want = sorted({i for i in want if i >= low})
            with self.subTest(kind=kind), Stage(campaign=audience(
                    "SELECT id, email, id AS name, 1 AS plan, 2 AS city FROM person WHERE id > :after "
                    "ORDER BY id LIMIT :limit", chunk=2)) as stage:
                stage.execute(f"CREATE TABLE person (id {kind} PRIMARY KEY, email VARCHAR(99))")
                for i in want:
                    stage.execute("INSERT INTO person VALUES (%s, 'a@example.net')", i)
                self.run_at(stage)
                found = messages(stage)
                self.assertEqual(ids(found), [str(i) for i in want])
                names = [r["vars"]["name"] for m in found for r in m["recipients"]]
                self.assertEqual(names, [i if abs(i) < 2**53 else str(i) for i in want])
                stage.execute("UPDATE chunk SET state='planned'")
                stage.execute("UPDATE run SET publishing='open', published_at=NULL")
                self.run_at(stage)
                self.assertEqual(messages(stage), found)

    def test_the_scheduled_moment_reaches_the_sql(self):
        sql = ("SELECT id, email, name, :scheduled_at AS plan, ':scheduled_at' AS city FROM subscriber "
               "WHERE id > :after ORDER BY id LIMIT :limit -- ; :after")
        with Stage(recipients=1, campaign=audience(sql)) as stage:
            self.run_at(stage)
            variables = messages(stage)[0]["recipients"][0]["vars"]
            self.assertEqual((variables["plan"], variables["city"]),
                             ("2026-01-02 03:04:05", ":scheduled_at"))

    # -- audiences that cannot be used

    def test_a_bad_audience_stops_the_run_with_a_clear_text(self):
        columns = "email, name, plan, city FROM subscriber"
        rest = "WHERE id > :after ORDER BY id LIMIT :limit"
        text_id = "CONCAT('x', LPAD(id, 9, '0'))"
        cases = {
            "no table": (f"SELECT id, email FROM nowhere {rest}", "nowhere' doesn't exist"),
            "bad syntax": (f"SELECT id, {columns} WHEN id > :after ORDER BY id LIMIT :limit",
                           "SQL syntax"),
            "no id": (f"SELECT id AS number, {columns} {rest}",
                      "no column 'id'; its columns are: number, email, name"),
            "no email": (f"SELECT id, name FROM subscriber {rest}",
                         "no column 'email'; its columns are: id, name"),
            "a column twice": (f"SELECT id, name, {columns} {rest}", "Duplicate column name 'name'"),
            "a decimal id": (f"SELECT id * 1.5 AS id, {columns} {rest}", "integer or a text"),
            "descending": (f"SELECT id, {columns} WHERE id > :after ORDER BY id DESC LIMIT :limit",
                           "not in the order of their ids"),
            "duplicate": ("SELECT s.id, email, name, plan, city FROM subscriber s JOIN "
                          "(SELECT 1 AS n UNION ALL SELECT 2) twice WHERE s.id > :after "
                          "ORDER BY s.id LIMIT :limit", "id '1' of the row after id '1' is a duplicate"),
            "NULL": (f"SELECT NULLIF(id, 3) AS id, {columns} WHERE id > :after ORDER BY subscriber.id "
                     "LIMIT :limit",
                     "the id of the row after id '2' is NULL"),
            "empty": (f"SELECT IF(id = 1, '', {text_id}) AS id, {columns} WHERE {text_id} > :after "
                      "ORDER BY subscriber.id LIMIT :limit", "the id of the first row is empty"),
            "too long": (f"SELECT REPEAT('x', 65) AS id, {columns} WHERE 'a' > :after ORDER BY id "
                         "LIMIT :limit", "longer than 64 bytes"),
            "texts out of order": (f"SELECT {text_id} AS id, {columns} WHERE {text_id} > :after "
                                   "ORDER BY subscriber.id DESC LIMIT :limit",
                                   "not in the order of their ids"),
            "texts twice": (f"SELECT 'same' AS id, {columns} WHERE '' = :after ORDER BY id LIMIT :limit",
                            "is a duplicate"),
            "page begins where the last one ended": (
                f"SELECT id, {columns} WHERE id >= :after ORDER BY id LIMIT :limit", "is a duplicate"),
            "ignores the limit": (f"SELECT id, {columns} WHERE id > :after ORDER BY id -- :limit",
                                  "must use :limit"),
        }
        with Stage(recipients=1500) as stage:
            for number, (name, (sql, want)) in enumerate(cases.items()):
                with self.subTest(name):
                    stage.campaign("welcome", audience(sql, chunk=1000))
                    error = self.run_at(stage, at=f"2026-01-02T03:04:{number:02}Z", code=1)
                    self.assertIn(want, error)
                    self.assertIn("campaigns/welcome.cfg", error)
                    self.assertEqual(stage.value("SELECT COUNT(*) FROM chunk"), 0)
                    self.assertFalse(stage.ready(LANE))
            self.assertEqual(stage.value("SELECT COUNT(*) FROM subscriber"), 1500)

    def test_a_bad_row_far_behind_leaves_what_was_published(self):
        sql = ("SELECT CAST(IF(id = 4000, 3999, id) AS UNSIGNED) AS id, email, name, plan, city FROM "
               "subscriber WHERE id > :after ORDER BY subscriber.id LIMIT :limit")
        with Stage(recipients=6000, campaign=audience(sql)) as stage:
            error = self.run_at(stage, code=1)
            self.assertIn("id '3999' of the row after id '3999' is a duplicate", error)
            self.assertIn(f"go_on=\"mailflock-producer run welcome --at {AT}\"", error)
            self.assertEqual(stage.value("SELECT publishing FROM run"), "open")
            found = messages(stage)
            self.assertTrue(0 < len(found) < 40)
            self.assertEqual(self.states(stage), {"queued": len(found)})
            stage.campaign("welcome", {})
            self.run_at(stage)
            self.assert_whole(stage, 6000, found + messages(stage))

    def test_unusable_recipients_travel_with_the_reason(self):
        with Stage(recipients=6) as stage:
            for number, email in ((2, "nobody"), (3, ""), (4, "a@b\r\nBcc: x@y.z"), (5, "a" * 310 + "@b.c")):
                stage.execute("UPDATE subscriber SET email=%s WHERE id=%s", email, number)
            self.run_at(stage)
            fails = {r["id"]: r.get("fail") for r in messages(stage)[0]["recipients"]}
            self.assertEqual((fails["1"], fails["6"]), (None, None))
            for number, want in (("2", "no @"), ("3", "empty"), ("4", "line break"), ("5", "64 bytes")):
                self.assertIn(want, fails[number])

    # -- what it cannot begin without

    def test_services_out_of_reach_are_an_error_after_the_limit(self):
        with Stage(recipients=1, settings={"start_limit": "3s"}) as stage:
            for what, key in (("RabbitMQ", "BROKER"), ("database", "DATABASE")):
                with self.subTest(what):
                    error = self.run_at(stage, code=1, env={f"MAILFLOCK_{key}_PORT": "1"})
                    self.assertIn("gave up after", error)
                    self.assertIn("start_limit", error)
                    self.assertIn(what, error)
                    self.assertIn("will try again", error)
            self.assertEqual(stage.value("SELECT COUNT(*) FROM run"), 0)

    def test_a_wrong_password_is_an_error_at_once(self):
        with Stage(recipients=1, settings={"start_limit": "1h"}) as stage:
            for key in ("BROKER", "DATABASE"):
                with self.subTest(key):
                    error = self.run_at(stage, code=1, env={f"MAILFLOCK_{key}_PASSWORD": "wrong"})
                    self.assertNotIn("will try again", error)
                    self.assertRegex(error, "(?i)access.(denied|refused)")
            self.assertEqual(stage.value("SELECT COUNT(*) FROM run"), 0)

    def test_a_database_without_tables_names_the_remedy(self):
        with Stage(init=False, recipients=1) as stage:
            self.assertIn("run 'mailflock init'", self.run_at(stage, code=1))

    def test_templates_are_checked_before_anything_is_written(self):
        with Stage(recipients=1) as stage:
            stage.template("welcome.html", "<p>{{name</p>")
            error = self.run_at(stage, code=1)
            self.assertIn("welcome.html:1", error)
            self.assertEqual(stage.value("SELECT COUNT(*) FROM run"), 0)
            checked = stage.run_program("mailflock-producer", "-t", code=1)
            self.assertIn("welcome.html:1", checked.stderr)
            self.assertIn("1 campaigns are wrong", checked.stderr)
            stage.template("welcome.html", "<p>{{name}}</p>")
            self.assertIn("campaign welcome: ok", stage.run_program("mailflock-producer", "-t").stdout)

    def test_wrong_usage_and_unknown_campaigns(self):
        with Stage(init=False) as stage:
            for args in ((), ("run",), ("run", "a", "b"), ("run", "welcome", "--at", "noon"), ("--x",)):
                stage.run_program("mailflock-producer", *args, code=2)
            error = stage.run_program("mailflock-producer", "run", "nothing", code=1).stderr
            self.assertIn("nothing.cfg", error)
            self.assertIn("mailflock-producer 0", stage.run_program("mailflock-producer", "-V").stdout)
            self.assertIn("broker.host", stage.run_program("mailflock-producer",
                                                           "--help-config").stdout)

    # -- memory

    def peak_of(self, stage, *args):
        """A producer's peak memory in KiB; it does its work to the end."""
        with open(binary("mailflock-producer"), "rb") as program:
            if b"__asan_init" in program.read():
                self.skipTest("a sanitizer needs memory of its own")
        producer = stage.start_producer(*args)
        while producer.alive:
            producer.peak_kib()
        self.assertEqual(producer.code, 0, producer.text())
        self.assertGreater(producer.peak_kib(), 0)
        return producer.peak_kib()

    def test_memory_stays_flat(self):
        with Stage(recipients=100000, campaign={"audience": {"chunk": 500}}) as stage:
            self.assertLessEqual(self.peak_of(stage, "run", "welcome"), 16 * 1024)

    def test_a_stretch_of_large_rows_is_read_in_pages_that_fit(self):
        # As many small rows as make the pages large, and then 50 kB each.
        sql = ("SELECT id, email, plan, city, REPEAT('x', IF(id > 8000, 50000, 10)) AS name FROM subscriber "
               "WHERE id > :after ORDER BY id LIMIT :limit")
        with Stage(recipients=9500, campaign=audience(sql, chunk=500)) as stage:
            peak = self.peak_of(stage, "run", "welcome")
            self.assertLess(peak, 128 * 1024)
            self.assertEqual(stage.value("SELECT SUM(recipients) FROM chunk"), 9500)

if __name__ == "__main__":
    unittest.main(verbosity=2)
