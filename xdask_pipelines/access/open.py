"""Opening: building one lazy dataset from catalog entries, placed in their home Region, without opening a file.

Belongs here: building lazy arrays from headers. Does not belong here: choosing entries (catalog), reading blocks (reading).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import product
from typing import Any, Protocol

import dask.array as da
import numpy as np
import xarray as xr
from dask.base import tokenize

from xdask_pipelines.access.coordinates import unpack
from xdask_pipelines.access.decoding import decode_coordinates, decode_values
from xdask_pipelines.access.describing.raw import attributes
from xdask_pipelines.access.join import conversions, in_time_order, joined_coordinates, where
from xdask_pipelines.access.reading.block_shape import extended, spans_of
from xdask_pipelines.access.reading.column_sums import sums_while_reading
from xdask_pipelines.access.reading.read_block import FILES, Block, StoredVariable, read_block
from xdask_pipelines.climate.axes import is_time
from xdask_pipelines.climate.kernels import sum_while_reading_by
from xdask_pipelines.errors import AccessError, ChangedEntry
from xdask_pipelines.placement.dask_internals.graph_layers import HighLevelGraph, block_inputs, blockwise
from xdask_pipelines.placement.graph.homes import layer_name

#: Largest result of a leaf in memory; a leaf reads whole chunks of the file.
BLOCK_BYTES = 64_000_000
READ = "read"

sum_while_reading_by(sums_while_reading)


class Described(Protocol):
    """The properties of a catalog entry that opening needs."""

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
    """Open entries of one Region as one lazy dataset.

    Parameters
    ----------
    entries
        Entries in any order. Several entries are joined along time, and must agree in everything else: units are
        converted to those of the earliest, and coordinates may differ by rounding.
    variables
        Names of the requested data variables. None selects the variable in the path, or all if the path has none.
    join
        Dimension along which several entries are joined in the given order; None joins along time, in order of time.

    Returns
    -------
    Dataset whose variables read in the entries' Region, one task for each block of at most 64 MB in memory, aligned to the
    stored chunks. Times are cftime objects.

    Raises
    ------
    AccessError
        If the list is empty, an entry has no header, Regions differ, or the entries cannot be joined.
    """
    if not entries:
        raise AccessError("No entries to open. Get them from the catalog first: catalog.resolve(dataset=..., ...).")
    for entry in entries:
        if entry.header is None:
            raise AccessError(
                f"The catalog has no header of {where(entry)}. Read it with `xdask catalog describe --key {entry.key}`, "
                "then get the entry from the catalog again."
            )
    regions = sorted({e.region for e in entries})
    if len(regions) > 1:
        raise AccessError(
            f"Entries of {' and '.join(regions)} cannot be one dataset. Open those of each Region separately."
        )
    parts = [_decoded(e) for e in entries]
    if len(parts) > 1 and join is None:
        join = _common_time(entries, parts)
        order = in_time_order(parts, join, entries)
        entries, parts = [entries[i] for i in order], [parts[i] for i in order]
    names = _along(join, entries, _wanted(entries, variables))
    joined = joined_coordinates(parts, entries, join)
    source = where(entries[0]) + (f" and {len(entries) - 1} more" if len(entries) > 1 else "")
    data = {name: _lazy(name, entries, join, source) for name in names}
    auxiliary = {n: _lazy(n, having, join, source) for n, having in _large_coordinates(entries, join, data).items()}
    for coordinate in joined.coords.values():
        coordinate.encoding["source"] = source  # the attribute in which xarray stores the source file
    return joined.assign(data).assign_coords(auxiliary)


def _decoded(entry: Described) -> xr.Dataset:
    try:
        return decode_coordinates(entry.header or {})
    except Exception as error:  # from a header of an older version, which was not validated
        raise AccessError(
            f"The coordinates of {where(entry)} cannot be decoded ({type(error).__name__}: {error}). Run `xdask sync`, "
            "which reads and checks its header again"
        ) from error


def _time_dim(part: xr.Dataset) -> str | None:
    return next((str(name) for name in part.dims if name in part.coords and is_time(part[name])), None)


def _common_time(entries: Sequence[Described], parts: Sequence[xr.Dataset]) -> str:
    dim = _time_dim(parts[0])
    for part, entry in zip(parts, entries, strict=True):
        if dim is None or dim not in part.coords or not part.sizes[dim]:
            raise AccessError(
                f"{len(parts)} entries cannot be joined: {where(entry)} has no time dimension {dim or ''}".rstrip()
                + ". Ask the catalog for one of them, or open each by itself."
            )
    assert dim is not None
    return dim


def _wanted(entries: Sequence[Described], variables: Sequence[str] | None) -> list[str]:
    """Return the data variables to open: the requested ones, else the variable in the path, else all of the first entry."""
    header = entries[0].header or {}
    available = [name for name, v in header["variables"].items() if not v.get("coordinate")]
    missing = [v for v in variables or () if v not in available]
    if missing:
        raise AccessError(f"{where(entries[0])} has no variable {', '.join(missing)}; it has {', '.join(available)}.")
    named = str(header.get("variable", ""))
    return list(variables or ([named] if named in available else available))


def _along(join: str | None, entries: Sequence[Described], names: list[str]) -> list[str]:
    """Return the variables of several entries that have the joined dimension; others may differ between entries."""
    if len(entries) == 1:
        return names
    with_dimension = [name for name in names if join in _variable(name, entries[0])["dims"]]
    if names and not with_dimension:
        raise AccessError(
            f"{', '.join(names)} of {where(entries[0])} has no dimension {join!r}, so {len(entries)} entries cannot be "
            "joined. Ask the catalog for one of them, or open each by itself."
        )
    return with_dimension


def _large_coordinates(
    entries: Sequence[Described], join: str | None, data: Mapping[str, xr.Variable]
) -> dict[str, Sequence[Described]]:
    """Return auxiliary coordinates of the data that are not in headers, with the entries from which they are read.

    Raises
    ------
    AccessError
        If a coordinate that does not depend on the joined dimension differs between entries.
    """
    dims = {dim for variable in data.values() for dim in variable.dims}
    found: dict[str, Sequence[Described]] = {}
    for name, variable in (entries[0].header or {})["variables"].items():
        if not variable.get("coordinate") or name in data or not set(variable["dims"]) <= dims:
            continue
        if join in variable["dims"]:
            found[name] = entries
            continue
        for entry in entries[1:]:
            if _variable(name, entry).get("digest") != variable.get("digest"):
                raise AccessError(
                    f"The coordinate {name!r} of {where(entry)} differs from that of {where(entries[0])}: they are not one "
                    "dataset. Open each by itself"
                )
        found[name] = entries[:1]
    return found


def _lazy(name: str, entries: Sequence[Described], join: str | None, opened_from: str) -> xr.Variable:
    """Build one Dask array over all entries: one layer without dependencies, so that reads start on all workers at once."""
    described = [_variable(name, e) for e in entries]
    dims = tuple(described[0]["dims"])
    dtypes = [_decoded_dtype(name, v) for v in described]
    dtype = np.result_type(*dtypes)
    sources = [
        replace(_source(name, e), convert=convert, dtype="" if own == dtype and convert is None else dtype.str)
        for e, convert, own in zip(entries, conversions(name, described, entries), dtypes, strict=True)
    ]
    axis = dims.index(join) if join in dims else 0
    spans = [spans_of(v["shape"], _block_shape(v)) for v in described]
    rest = [s for i, s in enumerate(spans[0]) if i != axis]
    for entry, other in zip(entries, spans, strict=True):
        if [s for i, s in enumerate(other) if i != axis] != rest or tuple(_variable(name, entry)["dims"]) != dims:
            raise AccessError(
                f"{name} of {where(entry)} has another shape or other dimensions than that of {where(entries[0])}, so they "
                "cannot be joined. Open each separately."
            )
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
    meta = np.empty((0,) * len(dims), dtype)
    origins = [v.get("origin") for v in described]  # distinguishes two partitions of one store
    layer_id = layer_name(READ, entries[0].region, tokenize(sources, origins, name, BLOCK_BYTES))
    axes = tuple(range(len(dims)))
    layer = blockwise(read_block, layer_id, axes, block_inputs(blocks, [len(c) for c in chunks]), axes, numblocks={})
    graph = HighLevelGraph.from_collections(layer_id, layer, dependencies=())
    array = da.Array(graph, layer_id, chunks=tuple(map(tuple, chunks)), meta=meta)
    attrs = {k: v for k, v in sources[0].attrs.items() if k not in _PACKING}
    return xr.Variable(dims, array, attrs, encoding={"source": opened_from})


def _decoded_dtype(name: str, variable: Mapping[str, Any]) -> np.dtype:
    dims = tuple(variable["dims"])
    return decode_values(np.empty((0,) * len(dims), variable["dtype"]), name, dims, attributes(variable["attrs"])).dtype


_PACKING = {"_FillValue", "missing_value", "scale_factor", "add_offset", "coordinates"}


def _block(
    source: StoredVariable, variable: Mapping[str, Any], slices: tuple[slice, ...], messages: np.ndarray | None
) -> Block:
    if messages is None:
        return Block(source, slices, _share(variable, slices))
    own = messages[slices[:-2]]
    return Block(source, slices, int(own[..., 1].sum()), own.copy())


def _variable(name: str, entry: Described) -> Mapping[str, Any]:
    variables = (entry.header or {})["variables"]
    if name not in variables:
        raise AccessError(f"{where(entry)} has no variable {name}; it has {', '.join(variables)}.")
    return variables[name]  # type: ignore[no-any-return]


def _source(name: str, entry: Described) -> StoredVariable:
    variable = _variable(name, entry)
    seen = (entry.header or {}).get("file") or {"size_bytes": entry.size_bytes, "modified_ns": entry.modified_ns}
    if entry.format in FILES and seen["size_bytes"] != entry.size_bytes:
        raise ChangedEntry(
            f"{entry.key} in {entry.region} had {entry.size_bytes} bytes when it was listed, and {seen['size_bytes']} when "
            "its header was read, so it is being replaced or incomplete. Run `xdask sync` when it is complete."
        )
    return StoredVariable(
        entry.region,
        entry.key,
        (entry.header or {}).get("container", entry.format),
        name,
        tuple(variable["dims"]),
        attributes(variable["attrs"]),
        entry.etag,
        seen["size_bytes"],
        seen["modified_ns"],
        mount=(entry.header or {}).get("mount", ""),
        chunks=tuple(variable["chunks"]),
    )


def _block_shape(variable: Mapping[str, Any]) -> tuple[int, ...]:
    """Return a block of whole stored chunks, extended from the last dimension backwards up to `BLOCK_BYTES`."""
    return extended(variable["chunks"], variable["shape"], np.dtype(variable["dtype"]).itemsize, BLOCK_BYTES)


def _share(variable: Mapping[str, Any], slices: tuple[slice, ...]) -> int:
    """Return the stored bytes that a block is expected to read: its share of the variable."""
    size = int(np.prod([s.stop - s.start for s in slices]))
    return round(int(variable["stored_bytes"]) * size / max(1, int(np.prod(variable["shape"]))))
