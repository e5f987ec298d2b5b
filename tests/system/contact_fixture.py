"""What the tests of enrichment share: a stage whose campaign asks a contact service in a thread of the
test, which counts and times the calls."""

import os
import sys

from environment import ROOT
from harness import Stage
from producer_fixture import AT, ProducerTestCase, by_chunk, ids, messages

sys.path.insert(0, os.path.join(ROOT, "tests", "fakes"))
from contact_service import ContactService  # noqa: E402

# The address comes from the service.
SQL = "SELECT id, plan FROM subscriber WHERE active = 1 AND id > :after ORDER BY id LIMIT :limit"


class ContactTestCase(ProducerTestCase):
    def stage_with(self, recipients=0, enrich=None, chunk=100, delay_s=0, settings=None, **more):
        """stage, service: campaign welcome asks the service, without a delay unless told."""
        service = self.enterContext(ContactService(delay_s=delay_s))
        campaign = {"audience": {"sql": SQL, "chunk": chunk},
                    "enrich": {"url": service.url, "delay": "0s", "retry": ["100ms"], **(enrich or {})},
                    **more}
        stage = self.enterContext(Stage(recipients=recipients, campaign=campaign, settings=settings))
        self.enrich = campaign["enrich"]
        return stage, service

    def due(self, stage, code=0):
        """`due` once, also for runs that began just now."""
        stage.execute("UPDATE run SET created_at=created_at - INTERVAL 1 MINUTE")
        done = stage.run_program("mailflock-producer", "due", code=code)
        return done.stdout + done.stderr

    def assert_enriched(self, service, found, count, fails=()):
        """Everybody from 1 to count is in the messages once, in order, with what the service says."""
        found = by_chunk(found)
        self.assertEqual(ids(found), [str(i) for i in range(1, count + 1)])
        for recipient in (r for m in found for r in m["recipients"]):
            if recipient["id"] in fails:
                self.assertIn("fail", recipient)
                continue
            want = service.contact(recipient["id"])
            self.assertNotIn("fail", recipient)
            self.assertEqual(recipient["to"], want["email"])
            for name in ("email", "name", "city"):
                self.assertEqual(recipient["vars"][name], want[name])
            self.assertEqual(recipient["vars"]["id"], int(recipient["id"]))


__all__ = ["AT", "SQL", "ContactTestCase", "by_chunk", "ids", "messages"]
