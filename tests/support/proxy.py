"""A proxy before a real OpenSearch node that speaks TLS, checks signatures, and misbehaves when it is told to.

Belongs here: standing between client and node. Does not belong here: any test.
"""

from __future__ import annotations

import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar
from urllib.parse import urlsplit

from botocore.credentials import Credentials

from infra.rehearsal.account.recorded_calls import Request
from infra.rehearsal.domain.signatures import signature
from tests.support.node_requests import connection, name_of

#: What to do with a request, told by its method, path and number: answer this status instead, lose the answer of the
#: node ("lose"), change the answer's content (a function), answer in its place (status, content and its type), or pass it
#: on (None).
Fault = Callable[[str, str, int], int | str | tuple[int, bytes, str] | Callable[[bytes], bytes] | None]


@dataclass
class Proxy:
    """What a running proxy saw, and how it should behave."""

    url: str
    fault: Fault = lambda method, path, number: None
    seen: list[tuple[str, str]] = field(default_factory=list)
    #: Path and bytes of each request and of its answer.
    sizes: list[tuple[str, int, int]] = field(default_factory=list)
    #: Address of the node behind; another one after it was restarted.
    node: str = ""
    refused: list[str] = field(default_factory=list)

    def to(self, address: str) -> str:
        """Address of a catalog on the node, through the proxy."""
        return f"{self.url}/{name_of(address)}"


@contextmanager
def proxied(
    node: str, *, certificate: Path | None = None, signed_with: Credentials | None = None, region: str = "eu-west-2"
) -> Iterator[Proxy]:
    """Run a proxy before the node of a catalog's address, or before an S3 server.

    An S3 server sees all headers, as it checks signatures by itself.
    """
    passed_on = ("content-type", "accept") if node.startswith("opensearch+") else None
    state = Proxy("", node=node)
    lock = threading.Lock()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        wanted: ClassVar[dict[str, str]] = {}

        def _serve(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            with lock:
                state.seen.append((self.command, self.path))
                number = len(state.seen)
            if signed_with is not None and not self._is_signed(body):
                state.refused.append(self.path)
                self._answer(403, b'{"message": "The request signature does not match"}', "application/json")
                return
            fault = state.fault(self.command, self.path, number)
            if isinstance(fault, int):
                self._answer(fault, b'{"error": {"reason": "told to"}}', "application/json")
                return
            if isinstance(fault, tuple):
                self._answer(*fault)
                return
            kept = {k: v for k, v in self.headers.items() if passed_on is None or k.lower() in passed_on}
            try:
                behind = _behind(state.node)
                behind.request(self.command, self.path, body or None, kept)
                answer = behind.getresponse()
                content = answer.read()
            except OSError:  # as of a node that is restarted
                self.close_connection = True
                self.connection.close()
                return
            state.sizes.append((self.path, len(body), len(content)))
            self.wanted = {k: v for k, v in answer.getheaders() if k.lower().startswith("x-amz-")}
            behind.close()
            if fault == "lose":
                self.close_connection = True
                self.connection.close()
                return
            if callable(fault):
                content = fault(content)
            self._answer(answer.status, content, answer.getheader("Content-Type") or "application/json")

        do_GET = do_POST = do_PUT = do_DELETE = do_HEAD = _serve

        def _answer(self, status: int, content: bytes, kind: str) -> None:
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(content)))
            for name, value in self.wanted.items():
                self.send_header(name, value)
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(content)

        def _is_signed(self, body: bytes) -> bool:
            """Whether the signature is the one that the same credentials would give."""
            given = self.headers.get("Authorization") or ""
            if "SignedHeaders=" not in given:
                return False
            names = given.split("SignedHeaders=")[1].split(",")[0].split(";")
            headers = {name.lower(): value for name, value in self.headers.items()}
            request = Request(self.command, self.path, headers, body)
            return given.endswith("Signature=" + signature(request, signed_with.secret_key, names, "es", region))

        def log_message(self, *args: object) -> None:
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    if certificate is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
        server.socket = context.wrap_socket(server.socket, server_side=True)
    scheme = "opensearch+" if passed_on else ""
    state.url = f"{scheme}http{'s' if certificate else ''}://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield state
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _behind(node: str) -> HTTPConnection:
    if node.startswith("opensearch+"):
        return connection(node)
    parts = urlsplit(node)
    return HTTPConnection(parts.hostname or "", parts.port, timeout=60)
