"""What stops a writer whose change cannot be, or builds on what is no longer true: the same words for every store.

Belongs here: comparing a change with itself and with what is current. Does not belong here: how a store knows the latter.
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
        raise CatalogError("A commit names both dataset and region, or neither")
    bound = change.manifest is not None or change.expected_entries is not None
    if change.dataset is None and (bound or change.base_generation is not None or change.lease is not None):
        raise CatalogError("manifest, base_generation, lease and expected_entries need dataset and region")
    if change.lease is not None and (change.lease.dataset, change.lease.region) != place:
        raise CatalogError(f"The lease is for {change.lease.dataset} in {change.lease.region}, not for {place}")
    ids: set[str] = set(change.removals)
    if len(ids) != len(change.removals):
        raise CatalogError("The same id is to be removed twice in one commit; nothing was written")
    for entry in change.upserts:
        if entry.id in ids:
            raise CatalogError(f"{entry} is there twice in one commit; nothing was written")
        ids.add(entry.id)
        if change.dataset is not None and (entry.dataset, entry.region) != place:
            raise CatalogError(f"{entry} does not belong to {change.dataset} in {change.region}; nothing was written")


def check_empty(places: Mapping[tuple[str, str], int]) -> None:
    """Refuse to fill a store that holds something."""
    if places:
        named = ", ".join(f"{dataset} in {region}" for dataset, region in sorted(places)[:_SHOWN])
        more = f" and {len(places) - _SHOWN} more" if len(places) > _SHOWN else ""
        raise CatalogError(
            f"The catalog to copy to is not empty: it holds {named}{more}. Nothing was written; name a file or an index "
            f"that does not exist yet"
        )


def check_base(change: Change, now: int) -> None:
    """Refuse a change whose place has moved on to generation ``now``."""
    if change.base_generation is not None and now != change.base_generation:
        raise StaleWriter(
            f"{change.dataset} in {change.region} is at generation {now}, not {change.base_generation} that this "
            f"commit builds on: another one came first. Nothing was written; start again from the current catalog",
            generation=now,
        )


def moved_on(dataset: str, region: str, generation: int) -> StaleWriter:
    """Refusal to read more of a generation that is no longer the current one."""
    return StaleWriter(
        f"{dataset} in {region} has moved on from generation {generation}: another commit came meanwhile. Nothing was "
        f"written; start again from the current catalog"
    )


def check_lease(lease: Lease, owner: str | None, token: str | None) -> None:
    """Refuse a lease that ended or passed to another owner; ``owner`` and ``token`` are those of the current one."""
    if token != lease.token:
        holder = f"{owner} holds it now" if owner else "a commit ended it"
        raise StaleWriter(
            f"{lease.owner} has lost its lease on {lease.dataset} in {lease.region}: {holder}. Nothing was written; "
            f"stop, or start the sync again"
        )


def check_count(change: Change, held: int) -> None:
    """Refuse a commit that leaves its place with another number of entries than were listed."""
    if change.expected_entries is not None and held != change.expected_entries:
        raise CatalogError(
            f"{change.dataset} in {change.region} would hold {held} entries where {change.expected_entries} were "
            f"listed; nothing was written. Something other than the sync wrote entries: give those another dataset name"
        )


def check_removal(change: Change, identity: str, place: tuple[str, str] | None) -> None:
    """Refuse to remove what is not there, or in another (dataset, Region) than the change is about."""
    if place is None:
        raise CatalogError(
            f"Entry {identity} cannot be removed: it is not in the catalog. Nothing was written; search again and retry"
        )
    if change.dataset is not None and place != (change.dataset, change.region):
        raise CatalogError(
            f"Entry {identity} of {' in '.join(place)} is not in {change.dataset} {change.region}; nothing was written"
        )


def being_synced(dataset: str, region: str, holder: str | None, generation: int) -> StaleWriter:
    """The error for a second sync."""
    return StaleWriter(
        f"{dataset} in {region} is being synced by {holder}, from generation {generation}. Wait for it; if it "
        f"has died, sync again: the next request takes over unless {holder} shows life until then",
        holder=holder,
    )
