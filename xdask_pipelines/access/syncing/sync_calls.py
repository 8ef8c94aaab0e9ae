"""What a sync asks of the workers of a Region: listing, headers, whether mounts are there.

Belongs here: each question, and what a worker does to answer it. Does not belong here: the order of a sync (sync_place).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from xdask_pipelines.access.describing.validation import Claim
from xdask_pipelines.access.header import describe
from xdask_pipelines.access.home_calls import Compute, call_at_home
from xdask_pipelines.access.location import Location
from xdask_pipelines.catalog import Entry
from xdask_pipelines.catalog.layouts import LAYOUTS
from xdask_pipelines.catalog.manifest.listing import StoredObject, list_folder
from xdask_pipelines.catalog.manifest.object_table import ObjectTable
from xdask_pipelines.catalog.manifest.packed_objects import PackedObjects
from xdask_pipelines.catalog.sources.bucket import list_bucket
from xdask_pipelines.catalog.sources.inventory import read_inventory
from xdask_pipelines.errors import CatalogError, XdaskError
from xdask_pipelines.placement import Evidence
from xdask_pipelines.placement.worker.guard import region_path
from xdask_pipelines.topology.mount import Mount

_HEADERS_A_CALL = 50


# ---- listing ----------------------------------------------------------------------------------------------------------


def listed(
    mounts: Sequence[Mount],
    region: str,
    known: PackedObjects,
    compute: Compute,
) -> tuple[list[PackedObjects], datetime | None, Evidence]:
    """Objects of each mount, the time of the oldest inventory that stood for a listing, and where it was listed.

    Parameters
    ----------
    mounts, region
        Mounts of one Region.
    known
        Objects of the last commit: their digests hold for files that have not changed since.
    compute
        Runs lazy calls in the pools.
    """
    by_key = {} if all(mount.from_bucket for mount in mounts) else {o.key: o for o in known}
    calls = [
        call_at_home("list", region, list_bucket_at_home, mount)
        if mount.from_bucket
        else call_at_home("list", region, list_at_home, mount.path, by_key)
        for mount in mounts
    ]
    answers, evidence = compute(*calls)
    taken = [when for _, when in answers if when is not None]
    return [PackedObjects([data]) for data, _ in answers], min(taken, default=None), evidence


def list_at_home(mount: str, known: Mapping[str, StoredObject]) -> tuple[bytes, None]:
    """Objects of a mount, packed, listed on a worker of its Region."""
    return ObjectTable.of(list_folder(region_path(""), mount, known)).packed(), None


def list_bucket_at_home(mount: Mount) -> tuple[bytes, datetime | None]:
    """Objects of a bucket, packed, listed on a worker of its Region; and when its inventory was taken, if one is read."""
    if mount.inventory:
        objects, taken = read_inventory(mount)
        return ObjectTable.of(objects).packed(), taken
    return ObjectTable.of(list_bucket(mount)).packed(), None


def check_mounted(region: str, mounts: Sequence[Mount], compute: Compute) -> None:
    """Refuse to go on where a mount is not there; see `check_mounted_at_home`."""
    compute(call_at_home("mounted", region, check_mounted_at_home, region, [mount.path for mount in mounts]))


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
                f"The bucket behind {mount} has changes, and there is no folder {mount} on the workers of {region}; nothing "
                "was changed. Look whether Lustre is mounted there and the import has run, then sync again"
            )


# ---- headers ----------------------------------------------------------------------------------------------------------


def read_headers(
    wanted: Sequence[Entry], region: str, mounts: Sequence[Mount], compute: Compute
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


def _asked(entry: Entry, mounts: Sequence[Mount]) -> Asked:
    content = LAYOUTS[entry.layout].content(entry.variable, entry.facets)
    period = None if entry.time_start is None or entry.time_end is None else (entry.time_start, entry.time_end)
    claim = Claim(content.names, period, content.timeless, content.step_seconds)
    mount = next((mount.path for mount in mounts if mount.holds(entry.key)), "")
    return Asked(entry.id, entry.key, mount, entry.format, entry.size_bytes, claim)


def describe_at_home(entries: Sequence[Asked]) -> tuple[dict[str, dict[str, Any]], dict[str, str]]:
    """Headers and rejections by entry id, read and checked on a worker of the entries' Region."""
    headers, rejected = {}, {}
    for asked in entries:
        try:
            place = Location.of(asked.key, asked.mount)
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
