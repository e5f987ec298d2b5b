"""common/broker against a scripted server: frames of both channels in orders that a real RabbitMQ
gives only by chance, and frames that break the protocol."""

import re
import socket
import threading
import time
import unittest

from pika import frame as frames
from pika import spec

from broker_fixture import DEADLINE_S, Probe

CONSUME, PUBLISH = 1, 2


class Server:
    """Answers what common/broker asks while opening and consuming; the rest is the test's."""

    ANSWERS = {
        spec.Connection.StartOk: lambda: spec.Connection.Tune(10, 131072, 20),
        spec.Connection.Open: spec.Connection.OpenOk,
        spec.Connection.Close: spec.Connection.CloseOk,
        spec.Channel.Open: spec.Channel.OpenOk,
        spec.Confirm.Select: spec.Confirm.SelectOk,
        spec.Basic.Qos: spec.Basic.QosOk,
        spec.Basic.Consume: lambda: spec.Basic.ConsumeOk("mailflock"),
    }

    def __init__(self):
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.got = []  # the methods the client sent, with their channel
        self.before_answer = {}  # method class -> bytes to send before its answer
        self.changed = threading.Condition()
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def run(self):
        self.peer, _ = self.listener.accept()
        data = b""
        while len(data) < 8:
            data += self.peer.recv(65536)
        data = data[8:]  # "AMQP" 0 0 9 1
        start = spec.Connection.Start(server_properties={}, mechanisms="PLAIN", locales="en_US")
        self.send(method(0, start))
        while True:
            used, frame = frames.decode_frame(data)
            if frame:
                data = data[used:]
                self.take(frame)
                continue
            try:
                part = self.peer.recv(65536)
            except OSError:
                return
            if not part:
                return
            data += part

    def take(self, frame):
        if not isinstance(frame, frames.Method):
            return
        kind = type(frame.method)
        if kind in self.ANSWERS:
            self.send(self.before_answer.get(kind, b""))
            self.send(method(frame.channel_number, self.ANSWERS[kind]()))
        with self.changed:
            self.got.append((frame.channel_number, frame.method))
            self.changed.notify_all()

    def wait_for(self, kind, count=1):
        def found():
            return [m for _, m in self.got if isinstance(m, kind)]

        with self.changed:
            if not self.changed.wait_for(lambda: len(found()) >= count, DEADLINE_S):
                raise AssertionError(f"the client did not send {kind.__name__}")
        return found()

    def send(self, data):
        if data:
            self.peer.sendall(data)

    def close(self):
        self.listener.close()
        self.peer.close()
        self.thread.join(DEADLINE_S)


def method(channel, what):
    return frames.Method(channel, what).marshal()


def header(channel, size, message_id="", headers=None):
    properties = spec.BasicProperties(message_id=message_id or None, headers=headers)
    return frames.Header(channel, size, properties).marshal()


def body(channel, data):
    return frames.Body(channel, data).marshal()


def deliver(tag):
    return method(CONSUME, spec.Basic.Deliver("mailflock.0.1", tag, False, "mailflock", "bulk"))


def returned(key):
    return method(PUBLISH, spec.Basic.Return(312, "NO_ROUTE", "mailflock", key))


def ack(tag, multiple=False):
    return method(PUBLISH, spec.Basic.Ack(tag, multiple))


def right(size):
    """The body whose bytes the probe takes for right."""
    return bytes(ord("a") + (i // 7 + i) % 26 for i in range(size))


class FramesTest(unittest.TestCase):
    def setUp(self):
        self.server = Server()
        self.addCleanup(self.server.close)
        self.probe = Probe()
        self.stderr = None
        self.addCleanup(self.finish)

    def finish(self):
        if self.stderr is None:
            self.assertEqual(self.probe.close(), "")

    def open(self, *options):
        self.probe.ok("open", "127.0.0.1", self.server.port, "/", "user", "password", *options)

    def consume(self):
        self.open()
        self.probe.ok("consume", "bulk", 4)

    def publish(self, *keys):
        for i, key in enumerate(keys):
            self.probe.ok("publish", "mailflock", key, f"1/{i}/1", 10)
        self.server.wait_for(spec.Basic.Publish, len(keys))

    def events(self, count):
        got = []
        for _ in range(count):
            event = self.probe.event()
            got.append((event["kind"], event.get("tag")))
        return got

    def lost(self, *words):
        event = self.probe.event()
        self.assertEqual(event["kind"], "lost", event.line)
        for word in words:
            self.assertIn(word, event["reason"])

    def test_confirms_and_returns_between_the_frames_of_a_delivery(self):
        self.consume()
        self.publish("bulk", "none", "bulk", "bulk")
        data = right(9)
        self.server.send(
            deliver(1)
            + returned("none")
            + header(CONSUME, 9, "7/7/1", {"x-delivery-count": 3})
            + header(PUBLISH, 10, "1/1/1")
            + body(CONSUME, data[:4])
            + body(PUBLISH, b"0123")
            + method(0, spec.Connection.Blocked("low on memory"))
            + body(PUBLISH, b"456789")
            + ack(3, multiple=True)
            + body(CONSUME, data[4:])
            + ack(4)
            + method(0, spec.Connection.Unblocked())
        )
        self.assertEqual(
            self.events(4), [("blocked", None), ("confirmed", 1), ("refused", 2), ("confirmed", 3)]
        )
        event = self.probe.event()
        self.assertEqual(
            (event["kind"], event["id"], event["count"], event["len"], event["body"]),
            ("delivery", "7/7/1", 3, 9, "right"),
        )
        self.assertEqual(self.events(2), [("confirmed", 4), ("unblocked", None)])

    def test_frames_that_arrive_byte_by_byte(self):
        self.consume()
        self.publish("bulk")
        for byte in deliver(1) + header(CONSUME, 5, "1/1/1") + ack(1) + body(CONSUME, right(5)):
            self.server.send(bytes([byte]))
            self.probe("state")
        self.assertEqual(self.events(2), [("confirmed", 1), ("delivery", 1)])
        self.assertEqual(self.probe.event(0)["kind"], "none")

    def test_delivery_before_the_answer_of_a_request_is_kept(self):
        self.server.before_answer[spec.Basic.Consume] = (
            deliver(1) + header(CONSUME, 3, "1/1/1") + body(CONSUME, right(3))
        )
        self.consume()
        self.assertEqual(self.probe.ok("state")["buffered"], 1)
        event = self.probe.event(0)
        self.assertEqual((event["kind"], event["body"]), ("delivery", "right"), event.line)
        while self.probe.ok("state")["buffered"]:
            self.assertEqual(self.probe.event(0)["kind"], "none")

    def test_confirm_before_the_answer_of_a_request_is_kept(self):
        self.open()
        self.publish("bulk", "bulk")
        self.server.before_answer[spec.Basic.Qos] = ack(2, multiple=True)
        self.probe.ok("consume", "bulk", 4)
        self.assertEqual(self.events(2), [("confirmed", 1), ("confirmed", 2)])
        self.assertEqual(self.probe.ok("state")["unconfirmed"], 0)

    def test_confirms_before_a_loss_are_given_out_first(self):
        self.open()
        self.publish("bulk", "bulk", "bulk")
        close = spec.Connection.Close(320, "CONNECTION_FORCED - going down", 0, 0)
        self.server.send(ack(2, multiple=True) + method(0, close))
        self.assertEqual(self.events(2), [("confirmed", 1), ("confirmed", 2)])
        self.lost("CONNECTION_FORCED - going down", "320")
        self.server.wait_for(spec.Connection.CloseOk)

    def test_closed_channel_is_a_loss_that_passes(self):
        self.consume()
        text = "PRECONDITION_FAILED - delivery acknowledgement on channel 1 timed out"
        self.server.send(method(CONSUME, spec.Channel.Close(406, text, 0, 0)))
        event = self.probe.event()
        self.assertEqual((event["kind"], event["permanent"]), ("lost", 0), event.line)
        self.assertIn(text, event["reason"])
        self.server.wait_for(spec.Channel.CloseOk)

    def test_nack_of_several(self):
        self.open()
        self.publish("bulk", "bulk", "bulk")
        self.server.send(method(PUBLISH, spec.Basic.Nack(2, True, False)) + ack(3))
        self.assertEqual(self.events(3), [("refused", 1), ("refused", 2), ("confirmed", 3)])

    def test_eof_is_a_loss(self):
        self.open()
        self.server.peer.shutdown(socket.SHUT_RDWR)
        self.lost("lost RabbitMQ at 127.0.0.1")

    def test_content_out_of_place_is_a_loss(self):
        cases = {
            "body first": body(CONSUME, b"x"),
            "header first": header(CONSUME, 1),
            "delivery within a delivery": deliver(1) + deliver(2),
            "return within a return": returned("a") + returned("b"),
            "more body than announced": deliver(1) + header(CONSUME, 1) + body(CONSUME, b"xy"),
            "content on channel 0": header(0, 1),
            "a consumer of nobody": method(CONSUME, spec.Basic.Deliver("other", 1, False, "", "")),
        }
        for name, data in cases.items():
            with self.subTest(name):
                server = Server()
                probe = Probe()
                probe.ok("open", "127.0.0.1", server.port, "/", "user", "password")
                probe.ok("consume", "bulk", 4)
                server.send(data)
                event = probe.event()
                self.assertEqual(event["kind"], "lost", event.line)
                self.assertIn("broke the protocol", event["reason"])
                self.assertEqual(probe.close(), "")
                server.close()
        self.open()

    def test_garbage_is_a_loss(self):
        self.open()
        self.server.send(b"\x01\x00\x01\x00\x00\x00\x05hello!")
        self.lost("lost RabbitMQ")

    def wait_past(self, ms):
        """Lets the program wait for events for that long; there is none."""
        self.assertEqual(self.probe.event(ms)["kind"], "none")

    def first_event(self):
        """Events are asked for in short turns, as the programs do."""
        end = time.monotonic() + DEADLINE_S
        while time.monotonic() < end:
            event = self.probe.event(100)
            if event["kind"] != "none":
                return event
        raise AssertionError(f"no event within {DEADLINE_S} s")

    def test_a_confirm_that_does_not_come_is_a_loss(self):
        self.open("confirm_ms=400")
        self.publish("bulk.relay", "bulk.other", "bulk.third")
        self.server.send(ack(1))
        self.assertEqual(self.events(1), [("confirmed", 1)])
        event = self.first_event()
        self.assertEqual((event["kind"], event["permanent"]), ("lost", 0), event.line)
        said = re.search(r"did not confirm a publish to exchange mailflock with key bulk.other for "
                         r"(\d+) ms: check that the queue has a leader", event["reason"])
        self.assertIsNotNone(said, event.line)
        self.assertGreaterEqual(int(said[1]), 400)
        self.probe.ok("close")
        self.server.wait_for(spec.Connection.Close)  # what it held goes back at once

    def test_without_an_open_publish_no_confirm_is_awaited(self):
        self.open("confirm_ms=100")
        self.wait_past(400)
        self.publish("bulk")
        self.server.send(ack(1))
        self.assertEqual(self.events(1), [("confirmed", 1)])
        self.wait_past(400)

    def test_the_time_of_an_alarm_does_not_count(self):
        self.open("confirm_ms=2000")
        self.publish("bulk")
        self.server.send(method(0, spec.Connection.Blocked("low on memory")))
        self.assertEqual(self.events(1), [("blocked", None)])
        self.wait_past(3000)
        self.server.send(method(0, spec.Connection.Unblocked()))
        self.assertEqual(self.events(1), [("unblocked", None)])
        self.assertEqual(self.probe.event(0)["kind"], "none")  # it has all its time again
        event = self.first_event()
        self.assertEqual(event["kind"], "lost", event.line)
        self.assertIn("did not confirm", event["reason"])

    def test_a_confirm_that_is_there_counts_however_late_it_is_read(self):
        self.open("confirm_ms=200")
        self.publish("bulk", "bulk")
        self.server.send(ack(2, multiple=True))
        time.sleep(0.5)  # the program is late, as after a standstill of its host
        self.assertEqual(self.events(2), [("confirmed", 1), ("confirmed", 2)])
        self.wait_past(400)

    def test_confirm_of_nothing_is_only_a_warning(self):
        self.open()
        self.publish("bulk")
        self.server.send(ack(9) + ack(1) + ack(1))
        self.assertEqual(self.events(1), [("confirmed", 1)])
        self.assertEqual(self.probe.event(100)["kind"], "none")
        self.stderr = self.probe.close()
        self.assertEqual(self.stderr.count("confirm for no publish of ours"), 2, self.stderr)


if __name__ == "__main__":
    unittest.main(verbosity=2)
