"""The guard on workers: data are read and written only in their home Region and only by guarded functions.

Belongs here: checks and reports while a task accesses data. Does not belong here: reading data (access).

The guard makes placement fail closed: on a scheduler without the plugin, a read in the wrong Region raises an error.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from distributed import Worker, get_worker

from xdask_pipelines.errors import PlacementError
from xdask_pipelines.placement.dask_internals.worker_hooks import key_of_thread, run_inside, tell_from_any_thread
from xdask_pipelines.placement.worker.guard_libraries import guard_libraries
from xdask_pipelines.topology.names import POOL_PREFIX, pool_name

#: Environment variables with the folders in which a worker's Region keeps its data and its results.
ROOT_VARIABLE = "XDASK_REGION_DATA"
RESULTS_VARIABLE = "XDASK_REGION_RESULTS"
#: If Regions share a machine: the folders of all Regions, so that a worker also refuses those of others.
GUARDED_VARIABLE = "XDASK_GUARDED_FOLDERS"
#: Keys below this folder are results, so no dataset may be mounted there.
RESULTS_PREFIX = "results/"

# A context variable and not a thread-local one: zarr reads in its own threads, which inherit the context of the task.
_gate: ContextVar[bool] = ContextVar("xdask_gate", default=False)
_out_of_band: ContextVar[bool] = ContextVar("xdask_out_of_band", default=False)
_guarded_roots: tuple[str, ...] = ()
_worker: Worker | None = None


class ReadCounter:
    """Counts the stored bytes that one guarded block read."""

    def __init__(self) -> None:
        self.nbytes = 0

    def read(self, nbytes: int) -> None:
        """Add bytes as they are stored in files, before decompression."""
        self.nbytes += nbytes


@contextmanager
def at_home(region: str) -> Iterator[ReadCounter]:
    """Allow access to a Region's data inside the ``with`` block, on a worker of that Region only.

    Parameters
    ----------
    region
        Home Region of the data.

    Yields
    ------
    ReadCounter
        Counts the bytes that the block reads.

    Raises
    ------
    PlacementError
        On a worker of another Region, or in a process that is not a worker.
    """
    try:
        worker = get_worker()
    except ValueError:
        raise PlacementError(
            f"Data of Region {region} can be read only on a worker of that Region, and this process is not a worker. "
            "Compute with the pools (`xdask pools up`): `project.compute(x)` in a notebook, not one of Dask's local "
            "schedulers."
        ) from None
    offered = sorted(r for r in worker.state.total_resources if r.startswith(POOL_PREFIX))
    if pool_name(region) not in offered:
        raise PlacementError(
            f"A task that needs data of Region {region} was sent to worker {worker.address}, which belongs to "
            f"{', '.join(offered) or 'no pool'}. The scheduler does not place tasks. Start the pools with `xdask pools up`, "
            "and compute with `project.compute(x)`."
        )
    ledger = ReadCounter()
    token = _gate.set(True)
    try:
        yield ledger
    finally:
        _gate.reset(token)
        if ledger.nbytes:
            tell_from_any_thread(worker, "read", key=key_of_thread(), region=region, nbytes=ledger.nbytes)


def region_path(key: str) -> Path:
    """Return the path of a catalog key on this worker; only a Region's own workers know its folders.

    Parameters
    ----------
    key
        Path relative to the Region's root; results lie below ``results/``.

    Raises
    ------
    PlacementError
        If this process belongs to no Region.
    """
    variable = RESULTS_VARIABLE if key.startswith(RESULTS_PREFIX) else ROOT_VARIABLE
    root = os.environ.get(variable)
    if not root:
        raise PlacementError(
            f"The folder of {key} is unknown on this process, because {variable} is not set. `xdask pools up` sets it "
            "for workers: compute with a client that is connected to the pools."
        )
    return Path(root) / key


def guarded_roots() -> tuple[Path, ...]:
    """Return the folders, from the environment, that only guarded functions may open on this worker."""
    named = [os.environ.get(v, "") for v in (ROOT_VARIABLE, RESULTS_VARIABLE)]
    return tuple(Path(p) for p in [*named, *os.environ.get(GUARDED_VARIABLE, "").split(os.pathsep)] if p)


def install(worker: Worker, roots: tuple[Path, ...]) -> None:
    """Make a worker's process refuse access to data outside of guarded functions."""
    global _guarded_roots, _worker
    first = not _guarded_roots
    _worker = worker
    # Violations by `Client.run` belong to no computation.
    run_inside(worker, _blaming_nobody)
    _guarded_roots = tuple(sorted({name + os.sep for r in roots for name in folders_of(r)}))
    if first and _guarded_roots:
        sys.addaudithook(_audit)
        guard_libraries(check)


def folders_of(root: Path) -> Iterator[str]:
    """Iterate over the path of a folder, its resolved path, and the targets of the links in it (mounts)."""
    yield from dict.fromkeys((os.path.abspath(root), os.path.realpath(root)))  # noqa: PTH100
    try:
        with os.scandir(root) as entries:
            yield from (os.path.realpath(entry.path) for entry in entries if entry.is_symlink())
    except FileNotFoundError:
        return


@contextmanager
def _blaming_nobody() -> Iterator[None]:
    token = _out_of_band.set(True)
    try:
        yield
    finally:
        _out_of_band.reset(token)


def check(path: Any) -> None:
    """Refuse a path below a guarded folder, unless a guarded function opens it.

    Parameters
    ----------
    path
        Path or address of a file, or a list of them; other objects are ignored.

    Raises
    ------
    PlacementError
        If the path is a file of a Region, directly or by a link.
    """
    if _gate.get():
        return
    if isinstance(path, (list, tuple)):
        for one in path:
            check(one)
        return
    if not isinstance(path, (str, bytes, os.PathLike)):
        return
    name = os.fsdecode(path)
    if name.startswith("file:"):
        name = unquote(urlsplit(name).path)
    # The unresolved path is checked too: a folder below the root may be a link to another place.
    for resolved in (os.path.realpath(name), os.path.abspath(name)):  # noqa: PTH100
        if (resolved + os.sep).startswith(_guarded_roots):
            _refuse(f"opened {resolved}")


def _refuse(deed: str) -> None:
    problem = (
        f"Code on a worker {deed} without placement. Such a read is neither placed nor counted. Open the data through the "
        "catalog (xdask_pipelines.access.open_entries), so that the read runs in its home Region."
    )
    if _worker is not None and not _out_of_band.get():
        # Libraries that guess formats (xarray's engines) swallow the error, so the scheduler is informed too.
        tell_from_any_thread(_worker, "violation", key=key_of_thread(), problem=problem)
    raise PlacementError(problem)


#: Python's audit events for access to files, and the positions of their arguments that are paths.
_EVENTS: dict[str, tuple[int, ...]] = {
    "open": (0,),
    "os.link": (0, 1),
    "os.remove": (0,),
    "os.rename": (0, 1),
    "os.rmdir": (0,),
    "os.symlink": (0, 1),
    "os.truncate": (0,),
    "sqlite3.connect": (0,),
}
#: Audit events that start other programs, whose arguments may contain paths.
_PROGRAMS = frozenset({"os.exec", "os.posix_spawn", "os.spawn", "os.system", "subprocess.Popen"})


def _audit(event: str, args: tuple[Any, ...]) -> None:
    if not _guarded_roots:
        return
    if event in _EVENTS:
        for i in _EVENTS[event]:
            check(args[i])
    elif event in _PROGRAMS and not _gate.get():
        for root in _guarded_roots:
            if any(root.rstrip(os.sep) in word for word in _words(args)):
                _refuse(f"started a program with a path in {root.rstrip(os.sep)}")


def _words(value: Any) -> Iterator[str]:
    """Iterate over all strings in the arguments of a program."""
    if isinstance(value, (str, bytes, os.PathLike)):
        yield os.fsdecode(value)
    elif isinstance(value, (list, tuple)):
        for one in value:
            yield from _words(one)
