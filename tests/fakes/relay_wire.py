"""The bytes of one connection of the random relay: sockets without a library between them and us, so
that it is known which bytes left together, and whether the peer had already gone."""

import asyncio
import select
import socket
import ssl
import struct

SMALL_MSS, SMALL_BUFFER, LARGE_BUFFER = 536, 4096, 1 << 20
PEER_S = 20  # a peer that is silent for as long is left


class Gone(Exception):
    """The connection is over, whoever ended it."""


class Wire:
    def __init__(self, sock):
        self.loop, self.sock, self.tls = asyncio.get_running_loop(), sock, None
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    async def _raw_recv(self):
        try:
            data = await asyncio.wait_for(self.loop.sock_recv(self.sock, 65536), PEER_S)
        except (OSError, asyncio.TimeoutError) as e:
            raise Gone(repr(e)) from None
        if not data:
            raise Gone("end of stream")
        return data

    async def _raw_send(self, data):
        try:
            await asyncio.wait_for(self.loop.sock_sendall(self.sock, data), PEER_S)
        except (OSError, asyncio.TimeoutError) as e:
            raise Gone(repr(e)) from None

    async def start_tls(self, context):
        self.inn, self.out = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = context.wrap_bio(self.inn, self.out, server_side=True)
        await self._pump(self.tls.do_handshake)

    async def _pump(self, step):
        while True:
            try:
                result = step()
                await self._flush()
                return result
            except ssl.SSLWantReadError:
                await self._flush()
                self.inn.write(await self._raw_recv())
            except ssl.SSLError as e:
                raise Gone(repr(e)) from None

    async def _flush(self):
        data = self.out.read()
        if data:
            await self._raw_send(data)

    async def recv(self):
        if not self.tls:
            return await self._raw_recv()
        data = await self._pump(lambda: self.tls.read(65536))
        if not data:
            raise Gone("end of TLS")
        return data

    async def send(self, data):
        """One packet, or one record."""
        if not self.tls:
            return await self._raw_send(data)
        await self._pump(lambda: self.tls.write(data))

    def peer_left(self):
        """Whether the peer has ended the connection by now; what it had sent before may be unread."""
        poll = select.poll()
        poll.register(self.sock, select.POLLRDHUP)
        return any(found for _, found in poll.poll(0))

    def large_window(self):
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, LARGE_BUFFER)

    def reset(self):
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.sock.close()

    async def finish(self):
        """FIN, and what the peer still says is read, but not heard."""
        try:
            self.sock.shutdown(socket.SHUT_WR)
            while True:
                await self._raw_recv()
        except (OSError, Gone):
            pass
        self.sock.close()


def listen(small_window):
    sock = socket.socket()
    if small_window:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, SMALL_MSS)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SMALL_BUFFER)
    sock.bind(("127.0.0.1", 0))
    sock.listen(100)
    sock.setblocking(False)
    return sock
