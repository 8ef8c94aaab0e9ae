"""Holding a lease for as long as work goes on, and taking over from who died.

Belongs here: signs of life, and waiting for another's. Does not belong here: what a lease is (catalog.backend).
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from time import sleep
from uuid import uuid4

from xdask_pipelines.catalog import Catalog, Lease
from xdask_pipelines.errors import CatalogError, StaleWriter

#: Who shows no life for so long is taken to be dead; it is shown four times as often.
PATIENCE_SECONDS = 20.0


@contextmanager
def held(
    catalog: Catalog, dataset: str, region: str, tell: Callable[[str], None] = lambda line: None
) -> Iterator[Lease]:
    """A lease on (dataset, Region) for the block, which may be given back by a commit; it is renewed meanwhile.

    If another holds one, it is waited for a sign of life of that other, and taken over if there is none.

    Raises
    ------
    StaleWriter
        Another sync of the same place is at work.
    """
    owner = uuid4().hex
    try:
        lease = catalog.lease(dataset, region, owner)
    except StaleWriter:
        tell(
            f"{dataset} in {region}: another sync works there, or has died; waiting {PATIENCE_SECONDS:.0f} s for a sign"
        )
        sleep(PATIENCE_SECONDS)
        lease = catalog.lease(dataset, region, owner)
    ended = threading.Event()
    thread = threading.Thread(target=_live, args=(catalog, lease, ended), daemon=True)
    thread.start()
    try:
        yield lease
    finally:
        ended.set()
        thread.join()
        with suppress(CatalogError):  # a commit has ended it, or nobody can be told: the next one takes over
            catalog.release(lease)


def _live(catalog: Catalog, lease: Lease, ended: threading.Event) -> None:
    while not ended.wait(PATIENCE_SECONDS / 4):
        try:
            catalog.renew(lease)
        except StaleWriter:
            return  # a commit has ended it, or another has taken over: the commit will tell
        except CatalogError:
            continue  # of the moment; the next sign may come through
