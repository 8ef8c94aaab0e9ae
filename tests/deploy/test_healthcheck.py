"""The health check of containers: what it takes for an answer."""

from __future__ import annotations

import runpy
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread

import pytest

from tests.deploy.documented import REPO

CHECK = runpy.run_path(str(REPO / "docker" / "healthcheck.py"))
answers: Callable[[int], bool] = CHECK["_answers"]


@contextmanager
def serving(path: str) -> Iterator[int]:
    class Page(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200 if self.path == path else 404)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Page) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_port
        server.shutdown()


@pytest.mark.parametrize(("path", "healthy"), [("/health", True), ("/server_info", True), ("/", False)])
def test_the_pages_of_dask_and_dagster_are_answers(path: str, healthy: bool) -> None:
    with serving(path) as port:
        assert answers(port) == healthy
        if healthy:
            assert CHECK["main"]() == 0


def test_a_port_that_speaks_something_else_is_no_answer() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:

        def refuse() -> None:
            connection, _ = server.accept()
            connection.sendall(b"\x15\x03\x01 not HTTP\r\n")
            connection.close()

        Thread(target=refuse, daemon=True).start()
        assert not answers(server.getsockname()[1])
