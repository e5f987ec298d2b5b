"""Topology, publishing and consuming of common/broker against a real RabbitMQ."""

import time
import unittest

from broker_fixture import CONFIG, DEADLINE_S, INPUT, STATE, TIMEOUT, TOO_BIG, BrokerTestCase, management, \
    until


class BrokerTest(BrokerTestCase):
    # Topology

    def test_declaring_twice_is_fine_and_binds_as_designed(self):
        probe = self.declared(delays=(1, 60))
        probe.ok("declare", self.lane, 50, 1, 60)
        arguments = {
            q["name"]: q["arguments"] for q in management("GET", f"/queues/{self.vhost.name}")
        }
        self.assertEqual(
            arguments[self.queue],
            {
                "x-queue-type": "quorum",
                "x-delivery-limit": 50,
                "x-dead-letter-exchange": "mailflock.dead",
                "x-dead-letter-strategy": "at-least-once",
                "x-overflow": "reject-publish",
            },
        )
        self.assertEqual(
            arguments["mailflock.wait.60"],
            {
                "x-queue-type": "quorum",
                "x-message-ttl": 60000,
                "x-dead-letter-exchange": "mailflock",
                "x-dead-letter-strategy": "at-least-once",
                "x-overflow": "reject-publish",
            },
        )
        self.assertEqual(arguments["mailflock.dead"]["x-queue-type"], "quorum")
        bound = {
            (b["source"], b["routing_key"], b["destination"])
            for b in management("GET", f"/bindings/{self.vhost.name}")
            if b["source"].startswith("mailflock.wait.") or (b["source"] and self.lane in b["routing_key"])
        }
        self.assertEqual(
            bound,
            {
                ("mailflock", self.lane, self.queue),
                ("mailflock.wait.1", "", "mailflock.wait.1"),
                ("mailflock.wait.60", "", "mailflock.wait.60"),
                ("mailflock.dead", self.lane, "mailflock.dead"),
            },
        )

    def test_other_arguments_are_a_permanent_error_that_names_the_queue(self):
        probe = self.declared()
        answer = probe("declare", self.lane, 51)
        self.assertEqual((answer["verb"], answer["permanent"]), ("err", 1), answer.line)
        self.assertIn(f"queue {self.queue} exists with other arguments", answer["text"])
        self.assertIn("x-delivery-limit", answer["text"])
        self.confirmed(probe)  # the connection goes on
        probe.ok("declare", self.lane, 50)

    def test_impossible_lanes_and_delays_are_refused(self):
        probe = self.opened()
        for words in (
            ("dead", 50),
            ("wait", 50),
            ("parked.7", 50),
            ("dead.a", 50),
            ("a.", 50),
            (".a", 50),
            ("a.b.c", 50),
            ("Upper", 50),
            ("x" * 65, 50),
            ("fine", 0),
            ("fine", 50, 0),
            ("fine", 50, 2592001),
        ):
            answer = probe("declare", *words)
            self.assertEqual((answer["verb"], answer["code"]), ("err", CONFIG), answer.line)

    def test_counts(self):
        probe = self.declared()
        self.confirmed(probe)
        self.waiting_for_counts(probe, self.queue, ready=1, consumers=0)
        answer = probe("counts", "mailflock.none")
        self.assertEqual((answer["verb"], answer["permanent"]), ("err", 0), answer.line)
        self.assertIn("mailflock.none", answer["text"])
        probe.ok("counts", self.queue)

    def test_owner_reads_until_nothing_is_left_before_it_polls(self):
        probe = self.declared()
        self.assertEqual(probe.ok("state")["buffered"], 1)
        self.assertEqual(probe.event(0)["kind"], "none")
        self.assertEqual(probe.ok("state")["buffered"], 0)
        probe.ok("counts", self.queue)
        self.assertEqual(probe.ok("state")["buffered"], 1)
        self.assertEqual(probe.event(0)["kind"], "none")

    # Publishing

    def test_publish_is_persistent_json_with_id_and_headers(self):
        probe = self.declared()
        probe.ok("publish", "mailflock", self.lane, "12/7/1", 10, "x-reason=poison")
        self.assertEqual(probe.event()["kind"], "confirmed")
        with self.vhost.pika() as channel:
            _, properties, body = channel.basic_get(self.queue, auto_ack=True)
        self.assertEqual(properties.delivery_mode, 2)
        self.assertEqual(properties.content_type, "application/json")
        self.assertEqual(properties.message_id, "12/7/1")
        self.assertEqual(properties.headers["x-reason"], "poison")
        self.assertEqual(len(body), 10)

    def test_unroutable_message_is_refused_and_its_neighbours_are_not(self):
        probe = self.declared()
        tags = {}
        for i, key in enumerate((self.lane, "nowhere", self.lane, "nowhere", self.lane)):
            tags[probe.ok("publish", "mailflock", key, f"1/{i % 2}/1", 300000)["tag"]] = key
        got = {}
        for _ in tags:
            event = probe.event()
            got[event["tag"]] = event["kind"]
            if event["kind"] == "refused":
                self.assertIn("no queue", event["reason"])
        want = {t: "refused" if k == "nowhere" else "confirmed" for t, k in tags.items()}
        self.assertEqual(got, want)
        self.assertEqual(probe.ok("state")["unconfirmed"], 0)

    def test_full_queue_refuses_by_nack(self):
        probe = self.declared()
        name = self.queue + ".full"
        with self.vhost.pika() as channel:
            full = {"x-queue-type": "quorum", "x-max-length": 1, "x-overflow": "reject-publish"}
            channel.queue_declare(name, durable=True, arguments=full)

            def refused():
                event = self.publish(probe, exchange="mailflock", key=name)
                return event["kind"] == "refused" and event["reason"]

            channel.queue_bind(name, "mailflock", name)
            self.assertIn("nack", until("a full queue refuses", refused))

    def test_publish_to_a_missing_exchange_loses_the_connection(self):
        probe = self.declared()
        probe.ok("publish", "no.such.exchange", "x", "1/1/1", 10)
        event = probe.event()
        self.assertEqual((event["kind"], event["permanent"]), ("lost", 0), event.line)
        self.assertIn("no.such.exchange", event["reason"])

    def test_thousand_publishes_through_a_window(self):
        probe = self.declared("window=64")
        got = probe.ok("flood", 1000, 5000, self.lane)
        self.assertEqual((got["confirmed"], got["refused"], got["strange"]), (1000, 0, 0))
        self.assertGreater(got["waits"], 0)
        self.waiting_for_counts(probe, self.queue, ready=1000)

    def test_flood_of_unroutable_messages_is_refused_each(self):
        probe = self.declared("window=64")
        got = probe.ok("flood", 1000, 5000, "nowhere")
        self.assertEqual((got["confirmed"], got["refused"], got["strange"]), (0, 1000, 0))

    def test_full_window_says_not_now(self):
        probe = self.declared("window=2")
        probe.ok("publish", "mailflock", self.lane, "1/1/1", 10)
        probe.ok("publish", "mailflock", self.lane, "1/2/1", 10)
        answer = probe("publish", "mailflock", self.lane, "1/3/1", 10)
        self.assertEqual((answer["verb"], answer["code"]), ("err", TIMEOUT), answer.line)
        self.assertEqual({probe.event()["tag"], probe.event()["tag"]}, {1, 2})
        self.confirmed(probe)

    def test_impossible_messages_are_refused_and_the_connection_goes_on(self):
        probe = self.declared("max_body=1000")
        answer = probe("publish", "mailflock", self.lane, "1/1/1", 1001)
        self.assertEqual(answer["code"], TOO_BIG, answer.line)
        answer = probe("publish", "mailflock", self.lane, "x" * 256, 10)
        self.assertEqual(answer["code"], INPUT, answer.line)
        answer = probe("publish", "mailflock", "k" * 256, "1/1/1", 10)
        self.assertEqual(answer["code"], INPUT, answer.line)
        answer = probe("publish", "mailflock", self.lane, "1/1/1", 10, "n" * 129 + "=v")
        self.assertEqual(answer["code"], INPUT, answer.line)
        self.confirmed(probe, message_id="x" * 255, size=1000)

    # Consuming

    def test_consume_and_ack(self):
        probe = self.declared()
        self.confirmed(probe, size=1234)
        probe.ok("consume", self.lane, 4)
        event = self.delivery(probe)
        self.assertEqual(
            (event["id"], event["key"], event["len"], event["body"], event["redelivered"]),
            ("1/2/3", self.lane, 1234, "right", 0),
        )
        self.waiting_for_counts(probe, self.queue, ready=0, consumers=1)
        probe.ok("ack", event["tag"])
        self.assertEqual(probe.event(0)["kind"], "none")
        probe.ok("close")
        again = self.declared()
        again.ok("consume", self.lane, 4)
        self.confirmed(again, message_id="9/9/9")
        self.assertEqual(self.delivery(again)["id"], "9/9/9", "nothing came before it")

    def test_bodies_of_every_frame_count_arrive_whole(self):
        frame = 131072 - 8
        sizes = (0, 1, frame - 1, frame, frame + 1, 2 * frame, 2 * frame + 1, 3_000_000)
        probe = self.declared()
        for i, size in enumerate(sizes):
            self.confirmed(probe, message_id=f"1/{i}/1", size=size)
        probe.ok("consume", self.lane, 2)
        for i, size in enumerate(sizes):
            event = self.delivery(probe)
            self.assertEqual(
                (event["id"], event["len"], event["body"]), (f"1/{i}/1", size, "right")
            )
            probe.ok("ack", event["tag"])

    def test_deliveries_and_confirms_interleave(self):
        probe = self.declared()
        for i in range(40):
            self.confirmed(probe, message_id=f"1/{i}/1", size=400_000)
        probe.ok("consume", self.lane, 10)
        published, confirmed, refused, delivered = 0, 0, 0, 0
        while delivered < 40 or confirmed + refused < 60:
            if published < 60:
                key = self.lane + "x" if published % 3 == 0 else self.lane
                probe.ok("publish", "mailflock", key, f"2/{published}/1", 200_000)
                published += 1
            event = probe.event(0 if published < 60 else DEADLINE_S * 900)
            confirmed += event["kind"] == "confirmed"
            refused += event["kind"] == "refused"
            if event["kind"] == "delivery":
                self.assertEqual(event["body"], "right", event.line)
                delivered += 1
                probe.ok("ack", event["tag"])
        self.assertEqual((confirmed, refused), (40, 20))

    def test_unacknowledged_message_comes_again_with_its_count(self):
        probe = self.declared()
        self.confirmed(probe)
        probe.ok("consume", self.lane, 4)
        first = self.delivery(probe)
        self.assertEqual(first["redelivered"], 0)
        self.assertLessEqual(first["count"], 0)
        probe.ok("close")
        again = self.declared()
        again.ok("consume", self.lane, 4)
        event = self.delivery(again)
        self.assertEqual((event["id"], event["redelivered"], event["count"]), ("1/2/3", 1, 1))
        again.ok("ack", event["tag"])

    def test_rejected_message_is_a_dead_letter_that_keeps_its_lane(self):
        probe = self.declared()
        self.confirmed(probe, message_id="9/9/9")
        probe.ok("consume", self.lane, 4)
        probe.ok("reject", self.delivery(probe)["tag"])
        dead = self.opened()
        dead.ok("consume", "dead", 100)
        event = self.delivery(dead)
        while event["key"] != self.lane:  # another test's; the queue is one for all lanes
            event = self.delivery(dead)
        self.assertEqual(event["id"], "9/9/9")
        self.assertEqual(dead.ok("header", "x-first-death-queue")["value"], self.queue)
        self.assertEqual(dead.ok("header", "x-first-death-reason")["value"], "rejected")
        self.assertEqual(dead.ok("header", "x-none")["found"], 0)
        dead.ok("ack", event["tag"])

    def test_delay_queue_gives_the_message_back_after_its_time(self):
        probe = self.declared(delays=(1,))
        probe.ok("consume", self.lane, 4)
        start = time.monotonic()
        self.confirmed(probe, exchange="mailflock.wait.1", size=200_000)
        event = self.delivery(probe)
        self.assertGreater(time.monotonic() - start, 0.9)
        self.assertEqual((event["id"], event["key"], event["body"]), ("1/2/3", self.lane, "right"))
        probe.ok("ack", event["tag"])

    def test_prefetch_bounds_what_is_in_hand(self):
        probe = self.declared()
        for i in range(5):
            self.confirmed(probe, message_id=f"1/{i}/1")
        probe.ok("consume", self.lane, 2)
        first = self.delivery(probe)
        self.delivery(probe)
        # Until the broker has taken one more, the third would have come.
        self.confirmed(probe, message_id="1/5/1")
        self.assertEqual((probe.early, probe.event(0)["kind"]), ([], "none"))
        probe.ok("ack", first["tag"])
        self.assertEqual(self.delivery(probe)["id"], "1/2/1")

    def test_stopped_consumer_gets_nothing_more_and_can_start_again(self):
        probe = self.declared()
        probe.ok("consume", self.lane, 1)
        self.confirmed(probe, message_id="1/1/1")
        event = self.delivery(probe)
        probe.ok("stop")
        probe.ok("stop")
        probe.ok("ack", event["tag"])
        for number in (2, 3):  # until it has taken the third, the second would have come
            self.confirmed(probe, message_id=f"1/{number}/1")
        self.assertEqual((probe.early, probe.event(0)["kind"]), ([], "none"))
        probe.ok("consume", self.lane, 1)
        self.assertEqual(self.delivery(probe)["id"], "1/2/1")

    def test_consumers_of_one_connection_have_a_prefetch_each(self):
        probe = self.declared()
        other = self.lane + ".slow"
        probe.ok("declare", other, 50)
        for i in range(3):
            self.confirmed(probe, message_id=f"1/{i}/1")
            self.confirmed(probe, key=other, message_id=f"2/{i}/1")
        probe.ok("consume", self.lane, 1, 0)
        probe.ok("consume", other, 2, 1)
        events = [self.delivery(probe) for _ in range(3)]
        self.assertEqual(sorted((e["consumer"], e["id"]) for e in events),
                         [(0, "1/0/1"), (1, "2/0/1"), (1, "2/1/1")])
        # Full on one side holds up nothing on the other.
        probe.ok("ack", next(e["tag"] for e in events if e["consumer"] == 0))
        self.assertEqual(self.delivery(probe)["id"], "1/1/1")
        # One begins anew with another prefetch; what it holds does not count, and the other goes on.
        probe.ok("stop", 1)
        self.assertEqual(probe("consume", self.lane, 1, 0)["code"], STATE)
        probe.ok("consume", other, 1, 1)
        event = self.delivery(probe)
        self.assertEqual((event["consumer"], event["id"]), (1, "2/2/1"))

    def test_one_consumer_of_several_is_cancelled(self):
        probe = self.declared()
        other = self.lane + ".gone"
        probe.ok("declare", other, 50)
        probe.ok("consume", self.lane, 1, 0)
        probe.ok("consume", other, 1, 1)
        with self.vhost.pika() as channel:
            channel.queue_delete("mailflock." + other)
        event = probe.event()
        self.assertEqual((event["kind"], event["consumer"]), ("cancelled", 1), event.line)
        self.confirmed(probe)
        self.assertEqual(self.delivery(probe)["consumer"], 0)

    def test_body_past_the_maximum_is_announced_without_it(self):
        writer = self.declared()
        self.confirmed(writer, message_id="big", size=1_000_001)
        self.confirmed(writer, message_id="fits", size=1_000_000)
        probe = self.opened("max_body=1000000")
        probe.ok("consume", self.lane, 4)
        event = self.delivery(probe)
        self.assertEqual(
            (event["id"], event["len"], event["body"]), ("big", 1_000_001, "none"), event.line
        )
        probe.ok("reject", event["tag"])
        event = self.delivery(probe)
        self.assertEqual((event["id"], event["body"]), ("fits", "right"))
        probe.ok("ack", event["tag"])

    def test_deleted_queue_cancels_its_consumer(self):
        probe = self.declared()
        probe.ok("consume", self.lane, 4)
        self.waiting_for_counts(probe, self.queue, consumers=1)
        with self.vhost.pika() as channel:
            channel.queue_delete(self.queue)
        self.assertEqual(probe.event()["kind"], "cancelled")
        probe.ok("declare", self.lane, 50)
        probe.ok("consume", self.lane, 4)
        self.confirmed(probe)

    def test_consuming_a_missing_queue_says_so(self):
        probe = self.opened()
        answer = probe("consume", self.lane, 4)
        self.assertEqual((answer["verb"], answer["permanent"]), ("err", 0), answer.line)
        self.assertIn(self.queue, answer["text"])
        self.assertEqual(probe.event(0)["kind"], "lost")


if __name__ == "__main__":
    unittest.main(verbosity=2)
