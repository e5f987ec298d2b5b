r"""Golden dialogues: a file says what a server sends, what the client must say, and what the ledger
must hold afterwards; ScriptedServer plays it. tests/data/dialogues/*.txt, one line each:

    # a comment
    recipient ADDRESS STATUS [CODE [ENHANCED]] [attempt=N] [suppressed]
                              one of the audience, in order, and its row in the ledger
    transport KEY VALUE       a key of the transport, such as: transport reply_timeout 1s
    campaign PATH VALUE       a key of the campaign, such as: campaign delivery.on_crash resend
    connection                what follows is the next connection's; the client makes just these
    S: TEXT                   the server sends this line; \xHH is a byte
    C: TEXT                   the client must say this line; * stands for anything
    BODY ADDRESS              the client must send a message to ADDRESS, up to its final dot
    PART                      the client sends content, and a first piece of it is read
    DROP                      the server closes; RESET: abruptly
    STALL                     the server says nothing until the client closes
    CLOSED                    the client must close
    DELAY SECONDS
    TRICKLE                   from here on each byte of a reply is a packet of its own

Before it replies, the server makes sure that the client says nothing more than the script tells:
commands that follow one another are meant to come together, and with a reply between them not to.
After the last line of a connection the client may close, with or without QUIT.
"""

import email
import email.policy
import re
import select
import socket
import struct
import threading
import time

DEADLINE_S = 60
QUIET_S = 0.03


class Recipient:
    def __init__(self, words):
        self.address, self.status, *rest = words
        self.suppressed = "suppressed" in rest
        plain = [w for w in rest if w != "suppressed" and "=" not in w]
        self.code = int(plain[0]) if plain else None
        self.enhanced = plain[1] if len(plain) > 1 else None
        self.attempt = next((int(w[8:]) for w in rest if w.startswith("attempt=")), None)

    def matches(self, status, code, enhanced, attempt):
        """Whether a ledger row is the expected one; what the file does not say may be anything."""
        pairs = ((self.status, status), (self.code, code), (self.enhanced, enhanced),
                 (self.attempt, attempt))
        return all(want is None or want == got for want, got in pairs)


class Step:
    def __init__(self, line_no, kind, text):
        self.line_no, self.kind, self.text = line_no, kind, text
        self.next = None


def _value(text):
    return text == "true" if text in ("true", "false") else int(text) if text.isdigit() else text


class Dialogue:
    """A parsed file."""

    HEADS = ("recipient", "transport", "campaign", "connection")
    STEPS = ("BODY", "PART", "DROP", "RESET", "STALL", "CLOSED", "DELAY", "TRICKLE")

    def __init__(self, text, name="dialogue"):
        self.name = name
        self.recipients, self.transport, self.campaign, self.connections = [], {}, {}, []
        for line_no, line in enumerate(text.splitlines(), 1):
            line = line.strip()
            if line and not line.startswith("#"):
                self._take(line_no, line)

    def _take(self, line_no, line):
        word, _, rest = line.partition(" ")
        rest = rest.strip()
        if word == "recipient":
            self.recipients.append(Recipient(rest.split()))
        elif word == "transport":
            key, value = rest.split()
            self.transport[key] = _value(value)
        elif word == "campaign":
            path, value = rest.split()
            into = self.campaign
            *groups, key = path.split(".")
            for group in groups:
                into = into.setdefault(group, {})
            into[key] = _value(value)
        elif line == "connection":
            self.connections.append([])
        elif word in ("S:", "C:") or word in self.STEPS:
            steps = self.connections[-1]
            steps.append(Step(line_no, word.rstrip(":"), rest))
            if len(steps) > 1:
                steps[-2].next = steps[-1]
        else:
            raise ValueError(f"{self.name}:{line_no}: {line!r} is not understood")


def parse_file(path):
    with open(path, encoding="utf-8") as file:
        return Dialogue(file.read(), path.rsplit("/", 1)[-1].removesuffix(".txt"))


class Mismatch(Exception):
    pass


def _pattern(text):
    return re.compile(re.escape(text).replace(r"\*", ".*"), re.S)


def _bytes(text):
    raw = text.encode()
    return re.sub(rb"\\x([0-9a-fA-F]{2})", lambda m: bytes([int(m[1], 16)]), raw) + b"\r\n"


class _Player:
    """One connection playing one script."""

    def __init__(self, server, peer, steps):
        self.server, self.peer, self.steps = server, peer, steps
        self.bytes = self.out = b""
        self.trickle = False
        self.spoke = False  # the client did, and no reply was sent since
        peer.settimeout(DEADLINE_S)
        peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def play(self):
        for step in self.steps:
            try:
                if getattr(self, "do_" + step.kind)(step) is False:
                    return
                if not (step.next and step.next.kind == "S"):
                    self.flush()
            except (Mismatch, OSError) as e:
                where = f"{self.server.dialogue.name}.txt:{step.line_no}: {step.kind} {step.text}"
                raise Mismatch(f"{where}\n    got {e or type(e).__name__}") from None
        self.server.at_end = True
        self.finish()

    def finish(self):
        line = self.read_line(end_is_fine=True)
        if line == "QUIT":
            self.peer.sendall(b"221 2.0.0 Bye\r\n")
            line = self.read_line(end_is_fine=True)
        if line is not None:
            raise Mismatch(f"{self.server.dialogue.name}: after the end of the script the client "
                           f"said {line!r}")

    def fill(self):
        try:
            got = self.peer.recv(65536)
        except ConnectionResetError:
            got = b""
        self.bytes += got
        return bool(got)

    def read_line(self, end_is_fine=False):
        self.spoke = True
        while b"\n" not in self.bytes:
            if not self.fill():
                if end_is_fine and not self.bytes:
                    return None
                raise Mismatch(f"the end of the connection after {self.bytes!r}")
        line, self.bytes = self.bytes.split(b"\n", 1)
        if not line.endswith(b"\r"):
            raise Mismatch(f"a line that ends in a bare LF: {line!r}")
        return line[:-1].decode(errors="backslashreplace")

    def expect_quiet(self):
        if not self.bytes and select.select([self.peer], [], [], QUIET_S)[0]:
            if not self.fill():
                raise Mismatch("the end of the connection")
        if self.bytes:
            raise Mismatch(f"more than was expected: {self.bytes[:200]!r}")

    def do_S(self, step):
        if self.spoke:
            self.expect_quiet()
            self.spoke = False
        self.out += _bytes(step.text)

    def flush(self):
        """Replies that follow one another leave together."""
        for i in range(len(self.out) if self.trickle else min(len(self.out), 1)):
            self.peer.sendall(self.out[i:i + 1] if self.trickle else self.out)
        self.out = b""

    def do_C(self, step):
        line = self.read_line()
        if not _pattern(step.text).fullmatch(line):
            raise Mismatch(repr(line))

    def do_BODY(self, step):
        lines = []
        while (line := self.read_line()) != ".":
            lines.append(line[1:] if line.startswith(".") else line)
        message = email.message_from_string("\r\n".join(lines), policy=email.policy.default)
        to = [address.addr_spec for address in message["To"].addresses] if message["To"] else []
        if to != [step.text] or not message["Message-ID"]:
            raise Mismatch(f"a message to {to} with Message-ID {message['Message-ID']!r}")
        self.server.mails.append((step.text, message))

    def do_PART(self, _step):
        if not self.bytes and not self.fill():
            raise Mismatch("the end of the connection")
        self.bytes = b""

    def do_DROP(self, _step):
        return False

    def do_RESET(self, _step):
        self.peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        return False

    def do_STALL(self, _step):
        if self.fill():
            raise Mismatch(f"more words: {self.bytes!r}")
        return False

    def do_CLOSED(self, _step):
        line = self.read_line(end_is_fine=True)
        if line is not None:
            raise Mismatch(repr(line))
        return False

    def do_DELAY(self, step):
        time.sleep(float(step.text))

    def do_TRICKLE(self, _step):
        self.trickle = True


class ScriptedServer:
    """Plays a dialogue's connections in order, one at a time. problems: what differed."""

    def __init__(self, dialogue):
        self.dialogue = dialogue
        self.problems, self.mails = [], []
        self.played = 0
        self.at_end = False
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.port = self._listener.getsockname()[1]
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    @property
    def url(self):
        return f"smtp://127.0.0.1:{self.port}"

    @property
    def played_all(self):
        """Whether the last connection is at the end of its script."""
        return self.played >= len(self.dialogue.connections) and self.at_end

    def _run(self):
        while True:
            try:
                peer = self._listener.accept()[0]
            except OSError:
                return
            with peer:
                self._serve(peer)

    def _serve(self, peer):
        self.played += 1
        self.at_end = False
        if self.played > len(self.dialogue.connections):
            self.problems.append(f"{self.dialogue.name}: connection {self.played}, which the script "
                                 "does not know")
            return
        try:
            _Player(self, peer, self.dialogue.connections[self.played - 1]).play()
        except (Mismatch, OSError) as e:
            self.problems.append(f"connection {self.played}: {e}")
        self.at_end = True

    def close(self):
        """After the client's end: what differed, connections never made included."""
        # shutdown wakes accept, which close alone does not.
        self._listener.shutdown(socket.SHUT_RDWR)
        self._thread.join(DEADLINE_S * 2)
        self._listener.close()
        if self._thread.is_alive():
            self.problems.append("a connection of the client is still open")
        if self.played < len(self.dialogue.connections):
            self.problems.append(f"{self.played} connections, not {len(self.dialogue.connections)}")
        return self.problems
