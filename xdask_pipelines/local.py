"""Ports and signals of this machine.

Belongs here: who holds a port, and ending in order on a signal. Does not belong here: what runs (ui, resources.pools).
"""

from __future__ import annotations

import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType

import psutil

from xdask_pipelines.placement.cluster import LOOPBACK


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


@contextmanager
def interrupted_by_signals() -> Iterator[None]:
    """Raise `KeyboardInterrupt` on Ctrl-C, SIGTERM and SIGHUP alike.

    Also on a Ctrl-C that the parent had ignored, as shells do for what they start in the background: Dagster would
    inherit that, and could be neither stopped nor terminate a run.
    """

    def interrupt(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    with _handling(interrupt):
        yield


@contextmanager
def uninterrupted() -> Iterator[None]:
    """Let stopping finish: it takes at most half a minute."""
    with _handling(lambda number, frame: None):
        yield


@contextmanager
def _handling(handler: Callable[[int, FrameType | None], None]) -> Iterator[None]:
    before = {s: signal.signal(s, handler) for s in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, old in before.items():
            signal.signal(number, old)
