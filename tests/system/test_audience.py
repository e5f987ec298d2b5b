"""What an audience may be: columns of every kind, JSON, a database of its own; and SQL that writes."""

import os
import tempfile
import unittest

import pymysql

from harness import Stage
from producer_fixture import LANE, ProducerTestCase, audience, messages

REST = "WHERE id > :after ORDER BY id LIMIT :limit"
PERSON = "id INT PRIMARY KEY, email VARCHAR(99) NOT NULL"


def recipients(stage):
    return [r for m in messages(stage) for r in m["recipients"]]


class AudienceTest(ProducerTestCase):
    def test_every_column_becomes_a_variable(self):
        columns = {
            "whole INT": ("-7", -7),
            "large BIGINT UNSIGNED": ("18446744073709551615", "18446744073709551615"),
            "price DECIMAL(9,2)": ("3.50", "3.50"),
            "half DOUBLE": ("0.5", "0.5"),
            "yes BOOLEAN": ("TRUE", 1),
            "flag BIT(1)": ("b'0'", 0),
            "bits BIT(64)": ("b'1000000001'", 513),
            "born DATE": ("'1999-12-31'", "1999-12-31"),
            "seen DATETIME(3)": ("'2026-01-02 03:04:05.678'", "2026-01-02 03:04:05.678"),
            "stamp TIMESTAMP NULL": ("'2026-01-02 03:04:05'", "2026-01-02 03:04:05"),
            "clock TIME": ("'26:00:00'", "26:00:00"),
            "yr YEAR": ("2026", 2026),
            "word VARCHAR(40)": ("'한 \"quoted\" \\\\ line\\n'", '한 "quoted" \\ line\n'),
            "level ENUM('low','high')": ("'high'", "high"),
            "nothing TEXT": ("NULL", None),
            "nix JSON": ("NULL", None),
            "bytes VARBINARY(9)": ("'abc'", "abc"),
            "rooms JSON": ("""'[{"name":"방","unread":3,"open":true,"topics":["a",null]}]'""",
                           [{"name": "방", "unread": 3, "open": True, "topics": ["a", None]}]),
        }
        with Stage(campaign=audience(f"SELECT p.*, JSON_ARRAY(id, word) AS made FROM person p {REST}")) as stage:
            stage.execute(f"CREATE TABLE person ({PERSON}, {', '.join(columns)}) CHARSET utf8mb4")
            values = ", ".join(value for value, _ in columns.values())
            stage.execute(f"INSERT INTO person VALUES (1, 'a@example.net', {values})")
            self.run_at(stage)
            want = {name.split()[0]: value for name, (_, value) in columns.items()}
            want |= {"id": 1, "email": "a@example.net", "made": [1, want["word"]]}
            first = messages(stage)
            self.assertEqual(first[0]["recipients"][0]["vars"], want)
            # Read again, by its range of ids, the message is the same.
            stage.execute("UPDATE chunk SET state='planned'")
            stage.execute("UPDATE run SET publishing='open'")
            self.run_at(stage)
            self.assertEqual(messages(stage), first)

    def test_json_of_functions_unions_and_views_is_nested(self):
        made = "(SELECT JSON_ARRAYAGG(JSON_OBJECT('r', r.name)) FROM room r WHERE r.person = p.id)"
        with Stage() as stage:
            stage.execute(f"CREATE TABLE person ({PERSON})")
            stage.execute("CREATE TABLE room (person INT, name VARCHAR(9), KEY (person))")
            stage.execute("INSERT INTO person VALUES (1, 'a@example.net'), (2, 'b@example.net')")
            stage.execute("INSERT INTO room VALUES (1, 'x'), (1, 'y')")
            stage.execute(f"CREATE VIEW busy AS SELECT id, email, {made} AS rooms FROM person p")
            for second, sql in enumerate((
                    f"SELECT id, email, {made} AS rooms FROM person p {REST}",
                    f"SELECT id, email, rooms FROM busy {REST}",
                    f"WITH x AS (SELECT id, email, {made} AS rooms FROM person p) SELECT * FROM x {REST}",
                    f"SELECT * FROM (SELECT * FROM busy UNION ALL SELECT 3, 'c@x.y', NULL) x {REST}")):
                with self.subTest(sql):
                    stage.campaign("welcome", audience(sql))
                    self.run_at(stage, at=f"2026-01-02T03:04:{second:02}Z")
                    found = {r["id"]: r["vars"]["rooms"] for r in recipients(stage)}
                    self.assertCountEqual(found["1"], [{"r": "x"}, {"r": "y"}])
                    self.assertIsNone(found["2"])

    # -- JSON that is none

    def test_a_json_column_that_is_not_json_fails_that_recipient_alone(self):
        deep = "[" * 17 + "]" * 17
        with Stage(campaign=audience(f"SELECT id, email, rooms FROM person {REST}")) as stage:
            stage.execute(f"CREATE TABLE person ({PERSON}, rooms JSON)")
            stage.execute("SET check_constraint_checks=0")  # as a table that was altered may have it
            for number, rooms in enumerate(("[1]", '{"a":', "", "[1] x", deep, '{"a":[2]}'), 1):
                stage.execute("INSERT INTO person VALUES (%s, 'a@example.net', %s)", number, rooms)
            self.run_at(stage)
            found = {r["id"]: r for r in recipients(stage)}
            for number in "2345":
                self.assertEqual(found[number]["fail"],
                                 "the variable 'rooms' is not JSON, or is nested too deep")
                self.assertEqual(found[number]["vars"], {})
            self.assertEqual(found["1"]["vars"]["rooms"], [1])
            self.assertEqual(found["6"]["vars"]["rooms"], {"a": [2]})
            self.assertNotIn("fail", found["6"])

    def test_a_text_column_is_json_when_the_campaign_says_so(self):
        definition = audience(f"SELECT id, email, rooms, name FROM person {REST}")
        definition["audience"]["json"] = ["rooms"]
        with Stage(campaign=definition) as stage:
            stage.execute(f"CREATE TABLE person ({PERSON}, rooms TEXT, name TEXT)")
            stage.execute("INSERT INTO person VALUES (1, 'a@example.net', '{\"n\":1}', '[1]'), "
                          "(2, 'b@example.net', 'nothing', ''), (3, 'c@example.net', NULL, '')")
            self.run_at(stage)
            found = {r["id"]: r for r in recipients(stage)}
            self.assertEqual(found["1"]["vars"]["rooms"], {"n": 1})
            self.assertEqual(found["1"]["vars"]["name"], "[1]")
            self.assertIn("the variable 'rooms' is not JSON", found["2"]["fail"])
            self.assertIsNone(found["3"]["vars"]["rooms"])
            definition["audience"]["json"] = ["rooms", "flats"]
            stage.campaign("welcome", definition)
            error = self.run_at(stage, at="2026-01-02T03:04:06Z", code=1)
            self.assertIn("audience.json: there is no column 'flats'; its columns are: id, email, rooms",
                          error)

    # -- a database of its own

    def test_an_audience_has_its_own_database_and_account(self):
        definition = audience(f"SELECT id, email, name, plan, city FROM subscriber {REST}")
        definition["audience"]["database"] = "replica"
        with Stage(recipients=3) as stage, Stage(init=False, recipients=7) as other:
            database = {**stage.settings["database"], "name": other.database}
            stage.write_config(databases={"replica": database})
            stage.campaign("welcome", definition)
            password = stage.environment()["MAILFLOCK_DATABASE_PASSWORD"]
            error = self.run_at(stage, code=1, env={"MAILFLOCK_DATABASES_REPLICA_PASSWORD": "wrong"})
            self.assertIn(f"database '{other.database}'", error)
            self.assertIn("Access denied", error)
            self.assertEqual(stage.value("SELECT COUNT(*) FROM run"), 0)
            with tempfile.NamedTemporaryFile("w") as file:
                file.write(password + "\n")
                file.flush()
                self.run_at(stage, env={"MAILFLOCK_DATABASES_REPLICA_PASSWORD_FILE": file.name})
            self.assertEqual(len(recipients(stage)), 7)
            # due reads it there as well
            stage.execute("UPDATE chunk SET state='planned'")
            stage.execute("UPDATE run SET publishing='open', created_at=created_at - INTERVAL 1 HOUR")
            stage.run_program("mailflock-producer", "due",
                              env={"MAILFLOCK_DATABASES_REPLICA_PASSWORD": password})
            self.assertEqual(len(recipients(stage)), 7)

    # -- SQL that writes

    def refused(self, stage, second, sql, want):
        stage.campaign("welcome", audience(sql))
        error = self.run_at(stage, at=f"2026-01-02T03:04:{second:02}Z", code=1)
        self.assertIn(want, error)
        self.assertIn("campaigns/welcome.cfg", error)
        self.assertEqual(stage.value("SELECT COUNT(*) FROM run"), 0)
        self.assertFalse(stage.ready(LANE))

    def test_audience_sql_that_writes_is_refused(self):
        select = "SELECT id, email, name, plan, city FROM subscriber"
        with Stage(recipients=5) as stage:
            out = os.path.join(stage.dir, "out")
            stage.execute("CREATE TABLE seen (id INT) ENGINE=MyISAM")  # which no rollback would empty
            stage.execute("CREATE FUNCTION note(n INT) RETURNS INT NOT DETERMINISTIC MODIFIES SQL DATA "
                          "BEGIN INSERT INTO seen VALUES (n); RETURN n; END")
            stage.execute("CREATE PROCEDURE wipe(n INT, m INT) DELETE FROM subscriber")
            cases = {
                "delete": ("DELETE FROM subscriber WHERE id > :after ORDER BY id LIMIT :limit",
                           "must be a SELECT"),
                "a procedure": ("CALL wipe(:after, :limit)", "must be a SELECT"),
                "a file": (f"{select} {REST} INTO OUTFILE '{out}'", "must not have INTO"),
                "a dump": (f"{select} {REST} INTO DUMPFILE '{out}'", "must not have INTO"),
                "a variable": (f"SELECT id INTO @id FROM subscriber {REST}", "must not have INTO"),
                "locks": (f"{select} {REST} FOR UPDATE", "must not lock rows"),
                "shared locks": (f"{select} {REST} LOCK IN SHARE MODE", "must not lock rows"),
                "locks inside": (f"SELECT * FROM ({select} {REST} FOR UPDATE) x", "must not lock rows"),
                "two statements": (f"{select} {REST}; DELETE FROM subscriber", "must be one statement"),
                "a comment the server executes": (f"{select} {REST} /*! INTO OUTFILE '{out}' */",
                                                  "must not have comments like /*! */"),
                "one MariaDB executes": (f"{select} {REST} /*M!100100 FOR UPDATE */",
                                         "must not have comments like /*! */"),
                "a closed parenthesis": (f"{select} {REST}) a WHERE note(1) -- ", "SQL syntax"),
                "a function": (f"SELECT note(id) AS id, email, name, plan, city FROM subscriber {REST}",
                               "writes, and may only read"),
            }
            for second, (name, (sql, want)) in enumerate(cases.items()):
                with self.subTest(name):
                    self.refused(stage, second, sql, want)
            self.assertFalse(os.path.exists(out))
            self.assertEqual(stage.value("SELECT COUNT(*) FROM seen"), 0)
            self.assertEqual(stage.value("SELECT COUNT(*) FROM subscriber"), 5)

    def test_a_sequence_is_not_moved(self):
        with Stage(recipients=5) as stage:
            try:
                stage.execute("CREATE SEQUENCE counter")
            except pymysql.err.ProgrammingError as e:
                if e.args[0] != 1064:  # MySQL has none
                    raise
                self.skipTest(str(e))
            self.refused(stage, 0, "SELECT id, email, NEXT VALUE FOR counter AS name, plan, city "
                                   f"FROM subscriber {REST}", "writes, and may only read")
            self.assertEqual(stage.value("SELECT NEXT VALUE FOR counter"), 1)


if __name__ == "__main__":
    unittest.main(verbosity=2)  # which names what is skipped
