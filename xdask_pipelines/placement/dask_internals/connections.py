"""Addresses, connections and versions of Dask processes, and the client of a thread.

Belongs here: reading, trying and choosing them. Does not belong here: refusing connections (connect, versions).
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from time import monotonic
from typing import Any
from warnings import catch_warnings, simplefilter

from distributed import Client
from distributed.client import _current_client
from distributed.comm.addressing import get_address_host_port
from distributed.core import Server
from distributed.versions import VersionMismatchWarning, get_versions

Versions = dict[str, str | None]


def host_and_port(address: str) -> tuple[str, int]:
    """Split an address such as ``tcp://host:port`` into host and port.

    Raises
    ------
    AttributeError, TypeError, ValueError
        If the address is not valid or has no port.
    """
    host, port = get_address_host_port(address, strict=True)
    return str(host), int(port)


async def takes_connections(address: str, timeout: float) -> bool:
    """Return whether the port of a process of Dask takes connections, without waiting for Dask's own timeout of 30 s."""
    host, port = host_and_port(address)
    try:
        _, writer = await asyncio.wait_for(asyncio.open_connection(host, port), timeout)
    except (OSError, TimeoutError):
        return False
    writer.close()
    with suppress(OSError):
        await writer.wait_closed()
    return True


async def round_trip(server: Server, address: str, payload: bytes, timeout: float) -> float:
    """Send bytes from one process of Dask to another and back over a connection that exists afterwards.

    Returns
    -------
    Seconds.

    Raises
    ------
    OSError
        There is no connection, or no answer in time.
    """
    began = monotonic()
    try:
        await asyncio.wait_for(server.rpc(address).echo(data=payload), timeout)
    except TimeoutError as error:
        raise OSError(f"no answer within {timeout:g} s") from error
    return monotonic() - began


def own_versions(packages: Iterable[str]) -> Versions:
    """Return the versions of Python, of the packages that Dask compares, and of further packages; None if not installed."""
    return dict(get_versions(packages=packages)["packages"])


def scheduler_versions(client: Client, packages: Iterable[str]) -> Versions:
    """Return the same versions of a client's scheduler."""
    versions: dict[str, Any] = client.sync(client.scheduler.versions, packages=list(packages))  # type: ignore[union-attr]
    return dict(versions["packages"])


@contextmanager
def without_version_warnings() -> Iterator[None]:
    """Suppress Dask's own warning about different versions."""
    with catch_warnings():
        simplefilter("ignore", VersionMismatchWarning)
        yield


@contextmanager
def current_client(client: Client) -> Iterator[None]:
    """Let Dask's functions without a client, such as ``wait``, use this one in the current thread.

    ``Client.as_current`` also sets Dask's configuration, which is one for the whole process: with two threads, one of them
    would restore what the other had set, and Dask would ask for a client ever after.
    """
    token = _current_client.set(client)
    try:
        yield
    finally:
        _current_client.reset(token)
