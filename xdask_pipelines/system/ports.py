"""Ports of this machine.

Belongs here: who holds a port, which hosts are this machine alone. Does not belong here: what listens there.
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


def port_problem(port: int) -> str | None:
    """Why nothing new can listen on a port of loopback, with the process that does; None if it can."""
    with socket.socket() as trial:
        trial.setsockopt(
            socket.SOL_SOCKET, socket.SO_REUSEADDR, 1
        )  # or connections of a UI just stopped count for a minute
        try:
            trial.bind((LOOPBACK, port))
        except PermissionError:
            return f"Port {port} is one that only the system may use."
        except OSError:
            return f"Port {port} is taken by {_holder(port)}."
    return None


def _holder(port: int) -> str:
    """The process that listens on a port, as far as this user may see."""
    with suppress(psutil.Error, OSError):
        for connection in psutil.net_connections("tcp"):
            if connection.laddr and connection.laddr.port == port and connection.status == psutil.CONN_LISTEN:
                if connection.pid is None:
                    break
                command = " ".join(psutil.Process(connection.pid).cmdline())
                return f"process {connection.pid} ({command if len(command) < 100 else command[:97] + '...'})"
    return "a process of another user"
