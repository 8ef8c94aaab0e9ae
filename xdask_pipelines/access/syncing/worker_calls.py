"""What a sync and its file system ask of the workers of a Region: listings, headers, and the files of a mount.

Belongs here: each call, and what a worker does to answer it. Does not belong here: the order of a sync (sync_place), what
is done to files (lustre).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from xdask_pipelines.access.describing.validation import Claim
from xdask_pipelines.access.header import describe
from xdask_pipelines.access.home_calls import Compute, call_at_home
from xdask_pipelines.access.location import Location, key_path
from xdask_pipelines.catalog import Entry
from xdask_pipelines.catalog.layouts import layout_named
from xdask_pipelines.catalog.manifest.listing import StoredObject, list_folder
from xdask_pipelines.catalog.manifest.object_table import ObjectTable
from xdask_pipelines.catalog.manifest.packed_objects import PackedObjects
from xdask_pipelines.catalog.sources.bucket import list_bucket
from xdask_pipelines.catalog.sources.inventory import read_inventory
from xdask_pipelines.errors import CatalogError, XdaskError
from xdask_pipelines.lustre.imports import Residency
from xdask_pipelines.lustre.mount_files import residency_of_folder, residency_on_lustre, restore_on_lustre, unlink_below
from xdask_pipelines.placement import Evidence
from xdask_pipelines.placement.worker.guard import region_path
from xdask_pipelines.topology.mount import Mount

_HEADERS_A_CALL = 50


@dataclass(frozen=True)
class RegionWorkers:
    """The workers of one Region, for small calls next to its data."""

    region: str
    compute: Compute

    def run(
        self, kind: str, function: Callable[..., Any], *arguments: Sequence[Any]
    ) -> tuple[tuple[Any, ...], Evidence]:
        """Call a function on the workers, once for each sequence of arguments.

        Parameters
        ----------
        kind
            What the calls do, in one lower-case word; see `call_at_home`.
        function
            What is called.
        *arguments
            Positional arguments of each call.

        Returns
        -------
        One answer for each call, and the evidence of all.
        """
        if not arguments:
            return (), Evidence()
        return self.compute(*(call_at_home(kind, self.region, function, *each) for each in arguments))


# ---- listing ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Listing:
    """Objects of each mount, the time of the oldest inventory that was read instead of a bucket, and the evidence."""

    objects: tuple[PackedObjects, ...]
    as_of: datetime | None
    evidence: Evidence


def list_mounts(mounts: Sequence[Mount], known: PackedObjects, workers: RegionWorkers) -> Listing:
    """List the mounts of one dataset in one Region.

    Parameters
    ----------
    mounts
        The mounts.
    known
        Objects of the last commit: their digests hold for files that have not changed since.
    workers
        Workers of the mounts' Region.
    """
    by_key = {} if all(mount.from_bucket for mount in mounts) else {o.key: o for o in known}
    calls = [(mount, {} if mount.from_bucket else by_key) for mount in mounts]
    answers, evidence = workers.run("list", list_at_home, *calls)
    taken = [when for _, when in answers if when is not None]
    return Listing(tuple(PackedObjects([data]) for data, _ in answers), min(taken, default=None), evidence)


def list_at_home(mount: Mount, known: Mapping[str, StoredObject]) -> tuple[bytes, datetime | None]:
    """List the objects of a mount, packed, on a worker of its Region; with the time of the inventory, if one is read."""
    if not mount.from_bucket:
        return ObjectTable.of(list_folder(region_path(""), mount.path, known)).packed(), None
    if mount.inventory:
        objects, taken = read_inventory(mount)
        return ObjectTable.of(objects).packed(), taken
    return ObjectTable.of(list_bucket(mount)).packed(), None


def check_mounted(mounts: Sequence[Mount], workers: RegionWorkers) -> None:
    """Refuse to continue where a mount is missing; see `check_mounted_at_home`."""
    workers.run("mounted", check_mounted_at_home, (mounts,))


def check_mounted_at_home(mounts: Sequence[Mount]) -> None:
    """Refuse to continue where a mount is missing: each changed file would seem unreadable and leave the catalog.

    Raises
    ------
    CatalogError
        Naming the mount.
    """
    for mount in mounts:
        if not region_path(mount.path).is_dir():
            raise CatalogError(
                f"The bucket behind {mount.path} has changes, and there is no folder {mount.path} on the workers of "
                f"{mount.region}; nothing was changed. Look whether Lustre is mounted there and the import has run, then "
                "sync again"
            )


# ---- headers ----------------------------------------------------------------------------------------------------------


def read_headers(
    wanted: Sequence[Entry], mounts: Sequence[Mount], workers: RegionWorkers
) -> tuple[dict[str, Mapping[str, Any]], dict[str, str], Evidence]:
    """Read headers of entries, by id, and collect the reasons why some cannot be read; each lies in one of the mounts."""
    requests = [_request(entry, mounts) for entry in wanted]
    groups = [requests[i : i + _HEADERS_A_CALL] for i in range(0, len(requests), _HEADERS_A_CALL)]
    answers, evidence = workers.run("describe", describe_at_home, *((group,) for group in groups))
    headers: dict[str, Mapping[str, Any]] = {}
    rejected: dict[str, str] = {}
    for good, bad in answers:
        headers |= good
        rejected |= bad
    for entry in wanted:
        if entry.id not in headers:
            continue
        try:  # a commit is of all entries or of none, so one that the catalog does not take is left out
            entry.with_header(headers[entry.id]).to_json()
        except CatalogError as error:
            del headers[entry.id]
            rejected[entry.id] = f"the catalog cannot hold its header: {error}"
    return headers, rejected, evidence


@dataclass(frozen=True)
class HeaderRequest:
    """One entry whose header is to be read: what a worker must know of the entry."""

    id: str
    key: str
    mount: str
    format: str
    size_bytes: int
    claim: Claim


def _request(entry: Entry, mounts: Sequence[Mount]) -> HeaderRequest:
    content = layout_named(entry.layout).content(entry.variable, entry.facets)
    period = None if entry.time_start is None or entry.time_end is None else (entry.time_start, entry.time_end)
    claim = Claim(content.names, period, content.timeless, content.step_seconds)
    mount = next((mount.path for mount in mounts if mount.holds(entry.key)), "")
    return HeaderRequest(entry.id, entry.key, mount, entry.format, entry.size_bytes, claim)


def describe_at_home(requests: Sequence[HeaderRequest]) -> tuple[dict[str, dict[str, Any]], dict[str, str]]:
    """Read and check headers on a worker of the entries' Region; headers and rejections by entry id."""
    headers, rejected = {}, {}
    for request in requests:
        try:
            location = Location.of(request.key, request.mount)
            if not location.path.exists():
                rejected[request.id] = "it is in the bucket and not on the mount: the import left it out; sync again"
                continue
            header = describe(location, request.format, claim=request.claim) | {"mount": request.mount}
        except XdaskError as error:
            rejected[request.id] = str(error)
            continue
        on_mount = header["file"]["size_bytes"]
        if request.size_bytes and on_mount != request.size_bytes:  # an entry imported from a table has no size yet
            rejected[request.id] = (
                f"it has {on_mount} bytes on the mount and {request.size_bytes} where it was listed: it changed, or its "
                "import is not done; sync again"
            )
            continue
        headers[request.id] = header
    return headers, rejected


# ---- files of a mount -------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class MountAtHome:
    """Files of mounts, touched by workers of their Regions: a `lustre.mount_files.MountFiles`, see there for each method.

    Parameters
    ----------
    compute
        Runs lazy calls in their Regions.
    on_lustre
        Whether the mounts are Lustre; otherwise they are folders, with all files present.
    """

    compute: Compute
    on_lustre: bool = False

    def residency(self, region: str, keys: Sequence[str]) -> Residency:
        """Report how much of the files is on the mount."""
        answer: Residency = self._run(region, "residency", residency_at_home, list(keys), self.on_lustre)
        return answer

    def restore(self, region: str, keys: Sequence[str]) -> None:
        """Ask Lustre to fetch the files."""
        self._run(region, "restore", restore_at_home, list(keys))

    def unlink(self, region: str, keys: Sequence[str]) -> int:
        """Remove the files, and report how many there were."""
        answer: int = self._run(region, "unlink", unlink_at_home, list(keys))
        return answer

    def _run(self, region: str, kind: str, function: Callable[..., Any], *args: Any) -> Any:
        (answer,), _ = RegionWorkers(region, self.compute).run(kind, function, args)
        return answer


def residency_at_home(keys: Sequence[str], on_lustre: bool) -> Residency:
    """Report how much of the files is on the mount, on a worker of its Region."""
    return (residency_on_lustre if on_lustre else residency_of_folder)([key_path(key) for key in keys])


def restore_at_home(keys: Sequence[str]) -> None:
    """Ask Lustre to fetch the files, on a worker of the Region."""
    restore_on_lustre([key_path(key) for key in keys])


def unlink_at_home(keys: Sequence[str]) -> int:
    """Remove the files, on a worker of the Region."""
    return unlink_below(region_path(""), keys)
