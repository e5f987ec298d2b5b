"""Each campaign of config/campaigns, end to end with its own sample data: the right people, and for
each of them the right mail. What a mail must hold is computed here, from the tables."""

import json
import re
import unittest

import shipped
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
                self.assertEqual(mail.page.links[-1], f"https://example.com/unsubscribe?id={number}")
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


class AllOfThem(unittest.TestCase):
    def test_the_producer_accepts_every_shipped_campaign(self):
        with ShippedStage(init=False) as stage:
            said = stage.run_program("mailflock-producer", "-t")
            for name in shipped.names():
                self.assertIn(name, said.stdout + said.stderr)

    def test_mailflock_check_finds_nothing_to_say_about_them(self):
        with ShippedStage() as stage:
            stage.start_fakesmtp()
            for sample in shipped.samples():
                stage.load(sample, 1000)
            for name in shipped.names():
                for line in stage.mailflock("check", name).splitlines():
                    self.assertRegex(line, "^ok ", name)

    def test_the_demo_knows_every_shipped_campaign(self):
        with ShippedStage(init=False) as stage:
            demo = stage.start("dev", [f"{ROOT}/dev", "demo", "--help"])
            self.assertEqual(demo.wait(), 0)
            for name in shipped.names():
                self.assertRegex(demo.text(), rf"(?m)^  {name} ")


if __name__ == "__main__":
    unittest.main()
