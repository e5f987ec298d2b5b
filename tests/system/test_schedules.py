"""Runs that campaigns' schedules ask for: mailflock-producer due, and mailflock schedule.

No test waits for a minute to pass: occurrences lie in the recent past, and the mark that due keeps is
put back before them, as if it had not run since."""

import datetime
import os
import re
import signal
import unittest
import zoneinfo

from harness import Stage, binary, wait_until
from producer_fixture import SLOW, ProducerTestCase, messages

# A few seconds a page: time enough to look at a run that is not at its end.
VERY_SLOW = SLOW.replace("0.0001", "0.0005")
UTC = datetime.timezone.utc
MINUTE = datetime.timedelta(minutes=1)


class ScheduleTestCase(ProducerTestCase):
    def due(self, stage, code=0):
        """What it says: on stdout, or on stderr where it fails."""
        done = stage.run_program("mailflock-producer", "due", code=code)
        return done.stdout if code == 0 else done.stderr

    def ago(self, stage, *minutes):
        """Whole minutes of the database's clock, the oldest first."""
        now = stage.value("SELECT UTC_TIMESTAMP()").replace(second=0, tzinfo=UTC)
        return [now - n * MINUTE for n in sorted(minutes, reverse=True)]

    def scheduled(self, stage, name, times, **more):
        """A campaign that occurs then, and at no other time near."""
        stage.campaign(name, {"schedule": [t.strftime("%-M %-H %-d %-m *") for t in times], **more})

    def after_an_outage(self, stage, minutes=60):
        """due has seen the campaigns, but not for so long."""
        self.due(stage)
        stage.execute("UPDATE schedule SET settled_until=UTC_TIMESTAMP() - INTERVAL %s MINUTE", minutes)

    def occurrences(self, stage, *publishing):
        rows = stage.rows("SELECT campaign, scheduled_at FROM run WHERE publishing IN %s "
                          "ORDER BY campaign, scheduled_at", publishing or ("open", "done", "missed"))
        return [(campaign, at.replace(tzinfo=UTC)) for campaign, at in rows]


class OccurrenceTest(ScheduleTestCase):
    def test_several_dues_at_once_start_each_occurrence_once(self):
        with Stage(recipients=250) as stage:
            times = self.ago(stage, 3, 5, 7)
            for name in ("welcome", "second"):
                self.scheduled(stage, name, times)
            self.after_an_outage(stage)
            producers = [stage.start_producer("due") for _ in range(5)]
            by_hand = stage.start_producer("run", "welcome", "--at", times[1].isoformat())
            for producer in producers:
                self.assertEqual(producer.wait(), 0, producer.text())
            self.assertIn(by_hand.wait(), (0, 1), by_hand.text())  # 1: another one has it
            want = [(name, at) for name in ("second", "welcome") for at in times]
            self.assertEqual(self.occurrences(stage), want)
            self.assertEqual(self.occurrences(stage, "done"), want)
            found = messages(stage)
            self.assertEqual(len(found), 6 * 3)
            self.assertEqual(sorted((m["run"], m["chunk"]) for m in found),
                             sorted(stage.rows("SELECT run_id, chunk_no FROM chunk")))
            self.assertEqual(self.due(stage), "")
            self.assertEqual(messages(stage), [])

    def skewed(self, stage, seconds):
        """The environment of a host whose clock is wrong by so much."""
        library = os.path.join(os.path.dirname(binary("fakesmtp")), "libskewclock.so")
        if not os.path.exists(library):
            self.skipTest("a sanitizer does not go together with a library put before all others")
        env = {"LD_PRELOAD": library, "SKEWCLOCK_S": str(seconds)}
        said = stage.run_program("mailflock-producer", "run", "nothing", code=1, env=env).stderr
        its_clock = datetime.datetime.fromisoformat(re.search(r"ts=(\S+)", said)[1])
        difference = its_clock - datetime.datetime.now(UTC) - datetime.timedelta(seconds=seconds)
        self.assertLess(abs(difference), MINUTE, "the clock is not skewed")
        return env

    def test_hosts_with_wrong_clocks_start_each_occurrence_once(self):
        """The database's clock decides what is due, what is too late, and what is not yet."""
        with Stage(recipients=250) as stage:
            envs = [self.skewed(stage, minutes * 60) for minutes in (-20, 0, 20)]
            late, first, second, third = self.ago(stage, 40, 18, 9, 2)
            future = [third + n * MINUTE for n in (12, 15)]
            for name in ("welcome", "second"):
                self.scheduled(stage, name, [late, first, second, third, *future], start_within="30m")
            self.due(stage)
            for _ in range(2):
                stage.execute("UPDATE schedule SET settled_until=UTC_TIMESTAMP() - INTERVAL 1 HOUR")
                producers = [stage.start_producer("due", env=env) for env in envs]
                for producer in producers:
                    self.assertEqual(producer.wait(), 0, producer.text())
            want = [(name, at) for name in ("second", "welcome") for at in (first, second, third)]
            self.assertEqual(self.occurrences(stage, "done"), want)
            self.assertEqual(self.occurrences(stage, "missed"), [("second", late), ("welcome", late)])
            self.assertEqual(self.occurrences(stage, "open"), [])
            found = messages(stage)
            self.assertEqual(sorted((m["run"], m["chunk"]) for m in found),
                             sorted(stage.rows("SELECT run_id, chunk_no FROM chunk")))
            self.assertEqual(len(found), 6 * 3)

    def test_what_is_in_time_is_caught_up_and_what_is_late_is_missed(self):
        with Stage(recipients=100) as stage:
            late, later, first, second = self.ago(stage, 40, 30, 4, 2)
            self.scheduled(stage, "welcome", (late, later, first, second), start_within="15m")
            self.after_an_outage(stage)
            done = stage.run_program("mailflock-producer", "due")
            self.assertEqual(done.stdout.count("recipients=100 published=1\n"), 2)
            self.assertEqual(done.stderr.count("missed: too late to be started"), 2)
            self.assertEqual(self.occurrences(stage, "missed"), [("welcome", late), ("welcome", later)])
            in_order = stage.rows("SELECT scheduled_at FROM run WHERE publishing='done' ORDER BY id")
            self.assertEqual([at.replace(tzinfo=UTC) for at, in in_order], [first, second])
            self.assertEqual(len(messages(stage)), 2)
            self.after_an_outage(stage)
            done = stage.run_program("mailflock-producer", "due")
            self.assertEqual((done.stdout, done.stderr), ("", ""), "all are settled")

    def test_missed_runs_confuse_nobody(self):
        with Stage(recipients=100) as stage:
            in_time, = self.ago(stage, 2)
            late, = self.ago(stage, 30)
            self.scheduled(stage, "welcome", (late, in_time))
            self.after_an_outage(stage)
            self.due(stage)
            # The newest of all.
            stage.execute("UPDATE run SET id=1000 WHERE publishing='missed'")
            stage.execute("UPDATE run SET id=1 WHERE publishing='done'")
            stage.execute("UPDATE chunk SET run_id=1")
            runs = stage.mailflock_json("runs")["runs"]
            self.assertEqual([(r["run"], r["state"]) for r in runs], [(1000, "missed"), (1, "sending")])
            self.assertEqual(stage.mailflock("runs").count(" missed "), 1)
            self.assertEqual(stage.mailflock_json("status", "welcome")["run"], 1)
            shown = stage.mailflock_json("status", "1000")
            self.assertEqual((shown["publishing"], shown["percent"], shown["recipients"],
                              shown["completed_at"]), ("missed", 0, 0, None))
            self.assertIn("state=missed", stage.mailflock("status", "1000", "--watch"))
            for command in ("pause", "cancel", "retry"):
                self.assertIn("missed", stage.run_program("mailflock", command, "1000", code=1).stderr)
            self.assertIn("run 1 of welcome", stage.mailflock("pause", "welcome"))
            self.assertIn("missed: nothing to do", self.run_at(stage, late.isoformat()))
            self.assertIn("runs=2 chunks=1 recipients=100 deliveries=0 breaches=0 balanced=yes",
                          stage.mailflock("audit"))
            self.assertEqual(self.due(stage), "")
            self.assertEqual(stage.rows("SELECT publishing, control, completed_at FROM run WHERE id=1000"),
                             [("missed", "go", None)])

    def test_one_that_is_too_late_when_all_is_ready_is_missed(self):
        with Stage(recipients=100) as stage:
            at, = self.ago(stage, 2)
            seconds = stage.value("SELECT TIMESTAMPDIFF(SECOND, %s, UTC_TIMESTAMP())",
                                  at.replace(tzinfo=None)) + 15
            self.scheduled(stage, "welcome", [at], start_within=f"{seconds}s")
            self.after_an_outage(stage)
            blocker = stage.connect_database()
            with blocker, blocker.cursor() as cursor:
                cursor.execute("LOCK TABLES subscriber WRITE")  # its audience cannot be looked at
                due = stage.start_producer("due")
                over = "SELECT UTC_TIMESTAMP() > %s + INTERVAL %s SECOND"
                wait_until(lambda: stage.value("SELECT COUNT(*) FROM information_schema.processlist WHERE "
                                               "state LIKE 'Waiting for table%%' AND db=DATABASE()"), 60)
                self.assertFalse(stage.value(over, at.replace(tzinfo=None), seconds), "it was in time")
                wait_until(lambda: stage.value(over, at.replace(tzinfo=None), seconds), 60)
            self.assertEqual(due.wait(), 0, due.text())
            self.due(stage)
            self.assertEqual(self.occurrences(stage), [("welcome", at)])
            self.assertEqual(self.occurrences(stage, "missed"), [("welcome", at)])
            self.assertEqual(messages(stage), [])

    def test_a_campaign_that_takes_long_delays_no_other(self):
        with Stage(recipients=20000) as stage:
            at, = self.ago(stage, 2)
            self.scheduled(stage, "a-slow", [at], audience={"sql": VERY_SLOW, "chunk": 50})
            quick = SLOW.replace("AND SLEEP(0.0001) = 0", "AND id <= 100")
            self.scheduled(stage, "welcome", [at], audience={"sql": quick})
            self.after_an_outage(stage)
            self.hold_gate(stage)
            due = stage.start_producer("due")
            wait_until(lambda: self.occurrences(stage, "done") == [("welcome", at)], 60, "the quick one")
            wait_until(lambda: stage.value("SELECT COUNT(*) FROM chunk") > 5, 60, "chunks of the other")
            due.signal(signal.SIGTERM)
            self.open_gate()
            self.assertEqual(due.wait(), 1, due.text())
            self.assertIn("stopped by a signal", due.text())
            self.assertEqual(self.occurrences(stage, "open"), [("a-slow", at)])
            messages(stage)
            self.scheduled(stage, "a-slow", [at], audience={"chunk": 50})
            stage.execute("UPDATE run SET created_at=created_at - INTERVAL 1 MINUTE")
            self.assertIn("campaign=a-slow", self.due(stage))
            self.assertEqual(self.occurrences(stage, "open"), [])

    def test_children_end_when_their_parent_is_killed(self):
        with Stage(recipients=20000) as stage:
            at, = self.ago(stage, 2)
            self.scheduled(stage, "welcome", [at], audience={"sql": VERY_SLOW, "chunk": 50})
            self.after_an_outage(stage)
            self.hold_gate(stage)
            due = stage.start_producer("due")
            wait_until(lambda: stage.value("SELECT COUNT(*) FROM chunk") > 1, 60, "the first chunks")
            lock = f"mailflock.run.{stage.database}.{stage.run_id('welcome')}"
            self.assertEqual(stage.value("SELECT IS_FREE_LOCK(%s)", lock), 0)
            due.signal(signal.SIGKILL)
            self.open_gate()
            wait_until(lambda: stage.value("SELECT IS_FREE_LOCK(%s)", lock), 60, "the child to end")
            self.assertEqual(self.occurrences(stage, "open"), [("welcome", at)])


class MarkTest(ScheduleTestCase):
    """From when on due looks at a schedule."""

    def test_a_new_campaign_has_no_past(self):
        with Stage(recipients=100) as stage:
            self.scheduled(stage, "welcome", self.ago(stage, 2, 30))
            self.assertEqual(self.due(stage), "")
            self.assertEqual(self.occurrences(stage), [])
            self.assertEqual(stage.rows("SELECT campaign, settled_until <= UTC_TIMESTAMP() AND "
                                        "settled_until > UTC_TIMESTAMP() - INTERVAL 5 MINUTE "
                                        "FROM schedule"), [("welcome", 1)])

    def test_a_new_campaign_begins_with_the_current_minute(self):
        with Stage(recipients=100) as stage:
            now, = self.ago(stage, 0)
            # The minute may end before due looks.
            self.scheduled(stage, "welcome", [now, now + MINUTE])
            self.assertIn("published=1", self.due(stage))

    def test_a_changed_schedule_misses_nothing_of_the_past(self):
        with Stage(recipients=100) as stage:
            late, in_time = self.ago(stage, 30, 2)
            self.after_an_outage(stage)
            self.scheduled(stage, "welcome", [late, in_time])
            self.assertIn("published=1", self.due(stage))
            self.assertEqual(self.occurrences(stage), [("welcome", in_time)])
            self.assertEqual(self.due(stage), "")
            self.scheduled(stage, "welcome", self.ago(stage, 3, 31))
            self.assertEqual(self.due(stage), "", "due has run meanwhile")
            self.assertEqual(self.occurrences(stage), [("welcome", in_time)])

    def test_a_file_that_was_away_has_no_past(self):
        with Stage(recipients=100) as stage:
            self.scheduled(stage, "welcome", self.ago(stage, 5, 30))
            self.after_an_outage(stage)
            path = os.path.join(stage.dir, "campaigns", "welcome.cfg")
            os.rename(path, path + ".off")
            self.assertEqual(self.due(stage), "")
            os.rename(path + ".off", path)
            self.assertEqual(self.due(stage), "")
            self.assertEqual(self.occurrences(stage), [])


class TroubleTest(ScheduleTestCase):
    def test_what_cannot_be_started_is_tried_again(self):
        with Stage(recipients=100) as stage:
            at, = self.ago(stage, 2)
            broken = SLOW.replace("subscriber", "nobody")
            self.scheduled(stage, "broken", [at], audience={"sql": broken})
            self.scheduled(stage, "welcome", [at])
            self.after_an_outage(stage)
            self.assertRegex(self.due(stage, 1), "campaign=broken scheduled_at=.*nobody")
            self.assertEqual(self.occurrences(stage), [("welcome", at)])
            self.due(stage, 1)
            self.scheduled(stage, "broken", [at])
            self.assertIn("campaign=broken", self.due(stage))
            self.assertEqual(self.occurrences(stage, "done"), [("broken", at), ("welcome", at)])

    def test_a_file_that_cannot_be_read_stops_no_other(self):
        with Stage(recipients=100) as stage:
            at, = self.ago(stage, 2)
            for name in ("broken", "welcome"):
                self.scheduled(stage, name, [at])
            self.after_an_outage(stage)
            directory = os.path.join(stage.dir, "campaigns")
            with open(os.path.join(directory, "broken.cfg"), "a", encoding="utf-8") as file:
                file.write("\n}")
            with open(os.path.join(directory, "Misnamed.cfg"), "w", encoding="utf-8"):
                pass
            said = self.due(stage, 1)
            self.assertRegex(said, r"broken\.cfg:\d+: syntax error")
            self.assertRegex(said, r"Misnamed\.cfg: a campaign's file is named with lower-case")
            self.assertEqual(self.occurrences(stage), [("welcome", at)])
            os.remove(os.path.join(directory, "Misnamed.cfg"))
            self.scheduled(stage, "broken", [at])
            self.assertIn("campaign=broken", self.due(stage))

    def test_no_directory_of_campaigns_moves_no_mark(self):
        with Stage(recipients=100) as stage:
            at, = self.ago(stage, 5)
            self.scheduled(stage, "welcome", [at])
            self.after_an_outage(stage)
            path = os.path.join(stage.dir, "campaigns")
            os.rename(path, path + "-away")
            self.assertIn("the campaigns directory", self.due(stage, 1))
            os.rename(path + "-away", path)
            self.assertIn("published=1", self.due(stage))


class ListTest(unittest.TestCase):
    def test_what_comes_is_listed_in_order(self):
        with Stage(init=False) as stage:
            stage.campaign("seoul", schedule=["0 9,13 * * *", "30 17 * * *"], timezone="Asia/Seoul")
            stage.campaign("hourly", schedule=["@hourly"], timezone="America/St_Johns",
                           start_within="5m")
            before = datetime.datetime.now(UTC)
            got = stage.mailflock_json("schedule", "--next", 200)["occurrences"]
            self.assertEqual(len(got), 200)
            times = [datetime.datetime.fromisoformat(o["scheduled_at"]) for o in got]
            self.assertEqual(times, sorted(times))
            self.assertGreater(times[0], before)
            self.assertLess(times[0], before + 61 * MINUTE)
            for o, at in zip(got, times):
                local = at.astimezone(zoneinfo.ZoneInfo(o["timezone"]))
                self.assertEqual(o["local"], local.isoformat())
                if o["campaign"] == "seoul":
                    self.assertIn(local.strftime("%H:%M"), ("09:00", "13:00", "17:30"))
                    self.assertEqual((o["timezone"], o["start_within_s"]), ("Asia/Seoul", 900))
                else:
                    self.assertEqual((local.minute, o["start_within_s"]), (0, 300))
            days = [o["local"][:10] for o in got if o["campaign"] == "seoul"]
            for day in sorted(set(days))[1:-1]:
                self.assertEqual(days.count(day), 3)

    def test_one_campaign_is_listed_for_people(self):
        with Stage(init=False) as stage:
            stage.campaign("welcome", schedule=["0 9 * * mon"], timezone="Asia/Seoul")
            stage.campaign("other", schedule=["* * * * *"])
            lines = stage.mailflock("schedule", "welcome", "--next", 3).splitlines()
            self.assertEqual(len(lines), 4)
            self.assertRegex(lines[0], r"^scheduled +local time +timezone +campaign$")
            for line in lines[1:]:
                self.assertRegex(line, r"^\d{4}-\d\d-\d\dT00:00:00Z  Mon \d{4}-\d\d-\d\dT09:00:00\+09:00 +"
                                       r"Asia/Seoul +welcome$")
            self.assertEqual(len(stage.mailflock("schedule").splitlines()), 11)

    def test_without_a_schedule_nothing_comes(self):
        with Stage(init=False) as stage:
            self.assertEqual(stage.mailflock("schedule"), "no campaign has a schedule\n")
            self.assertEqual(stage.mailflock_json("schedule"), {"occurrences": []})
            done = stage.run_program("mailflock", "schedule", "welcome", code=1)
            self.assertIn("campaign welcome has no schedule", done.stderr)

    def test_a_wrong_file_is_told_and_the_others_are_listed(self):
        with Stage(init=False) as stage:
            stage.campaign("welcome", schedule=["@daily"])
            for wrong, tells in (({"schedule": ["0 0 30 2 *"]}, "column 5: there is no such day"),
                                 ({"timezone": "Asia/Soul"}, "no time zone of /usr/share/zoneinfo")):
                stage.campaign("wrong", wrong)
                done = stage.run_program("mailflock", "schedule", "--next", 1, code=1)
                self.assertRegex(done.stderr, r"wrong\.cfg:\d+: .*" + tells)
                self.assertIn("T00:00:00Z", done.stdout)
                for program, *args in (("mailflock", "schedule", "wrong"),
                                       ("mailflock-producer", "-t", "wrong"),
                                       ("mailflock-producer", "run", "wrong", "--dry-run")):
                    self.assertIn(tells, stage.run_program(program, *args, code=1).stderr)

    def test_usage_is_checked(self):
        with Stage(init=False) as stage:
            for args in (("--next", "0"), ("--next", "1001"), ("--next", "x"), ("--next",), ("a", "b"),
                         ("--all",)):
                with self.subTest(args=args):
                    self.assertIn("mailflock schedule:",
                                  stage.run_program("mailflock", "schedule", *args, code=2).stderr)


if __name__ == "__main__":
    unittest.main(verbosity=2)
