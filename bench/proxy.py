"""HAProxy between a client and the sink: one port ends TLS, the other passes bytes on, so that the
two sides of the pair differ in nothing but TLS. (Postfix's smtp-sink knows no TLS.)"""

import os
import shutil
import sys

from environment import ROOT
from processes import Process, answers, free_port, wait_until

sys.path.append(os.path.join(ROOT, "tests", "fakes"))

CONFIG = """\
global
  maxconn 4000
  nbthread 1
defaults
  mode tcp
  timeout connect 5s
  timeout client 10m
  timeout server 10m
listen plain
  bind 127.0.0.1:{plain}
  server sink 127.0.0.1:{sink}
listen tls
  bind 127.0.0.1:{tls} ssl crt {certificate}
  server sink 127.0.0.1:{sink}
"""


def program():
    return shutil.which("haproxy", path=os.environ.get("PATH", "") + ":/usr/sbin")


class Proxy(Process):
    def __init__(self, directory, sink_port):
        from starttls_server import make_certificates  # needs aiosmtpd

        certificates = os.path.join(directory, "certificates")
        os.makedirs(certificates, exist_ok=True)
        make_certificates(certificates, "localhost")
        both = os.path.join(certificates, "both.pem")
        with open(both, "w", encoding="utf-8") as file:
            for name in ("server.pem", "server.key"):
                with open(os.path.join(certificates, name), encoding="utf-8") as part:
                    file.write(part.read())
        self.ca_file = os.path.join(certificates, "ca.pem")
        self.plain_port, self.tls_port = free_port(), free_port()
        config = os.path.join(directory, "haproxy.cfg")
        with open(config, "w", encoding="utf-8") as file:
            file.write(CONFIG.format(plain=self.plain_port, tls=self.tls_port, sink=sink_port,
                                     certificate=both))
        super().__init__("haproxy", [program(), "-db", "-f", config],
                         os.path.join(directory, "haproxy.log"))
        wait_until(lambda: answers(self.plain_port), 10, lambda: f"haproxy: {self.text()}")

    @property
    def plain_url(self):
        return f"smtp://127.0.0.1:{self.plain_port}"

    @property
    def tls_url(self):
        return f"smtps://localhost:{self.tls_port}"
