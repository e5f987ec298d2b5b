"""common/broker against a real RabbitMQ, in a virtual host of its own. Proxies in between stand for
a network that stalls, and for TLS."""

import base64
import contextlib
import json
import os
import select
import shutil
import socket
import ssl
import subprocess
import tempfile
import threading
import time
import unittest
import urllib.error
import urllib.parse
import urllib.request
import uuid

import pika

HOST = os.environ["MAILFLOCK_BROKER_HOST"]
PORT = int(os.environ["MAILFLOCK_BROKER_PORT"])
USER = os.environ["MAILFLOCK_BROKER_USER"]
PASSWORD = os.environ["MAILFLOCK_BROKER_PASSWORD"]
MGMT = os.environ["MF_MGMT_URL"]
PROBE = os.path.join(os.environ["MF_BUILD"], "tests", "broker_probe")
DEADLINE_S = 30

OK, CONFIG, INPUT, TOO_BIG, BROKER, TIMEOUT, STATE = 0, 1, 2, 3, 4, 7, 8  # enum err_code


def management(method, path, body=None):
    request = urllib.request.Request(MGMT + "/api" + path, method=method)
    token = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
    request.add_header("Authorization", "Basic " + token)
    request.add_header("Content-Type", "application/json")
    data = None if body is None else json.dumps(body).encode()
    with urllib.request.urlopen(request, data, timeout=DEADLINE_S) as response:
        text = response.read()
    return json.loads(text) if text else None


def until(claim, find):
    """The first true answer of find()."""
    end = time.monotonic() + DEADLINE_S
    while time.monotonic() < end:
        found = find()
        if found:
            return found
        time.sleep(0.05)
    raise AssertionError(f"not within {DEADLINE_S} s: {claim}")


class Vhost:
    def __init__(self):
        self.name = "test-broker-" + uuid.uuid4().hex[:8]
        management("PUT", f"/vhosts/{self.name}", {})
        everything = {"configure": ".*", "write": ".*", "read": ".*"}
        management("PUT", f"/permissions/{self.name}/{USER}", everything)

    def close(self):
        management("DELETE", f"/vhosts/{self.name}")

    @contextlib.contextmanager
    def pika(self):
        parameters = pika.ConnectionParameters(
            HOST, PORT, self.name, pika.PlainCredentials(USER, PASSWORD)
        )
        connection = pika.BlockingConnection(parameters)
        try:
            yield connection.channel()
        finally:
            connection.close()


class Answer(dict):
    """The words of an answer line: "verb k=v k=v", the last value may hold blanks."""

    def __init__(self, line):
        self.line = line.rstrip("\n")
        verb, _, rest = self.line.partition(" ")
        super().__init__(verb=verb)
        while rest:
            key, _, rest = rest.partition("=")
            if key in ("text", "reason", "value"):
                self[key], rest = rest, ""  # to the end of the line
            else:
                value, _, rest = rest.partition(" ")
                self[key] = int(value) if value.lstrip("-").isdigit() else value


class Probe:
    def __init__(self):
        self.process = subprocess.Popen(
            [PROBE], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, bufsize=0
        )

    def __call__(self, *words):
        self.process.stdin.write((" ".join(str(w) for w in words) + "\n").encode())
        line = b""
        while not line.endswith(b"\n"):
            ready, _, _ = select.select([self.process.stdout], [], [], DEADLINE_S)
            if not ready:
                raise AssertionError(f"no answer to {words} within {DEADLINE_S} s")
            part = os.read(self.process.stdout.fileno(), 65536)
            if not part:
                raise AssertionError(f"died at {words}: {self.process.stderr.read().decode()}")
            line += part
        return Answer(line.decode(errors="replace"))

    def ok(self, *words):
        answer = self(*words)
        if answer["verb"] != "ok":
            raise AssertionError(f"{words}: {answer.line}")
        return answer

    def event(self, timeout_ms=DEADLINE_S * 900):
        return self("next", timeout_ms)

    def close(self):
        """Ends the probe and returns what it wrote to stderr: warnings, sanitizer reports."""
        self.process.stdin.close()
        try:
            code = self.process.wait(DEADLINE_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            code = self.process.wait()
        text = self.process.stderr.read().decode()
        self.process.stdout.close()
        self.process.stderr.close()
        return text if code == 0 else f"exit {code}: {text}"


class Proxy:
    """Forwards one port of loopback to RabbitMQ, through TLS if given a context, until stalled."""

    def __init__(self, context=None):
        self.context = context
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.stalled = threading.Event()
        self.sockets = [self.listener]
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        with contextlib.suppress(OSError):
            while True:
                client, _ = self.listener.accept()
                threading.Thread(target=self.serve, args=(client,), daemon=True).start()

    def serve(self, client):
        with contextlib.suppress(OSError):
            self.sockets.append(client)
            if self.context:
                client = self.context.wrap_socket(client, server_side=True)
                self.sockets.append(client)
            server = socket.create_connection((HOST, PORT))
            self.sockets.append(server)
            self.forward(client, server)

    def forward(self, client, server):
        """One thread for both ways: an SSL socket is not to be used by two."""
        while True:
            if self.stalled.is_set():
                return
            if not (self.context and client.pending()):
                ready, _, _ = select.select([client, server], [], [], 0.05)
            else:
                ready = [client]
            for source in ready:
                data = source.recv(65536)
                other = server if source is client else client
                if not data:
                    other.shutdown(socket.SHUT_WR)
                    return
                other.sendall(data)

    def close(self):
        for one in self.sockets:
            one.close()


class BrokerTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.vhost = Vhost()
        cls.addClassCleanup(cls.vhost.close)

    def setUp(self):
        self.warnings = []  # what a test expects on stderr
        self.lane = "l" + uuid.uuid4().hex[:8]
        self.queue = "mailflock." + self.lane

    def probe(self):
        probe = Probe()

        def finish():
            text = probe.close()
            if not self.warnings:
                self.assertEqual(text, "")

        self.addCleanup(finish)
        return probe

    def opened(self, *options, port=PORT):
        probe = self.probe()
        probe.ok("open", HOST, port, self.vhost.name, USER, PASSWORD, *options)
        return probe

    def declared(self, *options, delays=(), limit=50, **more):
        probe = self.opened(*options, **more)
        probe.ok("declare", self.lane, limit, *delays)
        return probe

    def publish(self, probe, message_id="1/2/3", size=100, key=None, exchange="mailflock"):
        tag = probe.ok("publish", exchange, key or self.lane, message_id, size)["tag"]
        event = probe.event()
        self.assertEqual(event.get("tag"), tag, event.line)
        return event

    def confirmed(self, *arguments, **more):
        event = self.publish(*arguments, **more)
        self.assertEqual(event["kind"], "confirmed", event.line)

    def delivery(self, probe):
        event = probe.event()
        self.assertEqual(event["kind"], "delivery", event.line)
        return event

    def waiting_for_counts(self, probe, queue, **want):
        """Counts of a quorum queue follow a moment after the fact."""
        until(
            f"{queue} has {want}",
            lambda: want.items() <= probe.ok("counts", queue).items(),
        )

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
            arguments[self.queue + ".wait.60"],
            {
                "x-queue-type": "quorum",
                "x-message-ttl": 60000,
                "x-dead-letter-exchange": "mailflock",
                "x-dead-letter-routing-key": self.lane,
                "x-dead-letter-strategy": "at-least-once",
                "x-overflow": "reject-publish",
            },
        )
        self.assertEqual(arguments["mailflock.dead"]["x-queue-type"], "quorum")
        bound = {
            (b["source"], b["routing_key"], b["destination"])
            for b in management("GET", f"/bindings/{self.vhost.name}")
            if b["source"] and self.lane in b["routing_key"]
        }
        self.assertEqual(
            bound,
            {
                ("mailflock", self.lane, self.queue),
                ("mailflock", self.lane + ".wait.1", self.queue + ".wait.1"),
                ("mailflock", self.lane + ".wait.60", self.queue + ".wait.60"),
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
            ("a.b", 50),
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
        self.assertEqual(again.event(300)["kind"], "none")

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
        self.confirmed(probe, key=self.lane + ".wait.1", size=200_000)
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
        self.assertEqual(probe.event(200)["kind"], "none")
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
        self.confirmed(probe, message_id="1/2/1")
        self.assertEqual(probe.event(200)["kind"], "none")
        probe.ok("consume", self.lane, 1)
        self.assertEqual(self.delivery(probe)["id"], "1/2/1")

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

    # Opening and losing

    def refused(self, *words):
        probe = self.probe()
        answer = probe("open", *words)
        self.assertEqual(answer["verb"], "err", answer.line)
        return answer

    def test_wrong_password(self):
        answer = self.refused(HOST, PORT, self.vhost.name, USER, "not-it")
        self.assertEqual(answer["permanent"], 1)
        self.assertIn(f"{HOST}:{PORT} refused the login of user '{USER}'", answer["text"])
        self.assertIn("ACCESS_REFUSED", answer["text"])
        self.assertNotIn("not-it", answer["text"])

    def test_unknown_vhost(self):
        answer = self.refused(HOST, PORT, "no-such-vhost", USER, PASSWORD)
        self.assertEqual(answer["permanent"], 1)
        self.assertIn("refused virtual host 'no-such-vhost'", answer["text"])
        self.assertIn("not found", answer["text"])

    def test_refused_port(self):
        with socket.create_server(("127.0.0.1", 0)) as listener:
            port = listener.getsockname()[1]
        answer = self.refused("127.0.0.1", port, "/", "a", "b")
        self.assertEqual(answer["permanent"], 0)
        self.assertIn(f"127.0.0.1:{port} refused", answer["text"])

    def test_unknown_host(self):
        answer = self.refused("no-such-host.invalid", 5672, "/", "a", "b")
        self.assertEqual(answer["permanent"], 0)
        self.assertIn("host name", answer["text"])

    def test_silent_peer_ends_in_a_timeout(self):
        with socket.create_server(("127.0.0.1", 0)) as listener:
            port = listener.getsockname()[1]
            start = time.monotonic()
            answer = self.refused("127.0.0.1", port, "/", "a", "b", "connect_ms=300")
            self.assertLess(time.monotonic() - start, 5)
        self.assertEqual(answer["permanent"], 0)
        self.assertIn("did not answer the login", answer["text"])

    def test_peer_that_speaks_no_amqp(self):
        def greet():
            peer, _ = listener.accept()
            with peer:
                peer.sendall(b"220 mail.example ESMTP at your service\r\n" * 100)
                peer.recv(100)

        with socket.create_server(("127.0.0.1", 0)) as listener:
            thread = threading.Thread(target=greet)
            thread.start()
            answer = self.refused("127.0.0.1", listener.getsockname()[1], "/", "a", "b")
            thread.join()
        self.assertIn("is this its AMQP port", answer["text"])

    def test_connection_closed_by_an_operator_is_lost(self):
        name = "probe-" + uuid.uuid4().hex[:8]
        probe = self.declared("name=" + name)
        probe.ok("consume", self.lane, 4)
        self.confirmed(probe)

        def find():
            for connection in management("GET", "/connections"):
                if connection.get("client_properties", {}).get("connection_name") == name:
                    return connection
            return None

        connection = until("the management API lists the connection", find)
        self.assertEqual(connection["client_properties"]["product"], "mailflock")
        management("DELETE", "/connections/" + urllib.parse.quote(connection["name"]))
        event = self.delivery(probe)
        lost = probe.event()
        self.assertEqual((lost["kind"], lost["permanent"]), ("lost", 0), lost.line)
        self.assertIn("CONNECTION_FORCED", lost["reason"])
        self.assertEqual(probe("ack", event["tag"])["verb"], "err")
        self.assertEqual(probe("publish", "mailflock", self.lane, "1/1/1", 10)["verb"], "err")
        self.assertEqual(probe.event(0)["kind"], "lost")
        again = self.declared()
        again.ok("consume", self.lane, 4)
        self.assertEqual(self.delivery(again)["redelivered"], 1)

    def test_ack_of_an_unknown_tag_loses_the_connection_for_now(self):
        probe = self.declared()
        probe.ok("ack", 77)
        event = probe.event()
        self.assertEqual((event["kind"], event["permanent"]), ("lost", 0), event.line)
        self.assertIn("unknown delivery tag", event["reason"])

    def test_idle_connection_lives_by_heartbeats(self):
        probe = self.declared("heartbeat=1")
        self.assertEqual(probe.event(5000)["kind"], "none")
        self.confirmed(probe)

    def test_silent_link_is_lost_after_two_heartbeats(self):
        proxy = Proxy()
        self.addCleanup(proxy.close)
        probe = self.declared("heartbeat=1", port=proxy.port)
        proxy.stalled.set()
        start = time.monotonic()
        event = probe.event()
        self.assertEqual(event["kind"], "lost", event.line)
        self.assertIn("heartbeat", event["reason"])
        self.assertLess(time.monotonic() - start, 10)

    def test_publisher_that_did_not_listen_notices_the_dead_link(self):
        proxy = Proxy()
        self.addCleanup(proxy.close)
        probe = self.declared("heartbeat=1", port=proxy.port)
        self.confirmed(probe)
        proxy.stalled.set()

        def fails():
            answer = probe("publish", "mailflock", self.lane, "1/1/1", 10)
            return answer["verb"] == "err" and answer

        answer = until("a publish fails", fails)
        self.assertEqual(answer["code"], BROKER, answer.line)
        self.assertIn("nothing heard", answer["text"])

    def test_publisher_never_hangs_on_a_link_that_takes_nothing(self):
        proxy = Proxy()
        self.addCleanup(proxy.close)
        probe = self.declared("heartbeat=1", port=proxy.port)
        self.confirmed(probe)
        proxy.stalled.set()
        answers = []

        def fails():
            start = time.monotonic()
            answers.append(probe("publish", "mailflock", self.lane, "1/1/1", 1_000_000))
            self.assertLess(time.monotonic() - start, 10)
            return answers[-1]["verb"] == "err" and answers[-1]["code"] == BROKER

        until("a publish fails", fails)

    def test_close_is_bounded_on_a_dead_link(self):
        proxy = Proxy()
        self.addCleanup(proxy.close)
        probe = self.declared(port=proxy.port)
        proxy.stalled.set()
        self.assertLess(probe.ok("close")["ms"], 5000)

    def test_request_is_bounded_on_a_dead_link(self):
        proxy = Proxy()
        self.addCleanup(proxy.close)
        probe = self.declared("rpc_ms=300", port=proxy.port)
        proxy.stalled.set()
        answer = probe("counts", self.queue)
        self.assertEqual((answer["verb"], answer["code"]), ("err", BROKER), answer.line)
        self.assertEqual(probe.event(0)["kind"], "lost")
        self.assertLess(probe.ok("close")["ms"], 1000)


class TlsTest(BrokerTest):
    """Only what differs through TLS; the TLS is the proxy's."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.directory = tempfile.mkdtemp(prefix="mailflock-broker-")
        cls.addClassCleanup(shutil.rmtree, cls.directory)
        cls.good = cls.certificate("good", "DNS:localhost,IP:127.0.0.1")
        cls.other = cls.certificate("other", "DNS:elsewhere.example")

    @classmethod
    def certificate(cls, name, names):
        path = os.path.join(cls.directory, name)
        subprocess.run(
            "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2".split()
            + ["-subj", "/CN=" + names.partition(",")[0].partition(":")[2]]
            + ["-addext", "subjectAltName=" + names, "-keyout", path + ".key", "-out", path],
            check=True,
            capture_output=True,
        )
        return path

    def tls_proxy(self, certificate):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate, certificate + ".key")
        proxy = Proxy(context)
        self.addCleanup(proxy.close)
        return proxy

    def tls_refused(self, served, trusted):
        port = self.tls_proxy(served).port
        return self.refused(
            "localhost", port, self.vhost.name, USER, PASSWORD, "tls=" + trusted
        )

    def test_messages_through_tls(self):
        proxy = self.tls_proxy(self.good)
        probe = self.probe()
        probe.ok(
            *("open", "localhost", proxy.port, self.vhost.name, USER, PASSWORD),
            "tls=" + self.good,
        )
        probe.ok("declare", self.lane, 50)
        probe.ok("consume", self.lane, 4)
        for i in range(5):
            probe.ok("publish", "mailflock", self.lane, f"1/{i}/1", 300_000)
        got = [probe.event() for _ in range(9)]
        self.assertEqual(sum(e["kind"] == "confirmed" for e in got), 5)
        deliveries = [e for e in got if e["kind"] == "delivery"]
        self.assertEqual([e["body"] for e in deliveries], ["right"] * 4)
        for event in deliveries:
            probe.ok("ack", event["tag"])
        self.assertEqual(self.delivery(probe)["id"], "1/4/1")

    def test_unknown_authority(self):
        answer = self.tls_refused(self.good, self.other)
        self.assertEqual(answer["verb"], "err", answer.line)
        self.assertEqual(answer["permanent"], 1, answer.line)

    def test_certificate_for_another_name(self):
        answer = self.tls_refused(self.other, self.other)
        self.assertEqual(answer["permanent"], 1, answer.line)
        self.assertIn("another name", answer["text"])

    def test_unverified_when_told_so(self):
        probe = self.probe()
        port = self.tls_proxy(self.other).port
        probe.ok("open", "localhost", port, self.vhost.name, USER, PASSWORD, "tls=-")

    def test_missing_ca_file(self):
        answer = self.tls_refused(self.good, "/no/such/file")
        self.assertEqual((answer["code"], answer["permanent"]), (CONFIG, 1), answer.line)
        self.assertIn("/no/such/file", answer["text"])

    def test_plain_port(self):
        answer = self.refused(
            HOST, PORT, self.vhost.name, USER, PASSWORD, "connect_ms=2000", "tls=-"
        )
        self.assertIn("TLS port", answer["text"])


# The inherited tests ran already.
for _name in dir(BrokerTest):
    if _name.startswith("test_") and _name not in vars(TlsTest):
        setattr(TlsTest, _name, None)


if __name__ == "__main__":
    unittest.main(verbosity=2)
