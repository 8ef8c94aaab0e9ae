"""netCDF classic files: netCDF-3, 64-bit offset and 64-bit data (CDF-5), read with the netCDF library.

Belongs here: variables and blocks of such files. Does not belong here: netCDF-4 (hdf5).
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import netCDF4
import numpy as np

from xdask_pipelines.access.describing.raw import RawFile, RawVariable, joined_characters

CLASSIC = "netcdf3"
MAGIC = (b"CDF\x01", b"CDF\x02", b"CDF\x05")
#: The netCDF library is not thread-safe.
_LOCK = threading.Lock()


@contextmanager
def opened(path: Path) -> Iterator[Any]:
    """Open a file; values are read as stored."""
    with _LOCK, netCDF4.Dataset(path, "r") as file:
        file.set_auto_maskandscale(False)
        file.set_auto_chartostring(False)
        yield file


def read_raw(file: Any) -> RawFile:
    """Return all variables of an open file; values are read on demand, while it is open."""
    return RawFile(_attrs(file), tuple(_variable(v) for v in file.variables.values()), container=CLASSIC)


def _variable(variable: Any) -> RawVariable:
    dims, shape, dtype = tuple(variable.dimensions), tuple(variable.shape), np.dtype(variable.dtype)

    def read() -> np.ndarray:
        return np.asarray(variable[...])

    def read_text() -> np.ndarray:
        values = read()
        return joined_characters(values if values.ndim else values[None])

    stored = int(np.prod(shape, dtype=np.int64)) * dtype.itemsize
    if dtype.kind == "S":
        dims, shape = dims[:-1], shape[:-1]
        return RawVariable(variable.name, dims, np.dtype(object), shape, _attrs(variable), shape, stored, read_text)
    chunks = (1, *shape[1:]) if _has_records(variable) else shape
    return RawVariable(variable.name, dims, dtype, shape, _attrs(variable), chunks, stored, read)


def _has_records(variable: Any) -> bool:
    """Return whether the first dimension is unlimited: the records of all variables are then interleaved."""
    sizes = variable.get_dims()
    return bool(sizes) and sizes[0].isunlimited()


def _attrs(item: Any) -> dict[str, Any]:
    return {name: item.getncattr(name) for name in item.ncattrs()}


def read_block(path: Path, name: str, slices: tuple[slice, ...]) -> np.ndarray:
    """Read the stored values of one block of one variable."""
    with opened(path) as file:
        variable = file.variables[name]
        return np.asarray(variable[slices] if slices else variable[...])
