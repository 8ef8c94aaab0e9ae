"""The sync of one dataset in one Region: list at home, compare, read new headers at home, commit.

Belongs here: the order of the steps and who does each. Does not belong here: plans, guard rails, commits (catalog), what
workers do (sync_calls).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from xdask_pipelines.access.home_calls import Compute
from xdask_pipelines.access.syncing.lease_holder import held
from xdask_pipelines.access.syncing.sync_calls import check_mounted, listed, read_headers
from xdask_pipelines.access.syncing.sync_warnings import doubts
from xdask_pipelines.catalog import Catalog, Entry, Lease
from xdask_pipelines.catalog.layouts import Quarantined
from xdask_pipelines.catalog.manifest.packed_objects import PackedObjects
from xdask_pipelines.catalog.sync import SyncPlan, commit_sync, plan_sync
from xdask_pipelines.lustre import LustreFileSystem, Tell
from xdask_pipelines.placement import Evidence
from xdask_pipelines.system.units import counted
from xdask_pipelines.topology import Topology
from xdask_pipelines.topology.mount import Mount


@dataclass(frozen=True)
class Synced:
    """What a sync did.

    Attributes
    ----------
    dataset, region
        Of what.
    generation
        Of the catalog afterwards.
    counts
        Entries that the commit added, changed and removed, those that stayed, what is quarantined, and bytes of all that was
        to be read. A changed entry that cannot be read is removed and quarantined.
    quarantined
        What is not catalogued, with reasons; unreadable files among them.
    warnings
        What may change results without an error; see :mod:`xdask_pipelines.access.syncing.sync_warnings`.
    objects, size_bytes, digest
        Files listed, their size, and a digest of the state of the mount.
    evidence
        Where listing and headers were read.
    as_of
        Time of the oldest inventory that stood for a listing; None if all was listed now.
    """

    dataset: str
    region: str
    generation: int
    counts: Mapping[str, int]
    quarantined: tuple[Quarantined, ...]
    warnings: tuple[str, ...]
    objects: int
    size_bytes: int
    digest: str
    evidence: Evidence
    as_of: datetime | None = None


@dataclass(frozen=True)
class PlacePlan:
    """What a sync of one dataset in one Region would do, and what it was planned from.

    Attributes
    ----------
    plan
        The difference to the last commit.
    mounts
        Those of the dataset in the Region.
    listed
        Objects of each mount.
    as_of
        Time of the oldest inventory that stood for a listing; None if all was listed now.
    evidence
        Where was listed.
    """

    plan: SyncPlan
    mounts: tuple[Mount, ...]
    listed: tuple[PackedObjects, ...]
    as_of: datetime | None
    evidence: Evidence


def sync_place(
    topology: Topology,
    catalog: Catalog,
    compute: Compute,
    lustre: LustreFileSystem,
    dataset: str,
    region: str,
    *,
    accept: str | None = None,
    full: bool = False,
    tell: Tell = lambda line: None,
) -> Synced:
    """Make the catalog say of one dataset in one Region what is true.

    Parameters
    ----------
    topology, catalog
        Where the mounts are, what is known.
    compute
        Runs lazy calls in the pools.
    lustre
        Removes from the mounts what is gone from the buckets.
    dataset, region
        What to sync.
    accept
        Digest of a suspicious plan that a person has looked at.
    full
        Read the headers of all entries and write all of them again, so that what the catalog lost or damaged is replaced.
    tell
        Is told what is waited for.

    Raises
    ------
    SuspiciousPlan
        See `catalog.sync.plan_sync`.
    CatalogError, PlacementError
        If the mount cannot be listed, or another sync has the lease; nothing is changed then.
    """
    with held(catalog, dataset, region, tell) as lease:
        _repair(catalog, dataset, region, tell)
        place = plan_place(topology, catalog, compute, dataset, region, accept=accept, full=full)
        return commit_place(place, catalog, compute, lustre, lease, accept=accept)


def plan_place(
    topology: Topology,
    catalog: Catalog,
    compute: Compute,
    dataset: str,
    region: str,
    *,
    accept: str | None = None,
    full: bool = False,
) -> PlacePlan:
    """List one dataset in one Region, and compare it with its last commit; nothing is changed.

    Parameters are those of `sync_place`, and so are errors.
    """
    mounts = topology.mounts(dataset, region)
    committed = catalog.manifest(dataset, region)
    found, as_of, evidence = listed(mounts, region, committed.objects, compute)
    plan = plan_sync(zip(mounts, found, strict=True), committed, full=full, accept=accept)
    return PlacePlan(plan, mounts, tuple(found), as_of, evidence)


def commit_place(
    place: PlacePlan,
    catalog: Catalog,
    compute: Compute,
    lustre: LustreFileSystem,
    lease: Lease,
    *,
    accept: str | None = None,
) -> Synced:
    """Carry out a plan: remove from the mounts what is gone, read new headers, write all in one commit.

    Parameters
    ----------
    place
        The plan.
    catalog, compute, lustre, accept
        As for `sync_place`.
    lease
        Lease of the place, taken before the plan was made; it ends here.
    """
    plan, mounts = place.plan, place.mounts
    if any(mount.from_bucket for mount in mounts) and not plan.nothing_to_do:
        check_mounted(plan.region, mounts, compute)
    # Before the commit: a sync that is killed here finds the same again. A chunk that stayed would be read as data.
    lustre.forget(plan.region, plan.gone)
    headers, rejected, header_evidence = read_headers(plan.to_describe, plan.region, mounts, compute)
    generation = commit_sync(catalog, plan, headers, rejected=rejected, lease=lease, accept=accept)
    unreadable = [Quarantined(e.key, rejected[e.id]) for e in plan.to_describe if e.id in rejected]
    quarantined = tuple(sorted([*plan.quarantined, *unreadable]))
    return Synced(
        dataset=plan.dataset,
        region=plan.region,
        generation=generation,
        counts={
            **plan.summary(),
            "added": sum(e.id not in rejected for e in plan.added),
            "changed": sum(e.id not in rejected for e in plan.changed),
            "removed": len(plan.removed) + sum(e.id in rejected for e in plan.changed),
            "quarantined": len(quarantined),
        },
        quarantined=quarantined,
        warnings=(
            *_header_warnings(plan.to_describe, headers),
            *doubts(plan, catalog, mounts, quarantined),
        ),
        objects=sum(map(len, place.listed)),
        size_bytes=sum(group.size_bytes for group in place.listed),
        digest=_digest(plan.found.state, *sorted(rejected)),
        as_of=place.as_of,
        evidence=Evidence.total([place.evidence, header_evidence]),
    )


def _repair(catalog: Catalog, dataset: str, region: str, tell: Tell) -> None:
    """Repair a catalog that lost something of a place; what it lost is found missing by the sync that follows."""
    committed = catalog.manifest(dataset, region)
    if committed.lost_entries:
        tell(
            f"{dataset} in {region}: the catalog holds {counted(committed.entries, 'entry', 'entries')} where the last "
            f"commit left {committed.written_entries:,}. All files are compared with it, and what is missing is added"
        )
        catalog.repair()
    elif committed.lost_objects:
        tell(
            f"{dataset} in {region}: a part of the manifest is missing from the catalog. All files are compared with "
            "the entries, and the manifest is completed"
        )


def _header_warnings(entries: Sequence[Entry], headers: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    """What is wrong with entries that can be used all the same, in part."""
    for entry in entries:
        for text in headers.get(entry.id, {}).get("warnings", ()):
            yield f"{entry.key}: {text}"


def _digest(*texts: str) -> str:
    return hashlib.blake2b("\n".join(texts).encode(), digest_size=16).hexdigest()
