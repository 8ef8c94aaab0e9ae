"""What a person should know of a sync although it went through: results may change without an error.

Belongs here: finding such things out, and their words. Does not belong here: what is refused (catalog.sync).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any

from xdask_pipelines.catalog import Catalog, Entry
from xdask_pipelines.catalog.entry import version_order
from xdask_pipelines.catalog.layouts import LAYOUTS, Quarantined, Reading
from xdask_pipelines.catalog.series import are_replicas, replica_difference
from xdask_pipelines.catalog.sync import SyncPlan
from xdask_pipelines.topology.mount import Mount

#: Each older version is a question to the catalog.
_MOST_QUESTIONS = 100


def doubts(
    plan: SyncPlan, catalog: Catalog, mounts: Sequence[Mount], quarantined: Sequence[Quarantined]
) -> tuple[str, ...]:
    """Chunks that are gone from stores that stay, older versions that are current because the newest cannot be used, and
    replicas in other Regions that are not the same.

    Parameters
    ----------
    plan
        Of the sync.
    catalog
        After its commit.
    mounts
        The mounts.
    quarantined
        What is not catalogued, unreadable files among them.
    """
    return (
        *_holes(plan),
        *islice(_older_versions(catalog, mounts, quarantined), _MOST_QUESTIONS),
        *_replicas(catalog, plan.to_describe[:_MOST_QUESTIONS]),
    )


def _replicas(catalog: Catalog, entries: Sequence[Entry]) -> Iterator[str]:
    """Entries of which another Region holds something else under the same name; reading them without a Region is refused."""
    if not entries or len(catalog.facets("region", dataset=entries[0].dataset)["region"]) < 2:
        return
    for entry in entries:
        query: dict[str, Any] = {**entry.facets, "dataset": entry.dataset, "layout": entry.layout}
        if entry.version:
            query["version"] = entry.version
        same = [found for found in catalog.search(**query) if found.key == entry.key or found.facets == entry.facets]
        same = [found for found in same if (found.time_start, found.time_end) == _time(same, entry)]
        if any(found.id == entry.id for found in same) and are_replicas(same) and (why := replica_difference(same)):
            yield (
                f"{entry.key}: {' and '.join(e.region for e in same)} hold replicas that are not the same: {why}. Copy the "
                "right one over the other and sync again; until then, name a region to read it"
            )


def _time(found: Sequence[Entry], entry: Entry) -> tuple[int | None, int | None]:
    """Times of an entry as the catalog has it: where the path names none, those of its header."""
    return next(((e.time_start, e.time_end) for e in found if e.id == entry.id), (entry.time_start, entry.time_end))


def _holes(plan: SyncPlan) -> Iterator[str]:
    for store, keys in plan.holes.items():
        yield (
            f"{store}: {len(keys)} objects of this store are gone, such as {keys[0].removeprefix(f'{store}/')}. What they "
            "held reads as missing values from now on; write them again if that is not meant"
        )


def _older_versions(catalog: Catalog, mounts: Sequence[Mount], quarantined: Sequence[Quarantined]) -> Iterator[str]:
    names = catalog.names().keys() if quarantined else set()
    for bad in quarantined:
        mount = next((mount for mount in mounts if mount.holds(bad.key)), None)
        said = LAYOUTS[mount.layout].read(bad.key, mount) if mount else None
        if mount is None or not isinstance(said, Reading) or not said.version or mount.excludes(bad.key):
            continue
        if not said.facets.keys() <= names:
            continue  # no entry has these
        place = {"dataset": mount.dataset, "region": mount.region, "layout": mount.layout}
        query: dict[str, Any] = {**said.facets, **place}
        for entry in catalog.search(**query):
            if version_order(entry.version) < version_order(said.version):
                yield (
                    f"{entry.key} is current, for the newer {said.version} is quarantined. Who names no version reads the "
                    "older one until that is mended"
                )
