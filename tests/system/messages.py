"""Chunk messages in tests: taken out of their queue, changed, and published again."""

import json

LANE, DEAD = "mailflock.bulk.relay", "mailflock.dead"


def take_chunks(stage, queue=LANE):
    """Takes the queue's messages out of it: decoded."""
    channel, found = stage.channel(), []
    while True:
        method, _, body = channel.basic_get(queue, auto_ack=True)
        if not method:
            channel.close()
            return found
        found.append(json.loads(body))


def message_id(chunk):
    return f"{chunk['run']}/{chunk['chunk']}/{chunk['attempt']}"


def put(stage, message, routing_key="bulk.relay", **changes):
    """Publishes a chunk message, as it was or changed."""
    message = {**message, **changes}
    stage.publish(json.dumps(message), routing_key, message_id=message_id(message))


def old_lane(stage, delay_s=None):
    """Declares the queue that lane bulk had in earlier versions, and one of its delay queues."""
    dead = {"x-queue-type": "quorum", "x-dead-letter-strategy": "at-least-once",
            "x-overflow": "reject-publish"}
    channel = stage.channel()
    channel.queue_declare("mailflock.bulk", durable=True, arguments={
        **dead, "x-delivery-limit": 1000, "x-dead-letter-exchange": "mailflock.dead"})
    channel.queue_bind("mailflock.bulk", "mailflock", "bulk")
    channel.queue_bind("mailflock.dead", "mailflock.dead", "bulk")
    if delay_s:
        name = f"bulk.wait.{delay_s}"
        channel.queue_declare(f"mailflock.{name}", durable=True, arguments={
            **dead, "x-message-ttl": 1000 * delay_s, "x-dead-letter-exchange": "mailflock",
            "x-dead-letter-routing-key": "bulk"})
        channel.queue_bind(f"mailflock.{name}", "mailflock", name)
    channel.close()
