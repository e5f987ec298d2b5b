"""Name servers of a test on loopback, and programs that see no others: each program runs in a mount
namespace of its own with another /etc/resolv.conf. The servers are silent until they are told to answer."""

import os
import random
import shutil
import socket
import struct
import subprocess
import threading

A, AAAA = 1, 28


def why_not():
    """Why it cannot be done here; "" where it can."""
    if shutil.which("unshare") and not subprocess.run(
            ["unshare", "-m", "true"], stderr=subprocess.DEVNULL, check=False).returncode:
        return ""
    return "unshare -m is not permitted here, so no program can have another resolv.conf"


class NameServers:
    """Two of them. queries: (port of the asker, name) of all that came; answer: name -> IPv4 address;
    what is not in it gets no answer."""

    def __init__(self, directory):
        self.queries, self.answers = [], {}
        self._sockets = [self._bind() for _ in range(2)]
        self._resolv = os.path.join(directory, "resolv.conf")
        with open(self._resolv, "w", encoding="ascii") as file:
            for s in self._sockets:
                file.write(f"nameserver {s.getsockname()[0]}\n")
            file.write("search test.invalid\noptions timeout:5 attempts:2\n")  # 40 s for a name
        self._nsswitch = os.path.join(directory, "nsswitch.conf")
        with open(self._nsswitch, "w", encoding="ascii") as file:
            file.write("hosts: files dns\n")
        self._over = False
        self._threads = [threading.Thread(target=self._serve, args=(s,)) for s in self._sockets]
        for thread in self._threads:
            thread.start()

    @staticmethod
    def _bind():
        while True:
            s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            address = ".".join(["127", *(str(random.randrange(1, 255)) for _ in range(3))])
            try:
                s.bind((address, 53))
            except OSError:
                s.close()
                continue
            s.settimeout(0.1)
            return s

    def _serve(self, s):
        while not self._over:
            try:
                query, asker = s.recvfrom(2048)
            except TimeoutError:
                continue
            name, end = self._name(query)
            self.queries.append((asker[1], name))
            address = self.answers.get(name)
            if not address:
                continue
            kind, = struct.unpack(">H", query[end:end + 2])
            record = (struct.pack(">HHHIH", 0xc00c, A, 1, 60, 4) + socket.inet_aton(address)
                      if kind == A else b"")
            s.sendto(query[:2] + struct.pack(">HHHHH", 0x8180, 1, bool(record), 0, 0) +
                     query[12:end + 4] + record, asker)

    @staticmethod
    def _name(query):
        at, labels = 12, []
        while query[at]:
            labels.append(query[at + 1:at + 1 + query[at]].decode())
            at += 1 + query[at]
        return ".".join(labels), at + 1

    def command(self, *argv):
        """argv as it has to be run to ask these name servers; the pid stays."""
        script = (f"mount --bind {self._resolv} /etc/resolv.conf && "
                  f"mount --bind {self._nsswitch} /etc/nsswitch.conf && exec \"$@\"")
        return ["unshare", "-m", "sh", "-c", script, "sh", *argv]

    def close(self):
        self._over = True
        for thread in self._threads:
            thread.join()
        for s in self._sockets:
            s.close()
