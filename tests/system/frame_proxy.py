"""A TCP proxy on loopback before RabbitMQ that swallows frames of the channel over which our programs
publish: as a queue without a leader, which answers a publish with neither a confirm nor an error."""

import contextlib
import socket
import struct
import threading

from environment import ENV

PUBLISH_CHANNEL = 2
PREFACE = 8  # "AMQP" 0 0 9 1, of the client
METHOD, HEADER, BODY = 1, 2, 3
BASIC_PUBLISH, BASIC_ACK = (60, 40), (60, 80)


def _is_publish(kind, method):
    return kind in (HEADER, BODY) or (kind == METHOD and method == BASIC_PUBLISH)


def _is_confirm(kind, method):
    return kind == METHOD and method == BASIC_ACK


class FrameProxy:
    """Forwards `port` to RabbitMQ. Of the first connection it swallows all publishes, or what="confirms"
    of them; `swallowed` counts these. Later connections are whole."""

    def __init__(self, what="publishes"):
        self._what = what
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self.swallowed = 0
        self.connections = 0
        self._sockets = [self._listener]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                self.connections += 1
                server = socket.create_connection(
                    (ENV["MAILFLOCK_BROKER_HOST"], int(ENV["MAILFLOCK_BROKER_PORT"])))
                self._sockets += [client, server]
                for one in (client, server):
                    one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                first = self.connections == 1
                takes = _is_publish if first and self._what == "publishes" else None
                gives = _is_confirm if first and self._what == "confirms" else None
                for arguments in ((client, server, PREFACE, takes), (server, client, 0, gives)):
                    threading.Thread(target=self._forward, args=arguments, daemon=True).start()

    def _forward(self, source, to, preface, swallows):
        """Frame by frame: type, channel, size, payload, end."""
        with contextlib.suppress(OSError), source.makefile("rb") as stream:
            to.sendall(stream.read(preface))
            while len(head := stream.read(7)) == 7:
                kind, channel, size = struct.unpack(">BHI", head)
                rest = stream.read(size + 1)
                method = struct.unpack(">HH", rest[:4]) if kind == METHOD else None
                if swallows and channel == PUBLISH_CHANNEL and swallows(kind, method):
                    self.swallowed += kind == METHOD
                else:
                    to.sendall(head + rest)
        with contextlib.suppress(OSError):
            to.shutdown(socket.SHUT_WR)

    def close(self):
        for one in self._sockets:
            with contextlib.suppress(OSError):
                one.close()
