"""What the tests of common/broker share: a virtual host of their own on a real RabbitMQ, the program
broker_probe driven line by line, and a proxy that can stall or speak TLS."""

import base64
import contextlib
import json
import os
import select
import socket
import subprocess
import threading
import time
import unittest
import urllib.request
import uuid

import pika

from environment import ENV

HOST = ENV["MAILFLOCK_BROKER_HOST"]
PORT = int(ENV["MAILFLOCK_BROKER_PORT"])
USER = ENV["MAILFLOCK_BROKER_USER"]
PASSWORD = ENV["MAILFLOCK_BROKER_PASSWORD"]
MGMT = ENV["MF_MGMT_URL"]
PROBE = os.path.join(ENV["MF_BUILD"], "tests", "broker_probe")
DEADLINE_S = 60

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
        self.early = []  # deliveries that came while something else was awaited
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
    """Forwards one port of loopback to RabbitMQ, or to another address, through TLS if given a context,
    until stalled."""

    def __init__(self, context=None, to=None):
        self.context, self.to = context, to or (HOST, PORT)
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
            server = socket.create_connection(self.to)
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


class BrokerTestCase(unittest.TestCase):
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
        while event["kind"] == "delivery":  # the broker may deliver it before it confirms it
            probe.early.append(event)
            event = probe.event()
        self.assertEqual(event.get("tag"), tag, event.line)
        return event

    def confirmed(self, *arguments, **more):
        event = self.publish(*arguments, **more)
        self.assertEqual(event["kind"], "confirmed", event.line)

    def delivery(self, probe):
        event = probe.early.pop(0) if probe.early else probe.event()
        self.assertEqual(event["kind"], "delivery", event.line)
        return event

    def waiting_for_counts(self, probe, queue, **want):
        """Counts of a quorum queue follow a moment after the fact."""
        until(
            f"{queue} has {want}",
            lambda: want.items() <= probe.ok("counts", queue).items(),
        )

    def refused(self, *words):
        probe = self.probe()
        answer = probe("open", *words)
        self.assertEqual(answer["verb"], "err", answer.line)
        return answer
