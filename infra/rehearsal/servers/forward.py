"""TCP connections from a namespace to a server on loopback of this machine: a database, a search node.

Belongs here: accepting and passing on. Does not belong here: the servers.
"""

from __future__ import annotations

import socket
from contextlib import suppress
from threading import Thread


def forward(listener: socket.socket, port: int) -> None:
    """Pass every connection of a listening socket on to a port of 127.0.0.1, until the socket is closed."""
    Thread(target=_accept, args=(listener, port), daemon=True).start()


def _accept(listener: socket.socket, port: int) -> None:
    while True:
        try:
            near, _ = listener.accept()
        except OSError:
            return
        try:
            far = socket.create_connection(("127.0.0.1", port), timeout=10)
        except OSError:
            near.close()
            continue
        far.settimeout(None)
        for source, target in ((near, far), (far, near)):
            Thread(target=_pump, args=(source, target), daemon=True).start()


def _pump(source: socket.socket, target: socket.socket) -> None:
    with suppress(OSError):
        while content := source.recv(65536):
            target.sendall(content)
    with suppress(OSError):
        target.shutdown(socket.SHUT_WR)
