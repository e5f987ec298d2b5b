#!/usr/bin/python3
"""An HTTP service that knows contacts, as docs/enrichment.md describes it: it counts and times its
calls, and answers wrongly when told to. Tests run it in a thread:

    with ContactService() as service:
        service.plan = [status(503, retry_after=1), html]  # for the next two calls; then all is well
        ... service.url, service.calls, service.asked()

By itself it serves until it is ended, and appends a line of JSON for each call to FILE:

    contact_service.py [--port N] [--record FILE] [--delay-ms N]
"""

import argparse
import json
import socket
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

NAMES = ("김민준", "이서연", "박지후", "Zoë Ångström", "José Muñoz", "O'Brien & Sons")


class Call:
    """One request: when it began (monotonic seconds), and what it was."""

    def __init__(self, handler, body):
        self.at = time.monotonic()
        self.method, self.path = handler.command, handler.path
        self.headers = {name.lower(): value for name, value in handler.headers.items()}
        self.body = body
        self.ids = json.loads(body)["ids"] if body else []


# -- faults: each gets the handler and the call, and answers instead

def status(code, retry_after=None, body=b"not now"):
    def answer(handler, _call):
        headers = {"Retry-After": str(retry_after)} if retry_after is not None else {}
        handler.answer(code, body, "text/plain", **headers)
    return answer


def text(body, kind="application/json"):
    """Any body at all."""
    def answer(handler, _call):
        handler.answer(200, body if isinstance(body, bytes) else body.encode(), kind)
    return answer


def contacts(*items):
    """These contacts, whoever was asked for."""
    return text(json.dumps({"contacts": items}))


def redirect(to, code=302):
    def answer(handler, _call):
        handler.answer(code, b"", "text/plain", Location=to)
    return answer


def html(handler, _call):
    handler.answer(200, b"<!DOCTYPE html><html><body>Please log in</body></html>",
                   "text/html; charset=utf-8")


def half(handler, call):
    """The first half of the right answer, as if that were all."""
    body = handler.server.service.body_for(call.ids)
    handler.answer(200, body[:len(body) // 2], "application/json")


def cut(handler, call):
    """The first half, and then the connection ends."""
    body = handler.server.service.body_for(call.ids)
    handler.answer(200, body[:len(body) // 2], "application/json", length=len(body))
    handler.close_connection = True


def large(handler, call):
    """The right answer, with 10 MB of something in it, in pieces of unknown number."""
    found = handler.server.service.found(call.ids)
    found[0]["essay"] = "x" * 10_000_000
    body = json.dumps({"contacts": found}).encode()
    handler.send_response(200)
    handler.send_header("Content-Type", "application/json")
    handler.send_header("Connection", "close")
    handler.end_headers()
    try:
        handler.wfile.write(body)
    except OSError:
        pass  # the other side has read enough
    handler.close_connection = True


def silence(handler, _call):
    """No answer, until the other side gives up."""
    handler.connection.settimeout(60)
    try:
        handler.connection.recv(1)
    except OSError:
        pass
    handler.close_connection = True


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def _call(self):
        service = self.server.service
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        call = Call(self, body)
        fault = service.take(call)
        try:
            if fault:
                fault(self, call)
            else:
                time.sleep(service.delay_s)
                self.answer(200, service.body_for(call.ids), "application/json; charset=utf-8")
        finally:
            service.leave()

    do_POST = do_PUT = do_GET = _call

    def answer(self, code, body, kind, length=None, **headers):
        self.send_response(code)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body) if length is None else length))
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_args):
        pass


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64

    def __init__(self, service, port, tls):
        self.service = service
        self.open = set()
        super().__init__(("127.0.0.1", port), Handler)
        if tls:
            self.socket = tls.wrap_socket(self.socket, server_side=True)

    def get_request(self):
        connection, address = super().get_request()
        self.open.add(connection)
        return connection, address

    def shutdown_request(self, request):
        self.open.discard(request)
        super().shutdown_request(request)

    def handle_error(self, _request, _address):
        pass  # a client that went away


class ContactService:
    """delay_s: how long a call takes. unknown: ids it does not know. more: id -> further fields. tls:
    an ssl.SSLContext."""

    def __init__(self, port=0, record=None, delay_s=0, tls=None):
        self.port, self.delay_s, self.tls = port, delay_s, tls
        self.plan, self.calls = [], []
        self.unknown, self.more = set(), {}
        self.under_way = self.most_under_way = 0
        self._record = open(record, "a", encoding="utf-8") if record else None
        self._lock = threading.Lock()
        self._server = None

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_why):
        self.stop()

    def start(self):
        self._server = Server(self, self.port, self.tls)
        self.port = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def stop(self):
        """Nothing listens any more, and connections end; start() takes the same port again."""
        if not self._server:
            return
        self._server.shutdown()
        for connection in list(self._server.open):
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
        self._server.server_close()
        self._server = None

    @property
    def url(self):
        return f"{'https' if self.tls else 'http'}://127.0.0.1:{self.port}/contacts"

    # -- what it has seen

    def asked(self):
        """All ids, in the order of the calls."""
        return [i for call in self.calls for i in call.ids]

    def gaps(self):
        """Seconds from each call to the next."""
        times = [call.at for call in self.calls]
        return [b - a for a, b in zip(times, times[1:])]

    # -- what it knows

    def contact(self, contact_id):
        number = sum(contact_id.encode())
        return {"id": contact_id, "email": f"user{contact_id}@example.net",
                "name": NAMES[number % len(NAMES)], "city": "서울", **self.more.get(contact_id, {})}

    def found(self, ids):
        return [self.contact(i) for i in ids if i not in self.unknown]

    def body_for(self, ids):
        return json.dumps({"contacts": self.found(ids)}, ensure_ascii=False).encode()

    # -- for the handler

    def take(self, call):
        with self._lock:
            self.calls.append(call)
            self.under_way += 1
            self.most_under_way = max(self.most_under_way, self.under_way)
            if self._record:
                self._record.write(json.dumps({"at": call.at, "ids": len(call.ids)}) + "\n")
                self._record.flush()
            return self.plan.pop(0) if self.plan else None

    def leave(self):
        with self._lock:
            self.under_way -= 1


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--record")
    parser.add_argument("--delay-ms", type=int, default=0)
    args = parser.parse_args()
    with ContactService(args.port, args.record, args.delay_ms / 1000) as service:
        print(f"port={service.port}", flush=True)
        threading.Event().wait()


if __name__ == "__main__":
    main()
