"""Campaigns with sections, loops and partials, from the audience's JSON columns to the mails that a
server was given; and templates that are wrong, which no run begins with."""

import email
import email.policy
import html
import json
import os
import unittest

from harness import Stage

PERSON = """CREATE TABLE person (id INT PRIMARY KEY, email VARCHAR(99) NOT NULL, name VARCHAR(99),
  ko TINYINT NOT NULL, total DECIMAL(9,2) NOT NULL, rooms JSON) CHARSET utf8mb4"""

CAMPAIGN = {
    "audience": {"sql": "SELECT * FROM person WHERE id > :after ORDER BY id LIMIT :limit",
                 "json": ["rooms"]},
    "content": {"subject": "{{#ko}}{{name}}님, 새 소식{{/ko}}{{^ko}}News for {{name}}{{/ko}}",
                "text": "letter.txt", "html": "mail/letter.html"},
}

TEMPLATES = {
    "letter.txt": "{{> layout/head}}\n"
                  "{{#rooms}}\n"
                  "  {{> room}}\n"
                  "{{/rooms}}\n"
                  "{{^rooms}}\n"
                  "Nothing new.\n"
                  "{{/rooms}}\n"
                  "{{#total}}\n"
                  "In all: {{total}}\n"
                  "{{/total}}\n"
                  "{{> layout/foot}}\n",
    "layout/head.txt": "{{#ko}}안녕하세요{{/ko}}{{^ko}}Hello{{/ko}} {{name}},\n\n",
    "layout/foot.txt": "--\nThe Mill\n",
    "room.txt": "- {{title}}{{#unread}} ({{unread}}){{/unread}}\n"
                "{{#rooms}}\n"
                "  {{> room}}\n"
                "{{/rooms}}\n",
    "mail/letter.html": "{{> layout/head}}\n<ul>\n{{#rooms}}{{> room}}{{/rooms}}</ul>\n"
                        "{{{name}}}{{> layout/foot}}",
    "layout/head.html": "<html><body><p>{{name}}</p>",
    "layout/foot.html": "</body></html>\n",
    "room.html": "<li>{{title}}<ul>{{#rooms}}{{> room}}{{/rooms}}</ul></li>\n",
}


def room(title, unread=0, rooms=()):
    return {"title": title, "unread": unread, "rooms": list(rooms)}


PEOPLE = [
    ("김민지", 1, "3.50", [room("영업 & 지원", 3), room("<잡담>", 0, [room("x", 1, [room("y", 2)])])]),
    ("Zoë", 0, "0.00", [room(f"Room {i}" * 20, i) for i in range(12)]),
    ("O'Brien & Sons", 0, "1.00", []),
    ("Nobody", 0, "0.00", None),
]


def text_of(name, ko, total, rooms):
    """letter.txt as it must come out."""
    def lines(rooms, indent):
        for r in rooms or ():
            yield f"{indent}- {r['title']}" + (f" ({r['unread']})" if r["unread"] else "")
            yield from lines(r["rooms"], indent + "  ")
    body = list(lines(rooms, "  ")) or ["Nothing new."]
    body += [f"In all: {total}"] if float(total) else []
    return "\n".join([("안녕하세요" if ko else "Hello") + f" {name},", "", *body, "--", "The Mill", ""])


def html_of(name, _ko, _total, rooms):
    def escaped(text):
        return html.escape(text).replace("&#x27;", "&#39;")

    def items(rooms):
        return "".join(f"<li>{escaped(r['title'])}<ul>{items(r['rooms'])}</ul></li>\n"
                       for r in rooms or ())
    return (f"<html><body><p>{escaped(name)}</p><ul>\n{items(rooms)}</ul>\n"
            f"{name}</body></html>\n")


class TemplatesTest(unittest.TestCase):
    def stage(self, people, templates=None, **content):
        stage = self.enterContext(Stage())
        stage.execute(PERSON)
        for i, (name, ko, total, rooms) in enumerate(people, 1):
            stage.execute("INSERT INTO person VALUES (%s, %s, %s, %s, %s, %s)", i,
                          f"p{i}@example.net", name, ko, total,
                          None if rooms is None else json.dumps(rooms))
        for folder in ("layout", "mail"):
            os.mkdir(os.path.join(stage.dir, "templates", folder))
        for name, text in {**TEMPLATES, **(templates or {})}.items():
            stage.template(name, text)
        stage.campaign("welcome", CAMPAIGN, content=content)
        return stage

    def send(self, stage, change=None):
        """Produces and sends; returns ({address: parsed mail}, {address: (status, detail)})."""
        server = stage.start_starttls()
        run = stage.produce()
        if change:
            change()
        consumer = stage.start_consumer()
        stage.wait_quiet(run)
        self.assertEqual(consumer.stop(), 0)
        stage.assert_balanced(run)
        stage.expect_log_clean()
        mails = {mail["to"][0]: email.message_from_string(mail["content"], policy=email.policy.SMTP)
                 for mail in server.mails()}
        return mails, {address: tuple(row) for address, *row in stage.rows(
            "SELECT email, status, detail FROM delivery WHERE run_id=%s", run)}

    def part(self, mail, kind):
        return mail.get_body((kind,)).get_payload(decode=True).decode().replace("\r\n", "\n")

    def test_sections_loops_and_partials_arrive_right(self):
        stage = self.stage(PEOPLE)

        def change():  # the run has its templates with it
            for name in TEMPLATES:
                os.unlink(os.path.join(stage.dir, "templates", name))
        mails, _ = self.send(stage, change)
        self.assertEqual(len(mails), len(PEOPLE))
        for i, person in enumerate(PEOPLE, 1):
            with self.subTest(name=person[0]):
                mail = mails[f"p{i}@example.net"]
                name, ko = person[:2]
                self.assertEqual(mail["subject"], f"{name}님, 새 소식" if ko else f"News for {name}")
                self.assertEqual(self.part(mail, "plain"), text_of(*person))
                self.assertEqual(self.part(mail, "html"), html_of(*person))

    def test_what_the_data_make_impossible_fails_the_recipient_alone(self):
        people = [("Ada", 0, "1.00", [room("x", rooms=[room("y")])]),
                  ("Bob", 0, "1.00", [{"unread": 1, "rooms": []}]),
                  ("Cy", 0, "1.00", [{"title": "without rooms, so those around it are meant"}]),
                  ("Di", 0, "1.00", [{"title": ["no", "text"], "rooms": []}]),
                  ("Eve", 0, "1.00", [room("z")])]
        stage = self.stage(people, {"letter.txt": "{{#rooms}}{{> item}}{{/rooms}}",
                                    "item.txt": "{{title}}{{#rooms}}({{> item}}){{/rooms}}"}, html="")
        mails, ledger = self.send(stage)
        self.assertEqual(self.part(mails["p1@example.net"], "plain"), "x(y)\n")
        self.assertEqual(self.part(mails["p5@example.net"], "plain"), "z\n")
        self.assertEqual(len(mails), 2)
        self.assertEqual(ledger["p2@example.net"], ("failed", "variable title is missing"))
        self.assertEqual(ledger["p3@example.net"],
                         ("failed", "section rooms is nested too deeply, in more than 32 sections"))
        self.assertEqual(ledger["p4@example.net"], ("failed", "variable title is not text"))

    def test_a_mail_that_grows_past_all_measure_fails_the_recipient_alone(self):
        people = [("Ada", 0, "1.00", [{"title": "x"}]), ("Bob", 0, "1.00", [{"title": "x"}] * 80),
                  ("Cy", 0, "1.00", [{"title": "x"}] * 300), ("Eve", 0, "1.00", [])]
        stage = self.stage(people, {"letter.txt": "{{#rooms}}" * 3 + "x" * 80 + "{{/rooms}}" * 3},
                           html="")
        mails, ledger = self.send(stage)
        for address in ("p2@example.net", "p3@example.net"):
            self.assertEqual(ledger[address], ("failed", "the mail is larger than 8388608 bytes"))
        self.assertEqual(sorted(mails), ["p1@example.net", "p4@example.net"])

    def test_a_mail_that_repeats_nothing_for_ever_fails_the_recipient_alone(self):
        people = [("Ada", 0, "1.00", [{"title": ""}]), ("Bob", 0, "1.00", [{"title": ""}] * 80)]
        stage = self.stage(people, {"letter.txt": "{{#rooms}}" * 6 + "{{title}}" + "{{/rooms}}" * 6},
                           html="")
        mails, ledger = self.send(stage)
        self.assertEqual(ledger["p2@example.net"],
                         ("failed", "the template repeats more than a mail may"))
        self.assertEqual(list(mails), ["p1@example.net"])

    def test_no_run_begins_with_a_wrong_template(self):
        stage = self.stage([])
        os.mkdir(os.path.join(stage.dir, "outside"))
        with open(os.path.join(stage.dir, "outside", "secret.txt"), "w", encoding="ascii") as file:
            file.write("secret")
        os.symlink("../outside/secret.txt", os.path.join(stage.dir, "templates", "link.txt"))
        wrong = {
            "a\n  {{#rooms}}": "letter.txt:2:3: a section that is not closed: {{#rooms}}",
            "{{#a}}\n{{#b}}\n{{/a}}{{/b}}":
                "letter.txt:3:1: {{/a}} where {{/b}} is due, for the section opened in line 2",
            "{{> nowhere}}": "letter.txt:1:1: cannot open the file",
            "x {{> ../outside/secret}}":
                "letter.txt:1:3: '../outside/secret.txt' must be a path inside the templates directory",
            "{{> link}}": "letter.txt:1:1: 'link.txt' is a link that leads outside",
            "{{> cycle}}": "cycle.txt:2:1: {{>cycle}} closes a cycle of partials",
            "{{#a}}" * 33 + "{{/a}}" * 33: "letter.txt:1:193: sections nested deeper than 32",
        }
        stage.template("cycle.txt", "{{^rooms}}\n{{> cycle}}\n{{/rooms}}")
        for text, want in wrong.items():
            with self.subTest(text=text[:40]):
                stage.template("letter.txt", text)
                stage.produce(code=1)
                self.assertIn(want, stage.processes[-1].text())
        self.assertEqual(stage.value("SELECT COUNT(*) FROM run"), 0)


if __name__ == "__main__":
    unittest.main()
