"""Reading stored chunks of one HDF5 variable outside of HDF5's lock, into memory that is used again.

Belongs here: finding, inflating and unshuffling chunks. Does not belong here: CF decoding and errors for people
(read_block), what is computed from the values (column_sums).

Decompression dominates reading ERA5. Reading chunks directly and inflating them with libdeflate takes a quarter of
HDF5's CPU time (4.8 s against 18.8 s for a month of 0.25 degree hourly data), and HDF5 would serialise decoding over
threads. All steps release Python's lock.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack
from itertools import product
from math import prod
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import deflate
import h5py
import numpy as np

from xdask_pipelines.access.describing import hdf5
from xdask_pipelines.access.reading.byte_shuffle import Unshuffler
from xdask_pipelines.placement.worker.guard import ReadCounter

Slices = tuple[slice, ...]
Origin = tuple[int, ...]
_SHUFFLE, _GZIP = h5py.h5z.FILTER_SHUFFLE, h5py.h5z.FILTER_DEFLATE
#: HDF5 walks through its index for each chunk that is looked up, which takes 17 ns for each chunk of the file. Listing all
#: takes 2.2 us for each. A task that sums a month of ERA5 needs 930 of 3720.
_LIST_FROM = 128


class ChunkError(ValueError):
    """A stored chunk that is truncated or damaged, at the index of its first value."""

    def __init__(self, problem: str, origin: Origin, chunks: Origin) -> None:
        super().__init__(problem)
        self.origin, self.chunks = origin, chunks


class ChunkReader:
    """Reads blocks of one variable of a NetCDF-4 file; a context manager.

    Parameters
    ----------
    path
        The file.
    name
        Name of the variable at the root of the file.
    ledger
        Counts the stored bytes that are read.
    area
        The part of the variable in which all blocks lie: its chunks are found at once.

    Raises
    ------
    Unusable
        If the values are in another file.
    OSError, KeyError, ValueError
        If the file or its index cannot be read, or a chunk was written without some of the filters.
    """

    def __init__(self, path: Path, name: str, ledger: ReadCounter, area: Slices) -> None:
        self._ledger = ledger
        self._unshuffle: Unshuffler | None = None
        with ExitStack() as opened:
            variable = self._variable = hdf5.own_item(opened.enter_context(h5py.File(path, "r")), name)
            self.dtype, self._shape = variable.dtype, variable.shape
            self._chunks: Origin | None = variable.chunks
            self._filters = _filters(variable)
            self._fill = variable.fillvalue
            if self._is_direct:
                self._found = _chunks_in(variable, area)
                self._file = os.open(path, os.O_RDONLY)
                opened.callback(os.close, self._file)
            self._opened = opened.pop_all()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._opened.close()

    @property
    def _is_direct(self) -> bool:
        """Whether chunks are read without HDF5, which reads contiguous variables and applies other filters."""
        return self._chunks is not None and self._filters is not None

    def read(self, slices: Slices, out: np.ndarray | None = None) -> np.ndarray:
        """Read the stored values of a block.

        Parameters
        ----------
        slices
            The block, with a start and a stop in each dimension.
        out
            Memory for the values of several chunks, of the block's shape and the variable's dtype. None allocates it.

        Returns
        -------
        Array of the block's shape. The next call may overwrite it.

        Raises
        ------
        ChunkError
            If a chunk is truncated or damaged.
        """
        if self._chunks is None or self._filters is None:
            values = np.asarray(self._variable[slices])
            self._ledger.read(values.nbytes if self._chunks is None else _stored(self._variable, slices))
            return values
        origins = list(_origins(slices, self._chunks))
        if len(origins) == 1:
            return self._chunk(origins[0])[_overlap(slices, origins[0], self._chunks, self._shape)[1]]
        if out is None:
            out = np.empty([s.stop - s.start for s in slices], self.dtype)
        for origin in origins:
            to, take = _overlap(slices, origin, self._chunks, self._shape)
            out[to] = self._chunk(origin)[take]
        return out

    def _chunk(self, origin: Origin) -> np.ndarray:
        """Return the values of a whole chunk, in memory that the next one overwrites."""
        assert self._chunks is not None
        if origin not in self._found:  # it was never written
            return np.full(self._chunks, self._fill, self.dtype)
        offset, size = self._found[origin]
        raw: Any = os.pread(self._file, size, offset)
        if len(raw) != size:
            raise ChunkError(f"is truncated: it ends {size - len(raw)} bytes early", origin, self._chunks)
        self._ledger.read(size)
        count = prod(self._chunks)
        try:
            for code in reversed(self._filters or ()):
                if code == _GZIP:
                    raw = deflate.zlib_decompress(raw, count * self.dtype.itemsize)
                else:
                    self._unshuffle = self._unshuffle or Unshuffler(count, self.dtype.itemsize)
                    raw = self._unshuffle(raw)
            return np.frombuffer(raw, self.dtype).reshape(self._chunks)
        except (deflate.DeflateError, ValueError) as error:
            raise ChunkError(f"is damaged ({error})", origin, self._chunks) from error


def _filters(variable: h5py.Dataset) -> tuple[int, ...] | None:
    """Return the filter pipeline if it is supported here, else None."""
    pipeline = variable.id.get_create_plist()
    filters = tuple(pipeline.get_filter(i)[0] for i in range(pipeline.get_nfilters()))
    return filters if set(filters) <= {_SHUFFLE, _GZIP} else None


def _chunks_in(variable: h5py.Dataset, area: Slices) -> dict[Origin, tuple[int, int]]:
    """Return offset and size of each stored chunk of a part of a variable."""
    wanted = set(_origins(area, variable.chunks))
    found: dict[Origin, tuple[int, int]] = {}

    def keep(info: Any) -> None:
        if info.byte_offset is None or (at := tuple(map(int, info.chunk_offset))) not in wanted:
            return
        if info.filter_mask:
            raise ValueError(f"chunk {at} skips filters (mask {info.filter_mask})")
        found[at] = int(info.byte_offset), int(info.size)

    if len(wanted) < _LIST_FROM:
        for origin in wanted:
            keep(variable.id.get_chunk_info_by_coord(origin))
    else:
        variable.id.chunk_iter(keep)
    return found


def _stored(variable: h5py.Dataset, slices: Slices) -> int:
    return sum(variable.id.get_chunk_info_by_coord(at).size for at in _origins(slices, variable.chunks))


def _origins(slices: Slices, chunks: Origin) -> Iterator[Origin]:
    return product(*(range(s.start // c * c, s.stop, c) for s, c in zip(slices, chunks, strict=True)))


def _overlap(slices: Slices, origin: Origin, chunks: Origin, shape: Origin) -> tuple[Slices, Slices]:
    """Return the common part of a block and a chunk, in the block and in the chunk."""
    to, take = [], []
    for s, o, c, n in zip(slices, origin, chunks, shape, strict=True):
        start, stop = max(s.start, o), min(s.stop, o + c, n)
        to.append(slice(start - s.start, stop - s.start))
        take.append(slice(start - o, stop - o))
    return tuple(to), tuple(take)
