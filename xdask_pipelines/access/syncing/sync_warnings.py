"""Warnings of a sync that succeeded: results may change without an error.

Belongs here: finding such problems, and their messages. Does not belong here: what is refused (catalog.sync).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from typing import Any

from xdask_pipelines.catalog import Catalog, Entry
from xdask_pipelines.catalog.entry import version_order
from xdask_pipelines.catalog.layouts import Quarantined, Reading, layout_named
from xdask_pipelines.catalog.series import are_replicas, replica_difference
from xdask_pipelines.catalog.sync import SyncPlan
from xdask_pipelines.system.units import counted
from xdask_pipelines.topology.mount import Mount

#: Each older version, and each replica, takes a query of the catalog.
_MOST_QUERIES = 100


def sync_warnings(
    plan: SyncPlan,
    headers: Mapping[str, Mapping[str, Any]],
    quarantined: Sequence[Quarantined],
    mounts: Sequence[Mount],
    catalog: Catalog,
) -> tuple[str, ...]:
    """Collect what headers warn of, chunks that are gone from stores that stay, older versions that are current because
    the newest cannot be used, and replicas in other Regions that differ.

    Parameters
    ----------
    plan
        Plan of the sync.
    headers
        Headers that the sync read, by entry id.
    quarantined
        What is not catalogued, unreadable files among them.
    mounts
        Mounts of the place.
    catalog
        The catalog after the commit.
    """
    return (
        *_of_headers(plan.to_describe, headers),
        *_holes(plan),
        *islice(_older_versions(catalog, mounts, quarantined), _MOST_QUERIES),
        *_replicas(catalog, plan.to_describe[:_MOST_QUERIES]),
    )


def _of_headers(entries: Sequence[Entry], headers: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    """Problems of entries that can be used in part."""
    for entry in entries:
        for text in headers.get(entry.id, {}).get("warnings", ()):
            yield f"{entry.key}: {text}"


def _replicas(catalog: Catalog, entries: Sequence[Entry]) -> Iterator[str]:
    """Entries whose replica in another Region differs; reading them without naming a Region is refused."""
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
                "right one over the other and sync again; until then, name a Region to read it"
            )


def _time(found: Sequence[Entry], entry: Entry) -> tuple[int | None, int | None]:
    """Times of an entry in the catalog: where its path names none, those of its header."""
    return next(((e.time_start, e.time_end) for e in found if e.id == entry.id), (entry.time_start, entry.time_end))


def _holes(plan: SyncPlan) -> Iterator[str]:
    for store, keys in plan.holes.items():
        yield (
            f"{store}: {counted(len(keys), 'object')} of this store {'are' if len(keys) > 1 else 'is'} gone, such as "
            f"{keys[0].removeprefix(f'{store}/')}. Missing chunks read as missing values; write them again if you did not "
            "remove them on purpose"
        )


def _older_versions(catalog: Catalog, mounts: Sequence[Mount], quarantined: Sequence[Quarantined]) -> Iterator[str]:
    names = catalog.names().keys() if quarantined else set()
    for bad in quarantined:
        mount = next((mount for mount in mounts if mount.holds(bad.key)), None)
        newest = layout_named(mount.layout).read(bad.key, mount) if mount else None
        if mount is None or not isinstance(newest, Reading) or not newest.version or mount.excludes(bad.key):
            continue
        if not newest.facets.keys() <= names:
            continue  # no entry has these facets
        place = {"dataset": mount.dataset, "region": mount.region, "layout": mount.layout}
        query: dict[str, Any] = {**newest.facets, **place}
        for entry in catalog.search(**query):
            if version_order(entry.version) < version_order(newest.version):
                yield (
                    f"{entry.key} is current because the newer {newest.version} is quarantined. Requests that name no "
                    "version read the older one until the newer one is fixed"
                )
