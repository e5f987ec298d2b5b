"""Rows against others, and the producer alone."""

from contestants import (CHUNK, NODE_QUEUE, PEERS, Failed, Ground, Mailflock, Node, have_node,
                         mail_size, same_size)
import latency
from figures import Figure, ratios
from row import (SESSIONS, Result, Skipped, accepted_per_s, cost_lines, in_turn,
                 mails_in_a_commit, of, peak_mib, per_s)


def whole(plan, consumers=1):
    """The whole system against SMTP alone."""
    n = plan["whole"]
    result = Result(f"whole system, {of(consumers)}, {n:,} recipients, {SESSIONS} sessions in "
                    "all, against smtp-source -d; same sink")
    with Ground(n, SESSIONS // consumers) as stage:
        sink = stage.start_sink()
        watched = {"sink": sink.pid}
        ours = Mailflock(stage, consumers)
        size = mail_size(stage, Mailflock(stage))
        source = same_size(stage, SESSIONS, size)
        result.facts = {"octets": size, "smtp-source -l": source.length,
                        "smtp-source octets": mail_size(stage, source, 20)}
        runs = in_turn(plan, result, {"mailflock": lambda: ours.run(n, watched),
                                      "smtp-source": lambda: source.run(n, watched)})
    mailflock, source = runs["mailflock"], runs["smtp-source"]
    result.add(
        Figure("mailflock, producer start to last outcome", per_s(mailflock), "mails/s"),
        Figure("mailflock, first to last accepted mail", accepted_per_s(mailflock), "mails/s"),
        Figure("smtp-source, start to end", per_s(source), "mails/s"),
        ratios("mailflock over smtp-source, both by wall clock", per_s(mailflock), per_s(source),
               (">=", 1.0)))
    budget = ("<=", 25) if consumers == 1 else None
    result.add(Figure("mailflock: CPU of consumers", [r.cpu_us("consumer") for r in mailflock],
                      "us/mail", budget))
    result.add(*cost_lines(mailflock, "mailflock"),
               Figure("  mailflock: mails in a commit", mails_in_a_commit(mailflock), "mails"),
               *latency.lines(mailflock),
               *cost_lines(source, "smtp-source"))
    return result


def whole2(plan):
    return whole(plan, 2)


def need_node():
    if not have_node():
        raise Skipped(f"Node or its packages in {PEERS} are missing: ./dev bench installs them")


def node(plan, consumers=1):
    """The whole system against a peer in Node."""
    need_node()
    n = plan["node"]
    result = Result(f"whole system, {of(consumers)}, {n:,} recipients, {SESSIONS} connections in "
                    "all, against amqplib, nodemailer and mysql2; same broker, sink and database")
    with Ground(n, SESSIONS // consumers) as stage:
        sink = stage.start_sink()
        watched = {"sink": sink.pid}
        ours, theirs = Mailflock(stage, consumers), Node(stage, consumers)
        result.facts = {"octets": mail_size(stage, Mailflock(stage)),
                        "node octets": mail_size(stage, theirs)}
        runs = in_turn(plan, result, {"mailflock": lambda: ours.run(n, watched),
                                      "node": lambda: theirs.run(n, watched)})
    mailflock, peer = runs["mailflock"], runs["node"]
    result.add(
        Figure("mailflock, producer start to last outcome", per_s(mailflock), "mails/s"),
        Figure("node, producer start to last outcome", per_s(peer), "mails/s"),
        ratios("mailflock over node", per_s(mailflock), per_s(peer), (">=", 10)),
        Figure("mailflock: memory of a consumer", peak_mib(mailflock, "consumer"), "MiB"),
        Figure("node: memory of a consumer", peak_mib(peer, "consumer"), "MiB"))
    result.add(*cost_lines(peer, "node"))
    return result


def node2(plan):
    return node(plan, 2)


def producer(plan):
    """Audience to broker, nobody sending."""
    n = plan["producer"]
    result = Result(f"producer alone, {n:,} recipients in chunks of {CHUNK}: read, cut, published, "
                    "confirmed")
    with Ground(n, SESSIONS) as stage:
        contestants = {"mailflock": lambda: produce(stage, Mailflock(stage), "mailflock.bulk.relay", n)}
        if have_node():
            peer = Node(stage)
            contestants["node"] = lambda: produce(stage, peer, NODE_QUEUE, n)
        runs = in_turn(plan, result, contestants)
    ours = runs["mailflock"]
    result.add(
        Figure("mailflock", per_s(ours), "rcpt/s", (">=", 150_000)),
        Figure("mailflock: memory", peak_mib(ours, "producer"), "MiB", ("<=", 16)),
        Figure("mailflock: CPU", [r.cpu_us("producer") for r in ours], "us/rcpt"))
    if "node" in runs:
        peer = runs["node"]
        result.add(
            Figure("node", per_s(peer), "rcpt/s"),
            Figure("node: memory", peak_mib(peer, "producer"), "MiB"),
            ratios("mailflock over node", per_s(ours), per_s(peer)))
    return result


def produce(stage, contestant, queue, recipients):
    """Runs the producer only; what it published is thrown away."""
    contestant.prepare(recipients)
    run = contestant.run_producer(recipients)
    channel = stage.channel()
    published = channel.queue_declare(queue, passive=True).method.message_count
    channel.queue_purge(queue)
    channel.close()
    if published != -(-recipients // CHUNK):
        raise Failed(f"{published} messages in {queue} for {recipients} recipients")
    return run
