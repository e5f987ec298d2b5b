"""Who is set aside when a relay refuses: the message, the sender with its runs, or the transport; and
what a relay that takes few connections, or hangs up on writing, does to a run."""

import os
import re
import time
import unittest
import urllib.request

import side_by_side
from harness import Stage, free_port, wait_until
from picky_relay import PickyRelay

ONE_ATTEMPT = {"delivery": {"retry": {"max_attempts": 1, "delays": ["1s"], "max_age": "1h"}}}


def gaps(times):
    return [b - a for a, b in zip(times, times[1:])]


class OneSender(PickyRelay):
    """Refuses one sender at MAIL until the test says otherwise."""
    refused, reply = "bad@example.com", "553 5.7.1 <bad@example.com>: not owned by user app"

    def __init__(self):
        super().__init__()
        self.mails_refused = []

    def on_mail(self, session):
        if session.sender != self.refused:
            return None
        self.mails_refused.append(time.monotonic())
        return self.reply


class SenderTest(unittest.TestCase):
    def run_two(self, relay, recipients=300):
        """A campaign whose sender is refused, in front of one that is not: stage, worker, both runs."""
        stage = self.enterContext(Stage(recipients=recipients))
        stage.relay(relay)
        stage.campaign("bad", ONE_ATTEMPT, content={"from": "Bad <bad@example.com>"},
                       audience={"chunk": 20})
        stage.campaign("good", ONE_ATTEMPT)
        bad, good = stage.produce("bad"), stage.produce("good")
        return stage, stage.start_consumer(), bad, good

    def test_a_refused_sender_stops_its_own_runs_alone(self):
        with OneSender() as relay:
            stage, worker, bad, good = self.run_two(relay)
            self.assertEqual(stage.wait_complete(good)["sent"], 300)
            worker.wait_for_log(rf"sender refused.*run={bad}\b.*reply=")
            text = worker.text()
            # One line for each wait, with the run, the transport, the time and the reply; no address.
            self.assertRegex(text, rf"run={bad} transport=relay wait_s=15 code=553 enhanced=5\.7\.1")
            self.assertNotIn("bad@example.com", text)
            self.assertEqual(stage.counts(bad)["pending"], 300)
            self.assertEqual(stage.value("SELECT COUNT(*) FROM suppression"), 0)
            # Other mails kept the connections busy meanwhile: the refused sender did not close them.
            self.assertLessEqual(relay.connections, 16)
            refused = len(relay.mails_refused)
            self.assertLessEqual(refused, 16)  # each connection may have had one under way
            relay.refused = None
            counts = stage.wait_quiet(bad, 120)
            self.assertEqual(counts["sent"], 300)
            self.assertEqual(stage.rows("SELECT DISTINCT attempt FROM delivery"), [(1,)])
            self.assertRegex(worker.text(), "sender accepted again")
            self.assertEqual(sorted(relay.recipients()), sorted(2 * [
                f"user{i}@example.net" for i in range(1, 301)]))
            self.assertEqual(worker.stop(), 0)

    def test_a_sender_that_is_refused_for_now(self):
        """4yz at MAIL that speaks of the sender: no attempt is used."""
        with OneSender() as relay:
            relay.reply = "450 4.1.8 <bad@example.com>: Sender address rejected: Domain not found"
            stage, worker, bad, good = self.run_two(relay, 50)
            self.assertEqual(stage.wait_complete(good)["sent"], 50)
            worker.wait_for_log("sender refused")
            relay.refused = None
            self.assertEqual(stage.wait_quiet(bad, 120)["sent"], 50)
            self.assertEqual(worker.stop(), 0)

    def test_without_pipelining(self):
        with OneSender() as relay:
            relay.offers = ()
            stage, worker, bad, good = self.run_two(relay, 50)
            self.assertEqual(stage.wait_complete(good)["sent"], 50)
            worker.wait_for_log("sender refused")
            self.assertEqual(stage.counts(bad)["pending"], 50)
            self.assertEqual(worker.stop(), 0)

    def test_a_stop_while_a_sender_is_set_aside_loses_nobody(self):
        with OneSender() as relay:
            stage, worker, bad, good = self.run_two(relay, 50)
            worker.wait_for_log("sender refused")
            self.assertEqual(worker.stop(), 0)
            relay.refused = None
            stage.start_consumer()
            self.assertEqual(stage.wait_quiet(bad, 120)["sent"], 50)
            self.assertEqual(stage.wait_quiet(good, 120)["sent"], 50)
            self.assertEqual(len(set(relay.recipients())), 50)
            self.assertEqual(len(relay.recipients()), 100)


class BusyRelay(PickyRelay):
    """Answers every MAIL with a reply until the test says otherwise."""

    def __init__(self, reply):
        super().__init__()
        self.reply, self.times = reply, []

    def on_mail(self, session):
        if self.reply:
            self.times.append(time.monotonic())
        return self.reply


class ServerTroubleTest(unittest.TestCase):
    def test_a_server_in_trouble_uses_up_nobodys_attempt(self):
        for reply in ("452 4.3.1 Insufficient system storage", "451 4.4.3 no route",
                      "450 4.7.1 too many mails from this client", "452 disk full"):
            with self.subTest(reply), Stage(recipients=40, campaign=ONE_ATTEMPT) as stage, \
                    BusyRelay(reply) as relay:
                stage.relay(relay)
                run = stage.produce()
                worker = stage.start_consumer()
                wait_until(lambda: relay.connections >= 8 + 3, 60, "several tries")
                # The waits grow; connections that fail together count as one.
                self.assertGreater(max(gaps(relay.times)), 0.2)
                self.assertEqual(stage.value("SELECT COUNT(*) FROM delivery"), 0)
                worker.wait_for_log("the server refuses mail for now.*" + reply.split()[-1])
                relay.reply = None
                self.assertEqual(stage.wait_quiet(run)["sent"], 40)
                self.assertEqual(worker.stop(), 0)


class ConnectionsTest(unittest.TestCase):
    def test_a_limit_of_connections_is_found_and_not_hammered(self):
        class Few(PickyRelay):
            most_connections = 5

            def on_dot(self, session):
                time.sleep(0.05)

        with Few() as relay, Stage(recipients=1500) as stage:
            stage.relay(relay, connections=20)
            run = stage.produce()
            worker = stage.start_consumer()
            self.assertEqual(stage.wait_complete(run, 120)["sent"], 1500)
            # The first burst, a second one after its wait, and one more at a time, half a minute apart.
            self.assertLessEqual(len(relay.refused_connections), 45)
            self.assertRegex(worker.text(), "takes no more connections.*connections=[1-5] ")
            times = [at for _, at in relay.accepted]
            late = [at for at in relay.refused_connections if at > times[300]]
            self.assertLessEqual(len(late), 3)
            # All five are used: at 0.05 s a mail no fewer could have done it in this time.
            self.assertGreaterEqual(relay.open, 4)
            self.assertEqual(len(set(relay.recipients())), 1500)
            self.assertEqual(worker.stop(), 0)

    def test_a_relay_that_defers_everybody_is_served_by_all_connections(self):
        """After one failure, too: an accepted MAIL ends it."""
        class Greylisting(PickyRelay):
            def on_connect(self, session):
                return "421 4.3.2 not yet" if session.number <= 8 else None

            def on_rcpt(self, session):
                time.sleep(0.02)
                return "451 4.7.1 greylisted"

        campaign = {"delivery": {"retry": {"delays": ["1h"], "max_age": "1d"}}}
        with Greylisting() as relay, Stage(recipients=400, campaign=campaign) as stage:
            stage.relay(relay, connections=8)
            run = stage.produce()
            worker = stage.start_consumer()
            wait_until(lambda: stage.counts(run)["deferred"] == 400, 60, "all to be deferred")
            self.assertGreaterEqual(relay.most_open, 6)
            self.assertEqual(worker.stop(), 0)

    def test_a_server_that_drops_after_rcpt_is_asked_less_and_less(self):
        class Dropping(PickyRelay):
            def on_rcpt(self, session):
                raise EOFError

        with Dropping() as relay, Stage(recipients=20, campaign=ONE_ATTEMPT) as stage:
            stage.relay(relay, connections=4)
            run = stage.produce()
            worker = stage.start_consumer()
            wait_until(lambda: relay.connections >= 10, 60, "several tries")
            waits = [int(ms) for ms in re.findall(r"retry_after_ms=(\d+)", worker.text())]
            self.assertGreater(max(waits), 500)
            self.assertEqual(stage.counts(run)["sent"], 0)
            self.assertEqual(worker.stop(), 0)


class GoodbyeTest(unittest.TestCase):
    def test_a_421_to_quit_is_no_trouble(self):
        class Curt(PickyRelay):
            bye = "421 4.3.2 <user1@example.net> good riddance"

        with Curt() as relay, Stage(recipients=60) as stage:
            stage.relay(relay, connections=2, messages_per_connection=5)
            run = stage.produce()
            worker = stage.start_consumer()
            self.assertEqual(stage.wait_quiet(run)["sent"], 60)
            self.assertGreaterEqual(relay.connections, 12)
            self.assertNotRegex(worker.text(), "mod=smtp")
            self.assertEqual(worker.stop(), 0)

    def test_the_log_shows_no_address(self):
        class Chatty(PickyRelay):
            def on_mail(self, session):
                return f"421 4.7.0 <{session.sender}> and user7@example.net: too many"

        with Chatty() as relay, Stage(recipients=5) as stage:
            stage.relay(relay)
            stage.produce()
            worker = stage.start_consumer()
            worker.wait_for_log("closes the connection.*too many")
            self.assertNotRegex(worker.text(), "@example")
            self.assertEqual(worker.stop(), 0)


class FailingTest(unittest.TestCase):
    def test_recipients_that_fail_in_numbers_show_in_log_and_metrics(self):
        class Refusing(PickyRelay):
            def on_rcpt(self, session):
                return f"550 5.7.1 <{session.recipient}>: Relay access denied"

        port = free_port()
        settings = {"worker": {"listen": f"127.0.0.1:{port}"}}
        with Refusing() as relay, Stage(recipients=100, settings=settings) as stage:
            stage.relay(relay)
            run = stage.produce()
            worker = stage.start_consumer()
            self.assertEqual(stage.wait_quiet(run)["failed"], 100)
            line = worker.wait_for_log(r"many recipients fail.*")[0]
            self.assertRegex(line, rf"run={run} failed=\d+ outcomes=\d+ code=550 enhanced=5\.7\.1 "
                                   r'reply="<\[address\]>: Relay access denied"')
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics") as page:
                text = page.read().decode()
            self.assertIn('mailflock_refusals_total{stage="rcpt",class="5"} 100\n', text)
            self.assertIn('mailflock_senders_set_aside 0\n', text)
            self.assertEqual(worker.stop(), 0)


class VerdictTest(unittest.TestCase):
    """A verdict that has arrived counts, whatever happened to the connection since."""

    def large_mails(self, stage, chunk=100):
        """More than the 4 MiB that the kernel takes for a socket (tcp_wmem): the dot cannot have left."""
        stage.template("large.bin", "x" * (5 << 20))
        stage.campaign("welcome", {"content": {"attachments": ["large.bin"]},
                                   "audience": {"chunk": chunk}})

    def test_a_verdict_before_a_reset_within_the_content(self):
        class Resetting(PickyRelay):
            receive_buffer = 4096

            def on_data(self, session):
                session.say("354 go on")
                session.read_line()
                session.say("552 5.3.4 too large for us")
                session.reset()

        with Resetting() as relay, Stage(recipients=5) as stage:
            self.large_mails(stage)
            stage.relay(relay, connections=5)
            run = stage.produce()
            worker = stage.start_consumer()
            counts = stage.wait_quiet(run)
            self.assertEqual((counts["failed"], counts["unknown"]), (5, 0), counts)
            self.assertEqual(stage.rows("SELECT DISTINCT code FROM delivery"), [(552,)])
            self.assertEqual(worker.stop(), 0)

    def test_a_reset_within_the_content_makes_nobody_unknown(self):
        """The final dot has not left: the mail is sent again, to a server that takes it."""
        class ResettingAtFirst(PickyRelay):
            receive_buffer = 4096

            def on_data(self, session):
                if session.number > 5:
                    return None
                session.say("354 go on")
                session.read_line()
                session.reset()

        with ResettingAtFirst() as relay, Stage(recipients=5) as stage:
            self.large_mails(stage)
            stage.relay(relay, connections=5)
            run = stage.produce()
            worker = stage.start_consumer()
            counts = stage.wait_quiet(run)
            self.assertEqual((counts["sent"], counts["unknown"]), (5, 0), counts)
            self.assertEqual(sorted(relay.recipients()), sorted(set(relay.recipients())))
            self.assertEqual(worker.stop(), 0)

    def test_large_mails_over_tls_to_a_server_that_reads_slowly(self):
        """What could not be written at once is offered again as it was, whatever follows it."""
        class SlowReader(PickyRelay):
            receive_buffer = 4096

            def on_data(self, session):
                session.say("354 go on")
                time.sleep(0.3)
                session.read_content()
                with self.lock:
                    self.accepted.append((session.recipient, time.monotonic()))
                session.sender = session.recipient = None
                return "250 2.0.0 Ok"

        with Stage(recipients=12, campaign={"audience": {"chunk": 1}},
                   settings={"worker": {"prefetch": 8}}) as stage:
            SlowReader.tls_dir = os.path.join(stage.dir, "tls")
            os.mkdir(SlowReader.tls_dir)
            self.large_mails(stage, chunk=1)
            with SlowReader() as relay:
                stage.relay(relay, connections=3, tls="require", ca_file=relay.ca_file)
                run = stage.produce()
                worker = stage.start_consumer()
                counts = stage.wait_quiet(run)
                self.assertEqual((counts["sent"], counts["unknown"]), (12, 0), counts)
                self.assertEqual(len(relay.recipients()), 12)
                self.assertNotRegex(worker.text(), "connection lost")
                self.assertLessEqual(relay.connections, 3)
                self.assertEqual(worker.stop(), 0)

    def test_replies_that_came_during_a_standstill_are_read_before_anything_is_given_up(self):
        """More connections than one round of events, all replies there, all deadlines over."""
        count = 100
        with Stage(recipients=count, campaign={"audience": {"chunk": count}},
                   settings={"worker": {"lease": "60s"}}) as stage:
            gate, at_dot = [], []

            class Slow(PickyRelay):
                def on_dot(self, session):
                    at_dot.append(session.number)
                    wait_until(lambda: gate, 60, "the gate")

            with Slow() as relay:
                stage.relay(relay, connections=count, final_reply_timeout="3s", reply_timeout="3s")
                run = stage.produce()
                worker = stage.start_consumer()
                wait_until(lambda: len(at_dot) >= count // 2, 60, "mails at their final dot")
                worker.freeze()
                held = len(at_dot)
                time.sleep(4)  # past the reply timeout, counted by the worker's clock
                gate.append(True)
                wait_until(lambda: len(relay.accepted) >= held, 60, "the server to answer")
                worker.thaw()
                counts = stage.wait_quiet(run)
                self.assertEqual((counts["sent"], counts["unknown"]), (count, 0), counts)
                self.assertEqual(len(relay.recipients()), count)
                self.assertEqual(worker.stop(), 0)


class SizeTest(unittest.TestCase):
    def test_size_is_announced_and_obeyed(self):
        class Small(PickyRelay):
            offers = ("PIPELINING", "SIZE 10000")

        with Small() as relay, Stage(recipients=20) as stage:
            stage.template("welcome.txt", "{{name}}\n{{plan}}\n" + ("x" * 70 + "\n") * 60)
            stage.relay(relay)
            run = stage.produce()
            worker = stage.start_consumer()
            self.assertEqual(stage.wait_quiet(run)["sent"], 20)
            self.assertTrue(all(size and 4000 < size < 10000 for size in relay.sizes), relay.sizes)
            stage.template("welcome.txt", "{{name}}\n" + ("x" * 70 + "\n") * 200)
            announced = len(relay.sizes)
            stage.campaign("large")
            run = stage.produce("large")
            self.assertEqual(stage.wait_quiet(run)["failed"], 20)
            self.assertIn("the server takes 10000 (SIZE)",
                          stage.value("SELECT detail FROM delivery WHERE run_id=%s", run))
            self.assertEqual(len(relay.sizes), announced)  # no MAIL for them
            self.assertEqual(worker.stop(), 0)


if __name__ == "__main__":
    side_by_side.main()
