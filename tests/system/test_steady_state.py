"""The sender allocates nothing per mail: its allocations do not grow with the number of mails."""

import os
import unittest

from environment import binary
from harness import Stage

FACTS = {
    "audience": {"sql": "SELECT id, email, name, JSON_ARRAY(name, plan, city) AS facts FROM subscriber "
                        "WHERE id > :after ORDER BY id LIMIT :limit"},
    "content": {"subject": "{{#facts}}{{.}} {{/facts}}", "text": "facts.txt", "html": "facts.html"},
}
LETTER = {
    "content": {"text": "", "html": "", "markdown": "letter.md", "layout": "layout.html",
                "attachments": ["facts.txt", "fact.html"]},
}
TEMPLATES = {
    "letter.md": "Dear *{{name}}*,\n{{#city}}\n- {{city}}\n{{/city}}\n",
    "layout.html": "<body>{{> content}}</body>",
    "facts.txt": "{{#name}}Dear {{.}}{{/name}},\n{{#facts}}\n {{> fact}}\n{{/facts}}\n{{^gone}}bye{{/gone}}\n",
    "facts.html": "<ul>{{#facts}}{{> fact}}{{/facts}}</ul>\n" + "<p>사실</p>\n" * 20,
    "fact.txt": "- {{.}}\n",
    "fact.html": "<li>{{.}} &amp; {{{name}}}</li>\n",
}


def sender_allocations(recipients, campaign):
    """Allocations of the sender's thread over one run of that many recipients."""
    with Stage(recipients=recipients) as stage:
        for name, text in TEMPLATES.items():
            stage.template(name, text)
        stage.campaign("welcome", campaign, audience={"chunk": 500})
        counts = os.path.join(stage.dir, "allocations")
        stage.start_fakesmtp()
        library = os.path.join(os.path.dirname(binary("fakesmtp")), "libmalloccount.so")
        consumer = stage.start_consumer(env={"LD_PRELOAD": library, "MALLOCCOUNT": counts})
        run = stage.produce("welcome")
        assert stage.wait_complete(run)["sent"] == recipients
        stage.assert_balanced(run)
        assert consumer.stop() == 0
        with open(counts, encoding="ascii") as lines:
            return sum(int(n) for name, n in map(str.split, lines) if name == "sender")


class SteadyState(unittest.TestCase):
    def check(self, campaign):
        few, many = (sender_allocations(n, campaign) for n in (1000, 11000))
        print(f"sender's allocations: {few} for 1,000 mails, {many} for 11,000")
        self.assertGreater(few, 0, "the library did not count")
        # 20 chunks more, some allocations each; 10,000 mails more, none each
        self.assertLess(many - few, 1000)

    def test_the_sender_allocates_nothing_per_mail(self):
        self.check({})

    def test_nor_for_sections_loops_and_partials(self):
        self.check(FACTS)

    def test_nor_for_markdown_and_attachments(self):
        self.check(LETTER)


if __name__ == "__main__":
    unittest.main()
