"""The events that keep the contact cache fresh, and mailflock-consumer --contacts, which takes them."""

import json
import unittest

import pika
from contact_fixture import ContactTestCase, messages
from harness import binary, wait_until

EXCHANGE = "crm.events"
LATER = "2026-02-01T00:00:00Z"
QUEUE = "mailflock.contacts"
IN_HAND = 64  # events that it takes before the first of them is stored
MIB = 1 << 20


class EventTest(ContactTestCase):
    def stage_with_events(self, recipients=10, start=True):
        stage, service = self.stage_with(recipients, {"cache_ttl": "1h", "cache": "contacts"},
                                         settings={"contacts": {"exchange": EXCHANGE}})
        self.consumer = self.start(stage) if start else None
        return stage, service

    def start(self, stage):
        process = stage.start_consumer("--contacts", ready=False)
        wait_until(lambda: "msg=\"ready\"" in process.text() or not process.alive, 60, "it to begin")
        self.assertTrue(process.alive, process.text())
        return process

    def publish(self, stage, key, body, **properties):
        channel = stage.channel()
        channel.confirm_delivery()
        body = body if isinstance(body, bytes) else json.dumps(body).encode()
        channel.basic_publish(EXCHANGE, key, body, pika.BasicProperties(**properties), mandatory=True)
        channel.close()

    def event(self, stage, contact_id, version, deleted=False, **more):
        body = {"id": contact_id, "version": version, **more}
        self.publish(stage, "contact.deleted" if deleted else "contact.updated", body)

    def settled(self, stage, dead=0):
        """Every event is applied, by the one consumer there is, or among the dead letters: a last one
        behind them was."""
        self.event(stage, "last", 1, name="last")
        wait_until(lambda: "last" in self.cached(stage), 60, "the last event")
        wait_until(lambda: stage.ready("mailflock.dead") == dead, 60, f"{dead} dead letters")
        stage.execute("DELETE FROM contact_cache WHERE id='last'")

    def assert_nothing_left(self, stage, *processes):
        """It stops, and had acknowledged everything."""
        self.assertEqual([p.stop(60) for p in processes or [self.consumer]], [0] * (len(processes) or 1))
        self.assertEqual(stage.ready("mailflock.contacts"), 0)

    def cached(self, stage):
        return {i.decode(): (version, deleted, json.loads(text)["name"] if text else None)
                for i, version, deleted, text in stage.rows(
                    "SELECT id, version, deleted, json FROM contact_cache WHERE cache='contacts'")}

    # -- what an event does

    def test_events_keep_a_warm_cache_fresh_without_any_call(self):
        stage, service = self.stage_with_events(10)
        for number in range(1, 11):
            self.event(stage, str(number), 1, name=f"N{number}", email=f"n{number}@example.net")
        self.event(stage, 3, 2, name="renamed", email="n3@example.net")
        self.event(stage, "4", 2, deleted=True)
        self.settled(stage)
        self.run_at(stage)
        self.assertEqual(service.calls, [])
        found = {r["id"]: r for r in messages(stage)[0]["recipients"]}
        self.assertEqual(found["1"]["vars"]["name"], "N1")
        self.assertEqual(found["3"]["vars"]["name"], "renamed")
        self.assertEqual(found["4"]["fail"], "the contact service has deleted this contact")

    def test_events_out_of_order_and_twice_leave_the_newest(self):
        stage, _ = self.stage_with_events()
        for version in (1, 3, 2, 3, 1):
            self.event(stage, "1", version, name=f"V{version}")
        self.event(stage, "2", 5, deleted=True)
        self.event(stage, "2", 4, name="before it was deleted")
        self.event(stage, "3", 7, deleted=True)
        self.event(stage, "3", 8, name="back again")
        self.event(stage, "3", 7, deleted=True)
        self.settled(stage)
        self.assertEqual(self.cached(stage), {"1": (3, 0, "V3"), "2": (5, 1, None),
                                              "3": (8, 0, "back again")})
        self.assert_nothing_left(stage)

    def test_events_and_answers_meet_in_one_cache(self):
        stage, service = self.stage_with_events(3)
        service.more = {str(i): {"version": 10, "name": f"asked {i}"} for i in (1, 2, 3)}
        self.run_at(stage)
        messages(stage)
        self.event(stage, "1", 9, name="an old event")
        self.event(stage, "2", 11, name="a new event", email="n@example.net")
        self.settled(stage)
        self.assertEqual(self.cached(stage), {"1": (10, 0, "asked 1"), "2": (11, 0, "a new event"),
                                              "3": (10, 0, "asked 3")})
        # An answer without a version is as new as its question, and does not undo the version.
        stage.execute("UPDATE contact_cache SET stored_at=stored_at - INTERVAL 2 HOUR")
        service.more = {str(i): {"name": f"again {i}"} for i in (1, 2, 3)}
        self.run_at(stage, at=LATER)
        self.event(stage, "1", 9, name="a very old event")
        self.settled(stage)
        self.assertEqual(self.cached(stage), {"1": (10, 0, "again 1"), "2": (11, 0, "again 2"),
                                              "3": (10, 0, "again 3")})

    def test_events_of_before_the_first_start_are_not_lost(self):
        stage, _ = self.stage_with_events(start=False)
        self.assertIn("events of exchange crm.events ready", stage.mailflock("init"))
        self.event(stage, "1", 1, name="early")
        self.start(stage)
        wait_until(lambda: self.cached(stage) == {"1": (1, 0, "early")}, 60, "the early event")

    # -- the queue and the exchange

    def test_the_queue_is_durable_and_replicated_and_the_exchange_may_be_anybodys(self):
        stage, _ = self.stage_with(1, settings={"contacts": {"exchange": EXCHANGE}})
        stage.management.call("DELETE", f"/exchanges/{stage.management.path}/{EXCHANGE}")
        # Ours would be durable and without arguments.
        stage.management.call("PUT", f"/exchanges/{stage.management.path}/{EXCHANGE}",
                              {"type": "topic", "durable": False, "arguments": {"x-owner": "crm"}})
        self.consumer = self.start(stage)
        queue = stage.management.call("GET", f"/queues/{stage.management.path}/mailflock.contacts")
        self.assertTrue(queue["durable"])
        self.assertEqual(queue["arguments"]["x-queue-type"], "quorum")
        self.assertEqual(queue["arguments"]["x-dead-letter-exchange"], "mailflock.dead")
        self.event(stage, "1", 1, name="here")
        self.settled(stage)

    def test_bad_events_become_dead_letters_with_the_reason(self):
        stage, _ = self.stage_with_events()
        cases = {
            b"<contact/>": "contact.updated: it is no JSON",
            b'{"id":"1","version":2': "contact.updated: it is no JSON",
            b'["1"]': "contact.updated: it is no object",
            b'{"version":1}': "contact.updated: its id must be",
            b'{"id":"1"}': "contact.updated: its version must be",
            b'{"id":"1","version":"2"}': "its version must be",
            b'{"id":"1","version":2,"name":"\xff"}': "it is not UTF-8",
            b'{"id":"1","version":2,"x":"' + b"y" * (1 << 20) + b'"}': "more than 1048576",
        }
        for number, body in enumerate(cases):
            self.publish(stage, "contact.updated", body, message_id=f"event-{number}")
        self.event(stage, "1", 1, name="good")
        self.settled(stage, dead=len(cases))
        self.assertEqual(self.cached(stage), {"1": (1, 0, "good")})
        channel = stage.channel()
        for _ in cases:
            _, properties, body = channel.basic_get("mailflock.dead", auto_ack=False)
            self.assertIn(cases[body], properties.headers["x-mailflock-reason"])
            self.assertEqual(properties.message_id, f"event-{list(cases).index(body)}")
        channel.close()
        listed = stage.mailflock("dead", "list")
        self.assertIn("event-0", listed)
        self.assertIn("contacts", listed)
        self.assertIn("it is no JSON", listed)
        stage.mailflock("dead", "drop", "all")
        self.settled(stage)
        self.assert_nothing_left(stage)

    def test_an_event_of_another_kind_is_a_dead_letter(self):
        stage, _ = self.stage_with_events()
        stage.channel().queue_bind("mailflock.contacts", EXCHANGE, "contact.#")
        self.publish(stage, "contact.merged", {"id": "1", "version": 1})
        self.settled(stage, dead=1)
        self.assertIn("there is no event 'contact.merged'", stage.mailflock("dead", "list"))

    # -- what breaks is mended

    def test_lost_connections_are_opened_again(self):
        stage, _ = self.stage_with_events()
        self.event(stage, "1", 1, name="one")
        self.settled(stage)
        stage.management.close_connections()
        stage._amqp = None
        wait_until(lambda: "msg=\"connected\"" in self.consumer.text(), 60, "the broker again")
        self.event(stage, "2", 1, name="two")
        self.settled(stage)
        stage.cut_database()
        self.event(stage, "3", 1, name="three")
        self.settled(stage)
        before = self.consumer.text().count("msg=\"connected\"")
        stage.delete_queue("mailflock.contacts")
        wait_until(lambda: self.consumer.text().count("msg=\"connected\"") > before, 60, "the queue again")
        self.event(stage, "4", 1, name="four")
        self.settled(stage)
        self.assertEqual(sorted(self.cached(stage)), ["1", "2", "3", "4"])
        self.assert_nothing_left(stage)

    def test_while_the_database_is_away_events_wait(self):
        stage, _ = self.stage_with_events()
        stage.execute("RENAME TABLE contact_cache TO contact_cache_away")
        for number in range(300):  # more than are taken in hand
            self.event(stage, str(number), 1, name="x")
        wait_until(lambda: "no database" in self.consumer.text(), 60, "it to notice")
        stage.execute("RENAME TABLE contact_cache_away TO contact_cache")
        self.settled(stage)
        self.assertEqual(len(self.cached(stage)), 300)
        self.assert_nothing_left(stage)

    def full_hand(self, stage, events):
        """The database is away, and it has taken as many of these events as it does."""
        stage.execute("RENAME TABLE contact_cache TO contact_cache_away")
        for number in range(events):
            self.event(stage, f"before{number}", 1, name="x")
        wait_until(lambda: stage.ready(QUEUE) == events - IN_HAND, 60, "it to have its hands full")
        self.consumer.wait_for_log("no database")

    def test_a_new_queue_is_served_when_what_was_in_hand_is_stored(self):
        stage, _ = self.stage_with_events()
        self.full_hand(stage, 300)
        stage.delete_queue(QUEUE)
        wait_until(lambda: "the broker ended our consumer" in self.consumer.text(), 60, "the loss")
        stage.mailflock("init")
        for number in range(300):
            self.event(stage, f"after{number}", 1, name="x")
        stage.execute("RENAME TABLE contact_cache_away TO contact_cache")
        self.settled(stage)
        self.assertTrue(self.consumer.alive, self.consumer.text())
        found = self.cached(stage)
        self.assertEqual(sum(i.startswith("before") for i in found), IN_HAND)
        self.assertEqual(sum(i.startswith("after") for i in found), 300)
        self.assert_nothing_left(stage)

    def test_its_memory_is_bounded_while_the_database_is_away(self):
        with open(binary("mailflock-consumer"), "rb") as program:
            if b"__asan_init" in program.read():
                self.skipTest("a sanitizer needs memory of its own")
        stage, _ = self.stage_with_events()
        stage.execute("RENAME TABLE contact_cache TO contact_cache_away")
        large = "x" * (MIB - 100)
        for number in range(100):
            self.event(stage, str(number), 1, name=large)
        for _ in range(5):
            self.publish(stage, "contact.updated", b"x" * 2 * MIB)
        wait_until(lambda: stage.ready(QUEUE) == 105 - IN_HAND, 60, "it to have its hands full")
        wait_until(lambda: "no database" in self.consumer.text(), 60, "it to notice")
        stage.execute("RENAME TABLE contact_cache_away TO contact_cache")
        self.settled(stage, dead=5)
        self.assertEqual(len(self.cached(stage)), 100)
        self.assertLess(self.consumer.peak_kib(), 90 * 1024)
        self.assert_nothing_left(stage)

    def test_two_of_them_share_the_work(self):
        stage, _ = self.stage_with_events()
        other = self.start(stage)
        for version in range(1, 201):
            self.event(stage, str(version % 10), version, name=f"V{version}")
        want = {str(i % 10): (i, 0, f"V{i}") for i in range(191, 201)}
        wait_until(lambda: self.cached(stage) == want, 60, lambda: str(self.cached(stage)))
        self.assert_nothing_left(stage, self.consumer, other)

    # -- beginning and upkeep

    def test_a_signal_ends_it_while_it_still_connects(self):
        for away in ("database", "broker"):
            with self.subTest(away):
                stage, _ = self.stage_with(0, settings={"contacts": {"exchange": EXCHANGE}})
                stage.write_config(**{away: {**stage.settings[away], "port": 1}})
                process = stage.start_consumer("--contacts", ready=False)
                wait_until(lambda: "will try again" in process.text(), 60, "it to wait")
                self.assertEqual(process.stop(60), 0, process.text())
                self.assertNotIn("gave up", process.text())

    def test_it_needs_an_exchange(self):
        stage, _ = self.stage_with(0)
        done = stage.run_program("mailflock-consumer", "--contacts", code=1)
        self.assertIn("contacts.exchange is not set", done.stderr)

    def test_what_is_older_than_is_kept_is_deleted(self):
        stage, _ = self.stage_with(0, settings={"contacts": {"exchange": EXCHANGE, "keep": "1d"}})
        stage.execute("INSERT INTO contact_cache (cache, id, json, stored_at) VALUES "
                      "('contacts', 'old', '{}', UTC_TIMESTAMP(6) - INTERVAL 25 HOUR), "
                      "('others', 'old', '{}', UTC_TIMESTAMP(6) - INTERVAL 2 DAY), "
                      "('contacts', 'new', '{}', UTC_TIMESTAMP(6) - INTERVAL 23 HOUR)")
        self.start(stage)
        wait_until(lambda: ids_left(stage) == [b"new"], 60, lambda: str(ids_left(stage)))


def ids_left(stage):
    return [i for i, in stage.rows("SELECT id FROM contact_cache")]


if __name__ == "__main__":
    unittest.main(verbosity=2)
