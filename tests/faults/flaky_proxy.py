"""An HTTP proxy in front of an object store that fails in the ways object stores do, and counts how often."""

from __future__ import annotations

import random
import socket
import struct
import threading
from collections import Counter
from collections.abc import Callable
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

_S3_ERROR = '<?xml version="1.0" encoding="UTF-8"?><Error><Code>{}</Code><Message>{}</Message></Error>'
# Answers that S3 gives without looking at the object.
ANSWERS = {
    "busy": (503, "SlowDown", "Please reduce your request rate."),
    "denied": (403, "AccessDenied", "Access Denied"),
    "missing": (404, "NoSuchKey", "The specified key does not exist."),
    "expired": (400, "ExpiredToken", "The provided token has expired."),
    "elsewhere": (400, "AuthorizationHeaderMalformed", "The region 'us-east-1' is wrong; expecting 'eu-1'"),
}
_HOP_BY_HOP = {"connection", "keep-alive", "transfer-encoding", "content-length", "server", "date"}


class FlakyProxy:
    """A proxy on a port of its own; a context.

    Parameters
    ----------
    host, port
        Of the store.

    Attributes
    ----------
    url : str
    fault : callable
        Called for each request with its number; returns a key of `ANSWERS`, 'reset', 'truncated', 'hang', or
        None to pass the request on.
    counts : Counter
        Faults so far, and 'passed'.
    hang_seconds : float
        How long a request that hangs is held before its connection is closed.
    """

    def __init__(self, host: str, port: int) -> None:
        self.store = host, port
        self.fault: Callable[[int], str | None] = lambda number: None
        self.counts: Counter[str] = Counter()
        self.hang_seconds = 3.0
        self.ended = threading.Event()
        self._lock, self._number = threading.Lock(), 0
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"proxy": self}))
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> FlakyProxy:
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.ended.set()
        self._server.shutdown()
        self._server.server_close()

    def next_fault(self) -> str | None:
        """Decide on the next request, and count."""
        with self._lock:
            found = self.fault(self._number)
            self._number += 1
            self.counts[found or "passed"] += 1
            return found


def at_random(probability: float, *faults: str, seed: int = 0) -> Callable[[int], str | None]:
    """Return a fault for this share of all requests."""
    rng = random.Random(seed)
    return lambda number: rng.choice(faults) if rng.random() < probability else None


def bursts(fault: str, good: int, bad: int) -> Callable[[int], str | None]:
    """Return no fault so many times, then so many times this one, and so on."""
    return lambda number: fault if number % (good + bad) >= good else None


class _Handler(BaseHTTPRequestHandler):
    proxy: FlakyProxy
    protocol_version = "HTTP/1.1"

    def _handle(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        fault = self.proxy.next_fault()
        if fault in ANSWERS:
            self._answer(*ANSWERS[fault])
        elif fault == "reset":
            # Closed at once, which the other side sees as a reset.
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self._close()
        elif fault == "hang":
            self.proxy.ended.wait(self.proxy.hang_seconds)
            self._close()
        else:
            self._pass_on(body, cut=fault == "truncated")

    do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = _handle

    def _answer(self, status: int, code: str, message: str) -> None:
        content = b"" if self.command == "HEAD" else _S3_ERROR.format(code, message).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/xml")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def _pass_on(self, body: bytes, *, cut: bool) -> None:
        connection = HTTPConnection(*self.proxy.store)
        connection.request(self.command, self.path, body, dict(self.headers.items()))
        response = connection.getresponse()
        content = response.read()
        self.send_response(response.status)
        for name, value in response.getheaders():
            if name.lower() not in _HOP_BY_HOP:
                self.send_header(name, value)
        told = response.getheader("Content-Length") if self.command == "HEAD" else str(len(content))
        self.send_header("Content-Length", told or "0")
        self.end_headers()
        connection.close()
        if cut and content:
            self.wfile.write(content[: len(content) // 2])
            self._close()
        else:
            self.wfile.write(content)

    def _close(self) -> None:
        self.close_connection = True
        # A half that is written but not closed would hold the other side up.
        self.wfile.flush()
        self.connection.shutdown(socket.SHUT_RD)

    def log_message(self, *_: object) -> None:
        """Say nothing."""
