"""Enrichment over HTTP: what is asked, how fast, and what becomes of the answers."""

import os
import threading
import time
import unittest

from contact_fixture import AT, SQL, ContactTestCase, ids, messages
from contact_service import contacts, html, silence, status
from harness import binary, wait_until


class EnrichmentTest(ContactTestCase):
    # -- what is asked and what comes of it

    def test_ids_travel_in_batches_and_contacts_into_the_mails(self):
        stage, service = self.stage_with(3000)
        self.run_at(stage)
        self.assertEqual([len(c.ids) for c in service.calls], [300] * 10)
        self.assertEqual(service.asked(), [str(i) for i in range(1, 3001)])
        self.assertEqual((service.calls[0].method, service.calls[0].path,
                          service.calls[0].headers["content-type"]),
                         ("POST", "/contacts", "application/json"))
        found = messages(stage)
        self.assert_whole(stage, 3000, found)
        self.assert_enriched(service, found, 3000)

    def test_everything_can_be_set(self):
        stage, service = self.stage_with(25)
        with open(os.path.join(stage.dir, "campaigns", "crm.headers"), "w", encoding="utf-8") as file:
            file.write("Authorization: Bearer s3cret\nX-Tenant: main\n")
        stage.campaign("welcome", {"audience": {"sql": SQL}, "enrich": {
            **self.enrich, "method": "PUT", "batch": 10, "headers": ["X-Team: news"],
            "headers_file": "crm.headers"}})
        done = stage.run_program("mailflock-producer", "run", "welcome", "--at", AT)
        self.assertEqual([len(c.ids) for c in service.calls], [10, 10, 5])
        for call in service.calls:
            self.assertEqual(call.method, "PUT")
            self.assertEqual((call.headers["x-team"], call.headers["x-tenant"],
                              call.headers["authorization"]), ("news", "main", "Bearer s3cret"))
        self.assertNotIn("s3cret", done.stdout + done.stderr)
        self.assertIn("calls=3 asked=25 unknown=0 cached=0", done.stderr)

    def test_an_id_it_does_not_know_fails_with_that_reason(self):
        stage, service = self.stage_with(250)
        service.unknown = {"7", "250"}
        smtp = stage.start_fakesmtp()
        run = stage.produce()
        stage.start_consumer()
        counts = stage.wait_quiet(run)
        self.assertEqual((counts["sent"], counts["failed"]), (248, 2))
        self.assertEqual({r for r, in stage.rows("SELECT detail FROM delivery WHERE status='failed'")},
                         {"the contact service does not know this id"})
        self.assertEqual(stage.assert_balanced(run), counts)
        rcpts = {mail.rcpt for mails in smtp.mails().values() for mail in mails}
        self.assertEqual(rcpts, {f"user{i}@example.net" for i in range(1, 251)} -
                         {"user7@example.net", "user250@example.net"})

    def test_an_answer_may_come_in_any_order_and_with_ids_as_numbers(self):
        stage, service = self.stage_with(4)
        service.plan = [contacts(*({"id": i, "email": f"user{i}@example.net", "name": f"N{i}",
                                    "rooms": [{"n": i, "open": True}]} for i in (3, 1, 4, 2)))]
        self.run_at(stage)
        recipients = messages(stage)[0]["recipients"]
        self.assertEqual([(r["id"], r["vars"]["name"], r["vars"]["rooms"]) for r in recipients],
                         [(str(i), f"N{i}", [{"n": i, "open": True}]) for i in range(1, 5)])

    def test_a_contact_that_cannot_be_used_fails_alone(self):
        stage, service = self.stage_with(6)
        deep = []
        for _ in range(20):
            deep = [deep]
        service.more = {"2": {"email": "nobody"}, "3": {"x": "a\0b"}, "4": {"x": deep},
                        "5": {"x": "y" * (1 << 20)}, "6": {"email": None}}
        self.run_at(stage)
        fails = {r["id"]: r.get("fail") for r in messages(stage)[0]["recipients"]}
        self.assertIsNone(fails["1"])
        for number, want in (("2", "no @"), ("3", "holds a NUL"), ("4", "nested deeper"),
                             ("5", "1 MiB"), ("6", "empty")):
            self.assertIn(want, fails[number])

    def test_a_preview_asks_for_one(self):
        stage, service = self.stage_with(700)
        service.unknown = {"9"}
        out = stage.mailflock("preview", "welcome", "--recipient", "650", "--eml")
        self.assertIn("<user650@example.net>", out)
        self.assertEqual(service.asked(), ["650"])
        done = stage.run_program("mailflock", "preview", "welcome", "--recipient", "9", code=1)
        self.assertIn("recipient 9 would fail: the contact service does not know this id", done.stderr)
        service.stop()
        done = stage.run_program("mailflock", "preview", "welcome", "--recipient", "10", code=1)
        self.assertIn("mailflock: ", done.stderr)

    def test_a_dry_run_asks_too_and_writes_nothing(self):
        stage, service = self.stage_with(700)
        service.unknown = {"9"}
        out = stage.run_program("mailflock-producer", "run", "welcome", "--at", AT, "--dry-run").stdout
        self.assertIn("<user1@example.net>", out)
        self.assertIn("chunks=7 recipients=700 undeliverable=1", out)
        self.assertEqual(len(service.calls), 3)
        self.assertEqual(stage.value("SELECT COUNT(*) FROM run"), 0)

    def test_a_preview_shows_what_the_service_knows(self):
        stage, service = self.stage_with(700, content={"subject": "Hello {{name}}", "html": ""})
        stage.template("welcome.txt", "{{name}}, {{plan}}, {{city}}\n")
        service.more = {"650": {"name": "Mia"}}
        out = stage.mailflock("preview", "welcome", "--recipient", "650")
        self.assertIn("To: Mia <user650@example.net>\nSubject: Hello Mia\n", out)
        self.assertRegex(out, "\nMia, (free|pro), 서울\n$")
        self.assertEqual([c.ids for c in service.calls], [["650"]])
        service.plan = [status(503)] * 9
        done = stage.run_program("mailflock", "preview", "welcome", code=1)
        self.assertIn("it answers 503", done.stderr)
        self.assertLessEqual(len(service.calls), 3)

    def test_check_asks_for_one_batch(self):
        stage, service = self.stage_with(700, {"batch": 50, "cache_ttl": "1h"})
        stage.start_fakesmtp()

        def check(code=0):
            answer = stage.mailflock_json("check", "welcome", code=code)
            return {line["check"]: (line["result"], line["detail"]) for line in answer["checks"]}
        found = check()
        self.assertRegex(" ".join(found["contacts"]),
                         "^ok 50 asked for, 50 known, .* fields beside the columns: email, name, city$")
        self.assertEqual(found["variables"][0], "ok")
        service.unknown = {str(i) for i in range(3, 51)}
        stage.template("welcome.txt", "{{name}} {{nickname}} {{plan}}\n")
        found = check()
        self.assertIn("50 asked for, 2 known", found["contacts"][1])
        self.assertEqual(found["recipients"], (
            "warning", "48 of these cannot have a mail; the first: the contact service does not know "
                       "this id"))
        self.assertEqual(found["variables"][0], "warning")
        self.assertIn("no field of these contacts, for {{nickname}}", found["variables"][1])
        service.plan = [html]
        result, detail = check(code=1)["contacts"]
        self.assertEqual(result, "error")
        self.assertIn("text/html", detail)
        self.assertEqual([len(c.ids) for c in service.calls], [50] * 3)
        self.assertEqual(stage.value("SELECT COUNT(*) FROM contact_cache"), 0)

    # -- never faster than stated

    def assert_distances(self, service, began, delay_s):
        """No call was sent before its time: the service sees one later than that, never earlier, but
        how much later differs, so the distance of two says nothing."""
        for k, at in enumerate(sorted(call.at for call in service.calls)):
            self.assertGreaterEqual(at - began, k * delay_s, k)

    def test_calls_keep_their_distance(self):
        stage, service = self.stage_with(2000, {"batch": 300, "delay": "250ms"})
        began = time.monotonic()
        self.run_at(stage)
        self.assertEqual(len(service.calls), 7)
        self.assert_distances(service, began, 0.25)
        self.assert_enriched(service, messages(stage), 2000)

    def test_no_more_are_under_way_than_stated(self):
        for concurrency in (1, 3):
            with self.subTest(concurrency=concurrency):
                stage, service = self.stage_with(
                    1200, {"batch": 100, "delay": "20ms", "concurrency": concurrency}, delay_s=0.15)
                self.run_at(stage)
                self.assertEqual(len(service.calls), 12)
                self.assertEqual(service.most_under_way, concurrency)
                self.assert_enriched(service, messages(stage), 1200)

    def test_two_producers_share_the_pace_of_a_service(self):
        stage, service = self.stage_with(1000, {"batch": 200, "delay": "250ms"})
        stage.campaign("second", {"audience": {"sql": SQL}, "enrich": self.enrich})
        began = time.monotonic()
        producers = [stage.start_producer("run", name, "--at", AT) for name in ("welcome", "second")]
        self.assertEqual([p.wait() for p in producers], [0, 0])
        self.assertEqual(len(service.calls), 10)
        self.assert_distances(service, began, 0.25)

    # -- the protocol holds

    def test_chunks_are_those_of_their_ids_alone(self):
        stage, service = self.stage_with(1234, {"batch": 70, "concurrency": 4, "delay": "1ms"})
        self.run_at(stage)
        found = messages(stage)
        self.assert_whole(stage, 1234, found)
        self.assertEqual([m["digest"] for m in found], self.digests_without(stage, service))

    def digests_without(self, stage, service):
        calls = len(service.calls)
        stage.campaign("plain")
        self.run_at(stage, campaign="plain")
        self.assertEqual(len(service.calls), calls)
        return [m["digest"] for m in messages(stage)]

    def test_what_is_published_again_is_asked_again(self):
        stage, service = self.stage_with(1000)
        self.run_at(stage)
        first = messages(stage)
        stage.execute("UPDATE chunk SET state='planned' WHERE chunk_no IN (0, 4)")
        stage.execute("UPDATE run SET publishing='open', published_at=NULL")
        calls = len(service.calls)
        service.more = {"401": {"name": "somebody else"}}
        self.run_at(stage)
        again = messages(stage)
        self.assertEqual([len(c.ids) for c in service.calls[calls:]], [100, 100])
        self.assertEqual(again[0], first[0])
        self.assertEqual(again[1]["digest"], first[4]["digest"])
        self.assertEqual(again[1]["recipients"][0]["vars"]["name"], "somebody else")

    def test_a_later_attempt_asks_for_its_recipients_only(self):
        stage, service = self.stage_with(300)
        service.unknown = {"5", "205"}
        run = stage.produce()
        stage.start_fakesmtp()
        stage.start_consumer()
        self.assertEqual(stage.wait_quiet(run)["failed"], 2)
        calls = len(service.calls)
        service.unknown = {"205"}
        stage.mailflock("retry", run)
        self.due(stage)
        counts = stage.wait_quiet(run)
        self.assertEqual((counts["sent"], counts["failed"]), (299, 1))
        self.assertEqual([c.ids for c in service.calls[calls:]], [["5"], ["205"]])
        stage.assert_balanced(run)

    # -- it can be stopped while it waits

    def test_a_signal_ends_the_wait_for_an_answer(self):
        stage, service = self.stage_with(1000, {"batch": 100, "timeout": "10m"})
        service.plan = [None] * 3 + [silence]
        producer = stage.start_producer("run", "welcome", "--at", AT)
        wait_until(lambda: len(service.calls) == 4, 60, "the fourth call")
        self.assertEqual(producer.stop(), 1)
        self.assertIn("stopped by a signal", producer.text())
        self.assertEqual(stage.value("SELECT publishing FROM run"), "open")
        self.run_at(stage)
        found = messages(stage)
        self.assert_whole(stage, 1000, found)

    def test_cancelling_ends_the_wait_too(self):
        stage, service = self.stage_with(1000, {"batch": 100, "timeout": "10m"})
        service.plan = [None] * 3 + [silence]
        producer = stage.start_producer("run", "welcome", "--at", AT)
        wait_until(lambda: len(service.calls) == 4, 60, "the fourth call")
        stage.mailflock("cancel", 1)
        self.assertEqual(producer.wait(60), 0, producer.text())
        self.assertIn("cancelled: publishing stopped", producer.text())

    # -- memory

    def test_memory_stays_within_its_budget(self):
        with open(binary("mailflock-producer"), "rb") as program:
            if b"__asan_init" in program.read():
                self.skipTest("a sanitizer needs memory of its own")
        stage, service = self.stage_with(60000, {"batch": 500, "concurrency": 2}, chunk=500)
        service.contact = lambda i: {"id": i, "email": f"u{i}@example.net", "name": "x" * 200}
        producer = stage.start_producer("run", "welcome")
        peak = 0
        while producer.alive:
            peak = max(peak, producer.peak_kib())
            threading.Event().wait(0.01)
        self.assertEqual(producer.code, 0, producer.text())
        self.assertEqual(len(service.calls), 120)
        self.assertTrue(0 < peak <= 16 * 1024, f"{peak} KiB")
        self.assertEqual(len(ids(messages(stage))), 60000)


if __name__ == "__main__":
    unittest.main(verbosity=2)
