"""Writing: a lazy dataset is written as an immutable Zarr v3 store in its home Region, without passing through the client.

Belongs here: creating, filling and finishing a store, as tasks of the home pool. Does not belong here: the commit to
the catalog, which makes a store visible (resources.results).
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar
from uuid import uuid4

import dask.array as da
import numpy as np
import xarray as xr
import zarr

from xdask_pipelines.access.describing.raw import Unusable, plain
from xdask_pipelines.access.header import describe
from xdask_pipelines.access.home_calls import Call
from xdask_pipelines.access.location import key_path, refuse_odd_key
from xdask_pipelines.errors import AccessError
from xdask_pipelines.placement.dask_internals.graph_layers import HighLevelGraph
from xdask_pipelines.placement.dask_internals.task_specs import List, Task, TaskRef
from xdask_pipelines.placement.graph.homes import layer_name
from xdask_pipelines.placement.worker.guard import at_home

T = TypeVar("T")


@dataclass(frozen=True)
class Written:
    """A finished store, with the fields of its catalog entry."""

    key: str
    size_bytes: int
    etag: str
    modified_ns: int
    header: dict[str, Any]


@dataclass(frozen=True)
class _Skeleton:
    """Metadata and coordinates of a store: everything but its data variables' values."""

    coords: dict[str, tuple[tuple[str, ...], np.ndarray, dict[str, Any]]]
    variables: dict[str, tuple[tuple[str, ...], tuple[int, ...], tuple[int, ...], str, dict[str, Any]]]
    attrs: dict[str, Any]


def written_lazily(dataset: xr.Dataset, region: str, key: str) -> da.Array:
    """Return a lazy scalar that writes a dataset as one new Zarr v3 store in ``region``; its value is `Written`.

    Parameters
    ----------
    dataset
        Lazy or in memory. Values stay in the home pool; coordinates and attributes are sent with the graph.
    region
        Home of the store.
    key
        Path of the new store, relative to the Region's root.

    Raises
    ------
    AccessError
        When it is computed, if the store already exists or cannot be written (disk full, no permission). A partial
        store is removed.
    """
    refuse_odd_key(key)
    names = list(map(str, dataset.data_vars))
    # Coordinates of a large native grid are in the pool like the data, and are written like them.
    lazy = [str(name) for name, c in dataset.coords.items() if isinstance(c.data, da.Array)]
    regular = _regular(dataset.reset_coords(lazy))
    token = uuid4().hex
    created, finished = (layer_name("create", region, token),), (layer_name("finish", region, token),)
    tasks: dict[Any, Task] = {created: Task(created, Call(region, _create), key, token, _skeleton(regular, lazy))}
    written = []
    for name, variable in regular.data_vars.items():
        starts = [np.cumsum((0, *c[:-1])).tolist() for c in variable.data.chunks]
        writer = _WriteBlock(region, key, str(name))
        for at in np.ndindex(*variable.data.numblocks):
            origin = tuple(s[i] for s, i in zip(starts, at, strict=True))
            task = Task(
                (layer_name("write", region, f"{name}-{token}"), *at),
                *(writer, TaskRef((variable.data.name, *at)), origin, TaskRef(created)),
            )
            tasks[task.key] = task
            written.append(TaskRef(task.key))
    tasks[finished] = Task(finished, Call(region, _finish), key, names, List(*written))
    graph = HighLevelGraph.from_collections(
        finished[0], tasks, dependencies=[v.data for v in regular.data_vars.values()]
    )
    return da.Array(graph, finished[0], chunks=(), meta=np.empty((), object))


def write_here(dataset: xr.Dataset, path: Path, key: str) -> Written:
    """Write a dataset that is in memory as a new store on this machine (the client's own Region)."""
    refuse_odd_key(key)
    regular = _regular(dataset)
    return _guarded(path, key, lambda: _write_all(path, key, regular))


def open_here(path: Path) -> xr.Dataset:
    """Open a store of the client's own Region, in memory."""
    with xr.open_zarr(
        path, chunks=None, consolidated=False, decode_times=xr.coders.CFDatetimeCoder(use_cftime=True)
    ) as dataset:
        loaded: xr.Dataset = dataset.load()
        return loaded


def _write_all(path: Path, key: str, dataset: xr.Dataset) -> Written:
    _create_at(path, uuid4().hex, _skeleton(dataset))
    for name, variable in dataset.data_vars.items():
        zarr.open_array(path / str(name), mode="r+")[...] = np.asarray(variable.values)
    return _finish_at(path, key, list(map(str, dataset.data_vars)))


def _regular(dataset: xr.Dataset) -> xr.Dataset:
    """Return data variables as float or integer arrays with regular chunks: Zarr has one chunk size for each axis."""
    plain = dataset.drop_encoding()
    for name, variable in plain.data_vars.items():
        if variable.dtype.kind not in "iufb":
            raise AccessError(
                f"Variable {name!r} has dtype {variable.dtype}; results must be numbers. Convert it first."
            )
        if not isinstance(variable.data, da.Array):
            plain[name] = variable.copy(data=da.from_array(np.asarray(variable.data), chunks=-1))
        elif any(len(set(c[:-1])) > 1 or c[-1] > c[0] for c in variable.data.chunks):
            plain[name] = variable.chunk({d: max(c) for d, c in zip(variable.dims, variable.data.chunks, strict=True)})
    return plain


def _skeleton(dataset: xr.Dataset, lazy_coordinates: Sequence[str] = ()) -> _Skeleton:
    coords = {}
    for name, variable in dataset.coords.variables.items():
        variable.encoding["_FillValue"] = None  # xarray would set NaN; coordinates have no missing values
        encoded = xr.conventions.encode_cf_variable(variable, name=name)
        values = np.asarray(encoded.values)
        if values.dtype.kind in "OT":  # names of members: Zarr stores only text of a fixed length
            values = values.astype(np.str_)
        coords[str(name)] = (tuple(map(str, encoded.dims)), values, plain(encoded.attrs))
    variables = {
        str(name): (
            tuple(map(str, v.dims)),
            v.shape,
            tuple(c[0] for c in v.data.chunks),
            np.dtype(v.dtype).str,
            plain(v.attrs),
        )
        for name, v in dataset.data_vars.items()
    }
    attrs = plain(dataset.attrs)
    auxiliary = sorted([*lazy_coordinates, *(name for name, (dims, _, _) in coords.items() if dims != (name,))])
    if auxiliary:
        attrs["coordinates"] = " ".join(auxiliary)  # otherwise other readers would take them for data
    return _Skeleton(coords, variables, attrs)


@dataclass(frozen=True)
class _WriteBlock:
    """Writes one block of one variable, in the home Region only."""

    region: str
    key: str
    name: str

    def __call__(self, values: np.ndarray, origin: tuple[int, ...], _created: Any) -> int:
        with at_home(self.region):
            path = key_path(self.key)
            where = tuple(slice(o, o + n) for o, n in zip(origin, values.shape, strict=True))

            def write() -> int:
                zarr.open_array(path / self.name, mode="r+")[where] = values
                return int(values.nbytes)

            return _guarded(path, self.key, write)


def _create(key: str, token: str, skeleton: _Skeleton) -> str:
    path = key_path(key)
    _guarded(path, key, lambda: _create_at(path, token, skeleton))
    return key


def _owner(path: Path) -> Path:
    """Return the path of the file next to a store with the token of its computation."""
    return path.with_name(f".{path.name}.token")


def _create_at(path: Path, token: str, skeleton: _Skeleton) -> None:
    """Create a store without its data. The same computation may do so again after the loss of a worker."""
    owner = _owner(path)
    if path.exists() and not (owner.exists() and owner.read_text() == token):
        raise FileExistsError("the store already exists, and stores are never changed; start a new run")
    path.parent.mkdir(parents=True, exist_ok=True)
    owner.write_text(token)
    group = zarr.open_group(path, mode="a", zarr_format=3)
    group.attrs.update(skeleton.attrs)
    existing = set(group.array_keys())
    for name, (dims, values, attrs) in skeleton.coords.items():
        if name in existing:
            continue
        array = group.create_array(
            name,
            shape=values.shape,
            dtype=values.dtype,
            chunks=values.shape or "auto",
            dimension_names=dims,
            attributes=attrs,
        )
        array[...] = values
    for name, (dims, shape, chunks, dtype, attrs) in skeleton.variables.items():
        if name in existing:
            continue
        fill = np.nan if np.dtype(dtype).kind == "f" else 0
        group.create_array(
            name, shape=shape, dtype=dtype, chunks=chunks, dimension_names=dims, attributes=attrs, fill_value=fill
        )


def _finish(key: str, names: list[str], _parts: Any) -> Written:
    path = key_path(key)
    return _guarded(path, key, lambda: _finish_at(path, key, names))


def _finish_at(path: Path, key: str, names: list[str]) -> Written:
    """Describe the store from its files."""
    digest = hashlib.blake2b(digest_size=16)
    size = modified = 0
    for file in sorted(f for f in path.rglob("*") if f.is_file()):
        name, content, stat = file.relative_to(path).as_posix(), file.read_bytes(), file.stat()
        digest.update(f"{len(name)}:{name}:{len(content)}:".encode() + content)
        size, modified = size + stat.st_size, max(modified, stat.st_mtime_ns)
    try:
        header = describe(path, "zarr3", variables=names)
    except AccessError as error:
        if isinstance(why := error.__cause__, Unusable):
            raise AccessError(f"The result {why.reason}. Correct it in the analysis, then run again") from error
        raise
    return Written(key, size, digest.hexdigest(), modified, header)


def _guarded(path: Path, key: str, action: Callable[[], T]) -> T:
    """Run an action that writes a store; if it fails, remove the store."""
    try:
        return action()
    except FileExistsError as error:
        raise AccessError(f"The store {key} cannot be created: {error}. Full path: {path}") from error
    except (OSError, ValueError) as error:
        shutil.rmtree(path, ignore_errors=True)
        with suppress(OSError):
            _owner(path).unlink()
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise AccessError(
            f"The store {key} could not be written: {reason}. The partial store was removed. Free space or fix the "
            f"permissions of {path.parent}, then run again."
        ) from error
