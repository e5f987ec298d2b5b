"""The campaigns of config/, with their templates and sample data, on a stage; and their mails as a
reader's program takes them apart."""

import email
import email.policy
import html.parser
import os
import shutil

from pymysql.constants import CLIENT

from harness import ROOT, Stage

CONFIG = os.path.join(ROOT, "config")
VOID = {"br", "hr", "img", "input", "link", "meta"}


def names():
    """Of all campaigns that are shipped."""
    files = os.listdir(os.path.join(CONFIG, "campaigns"))
    return sorted(name.removesuffix(".cfg") for name in files if name.endswith(".cfg"))


def samples():
    return os.listdir(os.path.join(CONFIG, "samples"))


class ShippedStage(Stage):
    """A stage with copies of config/campaigns and config/templates."""

    def _enter(self):
        super()._enter()
        for folder in ("campaigns", "templates"):
            shutil.copytree(os.path.join(CONFIG, folder), os.path.join(self.dir, folder),
                            dirs_exist_ok=True)

    def edit(self, campaign, *changes):
        """Changes (old, new) in the copy of a campaign's file."""
        path = os.path.join(self.dir, "campaigns", f"{campaign}.cfg")
        with open(path, encoding="utf-8") as file:
            text = file.read()
        for old, new in changes:
            assert text.count(old) == 1, f"{old!r} is not once in {campaign}.cfg"
            text = text.replace(old, new)
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)

    def load(self, sample, last, first=1):
        """Recipients first to last of a file in config/samples."""
        with open(os.path.join(CONFIG, "samples", sample), encoding="utf-8") as file, \
                self.connect_database(client_flag=CLIENT.MULTI_STATEMENTS) as db, \
                db.cursor() as cursor:
            cursor.execute("SET @first = %s, @last = %s", (first, last))
            cursor.execute(file.read())
            while cursor.nextset():
                pass

    def send(self, campaign, consumers=2, at=None, **more):
        """A run to its end, to a server that keeps the mails: {address: Mail}."""
        server = self.start_starttls()
        run = self.produce(campaign, at=at)
        workers = self.start_consumers(consumers, **more)
        self.wait_quiet(run)
        self.assert_balanced(run)
        assert [worker.stop() for worker in workers] == [0] * consumers
        self.expect_log_clean(levels=("error", "warn"))
        mails = [Mail(mail) for mail in server.mails()]
        assert len({mail.to for mail in mails}) == len(mails), "somebody got two mails"
        return {mail.to: mail for mail in mails}


class Page(html.parser.HTMLParser):
    """An HTML part: its text, its links, and what is wrong with its tags."""

    def __init__(self, text):
        super().__init__()
        self.text, self.links, self.wrong, self.lang = "", [], [], None
        self._open = []
        self.feed(text)
        self.close()
        if self._open:
            self.wrong.append(f"never closed: {self._open}")

    def handle_starttag(self, tag, attrs):
        attrs = dict(attrs)
        if tag == "html":
            self.lang = attrs.get("lang")
        if tag == "a":
            self.links.append(attrs["href"])
        if tag not in VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)

    def handle_endtag(self, tag):
        if not self._open or self._open.pop() != tag:
            self.wrong.append(f"</{tag}> in line {self.getpos()[0]}")

    def handle_data(self, data):
        self.text += data


class Mail:
    """One mail that arrived: to, subject, text, page, and the whole as message."""

    def __init__(self, kept):
        (self.to,) = kept["to"]
        self.message = email.message_from_string(kept["content"], policy=email.policy.default)
        self.subject = self.message["Subject"]
        self.text, page = (self.message.get_body((kind,)).get_content().replace("\r\n", "\n")
                           for kind in ("plain", "html"))
        self.page = Page(page)

    def problems(self):
        """What a mail must not be, whatever is in it; an empty list is good."""
        found = [*self.message.defects, *self.page.wrong]
        found += [f"{where} has {tag!r}" for tag in ("{{", "}}") for where, text in
                  (("the text", self.text), ("the page", self.page.text)) if tag in text]
        for line in self.text.splitlines():
            if len(line) > 200:
                found.append(f"a long line in the text: {line[:40]}")
        if self.message["To"].addresses[0].addr_spec != self.to:
            found.append(f"to {self.to}, but its header says {self.message['To']}")
        return found
