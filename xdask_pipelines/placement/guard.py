"""The guard on workers: reading and writing happen at home, through the guarded functions, or not at all.

Belongs here: what a worker checks and reports while a task touches data. Does not belong here: how data is read.

The guard makes placement fail closed: on a scheduler without the plugin, a read that lands in the wrong Region raises.
"""

from __future__ import annotations

import importlib.abc
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from types import MappingProxyType, ModuleType
from typing import Any

from distributed import Worker, get_worker
from distributed.utils import thread_state  # type: ignore[attr-defined]

from xdask_pipelines.errors import PlacementError
from xdask_pipelines.names import POOL_PREFIX, pool_name

#: Name the folders below which a worker's Region keeps its data, and its results.
ROOT_VARIABLE = "XDASK_REGION_DATA"
RESULTS_VARIABLE = "XDASK_REGION_RESULTS"
#: Where Regions share a machine: the folders of all, so that a worker refuses those of others too.
GUARDED_VARIABLE = "XDASK_GUARDED_FOLDERS"
#: Keys below this folder are results; no dataset may be mounted there.
RESULTS_PREFIX = "results/"

#: What a worker that this module guards says of itself when it joins a scheduler.
ADMITTED = "xdask_guarded"

# A context variable, not a thread's: zarr reads in threads of its own, which inherit the context of the task.
_gate: ContextVar[bool] = ContextVar("xdask_gate", default=False)
_out_of_band: ContextVar[bool] = ContextVar("xdask_out_of_band", default=False)
_guarded_roots: tuple[str, ...] = ()
_worker: Worker | None = None


class Ledger:
    """Counts the stored bytes that one guarded block read."""

    def __init__(self) -> None:
        self.nbytes = 0

    def read(self, nbytes: int) -> None:
        """Add bytes as stored in files, before decompression."""
        self.nbytes += nbytes


@contextmanager
def at_home(region: str) -> Iterator[Ledger]:
    """Allow access to a Region's data for the block, on a worker of that Region only.

    Parameters
    ----------
    region
        Home of the data.

    Raises
    ------
    PlacementError
        On a worker of another Region, or outside of any worker.
    """
    try:
        worker = get_worker()
    except ValueError:
        raise PlacementError(
            f"Data of Region {region} was to be read outside of any worker. Compute with a client that is connected to "
            "the pools (`xdask pools up`), not with Dask's local schedulers."
        ) from None
    offered = sorted(r for r in worker.state.total_resources if r.startswith(POOL_PREFIX))
    if pool_name(region) not in offered:
        raise PlacementError(
            f"A task that needs data of Region {region} was sent to worker {worker.address}, which offers "
            f"{', '.join(offered) or 'no pool'}. The scheduler does not place tasks: start it with `xdask pools up`, "
            "and compute with xdask_pipelines.placement."
        )
    ledger = Ledger()
    token = _gate.set(True)
    try:
        yield ledger
    finally:
        _gate.reset(token)
        if ledger.nbytes:
            _tell(worker, "xdask-read", region=region, nbytes=ledger.nbytes)


def region_path(key: str) -> Path:
    """Path of a catalog key on this worker; only a Region's own workers know its folders.

    Parameters
    ----------
    key
        Path relative to the Region's root; results lie below ``results/``.

    Raises
    ------
    PlacementError
        If this process serves no Region.
    """
    variable = RESULTS_VARIABLE if key.startswith(RESULTS_PREFIX) else ROOT_VARIABLE
    root = os.environ.get(variable)
    if not root:
        raise PlacementError(
            f"This process does not know where its Region keeps {key}: {variable} is not set. Workers get it from "
            "`xdask pools up`."
        )
    return Path(root) / key


def guarded_roots() -> tuple[Path, ...]:
    """Folders that code on this worker may not open by itself, as its environment names them."""
    named = [os.environ.get(v, "") for v in (ROOT_VARIABLE, RESULTS_VARIABLE)]
    return tuple(Path(p) for p in [*named, *os.environ.get(GUARDED_VARIABLE, "").split(os.pathsep)] if p)


def install(worker: Worker, roots: tuple[Path, ...]) -> None:
    """Make a worker's process refuse access to data from outside guarded functions."""
    global _guarded_roots, _worker
    first = not _guarded_roots
    _worker = worker
    worker.startup_information[ADMITTED] = lambda _: True
    _refuse_to_blame(worker)
    _guarded_roots = tuple(os.path.realpath(r) + os.sep for r in roots)
    if first and _guarded_roots:
        sys.addaudithook(_refuse_open)
        _guard_c_libraries()


def _refuse_to_blame(worker: Worker) -> None:
    """Let no computation be blamed for what `Client.run` does on a worker, which belongs to none."""
    run = worker.handlers["run"]

    async def run_out_of_band(comm: Any, function: Any, **options: Any) -> Any:
        token = _out_of_band.set(True)
        try:
            return await run(comm, function, **options)
        finally:
            _out_of_band.reset(token)

    worker.handlers["run"] = run_out_of_band


def _check(path: Any) -> None:
    if _gate.get() or not isinstance(path, (str, bytes, os.PathLike)):
        return
    name = os.path.realpath(os.fsdecode(path))
    if any(name.startswith(root) for root in _guarded_roots):
        problem = (
            f"Code on a worker opened {name} by itself. Such a read is neither placed nor counted. Let the catalog "
            "open it (xdask_pipelines.access.open_entries), so that it runs in its Region."
        )
        if _worker is not None and not _out_of_band.get():
            # Libraries that guess at formats (xarray's engines) swallow what opening raises: tell the scheduler too.
            _tell(_worker, "xdask-violation", problem=problem)
        raise PlacementError(problem)


def _tell(worker: Worker, op: str, **values: Any) -> None:
    """Send the scheduler a message about the task that runs in this thread (None: a library's own thread)."""
    message = {"op": op, "key": getattr(thread_state, "key", None), **values}
    worker.loop.add_callback(worker.batched_send, message)


def _refuse_open(event: str, args: tuple[Any, ...]) -> None:
    if event == "open" and _guarded_roots:
        _check(args[0])


def _guard_c_libraries() -> None:
    """HDF5, netCDF and ecCodes open files in C, where no audit event is raised."""
    import h5py

    if found := sys.modules.get(_GuardGrib.MODULE):
        _GuardGrib().guard(found)
    sys.meta_path.insert(0, _GuardGrib())

    h5py.h5f.open = _checked(h5py.h5f.open)
    h5py.h5f.create = _checked(h5py.h5f.create)
    try:
        import netCDF4
    except ImportError:
        return

    class GuardedDataset(netCDF4.Dataset):
        def __init__(self, filename: Any, *args: Any, **kwargs: Any) -> None:
            _check(filename)
            super().__init__(filename, *args, **kwargs)

    netCDF4.Dataset = GuardedDataset  # type: ignore[misc]


class _GuardGrib(importlib.abc.MetaPathFinder):
    """Guards ecCodes when it is imported: doing so on every worker would take 0.25 s of its start.

    Most of it takes files that Python opened, which the audit hook sees; indexes and offsets take paths.
    """

    MODULE = "gribapi.gribapi"
    OPENERS = MappingProxyType(  # and which of their arguments is the path
        {
            "codes_extract_offsets": 0,
            "codes_extract_offsets_sizes": 0,
            "codes_bufr_extract_headers": 0,
            "grib_index_new_from_file": 0,
            "grib_index_read": 0,
            "grib_index_add_file": 1,
            "grib_index_write": 1,
        }
    )

    def find_spec(self, name: str, path: Any, target: Any = None) -> ModuleSpec | None:
        """Spec of the module that is to be guarded, with a loader that does so; None for all others."""
        spec = PathFinder.find_spec(name, path, target) if name == self.MODULE else None
        if spec is not None and spec.loader is not None:
            load = spec.loader.exec_module

            def load_guarded(module: ModuleType) -> None:
                load(module)
                self.guard(module)

            spec.loader.exec_module = load_guarded  # type: ignore[method-assign]
        return spec

    def guard(self, module: ModuleType) -> None:
        """Replace what opens by path; other modules of ecCodes take these names from this one."""
        for name, position in self.OPENERS.items():
            setattr(module, name, _checked(getattr(module, name), position))


def _checked(function: Callable[..., Any], position: int = 0) -> Callable[..., Any]:
    def checked(*args: Any, **kwargs: Any) -> Any:
        for value in (*args[position : position + 1], *kwargs.values()):
            _check(value)
        return function(*args, **kwargs)

    return checked
