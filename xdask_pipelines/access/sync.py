"""The sync of one dataset in one Region: list at home, compare, read new headers at home, commit.

Belongs here: the order of the steps and who does each. Does not belong here: plans, guard rails, commits (catalog).
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

from xdask_pipelines.access.header import describe
from xdask_pipelines.access.remote import call_at_home
from xdask_pipelines.catalog import Catalog
from xdask_pipelines.catalog.layouts import Holding, Quarantined
from xdask_pipelines.catalog.listing import StoredObject, list_folder
from xdask_pipelines.catalog.sync import SyncPlan, commit_sync, plan_sync
from xdask_pipelines.errors import XdaskError
from xdask_pipelines.placement import Evidence
from xdask_pipelines.placement.guard import region_path
from xdask_pipelines.topology import Topology

#: Computes lazy calls: `placement.compute` bound to a client.
Compute = Callable[..., tuple[tuple[Any, ...], Evidence]]
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
        Added, changed, removed, unchanged, quarantined entries and bytes of the new and changed.
    quarantined
        What is not catalogued, with reasons; unreadable files among them.
    objects, size_bytes, digest
        Files listed, their size, and a digest of the state of the mount.
    evidence
        Where listing and headers were read.
    """

    dataset: str
    region: str
    generation: int
    counts: Mapping[str, int]
    quarantined: tuple[Quarantined, ...]
    objects: int
    size_bytes: int
    digest: str
    evidence: Evidence


def sync(
    topology: Topology,
    catalog: Catalog,
    compute: Compute,
    dataset: str,
    region: str,
    *,
    accept: str | None = None,
    dry_run: bool = False,
) -> Synced | SyncPlan:
    """Make the catalog say of one dataset in one Region what is true.

    Parameters
    ----------
    topology, catalog
        Where the mounts are, what is known.
    compute
        Runs lazy calls in the pools.
    dataset, region
        What to sync.
    accept
        Digest of a suspicious plan that a person has looked at.
    dry_run
        Give the plan and change nothing.

    Raises
    ------
    SuspiciousPlan
        See `catalog.sync.plan_sync`.
    CatalogError, PlacementError
        If the mount cannot be listed, or another sync has the lease; nothing is changed then.
    """
    holdings = [_holding(topology, region, d) for r, d in topology.datasets(dataset) if r == region]
    if not holdings:
        places = ", ".join(r for r, _ in topology.datasets(dataset))
        raise XdaskError(f"Dataset {dataset} has no mount in {region}; it lies in {places}.")
    lease = None if dry_run else catalog.lease(dataset, region, owner=uuid4().hex)
    try:
        committed = catalog.manifest(dataset, region)
        listed, listing_evidence = _list(holdings, region, committed.objects, compute)
        plan = plan_sync(zip(holdings, listed, strict=True), committed, accept=accept)
        if dry_run:
            return plan
        if lease is not None:
            catalog.renew(lease)  # shows that this sync lives; listing and headers may each take long
        headers, rejected, header_evidence = _headers(plan, region, compute)
        generation = commit_sync(catalog, plan, headers, rejected=rejected, lease=lease)
    except BaseException:
        if lease is not None:
            catalog.release(lease)
        raise
    unreadable = [Quarantined(e.key, rejected[e.id]) for e in plan.to_describe if e.id in rejected]
    return Synced(
        dataset=dataset,
        region=region,
        generation=generation,
        counts={**plan.summary(), "quarantined": len(plan.quarantined) + len(unreadable)},
        quarantined=tuple(sorted([*plan.quarantined, *unreadable])),
        objects=sum(map(len, listed)),
        size_bytes=sum(o.size_bytes for group in listed for o in group),
        digest=_state_digest(catalog, dataset, region),
        evidence=Evidence.total([listing_evidence, header_evidence]),
    )


def _holding(topology: Topology, region: str, mount: Any) -> Holding:
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


def _list(
    holdings: Sequence[Holding], region: str, known: Sequence[StoredObject], compute: Compute
) -> tuple[tuple[list[StoredObject], ...], Evidence]:
    by_key = {o.key: o for o in known}
    return compute(*(call_at_home("list", region, list_at_home, h.mount, by_key) for h in holdings))


def list_at_home(mount: str, known: Mapping[str, StoredObject]) -> list[StoredObject]:
    """Objects of a mount, listed on a worker of its Region."""
    return list_folder(region_path(""), mount, known)


def _headers(
    plan: SyncPlan, region: str, compute: Compute
) -> tuple[dict[str, Mapping[str, Any]], dict[str, str], Evidence]:
    """Headers of what is new or changed, and the reasons why some cannot be read."""
    wanted = plan.to_describe
    groups = [wanted[i : i + _HEADERS_A_CALL] for i in range(0, len(wanted), _HEADERS_A_CALL)]
    calls = [
        call_at_home(
            "describe", region, describe_at_home, [(e.id, e.key, e.format, e.time_start is None) for e in group]
        )
        for group in groups
    ]
    answers, evidence = compute(*calls) if calls else ((), Evidence())
    headers: dict[str, Mapping[str, Any]] = {}
    rejected: dict[str, str] = {}
    for good, bad in answers:
        headers |= good
        rejected |= bad
    return headers, rejected, evidence


def describe_at_home(
    entries: Sequence[tuple[str, str, str, bool]],
) -> tuple[dict[str, dict[str, Any]], dict[str, str]]:
    """Headers and rejections by entry id, read on a worker of the entries' Region.

    Each entry is ``(id, key, format, wants_time)``; where the path does not tell the time, the header does.
    """
    headers, rejected = {}, {}
    for identity, key, file_format, wants_time in entries:
        try:
            header = describe(region_path(key), file_format)
        except XdaskError as error:
            rejected[identity] = str(error)
            continue
        if not wants_time:
            header.pop("time_range", None)
        headers[identity] = header
    return headers, rejected


def _state_digest(catalog: Catalog, dataset: str, region: str) -> str:
    digest = hashlib.blake2b(digest_size=16)
    for identity, entry_digest in sorted(catalog.manifest(dataset, region).digests.items()):
        digest.update(f"{identity}{entry_digest}".encode())
    return digest.hexdigest()


def stat_at_home(mount: str) -> list[tuple[str, int, int]]:
    """``(path, size in bytes, modification time in ns)`` of every file of a mount, on a worker of its Region."""
    top = region_path(mount)
    files = sorted(f for f in top.rglob("*") if f.is_file())
    return [(f.relative_to(top).as_posix(), (s := f.stat()).st_size, s.st_mtime_ns) for f in files]
