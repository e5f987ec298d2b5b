"""Name servers that are silent, or slow to come: a lookup of one relay's name stops nothing else, and
there is one at a time."""

import unittest

import silent_dns
from contact_fixture import ContactTestCase
from harness import Stage, binary, wait_until

NAME = "relay.shop.example"
LOOKUP_S = 40  # what the C library gives a name that nobody answers for, as silent_dns sets it up
GAP_S = 5
FEW = ("SELECT id, email, name, plan, city FROM subscriber WHERE id > :after AND id <= 100 "
       "ORDER BY id LIMIT :limit")  # one chunk, which leaves the worker room for others


class LookupTest(unittest.TestCase):
    def setUp(self):
        if silent_dns.why_not():
            self.skipTest(silent_dns.why_not())

    def stage_with_names(self, recipients=0, port=25, **settings):
        """A stage whose campaign `far` has a relay with a name, and whose workers ask self.dns."""
        far = {"type": "smtp", "url": f"smtp://{NAME}:{port}", "tls": "off", "connections": 8,
               "connect_timeout": "2s"}
        self.stage = self.enterContext(Stage(
            recipients=recipients, settings={"transports": {"far": far}, **settings}))
        self.dns = silent_dns.NameServers(self.stage.dir)
        self.addCleanup(self.dns.close)
        self.stage.campaign("far", {"delivery": {"transport": "far"}, "audience": {"sql": FEW}})
        return self.stage

    def start_worker(self):
        worker = self.stage.start("worker", self.dns.command(
            binary("mailflock-consumer"), "-c", self.stage.config))
        worker.wait_for_log('msg="ready"')
        return worker

    def lookups(self):
        """The sockets that asked: each lookup has its own."""
        return {port for port, _ in list(self.dns.queries)}

    def test_a_name_that_is_not_answered_stops_no_other_relay(self):
        stage = self.stage_with_names(recipients=800)
        smtp = stage.start_fakesmtp(delay_ms=100)
        stage.produce("far")
        worker = self.start_worker()
        wait_until(self.lookups, 60, "a query")
        run = stage.produce("welcome")
        worker.wait_for_log("cannot connect", LOOKUP_S + 60)
        stage.wait_complete(run, LOOKUP_S + 60)
        self.assertGreaterEqual(worker.text().count("cannot connect"), 2, worker.text())
        times = sorted(mail.at_us for mails in smtp.mails().values() for mail in mails)
        self.assertEqual(len(times), 800)
        gap_s = max(b - a for a, b in zip(times, times[1:])) / 1e6
        self.assertLess(gap_s, GAP_S)
        self.assertEqual(worker.stop(LOOKUP_S / 2), 0, "a lookup under way holds up no stop")

    def test_there_is_one_lookup_at_a_time(self):
        stage = self.stage_with_names(recipients=200)
        stage.produce("far")
        worker = self.start_worker()
        wait_until(self.lookups, 60, "a query")
        found = set()

        def failed():
            found.update(self.lookups())
            return "cannot connect" in worker.text()
        wait_until(failed, 60, "the first attempt to be given up")
        self.assertEqual(len(found), 1)

    def test_a_name_that_is_answered_at_last_gets_all_connections(self):
        stage = self.stage_with_names(recipients=100)
        smtp = stage.start_fakesmtp(delay_ms=50, use=False)
        stage.write_config(transports={"far": {"url": f"smtp://{NAME}:{smtp.port}"}})
        run = stage.produce("far")
        worker = self.start_worker()
        worker.wait_for_log("cannot connect")
        self.dns.answers[NAME] = "127.0.0.1"
        stage.wait_quiet(run)
        self.assertEqual(stage.assert_balanced(run)["sent"], 100)
        used = {mail.connection for mails in smtp.mails().values() for mail in mails}
        self.assertGreater(len(used), 1, "the others came when the address was known")
        self.assertEqual(worker.stop(), 0)


class ContactServiceTest(ContactTestCase):
    def test_a_stop_awaits_no_lookup_of_the_contact_service(self):
        if silent_dns.why_not():
            self.skipTest(silent_dns.why_not())
        stage, _ = self.stage_with(10, {"url": "http://contacts.shop.example:8080/", "timeout": "20s"})
        dns = silent_dns.NameServers(stage.dir)
        self.addCleanup(dns.close)
        producer = stage.start("producer", dns.command(
            binary("mailflock-producer"), "-c", stage.config, "run", "welcome"))
        wait_until(lambda: dns.queries, 60, "a query")
        self.assertEqual(producer.stop(LOOKUP_S / 2), 1, producer.text())
        self.assertIn("stopped by a signal", producer.text())


if __name__ == "__main__":
    unittest.main(verbosity=2)
