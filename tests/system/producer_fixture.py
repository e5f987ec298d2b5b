"""What the tests of mailflock-producer share."""

import contextlib
import json
import unittest

import pymysql

from harness import wait_until

AT = "2026-01-02T03:04:05Z"
LANE = "mailflock.bulk.relay"
# Every row takes a while, and a gate is before those from 3000 on: while a test holds it shut, no
# audience comes to its end.
GATE = "CONCAT('gate.', DATABASE())"
SLOW = ("SELECT id, email, name, plan, city FROM subscriber WHERE id > :after AND SLEEP(0.0001) = 0 "
        f"AND (id < 3000 OR (GET_LOCK({GATE}, 600) AND RELEASE_LOCK({GATE}))) "
        "ORDER BY id LIMIT :limit")


def messages(stage, queue=LANE):
    """Takes everything out of a queue: the decoded bodies, with key and message id."""
    channel = stage.channel()
    found = []
    while True:
        method, properties, body = channel.basic_get(queue, auto_ack=True)
        if not method:
            break
        message = json.loads(body)
        message["key"], message["message_id"] = method.routing_key, properties.message_id
        found.append(message)
    channel.close()
    return found


def ids(found):
    return [r["id"] for m in found for r in m["recipients"]]


def by_chunk(found):
    """chunk -> the one message of it; copies must be equal."""
    chunks = {}
    for m in found:
        assert chunks.setdefault(m["chunk"], m) == m, f"chunk {m['chunk']} differs from its copy"
    return [chunks[no] for no in sorted(chunks)]


def audience(sql, chunk=100):
    return {"audience": {"sql": sql, "chunk": chunk}}


class ProducerTestCase(unittest.TestCase):
    def run_at(self, stage, at=AT, code=0, env=None, campaign="welcome"):
        done = stage.run_program("mailflock-producer", "run", campaign, "--at", at, code=code, env=env)
        return done.stdout if code == 0 else done.stderr

    gate = None

    def hold_gate(self, stage):
        """Shuts the gate of SLOW. For less than 30 s, after which a producer takes its connection for
        lost."""
        self.gate = stage.connect_database()
        self.addCleanup(self.open_gate)
        with self.gate.cursor() as cursor:
            cursor.execute(f"SELECT GET_LOCK({GATE}, 0)")

    def open_gate(self):
        gate, self.gate = self.gate, None
        if gate:
            with contextlib.suppress(pymysql.err.MySQLError):  # a test may have killed it
                gate.close()

    def start_slow(self, stage, chunks=2):
        """A producer that has chunks in the ledger and is not at its end: it does not come there before
        open_gate()."""
        self.hold_gate(stage)
        producer = stage.start_producer("run", "welcome", "--at", AT)
        wait_until(lambda: not producer.alive or
                   stage.value("SELECT COUNT(*) FROM chunk") >= chunks, 60, "the first chunks")
        self.assertTrue(producer.alive, producer.text())
        return producer

    def states(self, stage):
        return dict(stage.rows("SELECT state, COUNT(*) FROM chunk GROUP BY state"))

    def assert_whole(self, stage, count, found):
        """Every id from 1 to count is in exactly one chunk row, and each chunk in the messages."""
        found = by_chunk(found)
        rows = stage.rows("SELECT chunk_no, first_id, last_id, recipients FROM chunk ORDER BY chunk_no")
        self.assertEqual([r[0] for r in rows], list(range(len(rows))))
        self.assertEqual([(m["chunk"], m["recipients"][0]["id"], m["recipients"][-1]["id"],
                           len(m["recipients"])) for m in found], [tuple(r) for r in rows])
        self.assertEqual(ids(found), [str(i) for i in range(1, count + 1)])
        self.assertEqual(self.states(stage), {"queued": len(rows)})
        self.assertEqual(stage.value("SELECT publishing FROM run"), "done")
