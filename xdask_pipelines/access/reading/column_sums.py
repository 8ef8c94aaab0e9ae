"""Sums over time by the tasks that read: each inflates columns of stored chunks and keeps only their sums.

Belongs here: recognising an array that is read and then summed, and the task that does both. Does not belong here: the
kernels that are summed (climate), reading chunks (stored_chunks).

A task reads the whole time of one file for some columns of chunks, one block of time after the other, into memory that is
used again. A month of 0.25 degree ERA5 (3.09 GB) then needs no more memory than a few chunks and the sums, and no block of
values is passed on: page faults of new memory took a third of the CPU time.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise, product
from math import prod
from typing import Any

import dask.array as da
import numpy as np
from dask.base import tokenize
from numpy.typing import DTypeLike

from xdask_pipelines.access.decoding import is_decoded
from xdask_pipelines.access.reading.block_shape import extended, spans_of
from xdask_pipelines.access.reading.read_block import Block, StoredVariable, decoded, read_block, readable
from xdask_pipelines.access.reading.stored_chunks import ChunkReader, Slices
from xdask_pipelines.climate.kernels import SPLIT_EVERY, Kernel
from xdask_pipelines.placement.dask_internals.graph_layers import (
    HighLevelGraph,
    block_inputs,
    blockwise,
    function_of,
    inputs_of,
)
from xdask_pipelines.placement.graph.homes import layer_name, mark_of
from xdask_pipelines.placement.worker.guard import at_home

#: Values that one task reads, decoded. A month of 0.25 degree data becomes 4 tasks of a second each.
TASK_BYTES = 1_000_000_000


@dataclass(frozen=True)
class Column:
    """What one task reads and sums.

    Attributes
    ----------
    source
        The variable.
    slices
        The part of the variable, in the file.
    edges
        Ends of the blocks of time, from the start of the part.
    first
        Position of the part's first step in the whole array.
    kernel
        Is called with the values of a block, and the slice of the whole array's steps that it covers.
    added
        Sizes that the kernel puts in front.
    dtype
        Of the sums.
    stored_bytes
        Stored bytes that the task is expected to read.
    """

    source: StoredVariable
    slices: Slices
    edges: tuple[int, ...]
    first: int
    kernel: Kernel
    added: tuple[int, ...]
    dtype: str
    stored_bytes: int


# ---- on a worker --------------------------------------------------------------------------------------------------


def sum_column(column: Column) -> np.ndarray:
    """Read and sum one part of a variable; runs only on a worker of the entry's Region.

    Returns
    -------
    Sums of shape (1, *added, *sizes of the part without time).

    Raises
    ------
    PlacementError, ChangedEntry, AccessError
        As `read_block.read_block`; of a damaged chunk, the error has its times.
    """
    source, (time, *tile) = column.source, column.slices
    sums = np.empty((1, *column.added, *(s.stop - s.start for s in tile)), column.dtype)
    everything = (slice(None),) * (1 + len(column.added))
    with (
        at_home(source.region) as ledger,
        readable(source) as place,
        ChunkReader(place.path, source.variable, ledger, column.slices) as reader,
    ):
        as_stored = is_decoded(reader.dtype, source.attrs) and source.convert is None and not source.dtype
        memory = _Memory(reader.dtype)
        for part in _columns(tile, source.chunks[1:]):
            total = _TreeSum()
            for start, stop in pairwise(column.edges):
                block = (slice(time.start + start, time.start + stop), *part)
                values = reader.read(block, memory.of(block))
                if not as_stored:
                    values = decoded(values, source)
                total.add(column.kernel(values, slice(column.first + start, column.first + stop)))
            at = tuple(slice(p.start - t.start, p.stop - t.start) for p, t in zip(part, tile, strict=True))
            sums[(*everything, *at)] = total.result()
    return sums


def _columns(tile: Sequence[slice], chunks: Sequence[int]) -> Iterator[Slices]:
    """Iterate over the columns of stored chunks in a part of a field, whose start is that of a chunk."""
    spans = spans_of([s.stop - s.start for s in tile], chunks)
    for one in product(*spans):
        yield tuple(slice(s.start + a, s.start + b) for s, (a, b) in zip(tile, one, strict=True))


class _Memory:
    """Memory for blocks of several chunks, which is used again."""

    def __init__(self, dtype: np.dtype[Any]) -> None:
        self._values = np.empty(0, dtype)

    def of(self, block: Slices) -> np.ndarray:
        shape = [s.stop - s.start for s in block]
        if self._values.size < (size := prod(shape)):
            self._values = np.empty(size, self._values.dtype)
        return self._values[:size].reshape(shape)


class _TreeSum:
    """Adds arrays in the order of a Dask sum with ``split_every``: sums of 32, then sums of 32 of these, and so on."""

    def __init__(self) -> None:
        self._levels: list[tuple[int, np.ndarray]] = []

    def add(self, value: np.ndarray, level: int = 0) -> None:
        """Add an array."""
        if level == len(self._levels):
            self._levels.append((0, np.zeros_like(value)))
        count, total = self._levels[level]
        total += value
        self._levels[level] = count + 1, total
        if count + 1 == SPLIT_EVERY:
            self.add(total, level + 1)
            total[...] = 0
            self._levels[level] = 0, total

    def result(self) -> np.ndarray:
        """Return the sum."""
        level = 0
        while level + 1 < len(self._levels):
            count, total = self._levels[level]
            if count:
                self.add(total, level + 1)
            level += 1
        return self._levels[level][1]


# ---- on the client ------------------------------------------------------------------------------------------------


def sums_while_reading(array: da.Array, kernel: Kernel, added: tuple[int, ...], dtype: DTypeLike) -> da.Array | None:
    """Return an array whose tasks read and sum columns of chunks, as `climate.kernels.SumsWhileReading` describes it.

    None unless the array is a variable of NetCDF-4 files as it was opened: not selected, transposed or computed from.
    """
    blocks = _blocks_of(array)
    if blocks is None or 0 in array.shape or array.ndim < 2:
        return None
    first = blocks[(0,) * array.ndim]
    chunks = first.source.chunks
    if any(not _is_aligned(block, chunks) for block in blocks.values()):
        return None
    parts = _parts(blocks, array, chunks)
    longest = max(part.edges[-1] for part in parts)
    tile = extended((longest, *chunks[1:]), (longest, *array.shape[1:]), array.dtype.itemsize, TASK_BYTES)[1:]
    spans = spans_of(array.shape[1:], tile)
    origin = [s.start for s in first.slices[1:]]
    columns = {}
    for i, part in enumerate(parts):
        for index in product(*(range(len(s)) for s in spans)):
            area = [spans[axis][j] for axis, j in enumerate(index)]
            slices = tuple(slice(o + a, o + b) for o, (a, b) in zip(origin, area, strict=True))
            share = prod(b - a for a, b in area) / prod(array.shape[1:])
            columns[i, *(0 for _ in added), *index] = Column(
                *(part.source, (part.time, *slices), part.edges, part.first, kernel, added, np.dtype(dtype).str),
                round(part.stored_bytes * share),
            )
    sizes = ((1,) * len(parts), *((size,) for size in added), *(tuple(b - a for a, b in axis) for axis in spans))
    mark = mark_of(array.name)
    assert mark is not None
    name = layer_name(mark[0], mark[1], tokenize(array.name, kernel, added, str(dtype), TASK_BYTES))
    axes = tuple(range(len(sizes)))
    layer = blockwise(sum_column, name, axes, block_inputs(columns, [len(c) for c in sizes]), axes, numblocks={})
    graph = HighLevelGraph.from_collections(name, layer, dependencies=())
    return da.Array(graph, name, chunks=sizes, meta=np.empty((0,) * len(sizes), dtype))


def _blocks_of(array: da.Array) -> Mapping[tuple[int, ...], Block] | None:
    """Return the blocks of an array that is read and nothing else, by their position; None for other arrays."""
    layer = array.dask.layers.get(array.name)
    if layer is None or function_of(layer)[0] is not read_block:
        return None
    blocks = inputs_of(layer)
    return blocks if blocks and len(blocks) == array.npartitions else None


def _is_aligned(block: Block, chunks: tuple[int, ...]) -> bool:
    """Return whether a block begins with a chunk, and lies in a file of which chunks are read directly."""
    return (
        block.messages is None
        and block.source.format == "netcdf4"
        and block.source.chunks[1:] == chunks[1:]
        and not any(s.start % c for s, c in zip(block.slices, block.source.chunks, strict=True))
    )


@dataclass(frozen=True)
class _Part:
    """A run of blocks along time that one task can read: of one file."""

    source: StoredVariable
    time: slice
    edges: tuple[int, ...]
    first: int
    stored_bytes: int


def _parts(blocks: Mapping[tuple[int, ...], Block], array: da.Array, chunks: tuple[int, ...]) -> list[_Part]:
    """Return the parts along time: whole files, unless one column of a file has more values than a task should read."""
    corner = (0,) * (array.ndim - 1)
    along = [blocks[i, *corner] for i in range(array.numblocks[0])]
    stored = [0] * len(along)
    for index, block in blocks.items():
        stored[index[0]] += block.stored_bytes
    starts = np.cumsum((0, *array.chunks[0])).tolist()
    most = TASK_BYTES // (array.dtype.itemsize * prod(chunks[1:]))
    runs: list[list[int]] = []
    for i, block in enumerate(along):
        run = runs[-1] if runs else []
        if run and block.source is along[run[0]].source and starts[i + 1] - starts[run[0]] <= most:
            run.append(i)
        else:
            runs.append([i])
    return [
        _Part(
            along[run[0]].source,
            slice(along[run[0]].slices[0].start, along[run[-1]].slices[0].stop),
            tuple(starts[i] - starts[run[0]] for i in (*run, run[-1] + 1)),
            starts[run[0]],
            sum(stored[i] for i in run),
        )
        for run in runs
    ]
