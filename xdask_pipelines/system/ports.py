"""Ports of this machine.

Belongs here: whether a port is free and which process uses it; which hosts are this machine alone. Does not belong here:
servers.
"""

from __future__ import annotations

import ipaddress
import socket
from contextlib import suppress

import psutil

LOOPBACK = "127.0.0.1"


def is_loopback(host: str) -> bool:
    """Whether a name or address reaches this machine alone."""
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost"


def in_address(host: str) -> str:
    """Return a host as addresses hold it: one of IPv6 has brackets."""
    return f"[{host}]" if ":" in host and not host.startswith("[") else host


def port_problem(port: int) -> str | None:
    """Return why a port of loopback is not free, with the process that uses it; None if it is free."""
    with socket.socket() as trial:
        trial.setsockopt(
            socket.SOL_SOCKET, socket.SO_REUSEADDR, 1
        )  # without this, connections of a stopped UI block the port for a minute
        try:
            trial.bind((LOOPBACK, port))
        except PermissionError:
            return f"Port {port} is reserved for the system."
        except OSError:
            return f"Port {port} is used by {_holder(port)}."
    return None


def _holder(port: int) -> str:
    """Return the process that listens on a port, if this user may see it."""
    with suppress(psutil.Error, OSError):
        for connection in psutil.net_connections("tcp"):
            if connection.laddr and connection.laddr.port == port and connection.status == psutil.CONN_LISTEN:
                if connection.pid is None:
                    break
                command = " ".join(psutil.Process(connection.pid).cmdline())
                return f"process {connection.pid} ({command if len(command) < 100 else command[:97] + '...'})"
    return "a process of another user"
