"""mailflock check: what it says of a campaign that is right, and of each thing that may be wrong."""

import json
import unittest

from harness import Stage

REST = "WHERE id > :after ORDER BY id LIMIT :limit"
SELECT = "SELECT id, email, name, plan, city FROM subscriber"


def audience(sql, **more):
    return {"audience": {"sql": sql, **more}}


class CheckTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.stage = cls.enterClassContext(Stage(recipients=3000, settings={"start_limit": "20s"}))
        cls.tables()

    @classmethod
    def tables(cls):
        """big: its order is not that of an index of its own; room: some lines for some people."""
        run = cls.stage.execute
        run("CREATE TABLE big (number INT, id INT, email VARCHAR(99), name VARCHAR(99), plan VARCHAR(9), "
            "city VARCHAR(9), active INT, KEY (active))")
        run("INSERT INTO big SELECT seq, seq, CONCAT('u', seq, '@x.y'), 'n', 'p', 'c', 1 "
            "FROM seq_1_to_20000")
        run("CREATE TABLE room (person BIGINT UNSIGNED, name VARCHAR(9), KEY (person))")
        run("INSERT INTO room SELECT seq, 'x' FROM seq_1_to_3000")
        run("ANALYZE TABLE big, room, subscriber")

    def setUp(self):
        self.stage.campaign("welcome")
        self.stage.write_config(worker={"prefetch": 4}, database={"name": self.stage.database})

    def check(self, code=0, stage=None, env=None, campaign="welcome"):
        """What is said: (result, check) -> the details in order. Text and JSON say the same."""
        stage = stage or self.stage
        done = stage.run_program("mailflock", "check", campaign, "--json", code=code, env=env)
        answer = json.loads(done.stdout)
        found = {}
        for line in answer["checks"]:
            found.setdefault((line["result"], line["check"]), []).append(line["detail"])
        for result in ("warning", "error"):
            self.assertEqual(answer[result + "s"],
                             sum(1 for line in answer["checks"] if line["result"] == result))
        text = stage.run_program("mailflock", "check", campaign, code=code, env=env).stdout
        self.assertEqual([line.split()[:2] for line in text.splitlines()],
                         [[c["result"], c["check"].split()[0] + ":" * (" " not in c["check"])]
                          for c in answer["checks"]])
        self.assertEqual(code, 1 if answer["errors"] else 0)
        return found

    def complaints(self, found):
        return {key: details for key, details in found.items() if key[0] != "ok"}

    # -- what is right

    def test_a_campaign_that_is_right_has_nothing_to_complain_of(self):
        found = self.check()
        self.assertEqual(self.complaints(found), {})
        self.assertEqual([check for _, check in found],
                         ["settings", "campaign", "templates", "schedule", "transport", "in hand", "database",
                          "schema", "durability", "broker", "lane", "audience", "page", "plan",
                          "variables"])
        self.assertIn("columns: id, email, name, plan, city", found["ok", "audience"][0])
        self.assertRegex(found["ok", "page"][0], r"^100 rows, \d+ ms")
        self.assertIn(self.stage.database, found["ok", "database"][0])
        self.assertEqual(self.stage.value("SELECT COUNT(*) FROM run"), 0)

    def test_the_next_run_is_told(self):
        self.stage.campaign("welcome", {"schedule": ["0 9 * * *"], "timezone": "Asia/Seoul"})
        self.assertRegex(self.check()["ok", "schedule"][0],
                         r"^next at \d{4}-\d\d-\d\dT00:00:00Z, in time zone Asia/Seoul$")

    def test_joins_functions_and_small_tables_are_fine(self):
        rooms = "(SELECT JSON_ARRAYAGG(r.name) FROM room r WHERE r.person = s.id) AS rooms"
        for sql in (f"SELECT s.*, {rooms} FROM subscriber s {REST}",
                    "SELECT s.id, email, s.name, plan, city FROM subscriber s JOIN room r ON r.person = s.id "
                    "WHERE s.id > :after ORDER BY s.id LIMIT :limit",
                    f"WITH x AS (SELECT * FROM subscriber) SELECT * FROM x {REST}",
                    f"SELECT * FROM (SELECT * FROM subscriber WHERE active) x {REST}"):
            with self.subTest(sql):
                self.stage.campaign("welcome", audience(sql))
                self.assertEqual(self.complaints(self.check()), {})

    # -- plans

    def test_a_page_that_is_no_range_scan_is_warned_of(self):
        columns = "SELECT id, email, name, plan, city FROM big"
        cases = {
            "no index": (f"{columns} {REST}", "table big: each page reads it from end to end (type=ALL"),
            "a calculated id": (f"SELECT id + 0 AS id, email, name, plan, city FROM subscriber WHERE id + 0 "
                                "> :after ORDER BY id LIMIT :limit", "end to end"),
            "another index": (f"SELECT * FROM big FORCE INDEX (active) WHERE active = 1 AND id > :after "
                              "ORDER BY id LIMIT :limit", "by another index than the id's (type=ref key=active"),
            "a second table": ("SELECT s.id, s.email, s.name, s.plan, s.city FROM subscriber s JOIN big b ON "
                               "b.number = s.id WHERE s.id > :after ORDER BY s.id LIMIT :limit",
                               "table b: each page reads it from end to end"),
        }
        for name, (sql, want) in cases.items():
            with self.subTest(name):
                self.stage.campaign("welcome", audience(sql))
                found = self.check()
                self.assertEqual([key for key in found if key[0] != "ok"], [("warning", "plan")])
                self.assertIn(want, "\n".join(found["warning", "plan"]))
                self.assertNotIn(("ok", "plan"), found)

    def test_chunks_that_stay_in_hand_too_long_are_warned_of(self):
        self.stage.write_config(worker={"prefetch": 100}, transports={"relay": {"connections": 1}})
        self.stage.campaign("welcome", audience(f"{SELECT} {REST}", chunk=1000))
        try:
            found = self.check()
        finally:
            self.stage.write_config(transports={"relay": {"connections": 8}})
        self.assertEqual(list(self.complaints(found)), [("warning", "in hand")])
        self.assertIn("a relay that takes 12 ms for a mail keeps them in hand for 20 minutes",
                      found["warning", "in hand"][0])

    # -- templates and columns

    def test_names_without_a_column_are_errors(self):
        self.stage.campaign("welcome", {"content": {"subject": "{{greeting}}", "to_name": "{{name}}"}})
        self.stage.template("welcome.html", "{{nmae}} {{name.first}} {{#rooms}}{{title}}{{/rooms}}")
        try:
            found = self.check(code=1)
        finally:
            self.stage.template("welcome.html", "{{name}}")
        self.assertEqual(found["error", "variables"], [
            "no column for {{greeting}} in subject, {{nmae}} in html, {{name.first}} in html (no JSON): "
            "every recipient that comes to it would fail"])
        self.assertEqual(found["warning", "variables"], [
            "no column for the section {{rooms}} in html: it is shown to nobody, or to all"])

    def test_names_inside_json_cannot_be_known(self):
        sql = f"SELECT s.*, JSON_ARRAY(JSON_OBJECT('title', 'x')) AS rooms FROM subscriber s {REST}"
        self.stage.campaign("welcome", audience(sql))
        self.stage.template("welcome.html", "{{#rooms}}{{title}} {{typo}}{{/rooms}}{{rooms.0.title}}")
        try:
            self.assertEqual(self.complaints(self.check()), {})
        finally:
            self.stage.template("welcome.html", "{{name}}")

    def test_names_are_left_to_a_contact_service_that_does_not_answer(self):
        self.stage.campaign("welcome", {**audience(f"SELECT id, plan, city FROM subscriber {REST}"),
                                        "enrich": {"url": "http://127.0.0.1:1/contacts"}})
        self.stage.template("welcome.html", "{{#rooms}}{{title}}{{/rooms}}{{city}}")
        try:
            found = self.check(code=1)
        finally:
            self.stage.template("welcome.html", "{{name}}")
        self.assertEqual(list(self.complaints(found)), [("error", "contacts")])
        self.assertEqual(found["ok", "variables"], [
            "left to the contact service: {{name}} in to_name, {{name}} in subject, {{name}} in text, "
            "{{rooms}} in html"])

    def test_a_template_that_does_not_compile_is_an_error(self):
        self.stage.template("welcome.html", "<p>{{#name}}</p>")
        try:
            found = self.check(code=1)
        finally:
            self.stage.template("welcome.html", "{{name}}")
        (details,) = self.complaints(found).values()
        self.assertIn("welcome.html:1", details[0])

    # -- the campaign and its audience

    def test_campaigns_that_are_wrong_are_errors(self):
        cases = {
            "SQL that writes": (audience("DELETE FROM subscriber WHERE id > :after ORDER BY id LIMIT :limit"),
                                "campaign", "must be a SELECT"),
            "no such transport": ({"delivery": {"transport": "pigeon"}}, "campaign", "there is: relay"),
            "no such database": (audience(f"{SELECT} {REST}", database="replica"), "campaign",
                                 "there is: none"),
            "no such table": (audience(f"SELECT * FROM nowhere {REST}"), "audience", "doesn't exist"),
            "no email": (audience(f"SELECT id, name FROM subscriber {REST}"), "audience",
                         "no column 'email'"),
            "descending": (audience(f"{SELECT} WHERE id > :after ORDER BY id DESC LIMIT :limit"),
                           "audience", "not in the order of their ids"),
        }
        for name, (changes, check, want) in cases.items():
            with self.subTest(name):
                self.stage.campaign("welcome", changes)
                found = self.check(code=1)
                self.assertEqual(list(self.complaints(found)), [("error", check)])
                self.assertIn(want, found["error", check][0])
                self.assertIn("campaigns/welcome.cfg", found["error", check][0])
        self.assertIn(("error", "campaign"), self.check(code=1, campaign="nothing"))

    def test_recipients_who_cannot_have_a_mail_are_counted(self):
        self.stage.campaign("welcome", audience(
            f"SELECT id, IF(id % 4, email, 'nobody') AS email, name, plan, city FROM subscriber {REST}"))
        found = self.check()
        self.assertEqual(self.complaints(found), {("warning", "recipients"): [
            "25 of these cannot have a mail; the first: the address has no @"]})

    def test_an_empty_audience_is_a_warning(self):
        self.stage.campaign("welcome", audience(f"{SELECT} WHERE FALSE AND id > :after ORDER BY id "
                                                "LIMIT :limit"))
        found = self.check()
        self.assertEqual(list(self.complaints(found)), [("warning", "audience")])
        self.assertIn("nobody in it now; columns: id, email", found["warning", "audience"][0])

    def test_an_audience_elsewhere_is_read_there(self):
        database = {**self.stage.settings["database"], "name": self.stage.database}
        password = self.stage.environment()["MAILFLOCK_DATABASE_PASSWORD"]
        self.stage.campaign("welcome", audience(f"{SELECT} {REST}", database="replica"))
        self.stage.write_config(databases={"replica": database})
        try:
            found = self.check(env={"MAILFLOCK_DATABASES_REPLICA_PASSWORD": password})
            self.assertIn("from its own database", found["ok", "audience"][0])
            found = self.check(code=1, env={"MAILFLOCK_DATABASES_REPLICA_PASSWORD": "wrong"})
            self.assertEqual(list(self.complaints(found)), [("error", "audience")])
            self.assertIn("Access denied", found["error", "audience"][0])
        finally:
            del self.stage.settings["databases"]

    # -- what is around it

    def test_services_out_of_reach_are_errors_at_once(self):
        found = self.check(code=1, env={"MAILFLOCK_BROKER_PORT": "1"})
        self.assertEqual(list(self.complaints(found)), [("error", "broker")])
        self.assertNotIn(("ok", "lane"), found)
        found = self.check(code=1, env={"MAILFLOCK_DATABASE_PORT": "1"})
        self.assertEqual(list(self.complaints(found)), [("error", "database"), ("error", "audience")])
        found = self.check(code=1, env={"MAILFLOCK_DATABASE_PASSWORD": "wrong"})
        self.assertIn("Access denied", found["error", "database"][0])

    def test_what_init_has_not_done_is_an_error(self):
        with Stage(init=False, recipients=1) as stage:
            found = self.check(code=1, stage=stage)
            self.assertEqual(list(self.complaints(found)), [("error", "schema"), ("error", "lane")])
            for key in self.complaints(found):
                self.assertIn("run 'mailflock init'", found[key][0])

    def test_settings_that_are_wrong_are_the_only_line(self):
        found = self.check(code=1, env={"MAILFLOCK_WORKER_PREFETCH": "many"})
        self.assertEqual(list(found), [("error", "settings")])
        for args in ((), ("a", "b"), ("welcome", "--csv")):
            self.stage.run_program("mailflock", "check", *args, code=2)


if __name__ == "__main__":
    unittest.main()
