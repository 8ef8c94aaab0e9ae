"""What a person should know of a sync although it went through: results may change without an error.

Belongs here: finding such things out, and their words. Does not belong here: what is refused (catalog.sync).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any

from xdask_pipelines.catalog import Catalog
from xdask_pipelines.catalog.entry import version_order
from xdask_pipelines.catalog.layouts import LAYOUTS, Holding, Quarantined, Reading
from xdask_pipelines.catalog.sync import SyncPlan

#: Each older version is a question to the catalog.
_MOST_QUESTIONS = 100


def doubts(
    plan: SyncPlan, catalog: Catalog, holdings: Sequence[Holding], quarantined: Sequence[Quarantined]
) -> tuple[str, ...]:
    """Chunks that are gone from stores that stay, and older versions that are current because the newest cannot be used.

    Parameters
    ----------
    plan
        Of the sync.
    catalog
        After its commit.
    holdings
        The mounts.
    quarantined
        What is not catalogued, unreadable files among them.
    """
    return (*_holes(plan), *islice(_older_versions(catalog, holdings, quarantined), _MOST_QUESTIONS))


def _holes(plan: SyncPlan) -> Iterator[str]:
    for store, keys in plan.holes.items():
        yield (
            f"{store}: {len(keys)} objects of this store are gone, such as {keys[0].removeprefix(f'{store}/')}. What they "
            "held reads as missing values from now on; write them again if that is not meant"
        )


def _older_versions(catalog: Catalog, holdings: Sequence[Holding], quarantined: Sequence[Quarantined]) -> Iterator[str]:
    names = catalog.names().keys() if quarantined else set()
    for bad in quarantined:
        holding = next((h for h in holdings if bad.key.startswith(f"{h.mount}/")), None)
        said = LAYOUTS[holding.layout].read(bad.key, holding) if holding else None
        if holding is None or not isinstance(said, Reading) or not said.version or holding.excludes(bad.key):
            continue
        if not said.facets.keys() <= names:
            continue  # no entry has these
        place = {"dataset": holding.dataset, "region": holding.region, "layout": holding.layout}
        query: dict[str, Any] = {**said.facets, **place}
        for entry in catalog.search(**query):
            if version_order(entry.version) < version_order(said.version):
                yield (
                    f"{entry.key} is current, for the newer {said.version} is quarantined. Who names no version reads the "
                    "older one until that is mended"
                )
