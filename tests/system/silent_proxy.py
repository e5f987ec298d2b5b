"""A TCP proxy on loopback whose connections can fall silent, as behind a firewall that has forgotten
them: nothing comes through in either direction, and nobody is told."""

import contextlib
import select
import socket
import threading


class SilentProxy:
    """Forwards `port` to target, a (host, port)."""

    def __init__(self, target):
        self._target = target
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self._era = 0  # connections of an earlier one are silent
        self._sockets = [self._listener]
        threading.Thread(target=self._accept, daemon=True).start()

    def silence(self):
        """All connections that are open now; later ones work."""
        self._era += 1

    def _accept(self):
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                threading.Thread(target=self._serve, args=(client, self._era), daemon=True).start()

    def _serve(self, client, era):
        self._sockets.append(client)
        with contextlib.suppress(OSError):
            server = socket.create_connection(self._target)
            self._sockets.append(server)
            for one in (client, server):
                one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            while self._era == era:
                ready, _, _ = select.select([client, server], [], [], 0.05)
                for source in ready:
                    data = source.recv(65536)
                    if self._era != era:
                        return
                    if not data:
                        client.close()
                        server.close()
                        return
                    (server if source is client else client).sendall(data)

    def close(self):
        for one in self._sockets:
            with contextlib.suppress(OSError):
                one.close()
