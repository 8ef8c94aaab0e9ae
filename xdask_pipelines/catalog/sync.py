"""From a listing to a commit: what changed since the last one, whether that can be true, and writing it at once.

Belongs here: plans, guard rails and their commit. Does not belong here: who lists, who reads headers, or when: a
higher floor passes listings and headers in.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import Any

from xdask_pipelines.catalog.backend import Change, Committed, Lease, ManifestChange
from xdask_pipelines.catalog.catalog import Catalog
from xdask_pipelines.catalog.entry import Entry
from xdask_pipelines.catalog.layouts import Quarantined
from xdask_pipelines.catalog.manifest.differences import Differences, Mounts, differences
from xdask_pipelines.catalog.manifest.listing import StoredObject
from xdask_pipelines.catalog.manifest.packed_objects import PackedObjects, digest_of
from xdask_pipelines.errors import CatalogError, SuspiciousPlan
from xdask_pipelines.system.quoting import in_shell
from xdask_pipelines.topology.mount import Mount

_FEW_REMOVALS = 10
_REMOVED_SHARE = 0.2


@dataclass(frozen=True, kw_only=True)
class SyncPlan:
    """What one sync of (dataset, Region) would do.

    Attributes
    ----------
    added, changed
        Entries new or different, without headers: these are to be read.
    removed
        Ids of entries whose files are gone.
    unchanged
        Number of entries that stay as they are.
    bytes_to_read
        Size of all added and changed entries.
    quarantined
        What lies in the mount and is not catalogued, with reasons.
    manifest
        How the manifest changes; it holds the objects behind entries alone, so that all others are looked at every time.
    gone
        Keys that the manifest knows and that were not listed.
    base_generation
        Commit that the plan builds on.
    digest
        Fingerprint of the whole plan; to be given as ``accept`` to let a suspicious one pass.
    found
        The comparison that the plan was made from.
    redescribed
        The mounts' descriptions, or the code of their layouts, are others than at the last commit.
    full
        Every entry is described and written again.
    """

    dataset: str
    region: str
    added: tuple[Entry, ...]
    changed: tuple[Entry, ...]
    removed: tuple[str, ...]
    unchanged: int
    bytes_to_read: int
    quarantined: tuple[Quarantined, ...]
    manifest: ManifestChange
    gone: tuple[str, ...]
    base_generation: int
    digest: str
    found: Differences = field(repr=False)
    redescribed: bool
    full: bool = False

    @property
    def to_describe(self) -> tuple[Entry, ...]:
        """Entries whose headers are to be read before the commit."""
        return self.added + self.changed

    @property
    def holes(self) -> dict[str, list[str]]:
        """Keys of objects that are gone from within entries that stay, by entry; they would read as fill values."""
        staying = {entry.key for entry in self.changed}
        found: defaultdict[str, list[str]] = defaultdict(list)
        for key in self.gone:
            parts = key.split("/")
            for folder in ("/".join(parts[:i]) for i in range(1, len(parts))):
                if folder in staying:
                    found[folder].append(key)
        return dict(found)

    @property
    def nothing_to_do(self) -> bool:
        """The catalog is already as the mount is."""
        return not (self.to_describe or self.removed or self.manifest.put or self.manifest.drop or self.redescribed)

    def summary(self) -> dict[str, int]:
        """Counts for people and logs."""
        return {
            "added": len(self.added),
            "changed": len(self.changed),
            "removed": len(self.removed),
            "unchanged": self.unchanged,
            "quarantined": len(self.quarantined),
            "bytes_to_read": self.bytes_to_read,
        }


def plan_sync(
    listings: Iterable[tuple[Mount, Iterable[StoredObject]]],
    committed: Committed,
    *,
    full: bool = False,
    accept: str | None = None,
) -> SyncPlan:
    """Compare what lies in the mounts of (dataset, Region) with its last commit.

    Parameters
    ----------
    listings
        For each mount of the dataset in the Region what it holds, sorted by key.
    committed
        ``catalog.manifest(dataset, region)``, taken before listing.
    full
        Describe and write every entry again, whether it changed or not.
    accept
        Digest of a plan that was refused as suspicious and that a person has looked at.

    Raises
    ------
    SuspiciousPlan
        A mount that the manifest knows objects of is empty; or more than 10 and more than 20 % of all entries would be
        removed, or of all objects from within entries that stay. ``digest`` and ``plan`` are attributes.
    CatalogError
        Listings are not sorted, or of several places.
    """
    mounts = [(mount, PackedObjects.of(objects)) for mount, objects in listings]
    if len({(mount.dataset, mount.region) for mount, _ in mounts}) != 1:
        raise CatalogError("A sync is of the mounts of one dataset in one Region; give at least one, and no others")
    found = differences(mounts, committed, full=full)
    place = mounts[0][0]
    plan = SyncPlan(
        dataset=place.dataset,
        region=place.region,
        added=found.added,
        changed=found.changed,
        removed=found.removed,
        unchanged=found.unchanged,
        bytes_to_read=sum(entry.size_bytes for entry in found.added + found.changed),
        quarantined=found.quarantined,
        manifest=ManifestChange(put=found.put, drop=found.drop),
        gone=found.gone,
        base_generation=committed.generation,
        digest=_plan_digest(committed.generation, found),
        found=found,
        redescribed=found.unchanged > 0 and found.holdings != committed.holdings,
        full=full,
    )
    reasons = list(_suspicions(plan, mounts, committed))
    if reasons:
        _refuse(plan, reasons, accept)
    return plan


def commit_sync(
    catalog: Catalog,
    plan: SyncPlan,
    headers: Mapping[str, Mapping[str, Any]],
    *,
    rejected: Mapping[str, str] | None = None,
    lease: Lease | None = None,
    accept: str | None = None,
) -> int:
    """Write a plan in one commit: entries, removals, tombstones and manifest, with the counts checked inside.

    Parameters
    ----------
    headers
        Header of each entry to describe, by id; an entry without one is described when it is first opened.
    rejected
        Reason for each entry, by id, that could not be read. It is not catalogued, nor kept if it was, so that
        the next sync finds it missing from the catalog and tries again.
    lease
        Lease that the sync holds; it ends here.
    accept
        As in `plan_sync`.

    Returns
    -------
    int
        Generation of the commit, or the present one if there was nothing to do.

    Raises
    ------
    SuspiciousPlan
        More than 10 and more than 20 % of all entries would be lost, some because their changed files cannot be read.
    StaleWriter
        Another commit came first, or the lease is lost. Nothing was written.
    CatalogError
        Headers or rejections are of entries outside the plan, or counts do not agree. Nothing was written.
    """
    bad = dict(rejected or {})
    known = {entry.id for entry in plan.to_describe}
    if strangers := sorted((headers.keys() | bad.keys()) - known):
        raise CatalogError(f"Not among the entries of this plan to describe: {', '.join(strangers)}")
    kept = [entry for entry in plan.to_describe if entry.id not in bad]
    upserts = [entry.with_header(headers[entry.id]) if entry.id in headers else entry for entry in kept]
    lost = [entry for entry in plan.changed if entry.id in bad]
    held = plan.unchanged + len(plan.changed) + len(plan.removed)
    if lost and _too_many(len(lost) + len(plan.removed), held):
        first = f"{lost[0].key}: {bad[lost[0].id]}"
        also = f", and the files of {len(plan.removed)} more are gone" if plan.removed else ""
        _refuse(
            plan, [f"{len(lost)} of {held} entries changed and cannot be read now{also}. The first: {first}"], accept
        )
    manifest = _without(plan, [entry for entry in plan.to_describe if entry.id in bad])
    if not (upserts or lost or plan.removed or manifest.put or manifest.drop or plan.redescribed):
        if lease is not None:
            catalog.release(lease)
        return plan.base_generation
    return catalog.commit(
        Change(
            upserts,
            [*plan.removed, *(entry.id for entry in lost)],
            dataset=plan.dataset,
            region=plan.region,
            manifest=manifest,
            holdings=plan.found.holdings,
            base_generation=plan.base_generation,
            lease=lease,
            expected_entries=plan.unchanged + len(upserts),
        )
    )


def _without(plan: SyncPlan, rejected: Sequence[Entry]) -> ManifestChange:
    """The change of the manifest without what lies behind rejected entries, so that the next sync looks at it again."""
    if not rejected:
        return plan.manifest
    behind = {item.key for entry in rejected for item in plan.found.listed.below(entry.key)}
    new = {item.key for item in plan.manifest.put} - plan.found.known
    put = [item for item in plan.manifest.put if item.key not in behind]
    return ManifestChange(put=put, drop=[*plan.manifest.drop, *sorted(behind - new)])


def _suspicions(plan: SyncPlan, mounts: Mounts, committed: Committed) -> Iterable[str]:
    for mount, objects in mounts:
        # Empty objects that stand for folders outlive the files in them.
        empty = not any(len(part.usable()) for part in objects.parts())
        if empty and any(len(part.below(mount.path)) for part in committed.objects.parts()):
            yield f"{mount.path} is empty, and was not at the last sync"
    held = committed.entries
    if _too_many(len(plan.removed), held):
        yield f"{len(plan.removed)} of {held} entries would be removed"
    holes = sum(map(len, plan.holes.values()))  # whole stores are counted above
    if _too_many(holes, len(committed.objects)):
        yield f"{holes} of {len(committed.objects)} objects would be removed from within entries that stay"


def _too_many(lost: int, held: int) -> bool:
    return lost > max(_FEW_REMOVALS, _REMOVED_SHARE * held)


def _refuse(plan: SyncPlan, reasons: Sequence[str], accept: str | None) -> None:
    """Raise, unless a person has accepted this very plan."""
    if accept == plan.digest:
        return
    stale = "The accepted plan was another one. " if accept is not None else ""
    words = ["xdask", "sync", *(["--full"] if plan.full else []), in_shell(plan.dataset), "--accept", plan.digest]
    raise SuspiciousPlan(
        f"The sync of {plan.dataset} in {plan.region} was refused, and nothing was changed: {'; '.join(reasons)}. {stale}"
        f"Look whether the mount is whole. If the files are gone on purpose, accept the plan: `{' '.join(words)}`",
        digest=plan.digest,
        plan=plan,
    )


def _plan_digest(generation: int, found: Differences) -> str:
    digest = hashlib.blake2b(digest_size=16)
    entries = sorted(found.added + found.changed, key=lambda entry: entry.id)
    lines = chain(
        (f"at {generation}", f"put {digest_of([found.put])}"),
        (f"write {entry.id} {entry.digest}" for entry in entries),
        (f"remove {identity}" for identity in found.removed),
        (f"drop {key}" for key in found.drop),
    )
    for line in lines:
        data = line.encode()
        digest.update(len(data).to_bytes(8, "big") + data)
    return digest.hexdigest()
