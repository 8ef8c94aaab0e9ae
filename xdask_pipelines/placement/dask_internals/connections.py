"""Addresses and versions, as Dask reads them when processes connect.

Belongs here: reading both. Does not belong here: what is refused (connect, versions).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any
from warnings import catch_warnings, simplefilter

from distributed import Client
from distributed.comm.addressing import get_address_host_port
from distributed.versions import VersionMismatchWarning, get_versions

Versions = dict[str, str | None]


def host_and_port(address: str) -> tuple[str, int]:
    """Host and port of an address such as ``tcp://host:port``.

    Raises
    ------
    AttributeError, TypeError, ValueError
        If it is none, or names no port.
    """
    host, port = get_address_host_port(address, strict=True)
    return str(host), int(port)


def own_versions(packages: Iterable[str]) -> Versions:
    """Versions of this process: Python, what Dask compares, and further packages; None for what is not installed."""
    return dict(get_versions(packages=packages)["packages"])


def scheduler_versions(client: Client, packages: Iterable[str]) -> Versions:
    """The same of a client's scheduler."""
    found: dict[str, Any] = client.sync(client.scheduler.versions, packages=list(packages))  # type: ignore[union-attr]
    return dict(found["packages"])


@contextmanager
def without_version_warnings() -> Iterator[None]:
    """Connect without Dask's own warning that versions differ."""
    with catch_warnings():
        simplefilter("ignore", VersionMismatchWarning)
        yield
