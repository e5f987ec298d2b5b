"""An SMTP server inside a test that answers as the test says, by sender, recipient and connection, and
keeps what it accepted and when. One thread for each connection.

    class Busy(PickyRelay):
        def on_mail(self, session):
            return "452 4.3.1 Insufficient system storage"

    with Busy() as relay: ...relay.url, relay.accepted
"""

import os
import re
import socket
import ssl
import struct
import sys
import threading
import time

from environment import ROOT

sys.path.append(os.path.join(ROOT, "tests", "fakes"))
import starttls_server  # noqa: E402


class Session:
    """One connection. extra: bytes that leave together with the next reply."""

    def __init__(self, relay, peer, number):
        self.relay, self.peer, self.number = relay, peer, number
        self.bytes = b""
        self.sender = self.recipient = None
        self.mails = 0

    def read_line(self):
        while b"\n" not in self.bytes:
            got = self.peer.recv(65536)
            if not got:
                raise EOFError
            self.bytes += got
        line, self.bytes = self.bytes.split(b"\n", 1)
        return line.rstrip(b"\r")

    def say(self, *replies):
        self.peer.sendall("".join(f"{reply}\r\n" for reply in replies).encode())

    def reset(self):
        """Closes with RST, whatever was sent before."""
        self.peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.peer.close()
        raise EOFError

    def read_content(self):
        content = []
        while (line := self.read_line()) != b".":
            content.append(line)
        return b"\n".join(content)


class PickyRelay:
    """Replies of the on_ functions; None is the usual yes. They may raise EOFError to hang up."""

    offers = ("PIPELINING", "8BITMIME", "ENHANCEDSTATUSCODES")
    most_connections = None  # more are greeted with 421
    bye = "221 2.0.0 Bye"  # the reply to QUIT
    too_many = "421 4.7.0 too many connections"
    receive_buffer = None
    tls_dir = None  # a directory for certificates: TLS from the first byte (smtps://localhost)

    def __init__(self, port=0):
        self.accepted = []  # (recipient, time.monotonic() of the final dot)
        self.refused_connections = []  # their times
        self.sizes = []  # what MAIL announced
        self.open = self.connections = self.most_open = 0
        self.lock = threading.Lock()
        self._sessions = set()
        self._listener = socket.create_server(("127.0.0.1", port), backlog=512)
        if self.receive_buffer:
            self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, self.receive_buffer)
        self.port = self._listener.getsockname()[1]
        self.url = f"smtp://127.0.0.1:{self.port}"
        self._context = None
        if self.tls_dir:
            starttls_server.make_certificates(self.tls_dir, "localhost")
            self._context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
            self._context.load_cert_chain(os.path.join(self.tls_dir, "server.pem"),
                                          os.path.join(self.tls_dir, "server.key"))
            self.ca_file = os.path.join(self.tls_dir, "ca.pem")
            self.url = f"smtps://localhost:{self.port}"
        threading.Thread(target=self._listen, daemon=True).start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        try:
            self._listener.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        self._listener.close()
        with self.lock:
            sessions = list(self._sessions)
        for peer in sessions:
            try:
                peer.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    # -- what a test overrides

    def on_connect(self, session):
        pass

    def on_mail(self, session):
        pass

    def on_rcpt(self, session):
        pass

    def on_data(self, session):
        pass

    def on_dot(self, session):
        pass

    # -- the server

    def recipients(self):
        with self.lock:
            return [recipient for recipient, _ in self.accepted]

    def _listen(self):
        while True:
            try:
                peer = self._listener.accept()[0]
            except OSError:
                return
            threading.Thread(target=self._serve, args=(peer,), daemon=True).start()

    def _serve(self, peer):
        with self.lock:
            self.connections += 1
            self.open += 1
            self.most_open = max(self.most_open, self.open)
            full = self.most_connections is not None and self.open > self.most_connections
            if full:
                self.refused_connections.append(time.monotonic())
            session = Session(self, peer, self.connections)
            self._sessions = {s for s in self._sessions if s.fileno() >= 0} | {peer}
        peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            if self._context:
                session.peer = peer = self._context.wrap_socket(peer, server_side=True)
            if full:
                session.say(self.too_many)
            else:
                session.say(self.on_connect(session) or "220 picky.example ESMTP")
                while self._command(session):
                    pass
        except (EOFError, OSError):
            pass
        with self.lock:
            self.open -= 1
        peer.close()

    def _command(self, session):
        line = session.read_line().decode(errors="replace")
        verb = line[:4].upper()
        path = re.search(r"<([^>]*)>", line)
        if verb == "EHLO":
            session.say(*(f"250-{offer}" for offer in self.offers), "250 HELP")
        elif verb == "MAIL":
            session.sender, session.recipient = path[1], None
            size = re.search(r"SIZE=(\d+)", line)
            self.sizes.append(int(size[1]) if size else None)
            self._answer(session, self.on_mail(session), "250 2.1.0 Ok", "sender")
        elif verb == "RCPT":
            if session.sender is None:
                session.say("503 5.5.1 MAIL first")
            else:
                session.recipient = path[1]
                self._answer(session, self.on_rcpt(session), "250 2.1.5 Ok", "recipient")
        elif verb == "DATA":
            if session.recipient is None:
                session.say("503 5.5.1 RCPT first")
            else:
                self._content(session)
        elif verb == "RSET":
            session.sender = session.recipient = None
            session.say("250 2.0.0 Ok")
        elif verb == "QUIT":
            session.say(self.bye)
            return False
        else:
            session.say("500 5.5.2 what?")
        return True

    @staticmethod
    def _answer(session, reply, usual, on_refusal):
        session.say(reply or usual)
        if reply and not reply.startswith("2"):
            setattr(session, on_refusal, None)
        if reply and reply.startswith("421"):
            raise EOFError

    def _content(self, session):
        reply = self.on_data(session)
        if reply:
            session.say(reply)
            return
        session.say("354 go on")
        session.read_content()
        reply = self.on_dot(session)
        recipient = session.recipient
        session.sender = session.recipient = None
        session.mails += 1
        if not reply or reply.startswith("2"):
            with self.lock:
                self.accepted.append((recipient, time.monotonic()))
        session.say(reply or "250 2.0.0 Ok")
        if reply and reply.startswith("421"):
            raise EOFError
