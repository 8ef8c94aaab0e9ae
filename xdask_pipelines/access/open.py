"""Opening: catalog entries become one lazy dataset, placed at home, without touching a file.

Belongs here: building lazy arrays from headers. Does not belong here: choosing entries (catalog), reading (blocks).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise, product
from typing import Any, Protocol

import dask.array as da
import numpy as np
import xarray as xr
from dask.base import tokenize
from dask.blockwise import BlockwiseDepDict, blockwise
from dask.highlevelgraph import HighLevelGraph

from xdask_pipelines.access.blocks import Block, Source, decode, read_block
from xdask_pipelines.access.header import attributes
from xdask_pipelines.access.packed import unpack
from xdask_pipelines.errors import AccessError, ChangedEntry
from xdask_pipelines.placement.homes import layer_name

#: Size of a leaf's result in memory: whole chunks of the file, up to this.
BLOCK_BYTES = 64_000_000
READ = "read"


class Described(Protocol):
    """What opening needs of a catalog entry."""

    @property
    def region(self) -> str: ...
    @property
    def key(self) -> str: ...
    @property
    def format(self) -> str: ...
    @property
    def etag(self) -> str: ...
    @property
    def size_bytes(self) -> int: ...
    @property
    def modified_ns(self) -> int: ...
    @property
    def header(self) -> Mapping[str, Any] | None: ...


def open_entries(
    entries: Sequence[Described], variables: Sequence[str] | None = None, *, join: str | None = None
) -> xr.Dataset:
    """One lazy dataset from entries of one Region.

    Parameters
    ----------
    entries
        In any order; several are joined along time, and must agree in everything else.
    variables
        Names of the data variables wanted; all if None.
    join
        Dimension along which several entries are joined in the order given; None: time, in the order of time.

    Returns
    -------
    Dataset whose variables read in the entries' Region, one task for each block of at most 64 MB in memory, aligned to the
    stored chunks. Times are cftime objects.

    Raises
    ------
    AccessError
        If there is nothing to open, an entry has no header, Regions differ, or the entries do not fit together.
    """
    if not entries:
        raise AccessError("No entries to open. Ask the catalog first: catalog.resolve(dataset=..., ...).")
    for entry in entries:
        if entry.header is None:
            raise AccessError(
                f"The catalog has no header of {entry.key} in {entry.region}. Read it there with `xdask catalog describe "
                f"--key {entry.key}`, then ask the catalog again."
            )
    regions = sorted({e.region for e in entries})
    if len(regions) > 1:
        raise AccessError(f"Entries of {' and '.join(regions)} cannot be one dataset: open those of each Region apart.")
    parts = [_decoded(e.header) for e in entries]  # type: ignore[arg-type]
    if len(parts) > 1 and join is None:
        join, entries, parts = _in_time_order(entries, parts)
    names = _wanted(parts[0], variables, entries[0].key)
    joined = _joined_coordinates(parts, entries, join)
    data = {name: _lazy(name, entries, join) for name in names}
    return joined.assign(data)


def _decoded(header: Mapping[str, Any]) -> xr.Dataset:
    """Coordinates and attributes of a header; data variables are there in name only."""
    coords = {name: (c["dims"], unpack(c), attributes(c["attrs"])) for name, c in header["coords"].items()}
    raw = xr.Dataset(coords=coords, attrs=attributes(header["attrs"]))
    decoded = xr.decode_cf(raw, decode_times=xr.coders.CFDatetimeCoder(use_cftime=True))
    decoded.encoding["variables"] = header["variables"]
    return decoded


def _time_dim(part: xr.Dataset) -> str | None:
    for name in part.dims:
        if name in part.coords and part[name].attrs.get("standard_name") == "time":
            return str(name)
    return next((str(n) for n in part.dims if str(n).startswith("time")), None)


def _in_time_order(
    entries: Sequence[Described], parts: list[xr.Dataset]
) -> tuple[str, list[Described], list[xr.Dataset]]:
    dim = _time_dim(parts[0])
    if dim is None or not all(dim in p.coords for p in parts):
        raise AccessError(
            f"{len(parts)} entries without a common time dimension cannot be joined ({entries[0].key}, ...). Ask the "
            "catalog for one of them, or open each by itself."
        )
    order = sorted(range(len(parts)), key=lambda i: parts[i][dim].values[0])
    for a, b in pairwise(order):
        if not parts[a][dim].values[-1] < parts[b][dim].values[0]:
            raise AccessError(
                f"{entries[a].key} and {entries[b].key} overlap in time: ask the catalog for one of them."
            )
    return dim, [entries[i] for i in order], [parts[i] for i in order]


def _wanted(part: xr.Dataset, variables: Sequence[str] | None, key: str) -> list[str]:
    there = list(part.encoding["variables"])
    missing = [v for v in variables or () if v not in there]
    if missing:
        raise AccessError(f"{key} has no variable {', '.join(missing)}; it has {', '.join(there)}.")
    return list(variables or there)


def _joined_coordinates(parts: list[xr.Dataset], entries: Sequence[Described], dim: str | None) -> xr.Dataset:
    first = parts[0]
    if len(parts) == 1:
        return first
    for part, entry in zip(parts[1:], entries[1:], strict=True):
        for name in first.coords:
            if dim not in first[name].dims and not (name in part.coords and first[name].equals(part[name])):
                raise AccessError(
                    f"Coordinate {name!r} of {entry.key} differs from that of {entries[0].key}: they are not one dataset. "
                    "Regrid or repair one of them."
                )
    return xr.concat(parts, dim, coords="minimal", compat="override", join="exact", combine_attrs="override")


def _lazy(name: str, entries: Sequence[Described], join: str | None) -> xr.Variable:
    """One dask array over all entries: one layer, whose tasks have no dependencies, so that reads spread at once."""
    sources = [_source(name, e) for e in entries]
    described = [_variable(name, e) for e in entries]
    dims = tuple(described[0]["dims"])
    axis = dims.index(join) if join in dims else 0
    if join not in dims:  # the same in all entries, as _joined_coordinates has made sure of the coordinates
        entries, sources, described = entries[:1], sources[:1], described[:1]
    spans = [_spans(v["shape"], _block_shape(v)) for v in described]
    rest = [s for i, s in enumerate(spans[0]) if i != axis]
    for entry, other in zip(entries, spans, strict=True):
        if [s for i, s in enumerate(other) if i != axis] != rest or tuple(_variable(name, entry)["dims"]) != dims:
            raise AccessError(f"{name} of {entry.key} has another shape than that of {entries[0].key}.")
    blocks = {}
    start = 0
    for source, variable, own in zip(sources, described, spans, strict=True):
        origin = variable.get("origin", [0] * len(dims))
        messages = unpack(variable["messages"]) if "messages" in variable else None
        for index in product(*(range(len(s)) for s in own)):
            slices = tuple(slice(own[i][j][0] + origin[i], own[i][j][1] + origin[i]) for i, j in enumerate(index))
            at = tuple(j + start if i == axis else j for i, j in enumerate(index))
            blocks[at] = _block(source, variable, slices, messages)
        start += len(own[axis]) if dims else 1
    chunks = [[b - a for a, b in s] for s in spans[0]]
    if dims:
        chunks[axis] = [b - a for own in spans for a, b in own[axis]]
    meta = decode(np.empty((0,) * len(dims), described[0]["dtype"]), name, dims, sources[0].attrs)
    origins = [v.get("origin") for v in described]  # or two partitions of one store would have one name
    layer_id = layer_name(READ, entries[0].region, tokenize(sources, origins, name, BLOCK_BYTES))
    axes = tuple(range(len(dims)))
    layer = blockwise(
        read_block, layer_id, axes, BlockwiseDepDict(blocks, numblocks=tuple(map(len, chunks))), axes, numblocks={}
    )
    graph = HighLevelGraph.from_collections(layer_id, layer, dependencies=())
    array = da.Array(graph, layer_id, chunks=tuple(map(tuple, chunks)), meta=meta)
    attrs = {k: v for k, v in sources[0].attrs.items() if k not in _PACKING}
    return xr.Variable(dims, array, attrs)


_PACKING = {"_FillValue", "missing_value", "scale_factor", "add_offset", "coordinates"}


def _block(
    source: Source, variable: Mapping[str, Any], slices: tuple[slice, ...], messages: np.ndarray | None
) -> Block:
    if messages is None:
        return Block(source, slices, _share(variable, slices))
    own = messages[slices[:-2]]
    return Block(source, slices, int(own[..., 1].sum()), own.copy())


def _variable(name: str, entry: Described) -> Mapping[str, Any]:
    variables = (entry.header or {})["variables"]
    if name not in variables:
        raise AccessError(f"{entry.key} has no variable {name}; it has {', '.join(variables)}.")
    return variables[name]  # type: ignore[no-any-return]


def _source(name: str, entry: Described) -> Source:
    variable = _variable(name, entry)
    seen = (entry.header or {}).get("file") or {"size_bytes": entry.size_bytes, "modified_ns": entry.modified_ns}
    if entry.format in ("netcdf4", "grib") and seen["size_bytes"] != entry.size_bytes:
        raise ChangedEntry(
            f"{entry.key} in {entry.region} was listed with {entry.size_bytes} bytes, and had {seen['size_bytes']} when its "
            "header was read: it is being replaced, or only half there. When it is whole, run `xdask sync`."
        )
    return Source(
        entry.region,
        entry.key,
        entry.format,
        name,
        tuple(variable["dims"]),
        attributes(variable["attrs"]),
        entry.etag,
        seen["size_bytes"],
        seen["modified_ns"],
    )


def _block_shape(variable: Mapping[str, Any]) -> tuple[int, ...]:
    """Whole stored chunks, grown from the last dimension backwards while a block stays within `BLOCK_BYTES`."""
    shape, block = variable["shape"], list(variable["chunks"])
    itemsize = np.dtype(variable["dtype"]).itemsize
    for axis in reversed(range(len(shape))):
        others = itemsize * int(np.prod([b for i, b in enumerate(block) if i != axis]))
        fits = max(1, BLOCK_BYTES // max(1, others) // block[axis])
        block[axis] = min(shape[axis], block[axis] * fits)
        if block[axis] < shape[axis]:
            break
    return tuple(block)


def _spans(shape: Sequence[int], block: Sequence[int]) -> list[list[tuple[int, int]]]:
    return [[(a, min(a + b, n)) for a in range(0, n, b)] for n, b in zip(shape, block, strict=True)]


def block_slices(variable: Mapping[str, Any]) -> list[tuple[slice, ...]]:
    """Blocks in which a variable of a header is read."""
    spans = _spans(variable["shape"], _block_shape(variable))
    return [tuple(slice(*span) for span in block) for block in product(*spans)]


def _share(variable: Mapping[str, Any], slices: tuple[slice, ...]) -> int:
    """Stored bytes that a block is expected to read: its share of the variable's."""
    size = int(np.prod([s.stop - s.start for s in slices]))
    return round(int(variable["stored_bytes"]) * size / max(1, int(np.prod(variable["shape"]))))
