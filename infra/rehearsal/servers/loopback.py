"""Ports of loopback.

Belongs here: ports that nothing listens on. Does not belong here: who listens.
"""

from __future__ import annotations

import socket


def free_ports(count: int) -> list[int]:
    """Return some free ports, all different."""
    sockets = [socket.socket() for _ in range(count)]
    try:
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [int(each.getsockname()[1]) for each in sockets]
    finally:
        for each in sockets:
            each.close()


def free_port() -> int:
    """Return a free port."""
    return free_ports(1)[0]


def listening(port: int = 0, address: str = "127.0.0.1") -> socket.socket:
    """Return a socket that listens on an address of loopback."""
    one = socket.socket()
    one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    one.bind((address, port))
    one.listen(128)
    return one
