"""The sync of one dataset in one Region: list at home, compare, read new headers at home, commit.

Belongs here: the order of the steps. Does not belong here: plans, guard rails, commits (catalog), what workers do
(worker_calls).
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from xdask_pipelines.access.home_calls import Compute
from xdask_pipelines.access.syncing.lease_holder import held
from xdask_pipelines.access.syncing.sync_warnings import sync_warnings
from xdask_pipelines.access.syncing.worker_calls import Listing, RegionWorkers, check_mounted, list_mounts, read_headers
from xdask_pipelines.catalog import Catalog
from xdask_pipelines.catalog.layouts import Quarantined
from xdask_pipelines.catalog.sync import SyncPlan, commit_sync, plan_sync
from xdask_pipelines.lustre import ImportReport, LustreFileSystem, Tell
from xdask_pipelines.placement import Evidence
from xdask_pipelines.system.units import counted
from xdask_pipelines.topology import Topology
from xdask_pipelines.topology.place import Place


@dataclass(frozen=True, kw_only=True)
class SyncContext:
    """What the syncs of one run or command work with.

    Attributes
    ----------
    topology, catalog
        Where the mounts are, and where entries go.
    compute
        Runs lazy calls in the pools.
    lustre
        Imports from buckets, and removes from the mounts what is gone from the buckets.
    accept
        Digest of a suspicious plan that a person has looked at.
    full
        Read the headers of all entries and write all of them again, so that what the catalog lost or damaged is replaced.
    tell
        Is called with each line of progress.
    """

    topology: Topology
    catalog: Catalog
    compute: Compute
    lustre: LustreFileSystem
    accept: str | None = None
    full: bool = False
    tell: Tell = lambda line: None


@dataclass(frozen=True, kw_only=True)
class Synced:
    """Outcome of a sync.

    Attributes
    ----------
    place
        Dataset and Region.
    generation
        Of the catalog afterwards.
    counts
        Entries that the commit added, changed and removed, those that stayed, what is quarantined, and bytes of all that was
        to be read. A changed entry that cannot be read is removed and quarantined.
    quarantined
        What is not catalogued, with reasons; unreadable files among them.
    warnings
        What may change results without an error; see :mod:`xdask_pipelines.access.syncing.sync_warnings`.
    digest
        Digest of the state of the mount.
    evidence
        Where listing and headers were read.
    as_of
        Time of the oldest inventory that was read instead of a bucket; None if all was listed now.
    """

    place: Place
    generation: int
    counts: Mapping[str, int]
    quarantined: tuple[Quarantined, ...]
    warnings: tuple[str, ...]
    digest: str
    evidence: Evidence
    as_of: datetime | None = None

    @property
    def entries(self) -> int:
        """Entries of the place afterwards, older versions among them."""
        return self.counts["added"] + self.counts["changed"] + self.counts["unchanged"]


def import_mounts(context: SyncContext, place: Place) -> list[ImportReport]:
    """Bring the mounts of a place up to date with their buckets; where a mount is a folder, report what it holds.

    Raises
    ------
    XdaskError
        A mount is missing, is not linked to its bucket, or its import did nothing.
    """
    return [context.lustre.import_changes(mount, context.tell) for mount in context.topology.mounts(*place)]


def plan_place(context: SyncContext, place: Place) -> SyncPlan:
    """List a place and compare it with its last commit; nothing is changed. Errors are those of `sync_place`."""
    return _plan(context, place)[0]


def sync_place(context: SyncContext, place: Place) -> Synced:
    """Bring the catalog's entries of a place up to date with its mounts.

    Raises
    ------
    SuspiciousPlan
        See `catalog.sync.plan_sync`.
    CatalogError, PlacementError
        A mount cannot be listed, or another sync holds the lease; nothing is changed then.
    """
    catalog, mounts = context.catalog, context.topology.mounts(*place)
    workers = RegionWorkers(place.region, context.compute)
    with held(catalog, place, context.tell) as lease:
        _repair(context, place)
        plan, listing = _plan(context, place)
        if any(mount.from_bucket for mount in mounts) and not plan.nothing_to_do:
            check_mounted(mounts, workers)
        # Before the commit: a sync that is killed here finds the same again. A chunk that stayed would be read as data.
        context.lustre.forget(place.region, plan.gone)
        headers, rejected, header_evidence = read_headers(plan.to_describe, mounts, workers)
        generation = commit_sync(catalog, plan, headers, rejected=rejected, lease=lease, accept=context.accept)
    unreadable = [Quarantined(e.key, rejected[e.id]) for e in plan.to_describe if e.id in rejected]
    quarantined = tuple(sorted([*plan.quarantined, *unreadable]))
    return Synced(
        place=place,
        generation=generation,
        counts={
            **plan.summary(),
            "added": sum(e.id not in rejected for e in plan.added),
            "changed": sum(e.id not in rejected for e in plan.changed),
            "removed": len(plan.removed) + sum(e.id in rejected for e in plan.changed),
            "quarantined": len(quarantined),
        },
        quarantined=quarantined,
        warnings=sync_warnings(plan, headers, quarantined, mounts, catalog),
        digest=_digest(plan.found.state, *sorted(rejected)),
        as_of=listing.as_of,
        evidence=Evidence.total([listing.evidence, header_evidence]),
    )


def _plan(context: SyncContext, place: Place) -> tuple[SyncPlan, Listing]:
    mounts, committed = context.topology.mounts(*place), context.catalog.manifest(*place)
    listing = list_mounts(mounts, committed.objects, RegionWorkers(place.region, context.compute))
    listings = zip(mounts, listing.objects, strict=True)
    return plan_sync(listings, committed, full=context.full, accept=context.accept), listing


def repair_catalog(context: SyncContext) -> None:
    """Repair a damaged catalog, and report what it lost; syncs of all places with ``full`` add the entries again."""
    lost = context.catalog.repair()
    for (dataset, region), number in sorted(lost.items()):
        where = f"of {dataset} in {region}" if dataset else "of datasets or Regions that are not known any more"
        context.tell(f"the catalog was damaged, and is repaired: {counted(number, 'entry', 'entries')} {where} lost")
    if lost:
        context.tell(
            "entries of files are written again now, if all datasets are synced; results that are lost are computed again"
        )


def _repair(context: SyncContext, place: Place) -> None:
    """Repair a catalog that lost something of a place; the sync that follows finds what is missing."""
    committed = context.catalog.manifest(*place)
    if committed.lost_entries:
        context.tell(
            f"{place}: the catalog holds {counted(committed.entries, 'entry', 'entries')} where the last "
            f"commit left {committed.written_entries:,}. All files are compared with it, and what is missing is added"
        )
        context.catalog.repair()
    elif committed.lost_objects:
        context.tell(
            f"{place}: a part of the manifest is missing from the catalog. All files are compared with the entries, and the "
            "manifest is completed"
        )


def _digest(*texts: str) -> str:
    return hashlib.blake2b("\n".join(texts).encode(), digest_size=16).hexdigest()
