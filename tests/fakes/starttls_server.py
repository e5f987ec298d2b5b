#!/usr/bin/python3
"""An SMTP server with STARTTLS and AUTH, both required: the peer that checks our TLS and login.

    starttls_server.py --dir DIR [--port N] [--host HOST] [--user U] [--password P] [--smtps]
                       [--no-auth] [--no-tls] [--mechanisms "LOGIN PLAIN"]

Makes an authority and a certificate for HOST (default localhost) in DIR unless they are there:
DIR/ca.pem is what a client has to trust. Appends one line of JSON for each accepted mail to
DIR/mails.jsonl: from, to, content, user, tls. Prints port=N when ready; ends on SIGTERM.
"""

import argparse
import asyncio
import json
import os
import signal
import ssl
import subprocess

from aiosmtpd.smtp import SMTP, AuthResult, LoginPassword


def make_certificates(directory, name):
    """ca.pem, and server.pem with its key, signed by the authority for this name and 127.0.0.1."""

    def path(file):
        return os.path.join(directory, file)

    def openssl(*args):
        subprocess.run(["openssl", *args], check=True, stdout=subprocess.DEVNULL,
                       stderr=subprocess.PIPE)

    if os.path.exists(path("server.pem")):
        return
    key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    openssl("req", "-x509", *key, "-keyout", path("ca.key"), "-out", path("ca.pem"), "-days", "30",
            "-subj", "/CN=Mailflock test authority", "-addext", "basicConstraints=critical,CA:TRUE")
    openssl("req", *key, "-keyout", path("server.key"), "-out", path("server.csr"), "-subj",
            f"/CN={name}")
    with open(path("server.ext"), "w", encoding="utf-8") as extensions:
        extensions.write(f"subjectAltName=DNS:{name}" +
                         (",IP:127.0.0.1\n" if name == "localhost" else "\n"))
    openssl("x509", "-req", "-in", path("server.csr"), "-CA", path("ca.pem"), "-CAkey",
            path("ca.key"), "-CAcreateserial", "-days", "30", "-extfile", path("server.ext"),
            "-out", path("server.new"))
    os.rename(path("server.new"), path("server.pem"))


class Handler:
    def __init__(self, path):
        self.mails = open(path, "a", encoding="utf-8")

    async def handle_DATA(self, _server, session, envelope):
        login = session.auth_data
        self.mails.write(json.dumps({
            "from": envelope.mail_from,
            "to": envelope.rcpt_tos,
            "content": envelope.original_content.decode("utf-8", "surrogateescape"),
            "user": login.login.decode() if login else None,
            "tls": session.ssl is not None,
        }) + "\n")
        self.mails.flush()
        return "250 2.0.0 Ok"


class Server(SMTP):
    """With smtps, TLS is there before the first word, which aiosmtpd takes for none."""

    async def smtp_EHLO(self, hostname):
        if self.session.ssl is None and self.transport.get_extra_info("sslcontext"):
            self.session.ssl = self.transport.get_extra_info("ssl_object")
        await super().smtp_EHLO(hostname)


def authenticator(user, password):
    def check(_server, _session, _envelope, _mechanism, data):
        good = isinstance(data, LoginPassword) and (data.login, data.password) == (
            user.encode(), password.encode())
        return AuthResult(success=good, auth_data=data if good else None, handled=good)

    return check


def arguments():
    parser = argparse.ArgumentParser()
    parser.add_argument("--dir", required=True)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--host", default="localhost")
    parser.add_argument("--user", default="mailflock")
    parser.add_argument("--password", default="secret")
    parser.add_argument("--mechanisms", default="LOGIN PLAIN")
    parser.add_argument("--smtps", action="store_true")
    parser.add_argument("--no-auth", action="store_true")
    parser.add_argument("--no-tls", action="store_true")
    return parser.parse_args()


async def serve(args):
    loop = asyncio.get_running_loop()
    context = None
    if not args.no_tls:
        make_certificates(args.dir, args.host)
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(os.path.join(args.dir, "server.pem"),
                                os.path.join(args.dir, "server.key"))
    handler = Handler(os.path.join(args.dir, "mails.jsonl"))
    starttls = context if not args.smtps else None
    hidden = {"LOGIN", "PLAIN"} - set(args.mechanisms.split())

    def make():
        return Server(handler, hostname=args.host, enable_SMTPUTF8=True, tls_context=starttls,
                      require_starttls=starttls is not None, auth_required=not args.no_auth,
                      auth_require_tls=starttls is not None, auth_exclude_mechanism=hidden,
                      authenticator=authenticator(args.user, args.password), loop=loop)

    server = await loop.create_server(make, "127.0.0.1", args.port,
                                      ssl=context if args.smtps else None)
    ended = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, ended.set)
    print(f"port={server.sockets[0].getsockname()[1]}", flush=True)
    await ended.wait()
    server.close()


if __name__ == "__main__":
    asyncio.run(serve(arguments()))
