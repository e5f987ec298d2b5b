#!/usr/bin/python3
"""SMTP relays that do what relays must not do: stray, early and doubled replies, wrong codes, garbage,
connections cut at any byte, delays. Which of it, and when, comes from a seed (relay_plan.py).

    random_relay.py --dir DIR SEED...

Makes a certificate in DIR, listens for each seed on a port of its own, and prints "ports={seed: port}".
At SIGTERM it writes DIR/record.json: for each seed its connections, each with the commands as they were
received, the replies as they were written, and a trace for people. A relay decides by itself which
mails it accepts, before it says a word about it; relay_verdict.py compares that with the ledger.
"""

import argparse
import asyncio
import json
import os
import random
import re
import signal
import ssl
import time

from relay_plan import CALM_AFTER_S, HARMLESS, LARGE_BYTES, MISDEEDS, Plan
from relay_wire import Gone, Wire, listen
from starttls_server import make_certificates

USUAL = {"mail": 250, "rcpt": 250, "data": 354, "dot": 250}
NEXT = {"ehlo": "mail", "mail": "rcpt", "rcpt": "data", "data": "dot", "dot": "mail"}
REFUSALS = {"mail": (451, 452), "rcpt": (450, 452, 550, 553), "data": (451, 554),
            "dot": (450, 452, 550, 554)}
STRAYS = (250, 250, 354, 421, 450, 451, 550, 552, 554)
WRONG = (199, 220, 250, 334, 354, 421, 451, 503, 550, 600)
VERDICTS = (250, 250, 450, 452, 550, 552, 421)
GARBAGE = (b"what?\r\n", b"25\r\n", b"250\xff\r\n", b"\r\n", b"HTTP/1.1 200 OK\r\n", b"250-a\r\n550 b\r\n")
IN_CONTENT = ("early in content", "cut in content")
AT_A_REPLY = [kind for kind in MISDEEDS if kind not in IN_CONTENT]
DISTURBING = ("cut", "long delay", "wrong code", "garbage", "goodbye")  # the reply itself
FRUITLESS_MAX = 3  # connections in a row on which no mail was answered; the next one is a good one
IN_FLIGHT = 400_000  # more than both kernels hold of a content while the window is small
SEEN_S = 5
WHATS_MAX = 5


def in_bytes(code, text):
    """text: of one line; or bytes as they are."""
    return text if isinstance(text, bytes) else b"%d %s\r\n" % (code, text.encode())


class Relay:
    def __init__(self, seed):
        self.plan, self.conns, self.tasks = Plan(seed), [], []
        self.misdeeds = self.fruitless = 0
        self.began = None
        self.sock = listen(self.plan.small_window)
        self.port = self.sock.getsockname()[1]

    async def serve(self, context):
        while True:
            sock, _ = await asyncio.get_running_loop().sock_accept(self.sock)
            self.began = self.began or time.monotonic()
            conn = Conn(self, sock, len(self.conns))
            self.conns.append(conn)
            self.tasks.append(asyncio.create_task(conn.serve(context)))

    def calm(self):
        return (self.misdeeds >= self.plan.budget or
                time.monotonic() - self.began > CALM_AFTER_S)


class Conn:
    def __init__(self, relay, sock, number):
        self.relay, self.plan = relay, relay.plan
        self.draw = random.Random(f"{self.plan.seed}/{number}")
        self.good = relay.fruitless >= FRUITLESS_MAX
        relay.fruitless += 1
        self.wire, self.buffer = Wire(sock), bytearray()
        self.began = self.asked = time.monotonic()
        self.commands, self.replies, self.trace = [], [], []
        self.packets = self.lead = self.lead_due = 0
        self.connecting, self.disturbed = True, False
        self.narrow = self.plan.small_window
        self.said = {}  # stage -> code: replies that were written before their commands came
        self.read = None  # bytes of the content that is being read
        self.mail_ok, self.rcpt, self.named = False, None, None

    # -- what is written down

    def note(self, text):
        self.trace.append(f"{time.monotonic() - self.began:.3f} {text}")

    def heard(self, kind, **more):
        self.asked = time.monotonic()
        self.commands.append({"kind": kind, "at": self.asked, **more})

    def record(self):
        return {"commands": self.commands, "replies": self.replies, "lead": self.lead,
                "lead_strays": max(0, self.lead - self.lead_due), "trace": self.trace}

    # -- life

    async def serve(self, context):
        try:
            if self.plan.tls == "smtps":
                await self.wire.start_tls(context)
            await self.say("greeting", 220)
            while True:
                await self.obey(await self.line(), context)
        except Gone as e:
            self.note(f"over: {e}")
            self.wire.sock.close()

    async def more(self):
        self.buffer += await self.wire.recv()

    async def line(self):
        while b"\n" not in self.buffer:
            if len(self.buffer) > 100_000:
                raise Gone("a line without end")
            await self.more()
        at = self.buffer.index(b"\n")
        line = self.buffer[:at].decode(errors="replace").strip()
        del self.buffer[:at + 1]
        self.note(f"C: {line[:120]}")
        return line

    async def obey(self, line, context):
        verb = line.split(":")[0].split(" ")[0].upper()
        self.connecting = self.connecting and verb in ("EHLO", "HELO", "STARTTLS")
        if verb in ("EHLO", "HELO"):
            await self.ehlo()
        elif verb == "STARTTLS":
            self.lead_due += 1
            await self.packet([(220, "go ahead")])
            await self.wire.start_tls(context)
        elif verb == "MAIL":
            self.heard("mail")
            self.mail_ok, self.rcpt = await self.say("mail", self.decide("mail")) == 250, None
        elif verb == "RCPT":
            self.named = (re.search(r"<(.*?)>", line) or [line, line])[1]
            self.heard("rcpt", rcpt=self.named)
            ok = await self.say("rcpt", self.decide("rcpt") if self.mail_ok else 503) == 250
            self.rcpt = self.named if ok and self.mail_ok else None
        elif verb == "DATA":
            self.heard("data", rcpt=self.named)
            if await self.say("data", self.decide("data") if self.rcpt else 503) == 354:
                await self.content()
        elif verb in ("RSET", "QUIT"):
            self.heard(verb.lower())
            await self.say(verb.lower(), 221 if verb == "QUIT" else 250)
            if verb == "QUIT":
                await self.end("fin")
        else:
            self.heard("what")
            if sum(c["kind"] == "what" for c in self.commands) > WHATS_MAX:
                await self.end("fin")
            await self.packet([(500, "what is that")])

    async def ehlo(self):
        plan, last = self.plan, self.plan.tls != "starttls" or self.wire.tls
        offers = ["relay", "SMTPUTF8"] + ["PIPELINING"] * plan.pipelining + ["STARTTLS"] * (not last)
        if plan.size is not None:
            offers.append(f"SIZE {plan.size or ''}".strip())
        text = "".join(f"250-{offer}\r\n" for offer in offers) + "250 HELP\r\n"
        await self.say("ehlo" if last else "first ehlo", 250, text.encode())

    # -- contents

    def amiss(self, kinds, often=1):
        """The misdeed for here and now, of these kinds; None mostly."""
        kinds = [k for k in self.plan.kinds if k in kinds]
        if not kinds or self.good or self.relay.calm():
            return None
        if self.draw.random() >= self.plan.rate * often:
            return None
        kind = self.draw.choice(kinds)
        self.relay.misdeeds += kind not in HARMLESS
        self.note(f"-- {kind}")
        return kind

    async def content(self):
        at, self.read, content = len(self.commands) - 1, 0, bytearray(b"\r\n")
        kind = self.amiss(IN_CONTENT)
        place = self.draw.choice((0, 0, 1, 2)) and self.draw.randrange(1, LARGE_BYTES // 2 if
                                                                       self.plan.large else 1500)
        if not kind:
            self.open_window()
        while True:
            if kind and self.read >= place:
                await self.in_content(kind)
                kind = None
                self.open_window()
            if not self.buffer:
                await self.more()
            tail = max(0, len(content) - 4)
            content += self.buffer
            end = content.find(b"\r\n.\r\n", tail)
            if end >= 0:
                self.buffer = content[end + 5:]
                break
            self.buffer = bytearray()
            self.read = len(content)
        await self.dot(at, bytes(content[:end]))

    def open_window(self):
        if self.narrow:
            self.wire.large_window()
        self.narrow = False

    async def in_content(self, kind):
        if kind == "cut in content":
            await self.end(self.draw.choice(("fin", "reset")))
        await asyncio.sleep(self.draw.choice((0, 0, 0.005, 0.05)))
        code = self.draw.choice(VERDICTS)
        await self.packet([(code, "early")])
        unsent = self.replies[-1]["unsent"]
        self.disturbed = True
        if self.draw.random() < 0.7:
            self.said["dot"] = code
        if self.draw.random() < (0.6 if self.plan.large else 0.3):
            await self.end(self.draw.choice(("fin", "reset")))
        if unsent:
            await self.wait_to_be_left()

    async def wait_to_be_left(self):
        """Takes no more of a content whose client must see that the reply came too early."""
        until = time.monotonic() + SEEN_S
        while time.monotonic() < until and not self.wire.peer_left():
            await asyncio.sleep(0.01)

    async def dot(self, at, content):
        """Decides first, and only then speaks."""
        code = self.said.get("dot") or self.decide("dot")
        accepted = code < 300
        if "dot" in self.said and self.draw.random() < 0.3:
            accepted = not accepted
        if not content:
            code, accepted = self.said.get("dot", 554), False
        self.heard("dot", data=at, rcpt=self.rcpt, accepted=accepted, bytes=len(content),
                   own=self.rcpt.encode() in content[:5000])
        self.note(f"C: {len(content)} bytes and the dot: {'ACCEPTED' if accepted else 'refused'}")
        self.relay.fruitless, self.good = 0, False
        self.read = self.rcpt = None
        self.mail_ok = False
        await self.say("dot", code)

    # -- replies

    def decide(self, stage):
        """The honest reply."""
        if stage in self.said:
            return self.said[stage]
        if not self.good and not self.relay.calm() and self.draw.random() < self.plan.refusals:
            return self.draw.choice(REFUSALS[stage])
        return USUAL[stage]

    async def say(self, stage, code, text="ok"):
        """Replies, or worse. Returns the code that this relay itself goes by."""
        if stage in self.said:
            return self.said.pop(stage)
        self.lead_due += self.connecting
        kind = self.amiss(AT_A_REPLY, 2 if stage in ("data", "dot") else 1)
        if kind == "early" and stage not in NEXT:
            kind = None
        self.disturbed = self.disturbed or kind in DISTURBING
        if kind in ("delay", "long delay"):
            await asyncio.sleep(self.draw.uniform(0.02, 0.4) if kind == "delay" else
                                self.draw.uniform(1.2, 3))
        if kind == "cut":
            await self.cut(code, text)
        if kind == "garbage":
            await self.packet([(0, self.draw.choice(GARBAGE))])
            return code
        if kind in ("wrong code", "goodbye"):
            return await self.say_wrong(stage, kind, code)
        await self.say_right(stage, kind, (code, text))
        if kind == "reply and cut":
            await self.end(self.draw.choice(("fin", "reset")))
        return code

    async def say_right(self, stage, kind, right):
        packets = [[right]]
        if kind in ("stray", "doubled", "early"):
            other = right if kind == "doubled" else (self.draw.choice(STRAYS), "stray")
            if kind == "early":
                other = (self.foresee(NEXT[stage]), "early")
            before = kind == "stray" and self.draw.random() < 0.5
            self.disturbed = self.disturbed or before
            packets = [[other], [right]] if before else [[right], [other]]
            if self.draw.random() < 0.5:
                packets = [packets[0] + packets[1]]
        for i, packet in enumerate(packets):
            if i:
                await asyncio.sleep(self.draw.choice((0, 0.001, 0.02)))
            await self.packet(packet, kind)
        self.disturbed = self.disturbed or kind == "early"

    def foresee(self, stage):
        """The reply to a command that has not come; mostly there is no other when it comes."""
        code = self.draw.choice(VERDICTS) if stage == "dot" else USUAL[stage]
        if self.draw.random() < 0.7:
            self.said[stage] = code
        return code

    async def say_wrong(self, stage, kind, code):
        said = 421 if kind == "goodbye" else self.draw.choice(WRONG)
        await self.packet([(said, "wrong")])
        if kind == "goodbye" and self.draw.random() < 0.7:
            await self.end("fin")
        if stage == "data":  # what is said is no refusal: it may go on as if it had been said rightly
            return code if said < 400 and self.draw.random() < 0.5 else said
        return said if 400 <= said < 600 else code

    async def packet(self, replies, kind=None):
        """Writes replies together, and writes down what was written."""
        data = b""
        for code, text in replies:
            data += b"%d-one\r\n%d-two\r\n" % (code, code) if kind == "multiline" else b""
            data += in_bytes(code, text)
        self.packets += 1
        if kind == "bytes":
            for i in range(len(data)):
                await self.wire.send(data[i:i + 1])
                await asyncio.sleep(0)
        else:
            await self.wire.send(data)
        left = self.wire.peer_left()
        for code, text in replies:
            self.note(f"S: {code} {str(text)[:40]!r} packet {self.packets}")
            self.replies.append({
                "code": code if 200 <= code <= 599 else 0, "packet": self.packets,
                "before": len(self.commands), "left": left, "clean": not self.disturbed,
                "unsent": self.plan.large and self.narrow and self.read is not None and
                self.read + IN_FLIGHT < LARGE_BYTES})
            self.disturbed = self.disturbed or kind in ("stray", "doubled")
        if self.connecting:
            self.lead += len(replies)

    async def cut(self, code, text):
        data = in_bytes(code, text)
        data = data[:self.draw.randrange(len(data))] if self.draw.random() < 0.6 else b""
        if data:
            await self.wire.send(data)
            self.note(f"S: {data!r}")
        await self.end(self.draw.choice(("fin", "reset")))

    async def end(self, how):
        self.note(f"S: {how}")
        if how == "reset":
            self.wire.reset()
        else:
            await self.wire.finish()
        raise Gone(how)


async def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--dir", required=True)
    parser.add_argument("seeds", type=int, nargs="+")
    args = parser.parse_args()
    make_certificates(args.dir, "localhost")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(os.path.join(args.dir, "server.pem"), os.path.join(args.dir, "server.key"))
    relays = [Relay(seed) for seed in args.seeds]
    ended = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, ended.set)
    tasks = [asyncio.create_task(relay.serve(context)) for relay in relays]
    print("ports=" + json.dumps({relay.plan.seed: relay.port for relay in relays}), flush=True)
    await ended.wait()
    with open(os.path.join(args.dir, "record.new"), "w", encoding="utf-8") as record:
        json.dump({relay.plan.seed: [conn.record() for conn in relay.conns] for relay in relays}, record)
    os.rename(os.path.join(args.dir, "record.new"), os.path.join(args.dir, "record.json"))
    for task in tasks + [t for relay in relays for t in relay.tasks]:
        task.cancel()


if __name__ == "__main__":
    asyncio.run(main())
