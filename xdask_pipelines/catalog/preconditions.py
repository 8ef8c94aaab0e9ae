"""Preconditions of commits, with the same error messages for all stores.

Belongs here: checking a change for contradictions and against the current state. Does not belong here: reading the
state (backends).
"""

from __future__ import annotations

from collections.abc import Mapping

from xdask_pipelines.catalog.backend import Change, Lease
from xdask_pipelines.errors import CatalogError, StaleWriter

_SHOWN = 5


def check_words(change: Change) -> None:
    """Refuse a change that contradicts itself."""
    place = (change.dataset, change.region)
    if (change.dataset is None) != (change.region is None):
        raise CatalogError("A commit needs both dataset and region, or neither")
    bound = change.manifest is not None or change.expected_entries is not None
    if change.dataset is None and (bound or change.base_generation is not None or change.lease is not None):
        raise CatalogError("manifest, base_generation, lease and expected_entries need dataset and region")
    if change.lease is not None and (change.lease.dataset, change.lease.region) != place:
        raise CatalogError(f"The lease is for {change.lease.dataset} in {change.lease.region}, not for {place}")
    ids: set[str] = set(change.removals)
    if len(ids) != len(change.removals):
        raise CatalogError("The same id is removed twice in one commit. Nothing was written")
    for entry in change.upserts:
        if entry.id in ids:
            raise CatalogError(f"{entry} is twice in one commit. Nothing was written")
        ids.add(entry.id)
        if change.dataset is not None and (entry.dataset, entry.region) != place:
            raise CatalogError(f"{entry} does not belong to {change.dataset} in {change.region}; nothing was written")


def check_empty(places: Mapping[tuple[str, str], int]) -> None:
    """Refuse to fill a store that is not empty."""
    if places:
        named = ", ".join(f"{dataset} in {region}" for dataset, region in sorted(places)[:_SHOWN])
        more = f" and {len(places) - _SHOWN} more" if len(places) > _SHOWN else ""
        raise CatalogError(
            f"The catalog to copy to is not empty: it contains {named}{more}. Nothing was written. Choose a file or an "
            f"index that does not exist yet"
        )


def check_base(change: Change, now: int) -> None:
    """Refuse a change that is not based on the current generation ``now``."""
    if change.base_generation is not None and now != change.base_generation:
        raise StaleWriter(
            f"{change.dataset} in {change.region} is at generation {now}, but this commit is based on "
            f"{change.base_generation}: another commit came first. Nothing was written. Start again from the current "
            "catalog",
            generation=now,
        )


def moved_on(dataset: str, region: str, generation: int) -> StaleWriter:
    """Return the error for reading a generation that is no longer the current one."""
    return StaleWriter(
        f"{dataset} in {region} is no longer at generation {generation}: another commit came meanwhile. Nothing was "
        f"written. Start again from the current catalog"
    )


def check_lease(lease: Lease, owner: str | None, token: str | None) -> None:
    """Refuse a lease that has ended or passed to another owner; ``owner`` and ``token`` are those of the current lease."""
    if token != lease.token:
        holder = f"{owner} holds it now" if owner else "a commit ended it"
        raise StaleWriter(
            f"{lease.owner} has lost its lease on {lease.dataset} in {lease.region}: {holder}. Nothing was written; "
            f"stop, or start the sync again"
        )


def check_count(change: Change, held: int) -> None:
    """Refuse a commit after which its place has another number of entries than expected."""
    if change.expected_entries is not None and held != change.expected_entries:
        raise CatalogError(
            f"{change.dataset} in {change.region} would have {held} entries, but {change.expected_entries} were listed. "
            f"Nothing was written. Entries were written by something other than a sync: give them another dataset name"
        )


def check_removal(change: Change, identity: str, place: tuple[str, str] | None) -> None:
    """Refuse to remove an entry that does not exist, or belongs to another (dataset, Region)."""
    if place is None:
        raise CatalogError(
            f"Entry {identity} cannot be removed: it is not in the catalog. Nothing was written. Search again, then retry"
        )
    if change.dataset is not None and place != (change.dataset, change.region):
        raise CatalogError(
            f"Entry {identity} of {' in '.join(place)} is not in {change.dataset} {change.region}. Nothing was written"
        )


def being_synced(dataset: str, region: str, holder: str | None, generation: int) -> StaleWriter:
    """Return the error for a second sync of the same place."""
    return StaleWriter(
        f"{dataset} in {region} is being synced by {holder}, from generation {generation}. Wait for it. If it has died, "
        f"sync again: the next request takes over the lease if {holder} has sent no heartbeat until then",
        holder=holder,
    )
