"""Each campaign of config/campaigns, end to end with its own sample data: the right people, and for
each of them the right mail. What a mail must hold is computed here, from the tables."""

import contextlib
import datetime
import json
import math
import re
import time
import unittest

import shipped
from contact_fixture import ContactService
from harness import ROOT
from shipped import ShippedStage


class Newsletter(unittest.TestCase):
    """One Markdown file for all who are active."""

    RECIPIENTS = 250

    def test_every_active_subscriber_gets_it(self):
        with ShippedStage() as stage:
            stage.load("subscribers.sql", self.RECIPIENTS)
            mails = stage.send("newsletter")
            people = stage.rows("SELECT id, email, name FROM subscriber WHERE active")
            self.assertEqual(len(people), self.RECIPIENTS)
            self.assertEqual(set(mails), {address for _, address, _ in people})
            texts, pages = set(), set()
            for number, address, name in people:
                mail = mails[address]
                self.assertEqual(mail.problems(), [])
                self.assertIn(f"{name}님, 안녕하세요", mail.text)
                self.assertIn(f"{name}님, 안녕하세요", mail.page.text)
                self.assertIn(f"https://example.com/meetups?id={number}", mail.page.links)
                self.assertEqual(mail.page.links[-1],
                                 f"https://example.com/unsubscribe?id={number}")
                texts.add(mail.text.replace(f"{name}님", "").replace(f"id={number}", ""))
                pages.add(mail.page.text.replace(f"{name}님", ""))
            self.check(*texts, *pages, mail.page)  # the same for everybody but for that

    def check(self, text, page_text, page):
        """Markdown became HTML, and the HTML a text."""
        for shown in (text, page_text):
            for part in ("화요일 편지 147호", "밤 기차를 타고 바다로", "By night train to the sea",
                         "서울", "Mailflock, 12 Example Street, Seoul"):
                self.assertIn(part, shown)
            for mark in ("**", "](", "\\"):
                self.assertNotIn(mark, shown)
        self.assertNotRegex(page_text, r"(?m)^#|^>|^- ")
        self.assertNotRegex(text, r"<\w")
        self.assertEqual(set(page.links) - set(re.findall(r"https://[^\s)>]+", text)) -
                         {link for link in page.links if "id=" in link}, set())


class PersonalNewsletter(unittest.TestCase):
    """Name, language and preferences decide what is in it."""

    RECIPIENTS = 300
    # topic -> (title, a part of its summary)
    KOREAN = {
        "technology": ("지하철에서도 열리는 웹사이트", "14 kB에 담은"),
        "travel": ("밤 기차를 타고 바다로", "청량리에서 막차를"),
        "food": ("된장찌개, 열 집의 열 가지 방법", "같은 재료로 시작해"),
        "books": ("서점 주인 다섯 명이 고른 다섯 권", "가장 많이 팔린 책이"),
    }
    ENGLISH = {
        "technology": ("A website that opens in the subway", "Three teams fitted"),
        "travel": ("By night train to the sea", "The last train out of"),
        "food": ("One stew, ten kitchens", "All ten began with"),
        "books": ("Five booksellers, five books", "We did not ask which"),
    }

    def check(self, mail, person):
        (number, address, name, language, preferences) = person
        preferences = json.loads(preferences) if preferences else {}
        topics = {topic for topic, on in (preferences.get("topics") or {}).items() if on}
        own, other = ((self.KOREAN, self.ENGLISH) if language == "ko" else
                      (self.ENGLISH, self.KOREAN))
        self.assertEqual(mail.problems(), [])
        self.assertEqual(mail.message["To"].addresses[0].display_name, name)
        self.assertEqual(mail.subject, f"{name}님의 화요일 편지" if language == "ko" else
                         f"{name}, your Tuesday letter")
        self.assertEqual(mail.page.lang, language)
        for text in (mail.text, mail.page.text):
            for topic, (title, summary) in own.items():
                wanted = topic in topics or (not topics and topic == "travel")
                self.assertEqual(text.count(title), wanted, (topic, text))
                self.assertEqual(text.count(summary),
                                 wanted and not (topics and preferences.get("brief")), text)
            for title, _ in other.values():
                self.assertNotIn(title, text)
            chooses = "관심 주제 고르기" if language == "ko" else "Choose your topics"
            self.assertEqual(text.count(chooses), not topics, text)
            places = [text.find(saved["title"]) for saved in preferences.get("saved", [])]
            self.assertEqual(places, sorted(places))
            self.assertNotIn(-1, places)
            heading = "읽으려고 담아 두신 글" if language == "ko" else "Saved for later"
            self.assertEqual(text.count(heading), bool(places), text)
            self.assertEqual(text.count("Mailflock, 12 Example Street, Seoul"), 1)
        unsubscribe = f"https://example.com/unsubscribe?id={number}"
        self.assertEqual(mail.message["List-Unsubscribe"], f"<{unsubscribe}>")
        self.assertEqual(mail.page.links[-1], unsubscribe)
        return language, frozenset(topics), bool(preferences.get("brief")), bool(places)

    def test_each_reader_gets_what_they_chose(self):
        with ShippedStage() as stage:
            stage.load("subscribers.sql", self.RECIPIENTS)
            mails = stage.send("personal-newsletter")
            people = stage.rows("SELECT id, email, name, language, preferences FROM subscriber "
                                "WHERE active")
            self.assertEqual(len(people), self.RECIPIENTS)
            self.assertGreater(stage.value("SELECT COUNT(*) FROM left_out"), 10)
            self.assertEqual(set(mails), {person[1] for person in people})
            kinds = {self.check(mails[person[1]], person) for person in people}
            # The sample data must be worth the test.
            self.assertEqual({language for language, *_ in kinds}, {"ko", "en"})
            self.assertGreater(len({topics for _, topics, *_ in kinds}), 10)
            self.assertIn(frozenset(), {topics for _, topics, *_ in kinds})
            self.assertEqual({(brief, saved) for *_, brief, saved in kinds},
                             {(a, b) for a in (False, True) for b in (False, True)})


class UnreadChat(unittest.TestCase):
    """Who has read everything gets nothing; addresses and names come from a service."""

    BATCH, DELAY_S = 300, 0.2

    @contextlib.contextmanager
    def stage(self, users):
        settings = {"worker": {"lane": "fast"}, "transports": {"relay": {"connections": 20}}}
        with ContactService() as service, ShippedStage(settings=settings) as stage:
            stage.edit("unread-chat", ("http://contacts.example.com/contacts", service.url))
            stage.load("chat.sql", users)
            yield stage, service

    def unread(self, stage):
        """user -> (company, language, [(title, unread, latest)]), of those with anything unread."""
        users = {}
        for user, company, language, *room in stage.rows(
                "SELECT u.id, u.company, u.language, r.title, r.last_no - m.read_no, r.last_text "
                "FROM chat_room r JOIN chat_member m ON m.room_id = r.id "
                "JOIN business_user u ON u.id = m.user_id WHERE r.last_no <> m.read_no"):
            users.setdefault(user, (company, language, []))[2].append(tuple(room))
        return users

    def check_calls(self, service, users, began):
        """As few as can be, in order, each once, and not too fast: none was sent before its time since
        `began`, and it came here later than that."""
        self.assertEqual(service.asked(), [str(user) for user in sorted(users)])
        self.assertEqual(len(service.calls), math.ceil(len(users) / self.BATCH))
        for k, call in enumerate(service.calls):
            self.assertGreaterEqual(call.at - began, k * self.DELAY_S, k)

    def check_mail(self, mail, user, contact, company, language, rooms):
        self.assertEqual(mail.problems(), [])
        total = sum(unread for _, unread, _ in rooms)
        self.assertEqual(mail.message["To"].addresses[0].display_name, contact["name"])
        self.assertEqual(mail.subject, f"읽지 않은 메시지 {total}건" if language == "ko" else
                         f"Unread messages: {total}")
        self.assertEqual(mail.page.lang, language)
        self.assertEqual(mail.page.links[0], f"https://admin.example.com/chats?user={user}")
        self.assertIn(mail.page.links[0], mail.text)
        for text in (mail.text, mail.page.text):
            self.assertIn(contact["name"], text)
            self.assertIn(company, text)
            self.assertIn(f"메시지가 {total}건" if language == "ko" else f"messages: {total}", text)
            self.assertEqual(sum(text.count(latest) for latest in {room[2] for room in rooms}),
                             len(rooms))
        listed = re.findall(r"(?m)^- (.*) \((\d+)\)\n  (.*)$", mail.text)
        self.assertEqual(sorted(listed),
                         sorted((title, str(n), latest) for title, n, latest in rooms))
        shown = re.findall(r"(?m)^(.* · .*)\n(\d+)$", mail.page.text)
        self.assertEqual(sorted(shown),
                         sorted((title + latest, str(n)) for title, n, latest in rooms))

    def check_run(self, stage, service, at):
        service.calls.clear()
        users = self.unread(stage)
        began = time.monotonic()
        mails = stage.send("unread-chat", at=at)
        self.check_calls(service, users, began)
        contacts = {user: service.contact(str(user)) for user in users}
        self.assertEqual(set(mails), {contact["email"] for contact in contacts.values()})
        for user, about in users.items():
            self.check_mail(mails[contacts[user]["email"]], user, contacts[user], *about)
        return set(users)

    def test_who_has_read_everything_by_then_gets_nothing(self):
        with self.stage(users=350) as (stage, service):
            now = datetime.datetime.now(datetime.timezone.utc).replace(microsecond=0)
            hour = datetime.timedelta(hours=1)
            morning = self.check_run(stage, service, (now - hour).isoformat())
            self.assertEqual(len(morning), 350)
            nothing_unread = stage.value("SELECT COUNT(*) FROM left_out")
            self.assertGreater(nothing_unread, 100)
            # Until noon some read everything, and somebody one of several rooms.
            stage.execute("UPDATE chat_member m JOIN chat_room r ON r.id = m.room_id "
                          "SET m.read_no = r.last_no WHERE m.user_id % 5 = 0 OR m.room_id = 61")
            noon = self.check_run(stage, service, now.isoformat())
            self.assertEqual(noon, {user for user in morning if user % 5})
            self.assertIn(6, noon)

    def test_it_is_due_three_times_a_day_in_seoul(self):
        with ShippedStage() as stage:
            listed = stage.mailflock("schedule", "--next", 9).splitlines()[1:]
            self.assertEqual(len(listed), 9)
            hours = set()
            for line in listed:
                utc, _, local, zone, campaign = line.split()
                self.assertEqual((zone, campaign), ("Asia/Seoul", "unread-chat"))
                utc = datetime.datetime.fromisoformat(utc)
                self.assertEqual(datetime.datetime.fromisoformat(local), utc)
                self.assertEqual((utc.minute, utc.second), (0, 0))
                hours.add(utc.hour)
            self.assertEqual(hours, {0, 4, 8})

    def test_due_sends_it_once(self):
        with self.stage(users=120) as (stage, service):
            at = stage.value("SELECT UTC_TIMESTAMP() - INTERVAL 2 MINUTE").replace(second=0)
            in_seoul = at + datetime.timedelta(hours=9)
            stage.edit("unread-chat", ("0 9,13,17 * * *", in_seoul.strftime("%-M %-H * * *")))
            stage.run_program("mailflock-producer", "due")  # for a new campaign this is past
            stage.execute("UPDATE schedule SET settled_until = %s - INTERVAL 1 MINUTE", at)
            relay = stage.start_fakesmtp()
            stage.start_consumer()
            began = time.monotonic()
            for _ in range(2):
                stage.run_program("mailflock-producer", "due")
            (run, scheduled_at), = stage.rows("SELECT id, scheduled_at FROM run")
            self.assertEqual(scheduled_at, at)
            self.assertEqual(stage.wait_quiet(run)["sent"], 120)
            self.assertEqual(relay.accepted(), 120)
            self.check_calls(service, self.unread(stage), began)

    def test_three_thousand_at_a_slow_relay(self):
        with self.stage(users=3000) as (stage, service):
            relay = stage.start_fakesmtp(delay_ms=50)
            workers = stage.start_consumers(2)
            began = time.monotonic()
            run = stage.produce("unread-chat")
            stage.wait_quiet(run, 120)
            self.assertEqual(stage.assert_balanced(run)["sent"], 3000)
            self.assertEqual(relay.accepted(), 3000)
            self.check_calls(service, self.unread(stage), began)
            seconds = float(stage.value(
                "SELECT TIMESTAMPDIFF(MICROSECOND, r.scheduled_at, MAX(d.at)) / 1000000 FROM run r "
                "JOIN delivery d ON d.run_id = r.id WHERE r.id = %s", run))
            print(f"unread-chat: 3,000 mails accepted {seconds:.1f} s after the scheduled moment")
            self.assertEqual([worker.stop() for worker in workers], [0, 0])


class AllOfThem(unittest.TestCase):
    def test_the_producer_accepts_every_shipped_campaign(self):
        with ShippedStage(init=False) as stage:
            said = stage.run_program("mailflock-producer", "-t")
            for name in shipped.names():
                self.assertIn(name, said.stdout + said.stderr)

    def test_mailflock_check_finds_nothing_to_say_about_them(self):
        with ContactService() as service, ShippedStage() as stage:
            stage.start_fakesmtp()
            stage.edit("unread-chat", ("http://contacts.example.com/contacts", service.url))
            for sample in shipped.samples():
                stage.load(sample, 1000)
            for name in shipped.names():
                lines = stage.mailflock("check", name).splitlines()
                self.assertTrue(lines, name)
                for line in lines:
                    self.assertRegex(line, "^ok ", name)

    def test_the_demo_knows_every_shipped_campaign(self):
        with ShippedStage(init=False) as stage:
            demo = stage.start("dev", [f"{ROOT}/dev", "demo", "--help"])
            self.assertEqual(demo.wait(), 0)
            for name in shipped.names():
                self.assertRegex(demo.text(), rf"(?m)^  {name} ")


if __name__ == "__main__":
    unittest.main()
