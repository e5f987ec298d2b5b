"""What ./dev demo has to know of a campaign beyond its file in config/campaigns: which sample data
it needs, which relay it meets, and what else has to run for it."""

import itertools
import json
import os
import sys

from programs import Server, Sink, SlowRelay


class Campaign:
    """Sample data is a file of config/samples that adds recipients @first to @last, and has a view
    left_out of those who must get nothing. demo is the Demo of main.py."""

    sample, person, left_out = "subscribers.sql", "subscriber", "have left"
    lane = "bulk"

    def __init__(self, name):
        self.name = name

    def scenes(self, _demo):
        """(name, scene) of what comes before the first mail."""
        return ()

    def start_relay(self, demo):
        return demo.start_server(Sink, "sink", demo.n_consumers, False)

    def rows(self, row):
        """Shows what else is worth a row of the table."""


class UnreadChat(Campaign):
    """Its recipients' addresses come from an HTTP service, and its relay is far away."""

    sample, person, left_out = "chat.sql", "user", "have read everything"
    lane = "fast"
    delay_ms = 50
    service = None

    def scenes(self, demo):
        return [("contacts", lambda: self.start_service(demo))]

    def start_service(self, demo):
        """A campaign takes nothing from the environment: the service's address has to be in its
        file, so a copy of that is what is sent."""
        fake = os.path.join(demo.root, "tests", "fakes", "contact_service.py")
        argv = [sys.executable, "-B", fake]
        self.service = demo.start_server(Server, "contacts", "contacts", argv)
        copies = os.path.join(demo.dir, "campaigns")
        os.mkdir(copies)
        file = f"{self.name}.cfg"
        shipped = os.path.join(demo.root, "config", "campaigns", file)
        with open(shipped, encoding="utf-8") as source:
            text = source.read()
        with open(os.path.join(copies, file), "w", encoding="utf-8") as copy:
            copy.write(text.replace("http://contacts.example.com", self.service.url))
        demo.environment["MAILFLOCK_CAMPAIGNS_DIR"] = copies
        return f"a service that knows addresses, on port {self.service.port}"

    def start_relay(self, demo):
        fakesmtp = os.path.join(demo.build, "tests", "fakesmtp")
        return demo.start_server(SlowRelay, "relay", fakesmtp, self.delay_ms)

    def rows(self, row):
        calls = [json.loads(line) for line in self.service.lines()][1:]  # one for the first mail
        gaps = [b["at"] - a["at"] for a, b in itertools.pairwise(calls)]
        row("contacts", f"{len(calls):,}", f"calls for {sum(call['ids'] for call in calls):,} ids"
            + (f", never less than {min(gaps):.2f} s apart" if gaps else ""))


CAMPAIGNS = {
    "welcome": Campaign("welcome"),
    "newsletter": Campaign("newsletter"),
    "personal-newsletter": Campaign("personal-newsletter"),
    "unread-chat": UnreadChat("unread-chat"),
}
