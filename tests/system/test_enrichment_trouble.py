"""Enrichment when the service is busy, down, or answers what cannot be used."""

import email.utils
import os
import socket
import ssl
import threading
import time
import unittest

from contact_fixture import AT, SQL, ContactTestCase, messages
from contact_service import (ContactService, contacts, cut, half, html, large, redirect, silence, status,
                             text)
from harness import wait_until
from starttls_server import make_certificates

PLENTY = ["50ms"] * 5 + ["200ms"]  # of patience, for a service that comes back


class BusyTest(ContactTestCase):
    def assert_obeyed(self, service, fault, seconds):
        """The call after the first came no earlier than it was told."""
        self.assertGreaterEqual(service.gaps()[0], seconds - 0.1, fault)

    def test_retry_after_is_obeyed(self):
        for code in (429, 503):
            with self.subTest(code):
                stage, service = self.stage_with(250, {"retry": ["10ms", "5s"]})
                service.plan = [status(code, retry_after=2)]
                out = stage.run_program("mailflock-producer", "run", "welcome", "--at", AT)
                self.assertEqual([len(c.ids) for c in service.calls], [250, 250])
                self.assert_obeyed(service, code, 2)
                self.assertIn(f"it answers {code}", out.stderr)
                self.assertIn("it answers again", out.stderr)
                self.assert_enriched(service, messages(stage), 250)

    def test_retry_after_can_be_a_date(self):
        stage, service = self.stage_with(10, {"retry": ["10ms", "10s"]})
        def busy(handler, call):
            moment = int(time.time()) + 3  # of the answer, however late the call came
            status(503, retry_after=email.utils.formatdate(moment, usegmt=True))(handler, call)

        service.plan = [busy]
        self.run_at(stage)
        self.assertEqual(len(service.calls), 2)
        # The date has whole seconds, and what is left of it is counted in whole seconds too.
        self.assertGreaterEqual(service.gaps()[0], 1)
        self.assert_enriched(service, messages(stage), 10)

    def test_retry_after_holds_for_every_producer(self):
        stage, service = self.stage_with(10, {"retry": ["10ms"]})
        service.plan = [status(429, retry_after=600)]
        error = self.run_at(stage, code=1)
        self.assertIn("it answers 429", error)
        self.assertIn("waits no longer", error)
        error = self.due(stage, code=1)
        self.assertIn("it asked not to be called for", error)
        self.assertEqual(len(service.calls), 1)
        held_s = float(stage.value("SELECT held_us / 1000000 - UNIX_TIMESTAMP(NOW(6)) FROM service_pace"))
        self.assertTrue(0 < held_s <= 600, held_s)
        stage.execute("UPDATE service_pace SET held_us=0")  # the moment has come
        self.assertIn("published=1", self.due(stage))
        self.assertEqual(len(service.calls), 2)

    def test_a_moment_that_is_over_is_not_used(self):
        stage, service = self.stage_with(10, {"delay": "1s", "retry": ["10ms"]})
        # Other producers have reserved the next seconds.
        stage.execute("INSERT INTO service_pace (origin, next_us) VALUES (%s, "
                      "(UNIX_TIMESTAMP(NOW(6)) + 15) * 1000000)", service.url[:service.url.index("/", 8)])
        before = stage.value("SELECT next_us FROM service_pace")
        producer = stage.start_producer("run", "welcome", "--at", AT)
        wait_until(lambda: stage.value("SELECT next_us FROM service_pace") > before, 60, "its reservation")
        producer.freeze()
        self.assertEqual(service.calls, [])
        # By its own clock, too, which it read a little later.
        wait_until(lambda: stage.value("SELECT next_us + 1000000 < UNIX_TIMESTAMP(NOW(6)) * 1000000 FROM "
                                       "service_pace"), 60, "its moment to be over")
        # Somebody else has called meanwhile, and was told to leave the service alone.
        stage.execute("UPDATE service_pace SET held_us=(UNIX_TIMESTAMP(NOW(6)) + 3600) * 1000000")
        producer.thaw()
        self.assertEqual(producer.wait(), 1, producer.text())
        self.assertIn("it asked not to be called for", producer.text())
        self.assertEqual(service.calls, [])

    def test_a_longer_wait_than_retry_after_counts(self):
        stage, service = self.stage_with(10, {"retry": ["2s"]})
        service.plan = [status(503, retry_after=1)]
        self.run_at(stage)
        self.assert_obeyed(service, 503, 2)

    def test_while_it_is_busy_nobody_else_calls(self):
        """One of three calls is told to wait while the others are under way; these are answered when
        the producer has heard it."""
        stage, service = self.stage_with(600, {"batch": 100, "concurrency": 3, "retry": ["1s"]})
        heard = threading.Event()

        def answer_then(handler, call):
            heard.wait(60)
            handler.answer(200, service.body_for(call.ids), "application/json")

        def busy(handler, call):
            wait_until(lambda: len(service.calls) == 3, 60, "three calls")
            status(503)(handler, call)

        service.plan = [answer_then, busy, answer_then]
        producer = stage.start_producer("run", "welcome", "--at", AT)
        wait_until(lambda: "waiting for the contact service" in producer.text(), 60, "it to be heard")
        heard.set()
        self.assertEqual(producer.wait(60), 0, producer.text())
        self.assertEqual(len(service.calls), 7)
        self.assertGreaterEqual(service.calls[3].at - service.calls[1].at, 1)
        self.assert_enriched(service, messages(stage), 600)


class DownTest(ContactTestCase):
    def test_a_run_waits_for_a_service_that_is_down(self):
        stage, service = self.stage_with(1000, {"batch": 100, "retry": PLENTY})
        service.stop()
        # Scheduled now: start_within has just begun.
        producer = stage.start_producer("run", "welcome")
        wait_until(lambda: producer.text().count("waiting for the contact") > len(PLENTY) + 1, 60, "waits")
        self.assertEqual(stage.value("SELECT COUNT(*) FROM chunk"), 0)
        service.start()
        self.assertEqual(producer.wait(60), 0, producer.text())
        found = messages(stage)
        self.assert_whole(stage, 1000, found)
        self.assert_enriched(service, found, 1000)

    def test_it_goes_down_in_the_middle_and_comes_back(self):
        stage, service = self.stage_with(2000, {"batch": 100, "concurrency": 2, "retry": PLENTY})
        down = threading.Event()

        def never(handler, _call):
            down.wait(60)
            handler.close_connection = True

        service.plan = [None] * 6 + [never, never]
        producer = stage.start_producer("run", "welcome")
        wait_until(lambda: len(service.calls) >= 7, 60, "some calls")
        service.stop()
        down.set()
        wait_until(lambda: producer.text().count("waiting for the contact service") >= 2, 60, "waits")
        service.start()
        self.assertEqual(producer.wait(60), 0, producer.text())
        found = messages(stage)
        self.assert_whole(stage, 2000, found)
        self.assert_enriched(service, found, 2000)

    def test_after_its_time_the_run_stays_open_and_due_goes_on(self):
        stage, service = self.stage_with(1000, {"batch": 100, "retry": ["50ms", "100ms"]})
        service.plan = [None] * 4 + [status(500)] * 100
        producer = stage.start_producer("run", "welcome", "--at", AT)
        self.assertEqual(producer.wait(60), 1)
        self.assertIn("it answers 500", producer.text())
        self.assertIn(f'go_on="mailflock-producer run welcome --at {AT}"', producer.text())
        self.assertEqual(stage.one("SELECT publishing, control FROM run"), ("open", "go"))
        first = messages(stage)
        # Three tries, each as long after the one before as the campaign says.
        self.assertEqual(len(service.calls), 4 + 3)
        self.assertGreaterEqual(service.gaps()[4], 0.04)
        self.assertGreaterEqual(service.gaps()[5], 0.09)
        service.stop()
        error = self.due(stage, code=1)
        self.assertIn(f"the contact service http://127.0.0.1:{service.port}", error)
        self.assertRegex(error, "(?i)connect")
        service.plan = []
        service.start()
        self.assertIn("run=1 campaign=welcome", self.due(stage))
        found = first + messages(stage)
        self.assert_whole(stage, 1000, found)
        self.assert_enriched(service, found, 1000)

    def test_killed_while_it_waits_nobody_is_lost_or_asked_twice_for_nothing(self):
        stage, service = self.stage_with(1000, {"batch": 100, "retry": PLENTY})
        service.plan = [None] * 5 + [silence]
        producer = stage.start_producer("run", "welcome")
        wait_until(lambda: len(service.calls) == 6 and
                   stage.value("SELECT COUNT(*) FROM chunk WHERE state='queued'") >= 3, 60, "five answers")
        producer.kill()
        queued = stage.value("SELECT SUM(recipients) FROM chunk WHERE state='queued'")
        calls = len(service.calls)
        wait_until(lambda: "run=1" in self.due(stage, code=None), 60, "the lock")
        found = messages(stage)
        self.assert_whole(stage, 1000, found)
        self.assertEqual(sum(len(c.ids) for c in service.calls[calls:]), 1000 - queued)

    def test_silence_and_broken_answers_are_waited_out(self):
        for name, fault in (("silence", silence), ("a cut connection", cut)):
            with self.subTest(name):
                # The time is that of the good answer too, which may need another try on a busy machine.
                timeout = {"timeout": "500ms"} if fault is silence else {}
                stage, service = self.stage_with(100, {"retry": ["100ms"] * 8, **timeout})
                service.plan = [fault]
                out = stage.run_program("mailflock-producer", "run", "welcome", "--at", AT)
                self.assertIn("no whole answer", out.stderr)
                self.assertGreaterEqual(len(service.calls), 2)
                self.assert_enriched(service, messages(stage), 100)


class BadAnswerTest(ContactTestCase):
    def test_what_cannot_be_used_stops_the_run_and_fails_nobody(self):
        elsewhere = self.enterContext(ContactService())
        good = {"email": "a@b.example"}
        cases = {
            "HTML": (html, "its answer is 'text/html; charset=utf-8', not application/json"),
            "HTML that calls itself JSON": (text("<html></html>"), "the answer is no JSON object"),
            "half a JSON": (half, "breaks off after"),
            "nothing": (text(""), "breaks off after 0 bytes"),
            "no content type": (text("{}", kind=""), "no content type"),
            "another object": (text('{"error":"busy"}'), "no list 'contacts'"),
            "a list alone": (text("[]"), "no JSON object"),
            "no UTF-8": (text(b'{"contacts":[{"id":"1","name":"caf\xe9"}]}'), "not UTF-8 at byte"),
            "another id": (contacts({"id": "1", **good}, {"id": "4711", **good}),
                           "contact 2 of the answer: nobody asked for its id 4711"),
            "an id twice": (contacts({"id": "1", **good}, {"id": "1", **good}),
                            "its id 1 is there twice"),
            "no id": (contacts(good), "contact 1 of the answer: its id must be"),
            "10 MB": (large, "its answer is larger than the limit"),
            "a redirect": (redirect(elsewhere.url), f"leads to '{elsewhere.url}', where nothing is sent"),
            "a permanent redirect": (redirect(elsewhere.url, 308), "answers 308"),
            "401": (status(401), "answers 401"),
            "404": (status(404), "answers 404"),
            "204": (status(204, body=b""), "answers 204"),
        }
        stage, service = self.stage_with(50)
        for number, (name, (fault, want)) in enumerate(cases.items()):
            with self.subTest(name):
                at, calls = f"2026-01-02T03:{number:02}:00Z", len(service.calls)
                service.plan = [fault]
                error = self.run_at(stage, at=at, code=1)
                self.assertIn(f"the contact service http://127.0.0.1:{service.port}: ", error)
                self.assertIn(want, error)
                self.assertEqual(len(service.calls), calls + 1, "asked again")
                self.assertEqual(stage.value("SELECT COUNT(*) FROM chunk WHERE run_id=%s", number + 1), 0)
                self.assertEqual(stage.value("SELECT publishing FROM run WHERE id=%s", number + 1), "open")
                service.plan = []
                self.run_at(stage, at=at)
                self.assert_enriched(service, messages(stage), 50)
        self.assertEqual(elsewhere.calls, [])

    def test_a_bad_answer_in_the_middle_leaves_what_was_published(self):
        stage, service = self.stage_with(1000, {"batch": 100})
        service.plan = [None] * 6 + [html]
        self.assertIn("text/html", self.run_at(stage, code=1))
        first = messages(stage)
        self.assertTrue(0 < len(first) < 10)
        self.assertIn("run=1", self.due(stage))
        found = first + messages(stage)
        self.assert_whole(stage, 1000, found)
        self.assert_enriched(service, found, 1000)

    def test_large_means_larger_than_the_limit(self):
        stage, service = self.stage_with(4)
        service.contact = lambda i: {"id": i, "email": f"user{i}@example.net", "x": "y" * 1_040_000}
        self.run_at(stage)  # just below 4 MiB
        self.assertNotIn("fail", messages(stage)[0]["recipients"][0])
        service.contact = lambda i: {"id": i, "email": f"user{i}@example.net", "x": "y" * 1_050_000}
        self.assertIn("larger than the limit", self.run_at(stage, at="2026-01-03T00:00:00Z", code=1))

    def test_a_certificate_has_to_be_trusted(self):
        stage, _ = self.stage_with(10)
        make_certificates(stage.dir, "localhost")
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(os.path.join(stage.dir, "server.pem"), os.path.join(stage.dir, "server.key"))
        service = self.enterContext(ContactService(tls=context))
        enrich = {**self.enrich, "url": service.url}
        stage.campaign("welcome", {"audience": {"sql": SQL}, "enrich": enrich})
        error = self.run_at(stage, code=1)
        self.assertRegex(error, "(?i)certificate")
        self.assertNotIn("waiting", error)
        self.assertEqual(service.calls, [])
        stage.campaign("welcome", {"audience": {"sql": SQL},
                                   "enrich": {**enrich, "ca_file": os.path.join(stage.dir, "ca.pem")}})
        self.run_at(stage)
        self.assert_enriched(service, messages(stage), 10)

    def test_what_is_no_http_server_is_waited_for(self):
        stage, service = self.stage_with(10)
        with socket.create_server(("127.0.0.1", 0)) as listener:
            url = f"http://127.0.0.1:{listener.getsockname()[1]}/"
            stage.campaign("welcome", {"enrich": {**self.enrich, "url": url, "timeout": "1s"}})
            error = self.run_at(stage, code=1)
        self.assertIn("after 2 tries this run waits no longer: no whole answer", error)
        self.assertEqual(service.calls, [])

    def test_planned_chunks_do_not_all_ask_a_service_that_refuses(self):
        stage, service = self.stage_with(500)
        self.run_at(stage)
        first, calls = messages(stage), len(service.calls)
        stage.execute("UPDATE chunk SET state='planned'")
        stage.execute("UPDATE run SET publishing='open', published_at=NULL")
        service.plan = [status(401)]
        self.assertIn("it answers 401, not 200", self.run_at(stage, code=1))
        self.assertEqual(len(service.calls), calls + 1)
        self.run_at(stage)
        self.assertEqual(messages(stage), first)


if __name__ == "__main__":
    unittest.main(verbosity=2)
