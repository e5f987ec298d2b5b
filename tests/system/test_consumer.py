"""mailflock-consumer in the ordinary ways: whole runs, a stop in the middle, messages and recipients
that are no good, copies of messages, and a start that cannot succeed."""

import json
import os
import signal
import subprocess
import unittest
import urllib.request

import side_by_side
from harness import Stage, binary, free_port, wait_until
from messages import DEAD, LANE, put, take_chunks

NOTHING = {"lost": [], "twice": [], "wrong": [], "strange": []}


class ConsumerTest(unittest.TestCase):
    def assert_exact(self, stage, run, smtp, sent, **others):
        """The accounts balance, and ledger and server agree about every mail."""
        counts = stage.assert_balanced(run)
        self.assertEqual({k: v for k, v in counts.items() if v and k != "recipients"},
                         {k: v for k, v in {"sent": sent, **others}.items() if v})
        stage.mailflock("audit", run)
        found = stage.compare(run, smtp)
        self.assertEqual({**found, **NOTHING}, found)
        self.assertEqual(found["accepted"], sent)
        self.assertEqual(smtp.stats()["violations"], 0)

    def outcomes(self, stage, run):
        """recipient id -> (status, detail)"""
        return {i: (status, detail) for i, status, detail in stage.rows(
            "SELECT recipient_id, status, detail FROM delivery WHERE run_id=%s", run)}

    # -- whole runs

    def test_two_consumers_send_everything_once(self):
        with Stage(recipients=1000) as stage:
            smtp = stage.start_fakesmtp()
            run = stage.produce()
            workers = stage.start_consumers(2)
            stage.wait_quiet(run)
            self.assert_exact(stage, run, smtp, sent=1000)
            wait_until(lambda: stage.ready(LANE) == 0, 60, "the lane to be empty")
            self.assertEqual([w.stop() for w in workers], [0, 0])
            self.assertEqual(stage.ready(LANE), 0, "everything was acked")
            self.assertEqual(stage.ready(DEAD), 0)
            stage.expect_log_clean(levels=("error", "warn"))

    def test_two_runs_at_once_keep_their_mails_apart(self):
        with Stage(recipients=400) as stage:
            smtp = stage.start_fakesmtp(delay_ms=5)
            stage.template("b.txt", "the other campaign for {{name}}\n")
            stage.campaign("other", {"content": {"text": "b.txt", "html": None, "subject": "other"}})
            runs = [stage.produce(name) for name in ("welcome", "other")]
            stage.start_consumers(2)
            for run in runs:
                stage.wait_quiet(run)
                self.assertEqual(stage.assert_balanced(run)["sent"], 400)
            ids = [set(i for i, in stage.rows("SELECT message_id FROM delivery WHERE run_id=%s", run))
                   for run in runs]
            self.assertFalse(ids[0] & ids[1])
            self.assertEqual(set(smtp.mails()), ids[0] | ids[1])
            self.assertEqual(smtp.stats()["duplicates"], 0)

    def test_a_stop_awaits_replies_and_gives_the_rest_back(self):
        self.stop_in_the_middle()

    def test_a_stop_is_the_same_with_metrics(self):
        """Their thread must not be the one that gets the signal."""
        self.stop_in_the_middle(env={"MAILFLOCK_WORKER_LISTEN": f"127.0.0.1:{free_port()}"})

    def stop_in_the_middle(self, env=None):
        with Stage(recipients=200, campaign={"audience": {"chunk": 50}},
                   settings={"worker": {"drain": "1m"}}) as stage:
            smtp = stage.start_fakesmtp(delay_ms=100, stall_after=40)
            run = stage.produce()
            first = stage.start_consumer(env=env)
            smtp.wait_stalled()
            first.signal(signal.SIGTERM)
            first.wait_for_log('msg="stopping"')
            smtp.resume()
            self.assertEqual(first.wait(), 0, first.text())
            counts = stage.assert_balanced(run)
            self.assertEqual(counts["unknown"], 0, counts)
            self.assertTrue(40 <= counts["sent"] < 200, counts)
            self.assertEqual(counts["sent"], len(smtp.mails()), "every mail's reply was awaited")
            self.assertEqual(stage.value("SELECT COUNT(*) FROM chunk WHERE token IS NOT NULL"), 0)
            stage.start_consumer()
            stage.wait_quiet(run)
            self.assert_exact(stage, run, smtp, sent=200)

    def test_metrics_count_how_long_things_take(self):
        port = free_port()
        with Stage(recipients=60, campaign={"audience": {"chunk": 20}}) as stage:
            stage.start_fakesmtp(delay_ms=30)
            run = stage.produce()
            stage.start_consumer(env={"MAILFLOCK_WORKER_LISTEN": f"127.0.0.1:{port}"})
            stage.wait_quiet(run)
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=60) as answer:
                page = answer.read().decode()
        sample = {}
        for line in page.splitlines():
            if line.startswith("mailflock_"):
                name, value = line.split(" ")
                sample[name] = float(value)
        self.assertEqual(sample["mailflock_queue_wait_seconds_count"], 3, page)
        self.assertEqual(sample["mailflock_dialogue_seconds_count"], 60)
        self.assertGreater(sample["mailflock_connect_seconds_count"], 0)
        self.assertGreater(sample["mailflock_commit_seconds_count"], 0)
        self.assertEqual(sample['mailflock_dialogue_seconds_bucket{le="0.02"}'], 0, "30 ms each")
        self.assertGreaterEqual(sample["mailflock_dialogue_seconds_sum"], 60 * 0.03)

    def test_pods_with_long_names_have_names_of_their_own(self):
        """Each process 1 of a host of its own, in namespaces of its own."""
        if subprocess.run(["unshare", "--uts", "--pid", "--fork", "true"], check=False).returncode:
            self.skipTest("unshare is not permitted here, so no host can have another name")
        names = []
        for pod in ("4qkzl", "x2x7q"):
            with Stage(recipients=10) as stage:
                stage.start_fakesmtp()
                run = stage.produce()
                host = f"mailflock-consumer-bulk-europe-west-production-5d9c7b6f4d-{pod}"
                argv = ["unshare", "--uts", "--pid", "--fork", "--kill-child", "sh", "-c",
                        f"hostname {host}; exec {binary('mailflock-consumer')} -c {stage.config}"]
                pod_process = stage.start("pod", argv)
                stage.wait_quiet(run)
                names += [name for name, in stage.rows("SELECT DISTINCT worker FROM delivery")]
                with open(f"/proc/{pod_process.pid}/task/{pod_process.pid}/children") as children:
                    os.kill(int(children.read()), signal.SIGTERM)
                self.assertEqual(pod_process.wait(), 0, pod_process.text())
                self.assertTrue(names[-1].endswith(f"-5d9c7b6f4d-{pod}-1"), names)
        self.assertNotEqual(*names)

    def test_a_stop_without_work_is_quick(self):
        with Stage(recipients=1, settings={"worker": {"drain": "10m"}}) as stage:
            self.assertEqual(stage.start_consumer().stop(60), 0)

    def test_a_stop_does_not_wait_for_a_silent_server_longer_than_told(self):
        for policy in ("hold", "resend"):
            with self.subTest(policy), Stage(recipients=60, settings={"worker": {"drain": "1s"}},
                                             campaign={"delivery": {"on_crash": policy}}) as stage:
                smtp = stage.start_fakesmtp(delay_ms=100, stall_after=8)
                run = stage.produce()
                first = stage.start_consumer()
                smtp.wait_stalled()
                self.assertEqual(first.stop(60), 0, first.text())
                answered = stage.assert_balanced(run)
                smtp.resume()
                stage.start_consumer()
                stage.wait_quiet(run)
                counts = stage.assert_balanced(run)
                found = stage.compare(run, smtp)
                self.assertEqual((found["lost"], found["wrong"], found["strange"]), ([], [], []))
                if policy == "hold":  # at most one on each of the 8 connections had no answer
                    self.assertTrue(0 < counts["unknown"] <= 8, counts)
                    self.assertEqual(counts["sent"] + counts["unknown"], 60)
                    self.assertEqual(counts["unknown"], answered["unknown"])
                    self.assertEqual(found["twice"], [])
                else:
                    self.assertEqual((counts["sent"], counts["unknown"]), (60, 0))
                    self.assertTrue(0 < len(found["twice"]) <= 8, found["twice"])

    # -- messages that are no good

    def test_bad_messages_become_dead_letters_with_the_reason(self):
        with Stage(recipients=200) as stage:
            smtp = stage.start_fakesmtp()
            run = stage.produce()
            good = take_chunks(stage)
            whole = json.dumps(good[0])
            person = good[0]["recipients"][0]

            def changed(**changes):
                return json.dumps({**good[0], **changes})

            def with_person(**changes):
                return changed(recipients=[{**person, **changes}])

            bad = {
                "not JSON": "hello",
                "not JSON at byte 0": "",
                "not JSON at byte": whole[:len(whole) // 2],
                "a JSON object": "[1, 2]",
                "not JSON at byte %d of" % len(whole): whole + whole,
                "version 0": changed(v=0),
                "v must be": changed(v="1"),
                "run must be": changed(run=-1),
                "chunk must be": changed(chunk=1.5),
                "attempt must be": changed(attempt=0),
                "digest must be": changed(digest="xyz"),
                "recipients must be": changed(recipients=7),
                "10001 recipients": changed(recipients=[0] * 10001),
                "they must ascend": changed(recipients=[person, person]),
                "p must be": with_person(p=10000),
                "id must be": with_person(id=""),
                "to must be": with_person(to="x" * 321),
                "vars must be": with_person(vars=[]),
                "NUL characters": with_person(to="a@b.example\0c"),
                "nested deeper": changed(recipients=[0]).replace("0]", "[" * 30 + "]" * 30 + "]"),
            }
            worker = stage.start_consumer()
            for reason, body in bad.items():
                with self.subTest(reason):
                    stage.publish(body, message_id="bad")
                    properties, dead = stage.take(DEAD)
                    self.assertIn(reason, properties.headers["x-mailflock-reason"])
                    self.assertEqual(dead.decode(), body, "as it came")
                    self.assertEqual(properties.message_id, "bad")
            for chunk in good:
                put(stage, chunk)
            stage.wait_quiet(run)
            self.assert_exact(stage, run, smtp, sent=200)
            self.assertEqual(worker.stop(), 0)

    def test_a_message_too_large_becomes_a_dead_letter(self):
        with Stage(recipients=10) as stage:
            smtp = stage.start_fakesmtp()
            worker = stage.start_consumer()
            large = b'{"v":1,' + b" " * (4 * 1024 * 1024) + b"}"
            stage.publish(large)
            properties, dead = stage.take(DEAD)
            self.assertIn("at most 4194304", properties.headers["x-mailflock-reason"])
            self.assertEqual(dead, large)
            # Past 16 MiB it is not read, so nothing can be added to it: RabbitMQ says the reason.
            huge = large + b" " * (13 * 1024 * 1024)
            stage.publish(huge)
            properties, dead = stage.take(DEAD)
            self.assertEqual(properties.headers["x-first-death-reason"], "rejected")
            self.assertEqual(dead, huge)
            worker.wait_for_log("too large")
            run = stage.produce()
            stage.wait_quiet(run)
            self.assert_exact(stage, run, smtp, sent=10)
            self.assertLess(worker.peak_kib(), 32 * 1024)

    def test_messages_of_no_run_or_chunk_become_dead_letters(self):
        with Stage(recipients=100) as stage:
            smtp = stage.start_fakesmtp()
            run = stage.produce()
            (good,) = take_chunks(stage)
            worker = stage.start_consumer()
            for changes, reason in (({"run": 4711}, "run"), ({"chunk": 99}, "no such chunk")):
                put(stage, good, **changes)
                properties, _ = stage.take(DEAD)
                self.assertIn(reason, properties.headers["x-mailflock-reason"])
            put(stage, good)
            stage.wait_quiet(run)
            self.assert_exact(stage, run, smtp, sent=100)
            self.assertEqual(worker.stop(), 0)

    # -- recipients that are no good

    def test_bad_recipients_fail_and_the_others_go_out(self):
        with Stage(recipients=40) as stage:
            smtp = stage.start_fakesmtp()
            stage.execute("UPDATE subscriber SET name='A\r\nBcc: evil@example.net' WHERE id=3")
            stage.execute("UPDATE subscriber SET email='u4@example.net\r\nRCPT TO:<evil@example.net>' "
                          "WHERE id=4")
            stage.execute("UPDATE subscriber SET email='nobody.example.net' WHERE id=5")
            run = stage.produce()
            stage.start_consumer()
            stage.wait_quiet(run)
            self.assert_exact(stage, run, smtp, sent=37, failed=3)
            outcomes = self.outcomes(stage, run)
            for who, reason in (("3", "line break"), ("4", "line break"), ("5", "no @")):
                self.assertEqual(outcomes[who][0], "failed")
                self.assertIn(reason, outcomes[who][1])
            accepted = [m.rcpt for mails in smtp.mails().values() for m in mails]
            self.assertFalse([rcpt for rcpt in accepted if "evil" in rcpt])
            self.assertEqual(stage.value("SELECT COUNT(*) FROM suppression"), 0)

    def test_the_worker_does_not_rely_on_the_producer_for_that(self):
        with Stage(recipients=10) as stage:
            smtp = stage.start_fakesmtp()
            run = stage.produce()
            (chunk,) = take_chunks(stage)
            people = chunk["recipients"]
            people[1]["to"] = "u@example.net>\r\nDATA\r\nx"
            people[2]["to"] = "no-at-sign"
            people[3]["vars"]["name"] = "x\nBcc: evil@example.net"
            del people[4]["vars"]["name"]
            people[5]["vars"]["city"] = {"a": "map"}
            people[6]["fail"] = "as the producer said"
            put(stage, chunk)
            stage.start_consumer()
            stage.wait_quiet(run)
            self.assert_exact(stage, run, smtp, sent=4, failed=6)
            outcomes = self.outcomes(stage, run)
            for who, reason in enumerate(("holds < or >", "no @", "line break", "name is missing",
                                          "city is not text", "as the producer said"), 2):
                self.assertEqual(outcomes[str(who)][0], "failed")
                self.assertIn(reason, outcomes[str(who)][1])

    def test_suppressed_addresses_get_nothing(self):
        with Stage(recipients=100) as stage:
            smtp = stage.start_fakesmtp(rcpt_refuse=0.1)
            for email in ("user7@example.net", "USER9@Example.NET", "stranger@example.net"):
                stage.mailflock("suppress", "add", email)
            run = stage.produce()
            stage.start_consumer()
            counts = stage.wait_quiet(run)
            self.assertTrue(0 < counts["failed"] < 30, counts)
            self.assert_exact(stage, run, smtp, sent=98 - counts["failed"], failed=counts["failed"],
                              suppressed=2)
            outcomes = self.outcomes(stage, run)
            self.assertEqual({outcomes[i] for i in "79"}, {("suppressed", "on the suppression list")})
            # 550 5.1.1 puts an address on the list: the next run leaves it out.
            dead = {email for email, in stage.rows("SELECT email FROM delivery WHERE status='failed'")}
            listed = {email for email, in
                      stage.rows("SELECT email FROM suppression WHERE source='bounce'")}
            self.assertEqual(listed, dead)
            stage.campaign("again")
            again = stage.produce("again")
            stage.wait_quiet(again)
            self.assertEqual(stage.counts(again)["suppressed"], 2 + len(dead))
            self.assertEqual(stage.assert_balanced(again)["sent"], 98 - len(dead))

    def test_the_suppression_list_knows_an_address_however_it_is_written(self):
        listed = ("Mia@Example.NET", "josé@example.net", "x@bücher.example")
        cases = {"mia@example.net": "suppressed", "MIA@EXAMPLE.net": "suppressed",
                 "josé@Example.NET": "suppressed", "jose@example.net": "sent", "mia2@example.net": "sent",
                 "X@BÜCHER.example": "suppressed", "x@xn--bcher-kva.example": "suppressed"}
        with Stage() as stage:
            smtp = stage.start_fakesmtp(smtputf8=True)
            stage.add_subscribers(len(cases))
            for number, address in enumerate(cases, 1):
                stage.execute("UPDATE subscriber SET email=%s WHERE id=%s", address, number)
            for address in listed:
                stage.mailflock("suppress", "add", address)
            run = stage.produce()
            stage.start_consumer()
            stage.wait_quiet(run)
            outcomes = self.outcomes(stage, run)
            self.assertEqual({a: outcomes[str(i)][0] for i, a in enumerate(cases, 1)}, cases)
            self.assertEqual(smtp.accepted(), 2)

    def test_bounces_are_listed_in_lower_case(self):
        with Stage(recipients=10) as stage:
            stage.execute("UPDATE subscriber SET email=CONCAT('User', id, '@Example.NET')")
            stage.start_fakesmtp(rcpt_refuse=1)
            run = stage.produce()
            stage.start_consumer()
            stage.wait_quiet(run)
            self.assertEqual({email for email, in stage.rows("SELECT email FROM suppression")},
                             {f"user{i}@example.net" for i in range(1, 11)})

    # -- copies, and messages of other attempts

    def test_copies_of_a_message_send_nothing_twice(self):
        with Stage(recipients=100, settings={"worker": {"lease": "15s"}}) as stage:
            smtp = stage.start_fakesmtp(delay_ms=100)
            run = stage.produce()
            (chunk,) = take_chunks(stage)
            workers = stage.start_consumers(2)
            for _ in range(3):
                put(stage, chunk)
            wait_until(lambda: smtp.accepted() > 10, 60, "some mails")
            put(stage, chunk)
            stage.wait_quiet(run)
            put(stage, chunk)  # and one that comes after the end
            wait_until(lambda: sum(w.text().count("the chunk is done") for w in workers) == 4, 60,
                       lambda: "the copies to be dropped:\n" + "".join(w.text() for w in workers))
            self.assert_exact(stage, run, smtp, sent=100)
            self.assertEqual(stage.one("SELECT attempt, claims FROM chunk"), (1, 1))
            stage.expect_log_clean(levels=("error", "warn"))
            self.assertEqual([stage.ready(LANE), stage.ready("mailflock.wait.15"), stage.ready(DEAD)],
                             [0, 0, 0])

    def test_messages_of_an_earlier_attempt_or_another_audience_are_dropped(self):
        with Stage(recipients=50) as stage:
            smtp = stage.start_fakesmtp(rcpt_defer=1)
            stage.campaign("welcome", {"delivery": {"retry": {"delays": ["1s", "1h"]}}})
            run = stage.produce()
            (first,) = take_chunks(stage)
            worker = stage.start_consumer()
            put(stage, first, digest="0123456789abcdef")  # claimed first: it is the audience then
            wait_until(lambda: stage.counts(run)["deferred"] == 50, 60, "the first attempt")
            put(stage, first)
            wait_until(lambda: stage.value("SELECT attempt FROM chunk") == 2, 60, "attempt 2")
            worker.wait_for_log("attempt is over|another reading of the audience")
            stage.wait_quiet(run)
            self.assert_exact(stage, run, smtp, sent=50)
            self.assertEqual(stage.value("SELECT MAX(attempt) FROM delivery"), 2)

    def test_a_message_ahead_of_the_ledger_waits(self):
        with Stage(recipients=50) as stage:
            smtp = stage.start_fakesmtp()
            run = stage.produce()
            (first,) = take_chunks(stage)
            worker = stage.start_consumer()
            put(stage, first, attempt=2)
            wait_until(lambda: stage.ready("mailflock.wait.15") == 1, 60, "it to be in a delay queue")
            self.assertEqual(stage.value("SELECT claims FROM chunk"), 0)
            put(stage, first)
            stage.wait_quiet(run)
            self.assert_exact(stage, run, smtp, sent=50)
            self.assertEqual(worker.stop(), 0)

    # -- retries

    def test_deferred_recipients_are_tried_again_and_given_up(self):
        with Stage(recipients=200, campaign={"delivery": {"retry": {"max_attempts": 2}}}) as stage:
            smtp = stage.start_fakesmtp(rcpt_defer=0.2, dot_defer=0.2, rcpt_refuse=0.1, seed=5)
            run = stage.produce()
            stage.start_consumers(2)
            counts = stage.wait_quiet(run)
            # Who is deferred at RCPT and then after the dot has used up both attempts.
            given_up = stage.value("SELECT COUNT(*) FROM delivery WHERE status='failed' AND code<500")
            refused = stage.value("SELECT COUNT(*) FROM delivery WHERE status='failed' AND code=550")
            self.assertTrue(given_up and refused)
            self.assertEqual(counts["failed"], given_up + refused)
            self.assert_exact(stage, run, smtp, sent=200 - counts["failed"], failed=counts["failed"])
            self.assertEqual(
                stage.value("SELECT COUNT(*) FROM delivery WHERE code BETWEEN 400 AND 499 AND "
                            "(attempt<>2 OR detail NOT LIKE 'gave up after attempt 2: %%')"), 0)

    # -- the operator

    def test_pause_resume_and_cancel(self):
        with Stage(recipients=150, settings={"worker": {"prefetch": 12}},
                   campaign={"audience": {"chunk": 25}}) as stage:
            smtp = stage.start_fakesmtp(delay_ms=100, stall_after=30)
            paused = stage.produce()
            stage.add_subscribers(1850, first=151)  # so that the other one is not over in a moment
            stage.campaign("other", {"audience": {"chunk": 25}})
            cancelled = stage.produce("other")
            stage.start_consumer()
            smtp.wait_stalled()
            stage.mailflock("pause", paused)
            smtp.resume()
            wait_until(lambda: not stage.value("SELECT COUNT(*) FROM chunk WHERE run_id=%s AND token "
                                               "IS NOT NULL", paused), 60, "it to be given back")
            counts = stage.assert_balanced(paused)
            self.assertTrue(30 <= counts["sent"] < 150, counts)
            self.assertEqual(counts["unknown"], 0)
            wait_until(lambda: stage.counts(cancelled)["sent"] >= 10, 60, "some of the other run")
            self.assertEqual(stage.counts(paused), counts, "nothing is sent while it is paused")
            stage.mailflock("cancel", cancelled)
            stage.mailflock("resume", paused)
            ended = [stage.wait_quiet(run) for run in (paused, cancelled)]
            self.assertEqual(ended[0]["sent"], 150)
            self.assertGreater(ended[1]["skipped"], 0)
            self.assertEqual(ended[1]["sent"] + ended[1]["skipped"], 2000)
            for run in (paused, cancelled):
                stage.assert_balanced(run)
            self.assertEqual((smtp.accepted(), smtp.stats()["duplicates"]), (150 + ended[1]["sent"], 0))

    # -- what it cannot begin with

    def consumer(self, stage, *args, code=1, **more):
        return stage.run_program("mailflock-consumer", *args, code=code, **more)

    def test_services_out_of_reach_are_an_error_after_the_limit(self):
        with Stage(settings={"start_limit": "3s"}) as stage:
            for what, key in (("RabbitMQ", "BROKER"), ("database", "DATABASE")):
                with self.subTest(what):
                    error = self.consumer(stage, env={f"MAILFLOCK_{key}_PORT": "1"}).stderr
                    self.assertIn("will try again", error)
                    self.assertRegex(error, rf"level=error.*gave up after \d+ s \(start_limit\).*{what}")

    def test_while_it_waits_for_a_service_a_stop_ends_it(self):
        with Stage(settings={"start_limit": "1h"}) as stage:
            waiting = stage.start_consumer(env={"MAILFLOCK_DATABASE_PORT": "1"}, ready=False)
            wait_until(lambda: "will try again" in waiting.text(), 60, "it to wait")
            self.assertEqual(waiting.stop(), 0)

    def test_a_wrong_password_is_an_error_at_once(self):
        with Stage(settings={"start_limit": "1h"}) as stage:
            for key in ("BROKER", "DATABASE"):
                with self.subTest(key):
                    error = self.consumer(stage, env={f"MAILFLOCK_{key}_PASSWORD": "wrong"}).stderr
                    self.assertNotIn("will try again", error)
                    self.assertRegex(error, "(?i)level=error.*access.(denied|refused)")
                    self.assertNotIn("wrong", error, "passwords stay out of the log")

    def test_a_database_without_tables_names_the_remedy(self):
        with Stage(init=False) as stage:
            self.assertIn("run 'mailflock init'", self.consumer(stage).stderr)

    def test_settings_are_checked(self):
        with Stage(init=False) as stage:
            self.assertIn("settings are right", self.consumer(stage, "-t", code=0).stdout)
            for changes, words in (({"worker": {"prefech": 3}}, ("prefech", "prefetch")),
                                   ({"worker": {"prefetch": 0}}, ("worker.prefetch", "1")),
                                   ({"worker": {"lease": "1s"}}, ("worker.lease", "5s"))):
                with self.subTest(words):
                    stage.settings["worker"].pop("prefech", None)
                    stage.write_config(**{"worker": {"prefetch": 4, "lease": "10s"}})
                    stage.write_config(**changes)
                    for args in (("-t",), ()):
                        error = self.consumer(stage, *args).stderr
                        self.assertRegex(error, r"mailflock\.cfg:\d+")
                        for word in words:
                            self.assertIn(word, error)

    def test_usage(self):
        with Stage(init=False) as stage:
            for args in (("--nothing",), ("argument",)):
                self.assertIn("usage:", self.consumer(stage, *args, code=2).stderr)
            self.assertIn("mailflock-consumer 0", self.consumer(stage, "-V", code=0).stdout)
            self.assertIn("usage:", self.consumer(stage, "-h", code=0).stdout)
            self.assertIn("worker.prefetch", self.consumer(stage, "--help-config", code=0).stdout)


if __name__ == "__main__":
    side_by_side.main()
