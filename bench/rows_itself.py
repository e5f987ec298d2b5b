"""Rows of Mailflock against itself: many against few, and one way against another."""

import contextlib
import os
import shutil

import proxy
from contestants import CONTENT, Ground, Mailflock, mail_size
from environment import ENV, ROOT
from figures import Figure, ratios
from row import SESSIONS, Result, Skipped, in_turn, peak_mib, per_s


def cost(plan):
    """What a mail costs when there are many."""
    sizes = plan["cost"]
    result = Result(f"cost of a mail and memory by size of the audience, 1 consumer, {SESSIONS} "
                    "connections")
    with Ground(max(sizes), SESSIONS) as stage:
        sink = stage.start_sink()
        ours = Mailflock(stage)
        runs = in_turn(plan, result, {
            f"{n}": lambda n=n: ours.run(n, {"sink": sink.pid}) for n in sizes})
    for name, its in runs.items():
        n = f"{int(name):,}"
        result.add(
            Figure(f"{n}: CPU of producer and consumer",
                   [r.cpu_us("producer", "consumer") for r in its], "us/mail"),
            Figure(f"{n}: CPU of MariaDB and RabbitMQ",
                   [r.cpu_us("mariadb", "rabbitmq") for r in its], "us/mail"),
            Figure(f"{n}: wall clock", [r.wall_s * 1e6 / r.recipients for r in its], "us/mail"),
            Figure(f"{n}: memory of the consumer", peak_mib(its, "consumer"), "MiB",
                   ("<=", 32)),
            Figure(f"{n}: memory of the producer", peak_mib(its, "producer"), "MiB",
                   ("<=", 16)))
    least, most = runs[f"{sizes[0]}"], runs[f"{sizes[-1]}"]
    names = f"{sizes[-1]:,} over {sizes[0]:,}"

    def own(run):
        return run.cpu_us("producer", "consumer")

    result.add(
        ratios(f"{names}: CPU of producer and consumer", map(own, most), map(own, least),
               ("<=", 1.1)),
        ratios(f"{names}: wall clock", [1 / r.per_s for r in most], [1 / r.per_s for r in least]))
    return result


def against_itself(plan, result, row, make):
    """Two ways to do the same, A over B by wall clock and by the consumer's CPU time."""
    n = plan[row]
    with Ground(n, SESSIONS) as stage:
        return compare(result, in_turn(plan, result, make(stage, n)))


def compare(result, runs):
    """Lines for each of two ways, and their ratios."""
    (a, of_a), (b, of_b) = runs.items()
    for name, its in ((a, of_a), (b, of_b)):
        result.add(Figure(name, per_s(its), "mails/s"),
                   Figure(f"{name}: CPU of the consumer", [r.cpu_us("consumer") for r in its],
                          "us/mail"))
    result.add(
        ratios(f"{a} over {b}: mails/s", per_s(of_a), per_s(of_b)),
        ratios(f"{a} over {b}: CPU of the consumer",
               [r.cpu_us("consumer") for r in of_a], [r.cpu_us("consumer") for r in of_b]))
    return result


@contextlib.contextmanager
def programs_of(build):
    """Our programs are those in that directory."""
    ours = ENV["MF_BUILD"]
    ENV["MF_BUILD"] = build
    try:
        yield
    finally:
        ENV["MF_BUILD"] = ours


def change(plan):
    """What a change brought: this build against another. Each has a database of its own, with the
    tables as it wants them."""
    n, builds = plan["change"], {"this build": ENV["MF_BUILD"], "the other": plan["against"]}
    result = Result(f"this build against {plan['against']}, {n:,} recipients")
    with contextlib.ExitStack() as stack:
        def side(build):
            with programs_of(build):
                stage = stack.enter_context(Ground(n, SESSIONS))
                sink = stage.start_sink()

            def run():
                with programs_of(build):
                    return Mailflock(stage).run(n, {"sink": sink.pid})
            return run

        runs = in_turn(plan, result, {name: side(build) for name, build in builds.items()})
    return compare(result, runs)


def crash(plan):
    """What the stricter promise costs."""
    result = Result(f"on_crash = hold against resend, {plan['crash']:,} recipients")

    def make(stage, n):
        sink = stage.start_sink()
        return {policy: lambda policy=policy: Mailflock(
            stage, delivery={"on_crash": policy}).run(n, {"sink": sink.pid})
            for policy in ("hold", "resend")}

    return against_itself(plan, result, "crash", make)


def content(plan):
    """Plain text against two parts and a Korean subject."""
    result = Result(f"the multipart mail of config/campaigns/welcome.cfg, Korean subject, against "
                    f"plain text, {plan['content']:,} recipients")
    parts = {**CONTENT, "subject": "{{name}}님, 환영합니다 🎉", "text": "welcome.txt",
             "html": "welcome.html"}

    def make(stage, n):
        for name in ("welcome.txt", "welcome.html"):
            shutil.copy(os.path.join(ROOT, "config", "templates", name),
                        os.path.join(stage.dir, "templates"))
        sink = stage.start_sink()
        multipart, plain = Mailflock(stage, content=parts), Mailflock(stage)
        result.facts = {"multipart octets": mail_size(stage, multipart),
                        "plain octets": mail_size(stage, plain)}
        return {"multipart": lambda: multipart.run(n, {"sink": sink.pid}),
                "plain": lambda: plain.run(n, {"sink": sink.pid})}

    against_itself(plan, result, "content", make)
    octets = result.facts
    result.title += f"; {octets['multipart octets']:,.0f} and {octets['plain octets']:,.0f} octets"
    return result


def tls(plan):
    """TLS against none, both through the same proxy."""
    if not proxy.program():
        raise Skipped("haproxy is missing: ./dev bench installs it")
    result = Result(f"TLS against none, {plan['tls']:,} recipients, both through HAProxy to "
                    "smtp-sink")

    def make(stage, n):
        sink = stage.start_sink(use=False)
        server = proxy.Proxy(stage.dir, sink.port)
        stage.processes.append(server)
        watched = {"sink": sink.pid, "haproxy": server.pid}

        def with_tls():
            stage.relay(server.tls_url, tls="require", ca_file=server.ca_file)
            return Mailflock(stage).run(n, watched)

        def without():
            stage.relay(server.plain_url, tls="off", ca_file=None)
            return Mailflock(stage).run(n, watched)

        return {"TLS": with_tls, "none": without}

    return against_itself(plan, result, "tls", make)
