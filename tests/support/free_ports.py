"""Ports of loopback that nothing listens on."""

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
