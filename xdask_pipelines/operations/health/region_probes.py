"""What a worker of a Region reports of its own machine: mounts, disk, names, buckets. It runs in the Region.

Belongs here: looking, inside the guard. Does not belong here: what is a problem, and what to do about it (aws_checks).
"""

from __future__ import annotations

import os
import shutil
import socket
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

from xdask_pipelines.catalog.sources.bucket import client_for
from xdask_pipelines.errors import XdaskError
from xdask_pipelines.lustre.hsm import is_released
from xdask_pipelines.lustre.mount_files import files_below
from xdask_pipelines.placement.worker.guard import RESULTS_PREFIX, region_path
from xdask_pipelines.topology.mount import Mount

_SOME = b"xdask"
#: Three SYN packets to another continent; a security group drops them without an answer.
_CONNECT_SECONDS = 5.0


@dataclass(frozen=True)
class MountProbe:
    """One mount: kind of its file system, whether it holds anything, whether it can be written; an error, if any."""

    path: str
    kind: str
    filled: bool
    writable: bool
    error: str = ""


@dataclass(frozen=True)
class RegionProbe:
    """What one worker reports.

    Attributes
    ----------
    mounts
        Mounts of the datasets.
    results_error
        Why a file cannot be written, renamed and removed in the folder of results; empty if it can.
    spill_kind, spill_device, spill_free_bytes
        File system, device and free space of the worker's own folder.
    states_error
        Why Lustre does not report the state of a file; empty if it does, or if no mount is on Lustre.
    address, port_error
        Address that the scheduler's name has there, empty if it has none; why its port cannot be connected to, empty if it
        can.
    """

    mounts: tuple[MountProbe, ...]
    results_error: str
    spill_kind: str
    spill_device: str
    spill_free_bytes: int
    states_error: str
    address: str
    port_error: str = ""


def probe_region(mounts: Sequence[str], spill: str, host: str, port: int) -> RegionProbe:
    """Look at the machine of a worker.

    Parameters
    ----------
    mounts
        Keys of mounts, below the Region's data folder.
    spill
        Folder to which the worker spills.
    host, port
        Of the scheduler.
    """
    device, kind = file_system_of(Path(spill))
    try:
        free = shutil.disk_usage(spill).free
    except OSError:
        free = 0
    try:
        address = socket.gethostbyname(host)
    except OSError:
        address = ""
    return RegionProbe(
        tuple(_probe_mount(key) for key in mounts),
        _try_results(region_path(RESULTS_PREFIX)),
        kind,
        device,
        free,
        _try_states([region_path(key) for key in mounts]),
        address,
        _try_port(address, port),
    )


def _try_port(address: str, port: int) -> str:
    """Connect to a port; return why that fails, or nothing."""
    if not address:
        return "its name has no address"
    try:
        socket.create_connection((address, port), timeout=_CONNECT_SECONDS).close()
    except OSError as error:
        return f"{type(error).__name__}: {error}"
    return ""


def _probe_mount(key: str) -> MountProbe:
    path = region_path(key)
    _, kind = file_system_of(path)
    try:
        with os.scandir(path) as entries:
            filled = next(entries, None) is not None
    except OSError as error:
        return MountProbe(key, kind, filled=False, writable=False, error=f"{type(error).__name__}: {error}")
    return MountProbe(key, kind, filled=filled, writable=_can_write(path))


def _try_states(mounts: Sequence[Path]) -> str:
    """Return why the state of the first file on Lustre is unknown."""
    for mount in mounts:
        if file_system_of(mount)[1] == "lustre" and (file := next(files_below(mount), None)):
            try:
                is_released(Path(file))
            except XdaskError as error:
                return str(error)
    return ""


def _can_write(folder: Path) -> bool:
    trial = folder / f".xdask-{uuid4().hex}"
    try:
        trial.write_bytes(_SOME)
    except OSError:
        return False
    with suppress(OSError):
        trial.unlink()
    return True


def _try_results(folder: Path) -> str:
    """Write, rename, read and remove a file, as results do."""
    first, second = (folder / f".xdask-{uuid4().hex}" for _ in range(2))
    try:
        folder.mkdir(parents=True, exist_ok=True)
        first.write_bytes(_SOME)
        first.rename(second)
        if second.read_bytes() != _SOME:
            return "a file has other content after it was renamed"
        second.unlink()
    except OSError as error:
        return f"{type(error).__name__}: {error}"
    finally:
        for file in (first, second):
            with suppress(OSError):  # a mount that is lost refuses this too
                file.unlink(missing_ok=True)
    return ""


def file_system_of(path: Path) -> tuple[str, str]:
    """Return device and kind of the file system of a path, from the table of mounts."""
    try:
        lines = Path("/proc/mounts").read_text("utf-8").splitlines()
    except OSError:
        return "", "unknown"
    mounts = [line.split(" ")[:3] for line in lines]
    real = os.path.realpath(path)
    fitting = [(m, device, kind) for device, m, kind in mounts if f"{real}/".startswith(f"{m.rstrip('/')}/")]
    fitting.reverse()  # of two file systems at one path the later one is seen
    _, device, kind = max(fitting, key=lambda each: len(each[0]), default=("", "", "unknown"))
    return device, kind


def probe_source(mount: Mount) -> str:
    """Read one byte of the first object of a bucket; return why that fails, or nothing."""
    client = client_for(mount)
    try:
        found = client.list_objects_v2(Bucket=mount.bucket, Prefix=mount.prefix, MaxKeys=1).get("Contents", ())
        if not found:
            return f"there is no object below {mount.source}"
        body = client.get_object(Bucket=mount.bucket, Key=found[0]["Key"], Range="bytes=0-0")["Body"].read()
    except Exception as error:  # of botocore, and of the network
        return f"{type(error).__name__}: {' '.join(str(error).split())}"
    return "" if len(body) <= 1 else f"a range of one byte gave {len(body)} bytes"
