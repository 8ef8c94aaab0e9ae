"""Holding the lease of a place during a sync, and taking over a stale lease.

Belongs here: heartbeats, and waiting for those of another holder. Does not belong here: what a lease is (catalog.backend).
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from time import sleep
from uuid import uuid4

from xdask_pipelines.catalog import Catalog, Lease
from xdask_pipelines.errors import CatalogError, StaleWriter
from xdask_pipelines.topology.place import Place

#: A lease without a heartbeat for so long is stale; heartbeats are sent four times as often.
PATIENCE_SECONDS = 20.0


@contextmanager
def held(catalog: Catalog, place: Place, tell: Callable[[str], None] = lambda line: None) -> Iterator[Lease]:
    """Hold the lease of a place for the block and send heartbeats; a commit may end the lease earlier.

    If another process holds the lease, wait for its next heartbeat, and take the lease over if none arrives.

    Raises
    ------
    StaleWriter
        Another sync of the same place is running.
    """
    owner = uuid4().hex
    try:
        lease = catalog.lease(*place, owner)
    except StaleWriter:
        tell(
            f"{place}: another sync holds the lease, and may have died; waiting {PATIENCE_SECONDS:.0f} s for its heartbeat"
        )
        sleep(PATIENCE_SECONDS)
        lease = catalog.lease(*place, owner)
    ended = threading.Event()
    thread = threading.Thread(target=_send_heartbeats, args=(catalog, lease, ended), daemon=True)
    thread.start()
    try:
        yield lease
    finally:
        ended.set()
        thread.join()
        with suppress(CatalogError):  # a commit has ended it, or the catalog is out of reach: the next sync takes over
            catalog.release(lease)


def _send_heartbeats(catalog: Catalog, lease: Lease, ended: threading.Event) -> None:
    while not ended.wait(PATIENCE_SECONDS / 4):
        try:
            catalog.renew(lease)
        except StaleWriter:
            return  # a commit has ended it, or another sync has taken over: then the commit fails
        except CatalogError:
            continue  # perhaps transient; the next heartbeat may arrive
