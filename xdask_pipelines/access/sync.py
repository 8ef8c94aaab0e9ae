"""The sync of one dataset in one Region: list at home, compare, read new headers at home, commit.

Belongs here: the order of the steps and who does each. Does not belong here: plans, guard rails, commits (catalog).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from xdask_pipelines.access.describing.validation import Claim
from xdask_pipelines.access.doubts import doubts
from xdask_pipelines.access.header import describe
from xdask_pipelines.access.inside import Place
from xdask_pipelines.access.leases import held
from xdask_pipelines.access.remote import Compute, call_at_home
from xdask_pipelines.catalog import Catalog, Entry
from xdask_pipelines.catalog.layouts import LAYOUTS, Holding, Quarantined
from xdask_pipelines.catalog.manifest.columns import Listing
from xdask_pipelines.catalog.manifest.listing import StoredObject, list_folder
from xdask_pipelines.catalog.manifest.streams import Packed
from xdask_pipelines.catalog.sources.bucket import Bucket, list_bucket
from xdask_pipelines.catalog.sources.inventory import read_inventory
from xdask_pipelines.catalog.sync import SyncPlan, commit_sync, plan_sync
from xdask_pipelines.errors import CatalogError, XdaskError
from xdask_pipelines.lustre import Lustre, Tell
from xdask_pipelines.placement import Evidence
from xdask_pipelines.placement.worker.guard import region_path
from xdask_pipelines.topology import Topology
from xdask_pipelines.topology.stanzas import Dataset

_HEADERS_A_CALL = 50


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
        What may change results without an error; see :mod:`xdask_pipelines.access.doubts`.
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


def sync(
    topology: Topology,
    catalog: Catalog,
    compute: Compute,
    lustre: Lustre,
    dataset: str,
    region: str,
    *,
    accept: str | None = None,
    full: bool = False,
    dry_run: bool = False,
    tell: Tell = lambda line: None,
) -> Synced | SyncPlan:
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
    dry_run
        Give the plan and change nothing.
    tell
        Is told what is waited for.

    Raises
    ------
    SuspiciousPlan
        See `catalog.sync.plan_sync`.
    CatalogError, PlacementError
        If the mount cannot be listed, or another sync has the lease; nothing is changed then.
    """
    holdings = [holding_of(region, mount) for mount in topology.mounts(dataset, region)]
    buckets = [_bucket(topology, region, mount) for mount in topology.mounts(dataset, region)]
    with nullcontext() if dry_run else held(catalog, dataset, region, tell) as lease:
        committed = catalog.manifest(dataset, region)
        if committed.lost_entries and not dry_run:
            tell(
                f"{dataset} in {region}: the catalog holds {committed.entries:,} entries where the last commit left "
                f"{committed.written_entries:,}. All files are compared with it, and what is missing is added"
            )
            catalog.repair()
            committed = catalog.manifest(dataset, region)
        elif committed.lost_objects and not dry_run:
            tell(
                f"{dataset} in {region}: a part of the manifest is missing from the catalog. All files are compared with "
                "the entries, and the manifest is completed"
            )
        listed, as_of, listing_evidence = _list(holdings, buckets, region, committed.objects, compute)
        plan = plan_sync(zip(holdings, listed, strict=True), committed, full=full, accept=accept)
        if dry_run:
            return plan
        if any(buckets) and not plan.nothing_to_do:
            compute(call_at_home("mounted", region, check_mounted_at_home, region, [h.mount for h in holdings]))
        # Before the commit: a sync that is killed here finds the same again. A chunk that stayed would be read as data.
        lustre.forget(region, plan.gone)
        mounts = [holding.mount for holding in holdings]
        headers, rejected, header_evidence = read_headers(plan.to_describe, region, mounts, compute)
        generation = commit_sync(catalog, plan, headers, rejected=rejected, lease=lease, accept=accept)
    unreadable = [Quarantined(e.key, rejected[e.id]) for e in plan.to_describe if e.id in rejected]
    quarantined = tuple(sorted([*plan.quarantined, *unreadable]))
    return Synced(
        dataset=dataset,
        region=region,
        generation=generation,
        counts={
            **plan.summary(),
            "added": sum(e.id not in rejected for e in plan.added),
            "changed": sum(e.id not in rejected for e in plan.changed),
            "removed": len(plan.removed) + sum(e.id in rejected for e in plan.changed),
            "quarantined": len(quarantined),
        },
        quarantined=quarantined,
        warnings=(*_header_warnings(plan.to_describe, headers), *doubts(plan, catalog, holdings, quarantined)),
        objects=sum(map(len, listed)),
        size_bytes=sum(group.size_bytes for group in listed),
        digest=_digest(plan.found.state, *sorted(rejected)),
        as_of=as_of,
        evidence=Evidence.total([listing_evidence, header_evidence]),
    )


def _header_warnings(entries: Sequence[Entry], headers: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    """What is wrong with entries that can be used all the same, in part."""
    for entry in entries:
        for text in headers.get(entry.id, {}).get("warnings", ()):
            yield f"{entry.key}: {text}"


def holding_of(region: str, mount: Dataset) -> Holding:
    """A mount of the topology as the catalog's layouts know it."""
    said = {"license": mount.license, "attribution": mount.attribution}
    return Holding(
        dataset=mount.name,
        region=region,
        layout=mount.layout,
        mount=mount.mount,
        excerpt=mount.excerpt,
        attributes={name: text for name, text in said.items() if text},
        exclude=frozenset(mount.exclude),
        pattern=mount.pattern or "",
        variable=mount.variable or "",
    )


def _bucket(topology: Topology, region: str, mount: Dataset) -> Bucket | None:
    """The bucket that says what there is; None where the mount itself does."""
    if topology.profile == "local" or mount.source is None:
        return None
    return Bucket(url=mount.source, region=region, anonymous=mount.anonymous, inventory=mount.inventory or "")


def _list(
    holdings: Sequence[Holding],
    buckets: Sequence[Bucket | None],
    region: str,
    known: Packed,
    compute: Compute,
) -> tuple[list[Packed], datetime | None, Evidence]:
    by_key = {o.key: o for o in known} if None in buckets else {}
    calls = [
        call_at_home("list", region, list_bucket_at_home, bucket, holding.mount)
        if bucket
        else call_at_home("list", region, list_at_home, holding.mount, by_key)
        for holding, bucket in zip(holdings, buckets, strict=True)
    ]
    answers, evidence = compute(*calls)
    taken = [when for _, when in answers if when is not None]
    return [Packed([data]) for data, _ in answers], min(taken, default=None), evidence


def list_at_home(mount: str, known: Mapping[str, StoredObject]) -> tuple[bytes, None]:
    """Objects of a mount, packed, listed on a worker of its Region."""
    return Listing.of(list_folder(region_path(""), mount, known)).packed(), None


def list_bucket_at_home(bucket: Bucket, mount: str) -> tuple[bytes, datetime | None]:
    """Objects of a bucket, packed, listed on a worker of its Region; and the time of the inventory if one was read."""
    if bucket.inventory:
        objects, taken = read_inventory(bucket, mount)
        return Listing.of(objects).packed(), taken
    return Listing.of(list_bucket(bucket, mount)).packed(), None


def check_mounted_at_home(region: str, mounts: Sequence[str]) -> None:
    """Refuse to go on where a mount is not there: each changed file would seem unreadable and leave the catalog.

    Raises
    ------
    CatalogError
        Naming the mount.
    """
    for mount in mounts:
        if not region_path(mount).is_dir():
            raise CatalogError(
                f"The bucket behind {mount} has news, and there is no folder {mount} on the workers of {region}; nothing "
                "was changed. Look whether Lustre is mounted there and the import has run, then sync again"
            )


def read_headers(
    wanted: Sequence[Entry], region: str, mounts: Sequence[str], compute: Compute
) -> tuple[dict[str, Mapping[str, Any]], dict[str, str], Evidence]:
    """Headers of entries of a Region by id, and the reasons why some cannot be read; each lies in one of the mounts."""
    asked = [_asked(entry, mounts) for entry in wanted]
    groups = [asked[i : i + _HEADERS_A_CALL] for i in range(0, len(asked), _HEADERS_A_CALL)]
    calls = [call_at_home("describe", region, describe_at_home, group) for group in groups]
    answers, evidence = compute(*calls) if calls else ((), Evidence())
    headers: dict[str, Mapping[str, Any]] = {}
    rejected: dict[str, str] = {}
    for good, bad in answers:
        headers |= good
        rejected |= bad
    for entry in wanted:
        if entry.id not in headers:
            continue
        try:  # whether the catalog takes it, too: a commit is of all entries or of none
            entry.with_header(headers[entry.id]).to_json()
        except CatalogError as error:
            del headers[entry.id]
            rejected[entry.id] = f"the catalog cannot hold its header: {error}"
    return headers, rejected, evidence


@dataclass(frozen=True)
class Asked:
    """One entry whose header is wanted: what a worker must know of it."""

    id: str
    key: str
    mount: str
    format: str
    size_bytes: int
    claim: Claim


def _asked(entry: Entry, mounts: Sequence[str]) -> Asked:
    content = LAYOUTS[entry.layout].content(entry.variable, entry.facets)
    period = None if entry.time_start is None or entry.time_end is None else (entry.time_start, entry.time_end)
    claim = Claim(content.names, period, content.timeless, content.step_seconds)
    mount = next((mount for mount in mounts if f"{entry.key}/".startswith(f"{mount}/")), "")
    return Asked(entry.id, entry.key, mount, entry.format, entry.size_bytes, claim)


def describe_at_home(entries: Sequence[Asked]) -> tuple[dict[str, dict[str, Any]], dict[str, str]]:
    """Headers and rejections by entry id, read and checked on a worker of the entries' Region."""
    headers, rejected = {}, {}
    for asked in entries:
        try:
            place = Place.of(asked.key, asked.mount)
            if not place.path.exists():
                rejected[asked.id] = "it is in the bucket and not on the mount: the import left it out; sync again"
                continue
            header = describe(place, asked.format, claim=asked.claim) | {"mount": asked.mount}
        except XdaskError as error:
            rejected[asked.id] = str(error)
            continue
        there = header["file"]["size_bytes"]
        if asked.size_bytes and there != asked.size_bytes:  # an entry that was imported from a table has no size yet
            rejected[asked.id] = (
                f"it has {there} bytes on the mount and {asked.size_bytes} where it was listed: it changed, or its import "
                "is not done; sync again"
            )
            continue
        headers[asked.id] = header
    return headers, rejected


def _digest(*texts: str) -> str:
    return hashlib.blake2b("\n".join(texts).encode(), digest_size=16).hexdigest()
