"""Chunk messages in tests: taken out of their queue, changed, and published again."""

import json

LANE, DEAD = "mailflock.bulk", "mailflock.dead"


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


def put(stage, message, **changes):
    """Publishes a chunk message, as it was or changed."""
    message = {**message, **changes}
    stage.publish(json.dumps(message), message_id=message_id(message))
