"""Reading one block of one variable in its home Region.

Belongs here: `read_block`, and what all reads share: the check of the file, errors for people, CF decoding. Does not
belong here: building lazy arrays (open), chunks of HDF5 files (stored_chunks), sums (column_sums).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import xarray as xr
import zarr

from xdask_pipelines.access.decoding import decode_values
from xdask_pipelines.access.describing import classic, hdf5
from xdask_pipelines.access.describing.grib import read_messages
from xdask_pipelines.access.describing.raw import Unusable
from xdask_pipelines.access.location import Location
from xdask_pipelines.access.reading.stored_chunks import ChunkError, ChunkReader, Slices
from xdask_pipelines.errors import AccessError, ChangedEntry
from xdask_pipelines.placement.worker.guard import ReadCounter, at_home

#: Formats in which an entry is one file, whose size and time of modification are compared.
FILES = frozenset({"netcdf4", classic.CLASSIC, "grib"})


@dataclass(frozen=True)
class StoredVariable:
    """The description of the variable that a leaf reads.

    Attributes
    ----------
    region, key, format
        Location and format of the entry; ``key`` is relative to the Region's root.
    variable
        Name in the file.
    dims, attrs
        Dimensions and attributes of the stored variable, for CF decoding (fill values, scale and offset).
    etag, size_bytes, modified_ns
        Digest, size and time of modification of the catalogued entry; size and time are those on the mount if the
        header has them. A file must have the same size and time.
    convert
        Factor and summand that convert decoded values to the units of the joined entries.
    dtype
        Dtype of the values, if joined entries have several; empty keeps the decoded dtype.
    mount
        Folder, relative to the Region's root, out of which no link may lead; see `location.Location`.
    chunks
        Shape of the stored chunks.
    """

    region: str
    key: str
    format: str
    variable: str
    dims: tuple[str, ...]
    attrs: dict[str, Any]
    etag: str
    size_bytes: int
    modified_ns: int
    convert: tuple[float, float] | None = None
    dtype: str = ""
    mount: str = ""
    chunks: tuple[int, ...] = ()

    def __getstate__(self) -> dict[str, Any]:
        """Return the pickled state without default values, which nearly all leaves have."""
        unset = {name for name in ("convert", "dtype", "mount", "chunks") if not getattr(self, name)}
        return {name: value for name, value in vars(self).items() if name not in unset}


@dataclass(frozen=True)
class Block:
    """One part of a variable: ``slices`` in the file, and the stored bytes it is expected to read.

    ``messages`` is for GRIB: offset and length of each message, of the shape of the block's leading dimensions and 2.
    """

    source: StoredVariable
    slices: Slices
    stored_bytes: int
    messages: np.ndarray | None = None


def read_block(block: Block) -> np.ndarray:
    """Read and decode one block; runs only on a worker of the entry's Region.

    Returns
    -------
    Array with the block's shape, decoded by CF rules.

    Raises
    ------
    PlacementError
        On a worker of another Region.
    ChangedEntry
        If the file has changed since it was catalogued.
    AccessError
        If the file cannot be read.
    """
    source = block.source
    with at_home(source.region) as ledger, readable(source) as place:
        if block.messages is not None:
            raw = read_messages(place.path, block.messages, block.slices, ledger)
        elif source.format == "netcdf4":
            with ChunkReader(place.path, source.variable, ledger, block.slices) as reader:
                raw = reader.read(block.slices)
        elif source.format == classic.CLASSIC:
            raw = classic.read_block(place.path, source.variable, block.slices)
            ledger.read(raw.nbytes)
        else:
            raw = _read_zarr(place, source, block.slices, ledger)
    return decoded(raw, source)


def read_file(path: Path, variable: str, slices: Slices) -> np.ndarray:
    """Read stored values of a block of a NetCDF-4 file on this machine, for tools and benchmarks."""
    with ChunkReader(path, variable, ReadCounter(), slices) as reader:
        return reader.read(slices)


@contextmanager
def readable(source: StoredVariable) -> Iterator[Location]:
    """Find the file or store of a variable; what goes wrong while it is read becomes an error that names it.

    Raises
    ------
    ChangedEntry
        If the file has changed since it was catalogued.
    AccessError
        If the file cannot be read; for a chunk, with its times.
    """
    try:
        place = Location.of(source.key, source.mount)
        if source.format in FILES:
            _check_unchanged(place.path, source, place.path.stat().st_mtime_ns, exact_size=True)
        yield place
    except Unusable as error:
        raise AccessError(
            f"{source.key} in {source.region} {error.reason}. If it is yours, {error.remedy}, run `xdask sync`, "
            "then run again."
        ) from error
    except (OSError, KeyError, ValueError, RuntimeError) as error:
        problem = f"its {_chunk_text(place.path, source, error)} {error}" if isinstance(error, ChunkError) else error
        raise AccessError(
            f"{source.key} in {source.region} cannot be read ({source.variable}): {problem}. If the file is being "
            "replaced, wait until it is complete. Then run `xdask sync`, and run again."
        ) from error


def decoded(raw: np.ndarray, source: StoredVariable) -> np.ndarray:
    """Return stored values decoded by CF rules, in the units and with the dtype of the joined entries."""
    values = decode_values(raw, source.variable, source.dims, source.attrs)
    if source.convert is not None:
        scale, offset = source.convert
        values = values * np.float64(scale) + np.float64(offset)
    return values.astype(source.dtype, copy=False) if source.dtype else values


def _chunk_text(path: Path, source: StoredVariable, error: ChunkError) -> str:
    """Return which chunk is damaged, with its first and last time if the file has times."""
    first, last = error.origin[:1], [o + c - 1 for o, c in zip(error.origin[:1], error.chunks[:1], strict=True)]
    text = f"chunk at {', '.join(f'{d} {o}' for d, o in zip(source.dims, error.origin, strict=True))}"
    with suppress(Exception):  # the file is damaged: without times the index must do
        with h5py.File(path, "r") as file:
            axis = next(v for v in hdf5.read_raw(file).variables if v.dims == source.dims[:1] == (v.name,))
            raw = axis.read()[[*first, *(min(i, axis.shape[0] - 1) for i in last)]]
        coder = xr.coders.CFDatetimeCoder(use_cftime=True)
        times = xr.conventions.decode_cf_variable(
            axis.name, xr.Variable(axis.dims, raw, axis.attrs), decode_times=coder
        )
        text += f" ({' to '.join(str(time) for time in times.values)})"
    return text


def _check_unchanged(path: Path, source: StoredVariable, modified_ns: int, *, exact_size: bool) -> None:
    size = path.stat().st_size if exact_size else source.size_bytes
    if modified_ns > source.modified_ns or (
        exact_size and (size, modified_ns) != (source.size_bytes, source.modified_ns)
    ):
        raise ChangedEntry(
            f"{source.key} in {source.region} changed after it was catalogued ({source.size_bytes} bytes and "
            f"digest {source.etag[:12]}). Run `xdask sync`, then run again: results will be computed from the new file."
        )


# ---- Zarr -------------------------------------------------------------------------------------------------------


def _read_zarr(place: Location, source: StoredVariable, slices: Slices, ledger: ReadCounter) -> np.ndarray:
    folder = place.below(source.variable)
    for name in (".zarray", ".zattrs") if source.format == "zarr2" else ("zarr.json",):
        with suppress(FileNotFoundError):
            place.status(folder / name)
    array = zarr.open_array(folder, mode="r")
    stored = array.shards or array.chunks  # the unit that is stored in one file
    for at in product(*(range(s.start // c, -(-s.stop // c)) for s, c in zip(slices, stored, strict=True))):
        try:
            stat = place.status(folder / array.metadata.encode_chunk_key(at))
        except FileNotFoundError:
            continue  # a chunk of fill values is not stored
        _check_unchanged(place.path, source, stat.st_mtime_ns, exact_size=False)
        ledger.read(round(stat.st_size * _share(at, slices, array)) if array.shards else stat.st_size)
    return np.asarray(array[slices] if slices else array[()])


def _share(shard: tuple[int, ...], slices: Slices, array: Any) -> float:
    """Return the share of a shard's chunks that a block reads."""
    share = 1.0
    for i, s, size, chunk, n in zip(shard, slices, array.shards, array.chunks, array.shape, strict=True):
        start, stop = max(s.start, i * size), min(s.stop, (i + 1) * size)
        share *= (-(-stop // chunk) - start // chunk) / (-(-min((i + 1) * size, n) // chunk) - i * size // chunk)
    return share
