"""Refusals of what a machine cannot give: Dask would start, fail and print a traceback, again and again under a supervisor.

Belongs here: addresses, ports, folders and memory limits that were asked for. Does not belong here: values where nobody asks
(machine_defaults).
"""

from __future__ import annotations

import socket
import tempfile
from collections.abc import Sequence
from pathlib import Path

from dask.utils import parse_bytes

from xdask_pipelines.errors import PlacementError
from xdask_pipelines.placement.dask_internals.connections import host_and_port

#: A worker process that has imported its libraries uses as much.
_SMALLEST_BYTES = 100e6


def read_address(text: str, option: str) -> tuple[str, int]:
    """Split an address such as ``tls://host:8786``.

    Raises
    ------
    PlacementError
        It is not one.
    """
    scheme, found, _ = text.partition("://")
    try:
        if not found or scheme not in ("tls", "tcp"):
            raise ValueError
        host, port = host_and_port(text)
        if not host or not 0 < port < 65536:
            raise ValueError
    except (AttributeError, TypeError, ValueError):
        raise PlacementError(
            f"{text!r} is not the address of a scheduler ({option}). Write tls://HOST:PORT, such as tls://dask.example.org:8786."
        ) from None
    return host, port


def refuse_unknown_name(host: str, option: str) -> None:
    """Refuse a name by which others shall reach this machine, and that has no address here.

    Raises
    ------
    PlacementError
        It has none.
    """
    try:
        socket.getaddrinfo(host.strip("[]"), None)
    except OSError as error:
        raise PlacementError(f"The name {host} has no address: {error}. Correct {option}.") from error


def refuse_host(host: str, ports: Sequence[int], needed: int, option: str = "`--host`, `--ports`") -> None:
    """Refuse an address that is not this machine's, or whose ports are taken.

    Parameters
    ----------
    host
        Address on which to listen.
    ports
        Ports of which some are needed; 0 is any.
    needed
        How many of them have to be free.
    option
        What gave the address.

    Raises
    ------
    PlacementError
        The message names the address or the ports.
    """
    try:
        family, kind, _, _, address = socket.getaddrinfo(host.strip("[]"), 0, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind) as trial:
            trial.bind(address)
    except OSError as error:
        raise PlacementError(
            f"{host} is not an address of this machine: {error}. Give one of its addresses ({option}); a name by which "
            "others reach it is `--contact-address`."
        ) from error
    free = 0
    for port in ports:
        with socket.socket(family, kind) as trial:
            # Connections of a process that has just ended do not keep its port.
            trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                trial.bind((address[0], port))
            except OSError:
                continue
        free += 1
        if free == needed:
            return
    if len(ports) == 1:
        raise PlacementError(f"Port {ports[0]} on {host} is taken. End what uses it, or give another one ({option}).")
    raise PlacementError(
        f"Of the ports {ports[0]}-{ports[-1]} on {host}, {needed} have to be free, and {free} are. End what uses them, or "
        f"give others ({option})."
    )


def refuse_unwritable(folder: Path, option: str, *, create: bool = False) -> None:
    """Refuse a folder in which this user cannot write files.

    Raises
    ------
    PlacementError
        The message gives the reason of the system.
    """
    try:
        if create:
            folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise PlacementError(
            f"No file can be written in {folder}: {error.strerror or error}. Make it writable for this user, or correct "
            f"{option}."
        ) from error


def refuse_memory_limit(text: str) -> None:
    """Refuse a memory limit that Dask does not understand, or that a worker exceeds before its first task.

    Raises
    ------
    PlacementError
        It is neither ``auto``, a share of the machine up to 1, nor an amount.
    """
    if text == "auto":
        return
    try:
        amount = float(parse_bytes(text))
    except ValueError:
        amount = -1.0
    if not (0 < amount <= 1 or amount >= _SMALLEST_BYTES):
        raise PlacementError(
            f"{text!r} is not a memory limit for a worker process. Write an amount such as 8GiB, a share of this machine "
            "such as 0.5, or auto."
        )
