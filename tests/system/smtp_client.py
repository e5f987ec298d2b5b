"""An SMTP client that says exactly what a test tells it to, in as many writes as it is told."""

import socket


class SmtpClient:
    """Replies are lists of (code, text) lines; `code` alone is what most tests want."""

    def __init__(self, port, greet=True, deadline_s=60):
        self.socket = socket.create_connection(("127.0.0.1", port), deadline_s)
        self.file = self.socket.makefile("rb")
        if greet:
            self.greeting = self.reply()
            self.ehlo()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self.file.close()
        self.socket.close()

    def ehlo(self):
        self.send("EHLO client.example\r\n")
        self.capabilities = [text for _, text in self.reply_lines()][1:]

    def send(self, data):
        self.socket.sendall(data if isinstance(data, bytes) else data.encode())

    def reply_lines(self):
        """One whole reply: [(code, text), ...]; EOFError where the connection ended."""
        lines = []
        while True:
            line = self.file.readline()
            if not line.endswith(b"\r\n"):
                raise EOFError(f"the connection ended after {line!r}")
            lines.append((int(line[:3]), line[4:-2].decode()))
            if line[3:4] != b"-":
                return lines

    def reply(self):
        """The code of one reply."""
        return self.reply_lines()[-1][0]

    def ask(self, data, replies=1):
        """Sends data in one write; the codes of the replies."""
        self.send(data)
        return [self.reply() for _ in range(replies)]

    def is_closed(self):
        """Whether the server closes, or has closed, without another word."""
        try:
            return self.file.read(1) == b""
        except ConnectionResetError:
            return True

    def mail(self, rcpt, message_id="m1@test", sender="a@example.com", body="hello\r\n"):
        """One mail, pipelined as RFC 2920 allows: the codes up to the one that decides."""
        codes = self.ask(envelope(rcpt, sender), 3)
        if codes[2] == 354:
            codes += self.ask(content(message_id, body))
        return codes


def envelope(rcpt, sender="a@example.com"):
    return f"MAIL FROM:<{sender}>\r\nRCPT TO:<{rcpt}>\r\nDATA\r\n"


def content(message_id, body="hello\r\n"):
    return f"Message-ID: <{message_id}>\r\nSubject: test\r\n\r\n{body}.\r\n"
