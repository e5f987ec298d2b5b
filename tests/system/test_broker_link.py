"""Connections of common/broker to a real RabbitMQ: refused, lost, stalled, and through TLS."""

import os
import shutil
import socket
import ssl
import subprocess
import tempfile
import threading
import unittest
import urllib.parse
import uuid

from broker_fixture import BROKER, CONFIG, HOST, PASSWORD, PORT, USER
from broker_fixture import BrokerTestCase, Proxy, management, until


class LinkTest(BrokerTestCase):
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
            answer = self.refused("127.0.0.1", port, "/", "a", "b", "connect_ms=3000")
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
        probe = self.declared("heartbeat=5")
        self.assertEqual(probe.event(12000)["kind"], "none")
        self.confirmed(probe)

    def test_silent_link_is_lost_after_two_heartbeats(self):
        proxy = Proxy()
        self.addCleanup(proxy.close)
        probe = self.declared("heartbeat=3", port=proxy.port)
        proxy.stalled.set()
        event = probe.event()
        self.assertEqual(event["kind"], "lost", event.line)
        self.assertIn("heartbeat", event["reason"])

    def test_publisher_that_did_not_listen_notices_the_dead_link(self):
        proxy = Proxy()
        self.addCleanup(proxy.close)
        probe = self.declared("heartbeat=3", port=proxy.port)
        self.confirmed(probe)
        proxy.stalled.set()

        def fails():
            answer = probe("publish", "mailflock", self.lane, "1/1/1", 10)
            return answer["verb"] == "err" and answer

        answer = until("a publish fails", fails)
        self.assertEqual(answer["code"], BROKER, answer.line)
        self.assertIn("nothing heard", answer["text"])

    def test_message_larger_than_all_buffers_does_not_hang_on_a_stalled_link(self):
        proxy = Proxy()
        self.addCleanup(proxy.close)
        probe = self.declared("heartbeat=3", port=proxy.port)
        proxy.stalled.set()
        answer = probe("publish", "mailflock", self.lane, "1/1/1", 16_000_000)
        self.assertEqual((answer["verb"], answer["code"]), ("err", BROKER), answer.line)
        self.assertEqual(probe.event(0)["kind"], "lost")

    def test_publisher_never_hangs_on_a_link_that_takes_nothing(self):
        proxy = Proxy()
        self.addCleanup(proxy.close)
        probe = self.declared("heartbeat=3", port=proxy.port)
        self.confirmed(probe)
        proxy.stalled.set()
        answers = []

        def fails():
            answers.append(probe("publish", "mailflock", self.lane, "1/1/1", 1_000_000))
            return answers[-1]["verb"] == "err" and answers[-1]["code"] == BROKER

        until("a publish fails", fails)

    def test_close_is_bounded_on_a_dead_link(self):
        proxy = Proxy()
        self.addCleanup(proxy.close)
        probe = self.declared(port=proxy.port)
        proxy.stalled.set()
        self.assertLess(probe.ok("close")["ms"], 30000)

    def test_request_is_bounded_on_a_dead_link(self):
        proxy = Proxy()
        self.addCleanup(proxy.close)
        self.declared()
        probe = self.opened("rpc_ms=3000", port=proxy.port)
        proxy.stalled.set()
        answer = probe("counts", self.queue)
        self.assertEqual((answer["verb"], answer["code"]), ("err", BROKER), answer.line)
        self.assertEqual(probe.event(0)["kind"], "lost")
        self.assertLess(probe.ok("close")["ms"], 30000)


class TlsTest(BrokerTestCase):
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
            HOST, PORT, self.vhost.name, USER, PASSWORD, "connect_ms=20000", "tls=-"
        )
        self.assertIn("TLS port", answer["text"])


if __name__ == "__main__":
    unittest.main(verbosity=2)
