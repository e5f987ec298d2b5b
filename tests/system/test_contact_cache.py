"""The contact cache: what it spares."""

import json
import threading
import unittest

from contact_fixture import SQL, ContactTestCase, messages


def later(day):
    return f"2026-02-{day:02}T00:00:00Z"


class CacheTest(ContactTestCase):
    def warm(self, recipients=1000, **enrich):
        stage, service = self.stage_with(recipients, {"cache_ttl": "1h", "cache": "contacts", **enrich})
        self.run_at(stage)
        self.assertEqual(len(service.asked()), recipients)
        self.first = messages(stage)
        return stage, service

    def run_again(self, stage, service, day, campaign="welcome"):
        """Another run: what was asked for it, and its messages."""
        calls = len(service.calls)
        self.run_at(stage, at=later(day), campaign=campaign)
        return [i for c in service.calls[calls:] for i in c.ids], messages(stage)

    def test_with_a_warm_cache_a_run_makes_no_call(self):
        stage, service = self.warm(2500)
        service.stop()
        asked, found = self.run_again(stage, service, 1)
        self.assertEqual(asked, [])
        self.assertEqual([m["recipients"] for m in found], [m["recipients"] for m in self.first])
        self.assert_enriched(service, found, 2500)

    def test_what_is_old_is_asked_again_and_gathered_into_few_calls(self):
        stage, service = self.warm(2000)
        stage.execute("UPDATE contact_cache SET stored_at=stored_at - INTERVAL 2 HOUR WHERE id % 20 = 0")
        service.more = {"20": {"name": "renamed"}, "21": {"name": "not seen yet"}}
        calls = len(service.calls)
        asked, found = self.run_again(stage, service, 1)
        self.assertEqual(asked, [str(i) for i in range(20, 2001, 20)])
        self.assertEqual(len(service.calls) - calls, 1)
        names = {r["id"]: r["vars"]["name"] for m in found for r in m["recipients"]}
        self.assertEqual(names["20"], "renamed")
        self.assertNotEqual(names["21"], "not seen yet")
        self.assertEqual(self.run_again(stage, service, 2)[0], [])

    def test_without_a_ttl_nothing_is_kept(self):
        stage, service = self.warm(10, cache_ttl="0s")
        self.assertEqual(stage.value("SELECT COUNT(*) FROM contact_cache"), 0)
        self.assertEqual(len(self.run_again(stage, service, 1)[0]), 10)

    def test_unknown_ids_are_asked_again(self):
        stage, service = self.stage_with(10, {"cache_ttl": "1h"})
        service.unknown = {"3"}
        self.run_at(stage)
        messages(stage)
        service.unknown = set()
        asked, found = self.run_again(stage, service, 1)
        self.assertEqual(asked, ["3"])
        self.assert_enriched(service, found, 10)

    def test_campaigns_share_a_cache_by_its_name(self):
        stage, service = self.warm(10)
        for day, (name, want) in enumerate(((None, 10), ("contacts", 0), ("others", 10)), 1):
            with self.subTest(name):
                stage.campaign("second", {"audience": {"sql": SQL},
                                          "enrich": {**self.enrich, "cache": name}})
                asked, _ = self.run_again(stage, service, day, campaign="second")
                self.assertEqual(len(asked), want)

    def test_an_older_answer_does_not_replace_a_newer_one(self):
        stage, service = self.stage_with(2, {"cache_ttl": "1h", "cache": "contacts"})
        service.more = {"1": {"version": 5}, "2": {"version": 5}}
        self.run_at(stage)
        stage.execute("UPDATE contact_cache SET stored_at=stored_at - INTERVAL 2 HOUR")
        service.more = {"1": {"version": 4, "name": "older"}, "2": {"version": 6, "name": "newer"}}
        messages(stage)
        asked, _ = self.run_again(stage, service, 1)
        self.assertEqual(asked, ["1", "2"])
        rows = {i.decode(): (v, json.loads(j)["name"])
                for i, v, j in stage.rows("SELECT id, version, json FROM contact_cache")}
        self.assertEqual((rows["1"][0], rows["2"]), (5, (6, "newer")))
        self.assertNotEqual(rows["1"][1], "older")

    def test_without_versions_the_later_question_has_the_newer_answer(self):
        stage, service = self.stage_with(1, {"cache_ttl": "1h", "cache": "contacts"})
        asked, go_on = threading.Event(), threading.Event()

        def late(handler, call):
            asked.set()
            go_on.wait(60)
            handler.answer(200, service.body_for(call.ids), "application/json")

        def name():
            return json.loads(stage.value("SELECT json FROM contact_cache WHERE version=0"))["name"]

        service.plan = [late]
        service.more = {"1": {"name": "asked first"}}
        producer = stage.start_producer("run", "welcome", "--at", later(1))
        self.assertTrue(asked.wait(60), producer.text())
        # Another run asks later, and has its answer at once.
        service.more = {"1": {"name": "asked second"}}
        self.run_at(stage, at=later(2))
        self.assertEqual(name(), "asked second")
        service.more = {"1": {"name": "asked first"}}
        go_on.set()
        self.assertEqual(producer.wait(), 0, producer.text())
        self.assertEqual(name(), "asked second")
        stage.execute("UPDATE contact_cache SET stored_at=stored_at - INTERVAL 2 HOUR")
        service.more = {"1": {"name": "asked third"}}
        self.run_at(stage, at=later(3))
        self.assertEqual(name(), "asked third")

    def test_ids_are_compared_byte_by_byte(self):
        stage, service = self.stage_with(0, {"cache_ttl": "1h"})
        names = ["A", "Z", "a", "a ", "aa", "z", "ä", "가"]
        stage.execute("CREATE TABLE member (id VARCHAR(64) COLLATE utf8mb4_nopad_bin PRIMARY KEY)")
        for name in names:
            stage.execute("INSERT INTO member VALUES (%s)", name)
        sql = "SELECT id FROM member WHERE id > :after ORDER BY id LIMIT :limit"
        stage.campaign("welcome", {"audience": {"sql": sql},
                                   "enrich": {**self.enrich, "cache_ttl": "1h"}})
        service.contact = lambda i: {"id": i, "email": "a@b.example", "name": i}
        self.run_at(stage)
        self.assertEqual(service.asked(), names)
        first = messages(stage)
        asked, again = self.run_again(stage, service, 1)
        self.assertEqual(asked, [])
        self.assertEqual(again[0]["recipients"], first[0]["recipients"])
        self.assertEqual([r["vars"]["name"] for r in again[0]["recipients"]], names)


if __name__ == "__main__":
    unittest.main(verbosity=2)
