"""An HTTP server at a listening socket that may belong to another network namespace.

Belongs here: reading requests, writing answers. Does not belong here: any answer.
"""

from __future__ import annotations

import socket
import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import urllib3

from infra.rehearsal.account.recorded_calls import Request


@dataclass
class Answer:
    """One HTTP answer."""

    status: int
    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict)


class HttpListener:
    """A server that answers until it is closed.

    Parameters
    ----------
    handle
        Answers a request.
    listener
        Where to listen.
    context
        For HTTPS; HTTP without.
    """

    def __init__(
        self, handle: Callable[[Request], Answer], listener: socket.socket, context: ssl.SSLContext | None = None
    ) -> None:
        handler = type("Handler", (_Handler,), {"handle_request": staticmethod(handle)})
        host, port = listener.getsockname()[:2]
        self.url = f"http{'s' if context else ''}://{host}:{port}"
        self._server = ThreadingHTTPServer((host, port), handler, bind_and_activate=False)
        self._server.socket.close()
        if context:  # the handshake is that of the connection's thread: one that never ends must not stop the others
            listener = context.wrap_socket(listener, server_side=True, do_handshake_on_connect=False)
        self._server.socket, self._server.daemon_threads = listener, True
        Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.1}, daemon=True).start()

    def close(self) -> None:
        """Stop listening."""
        self._server.shutdown()
        self._server.server_close()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize, disable_nagle_algorithm = -1, True  # else each answer waits 40 ms for an acknowledgement
    handle_request: Callable[[Request], Answer]

    def _any(self) -> None:
        headers = {name.lower(): value for name, value in self.headers.items()}
        request = Request(self.command, self.path, headers, self._body())
        try:
            answer = self.handle_request(request)
        except (urllib3.exceptions.HTTPError, OSError) as error:
            answer = Answer(503, str(error).encode(), {"Content-Type": "text/plain"})
        self.send_response(answer.status)
        for name, value in answer.headers.items():
            self.send_header(name, value)
        if "Content-Length" not in answer.headers:
            self.send_header("Content-Length", str(len(answer.body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(answer.body)

    do_GET = do_POST = do_PUT = do_DELETE = do_HEAD = do_PATCH = _any  # noqa: N815

    def _body(self) -> bytes:
        if "chunked" not in self.headers.get("Transfer-Encoding", ""):
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))
        content = b""
        while size := int(self.rfile.readline().partition(b";")[0], 16):
            content += self.rfile.read(size)
            self.rfile.readline()
        while self.rfile.readline().strip():
            pass
        return content

    def log_message(self, *args: object) -> None:
        return
