"""Headers: all that a client must know of an entry to build a lazy array without touching its file.

Belongs here: the header's form, and reading it from a file at home. Does not belong here: reading data, how coordinates
are kept (packed), or what they say of place and time (coverage).
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import zarr

from xdask_pipelines.access.coverage import extent, time_range
from xdask_pipelines.access.grib_arrays import describe_grib
from xdask_pipelines.access.packed import MAX_COORDINATE_BYTES, is_bounds, pack, unpack
from xdask_pipelines.errors import AccessError

_MAX_READ_BYTES = 100_000_000
Files = Mapping[str, os.stat_result]
#: Time once more, as whole numbers for people, which NCAR's ERA5 files carry beside their one data variable.
_BESIDE = {"utc_date"}
_HDF5_ONLY = {
    "DIMENSION_LIST",
    "REFERENCE_LIST",
    "CLASS",
    "NAME",
    "_Netcdf4Dimid",
    "_Netcdf4Coordinates",
    "_NCProperties",
}


def describe(path: Path, file_format: str, variables: Collection[str] | None = None) -> dict[str, Any]:
    """Header of a file or store: JSON-ready.

    Parameters
    ----------
    path
        NetCDF-4 file or Zarr store.
    file_format
        ``netcdf4``, ``zarr2``, ``zarr3`` or ``grib``.
    variables
        Names of the data variables, where they are known; else what is neither a dimension's coordinate nor bounds nor a
        scalar is data.

    Returns
    -------
    ``{"attrs", "coords": {name: {dims, dtype, shape, attrs, data}}, "variables": {name: {dims, dtype, shape, chunks,
    attrs, stored_bytes}}, "file": {size_bytes, modified_ns}}`` with coordinates stored whole and still encoded as in the
    file. ``file`` is as the Region's own mount had it before it was read: where S3 was listed, the catalog has S3's time of
    modification, and the mount another. Where the data have them, ``time_range`` (two
    time keys) and ``extent`` (west, south, east, north in degrees).

    Raises
    ------
    AccessError
        If the file cannot be read, is truncated, or has a coordinate with missing values.
    """
    reader = {"netcdf4": _describe_hdf5, "grib": _describe_grib}.get(file_format, _describe_zarr)
    try:
        files = _files(path)
        header = reader(path, variables, files)
        said = {"time_range": time_range(header["coords"]), "extent": extent(header["coords"])}
    except (OSError, LookupError, ValueError, ArithmeticError, RuntimeError) as error:
        raise AccessError(
            f"{path.name} cannot be read as {file_format}: {str(error).rstrip('.')}. The file is damaged or not "
            f"finished: fetch or write it again, then run `xdask sync`. Full path: {path}"
        ) from error
    for name, coordinate in header["coords"].items():
        values = unpack(coordinate)
        if values.dtype.kind == "f" and not np.isfinite(values).all() and coordinate["dims"] == [name]:
            raise AccessError(
                f"{path.name}: coordinate {name!r} has a missing value at index {int(np.argmin(np.isfinite(values)))}. "
                f"Repair the file, then run `xdask sync`. Full path: {path}"
            )
    header |= {name: value for name, value in said.items() if value}
    stats = files.values()
    header["file"] = {
        "size_bytes": sum(s.st_size for s in stats),
        "modified_ns": max(s.st_mtime_ns for s in stats),
    }
    return header


def _files(path: Path) -> dict[str, os.stat_result]:
    """The file, or each file of a store by its path in it, in one walk."""
    if path.is_dir():
        return {f.relative_to(path).as_posix(): f.stat() for f in path.rglob("*") if f.is_file()}
    return {"": path.stat()}


def select_step(header: Mapping[str, Any], dim: str, index: int) -> dict[str, Any]:
    """Header of one step along a dimension of a store, for an entry that is a part of it."""

    def coordinate(c: Mapping[str, Any]) -> dict[str, Any]:
        if dim not in c["dims"]:
            return dict(c)
        axis = c["dims"].index(dim)
        return {**c, **pack(np.take(unpack(c), [index], axis=axis))}

    def variable(v: Mapping[str, Any]) -> dict[str, Any]:
        if dim not in v["dims"]:
            return dict(v)
        axis = v["dims"].index(dim)
        shape, origin = list(v["shape"]), [0] * len(v["shape"])
        steps, shape[axis], origin[axis] = shape[axis], 1, index
        return {**v, "shape": shape, "origin": origin, "stored_bytes": v["stored_bytes"] // steps}

    return {
        **header,
        "coords": {name: coordinate(c) for name, c in header["coords"].items()},
        "variables": {name: variable(v) for name, v in header["variables"].items()},
    }


def _describe_hdf5(path: Path, known: Collection[str] | None, files: Files) -> dict[str, Any]:
    header: dict[str, Any] = {"coords": {}, "variables": {}}
    with h5py.File(path, "r") as file:
        header["attrs"] = plain(file.attrs)
        for name, item in file.items():
            if not isinstance(item, h5py.Dataset) or item.dtype.kind not in "iufSU" or _is_bare_dimension(item):
                continue
            dims = _hdf5_dims(item, name)
            _add(header, name, dims, item, item.chunks, item.id.get_storage_size(), item.attrs, known)
    return header


def _is_bare_dimension(item: h5py.Dataset) -> bool:
    label = item.attrs.get("NAME", b"")
    return bool(label) and bytes(label).startswith(b"This is a netCDF dimension but not a netCDF variable")


def _hdf5_dims(item: h5py.Dataset, name: str) -> list[str]:
    if item.attrs.get("CLASS") == b"DIMENSION_SCALE":
        return [name] if item.ndim else []
    if item.ndim and not all(len(d) for d in item.dims):
        raise ValueError(f"variable {name!r} has no dimension scales, so that its dimensions have no names")
    return [d[0].name.rsplit("/", 1)[-1] for d in item.dims]


def _describe_grib(path: Path, known: Collection[str] | None, files: Files) -> dict[str, Any]:
    found = describe_grib(path)
    coords = {name: {"dims": dims, "attrs": attrs, **pack(v)} for name, (dims, attrs, v) in found["coords"].items()}
    variables = {
        name: {**variable, "messages": pack(variable["messages"])}
        for name, variable in found["variables"].items()
        if known is None or name in known
    }
    return {"coords": coords, "variables": variables, "attrs": found["attrs"]}


def _describe_zarr(path: Path, known: Collection[str] | None, files: Files) -> dict[str, Any]:
    group = zarr.open_group(path, mode="r")
    header: dict[str, Any] = {"coords": {}, "variables": {}, "attrs": plain(group.attrs)}
    stored: Counter[str] = Counter()
    for file, stat in files.items():
        stored[file.partition("/")[0]] += stat.st_size
    for name, array in group.arrays():
        attrs = dict(array.attrs)
        names: Any = attrs.pop("_ARRAY_DIMENSIONS", None) or getattr(array.metadata, "dimension_names", None)
        if array.ndim and not names:
            raise ValueError(f"array {name!r} names no dimensions")
        fill = array.metadata.fill_value
        if array.metadata.zarr_format == 2 and fill is not None and "_FillValue" not in attrs:
            attrs["_FillValue"] = fill
        _add(header, name, list(names or []), array, array.chunks, stored[name], attrs, known)
    return header


def _add(
    header: dict[str, Any],
    name: str,
    dims: list[str],
    item: Any,
    chunks: Any,
    stored: int,
    attrs: Mapping[str, Any],
    known: Collection[str] | None,
) -> None:
    entry = {"dims": dims, "attrs": plain(attrs)}
    beside = dims == [name] or not dims or is_bounds(name) or name in _BESIDE
    is_data = name in known if known is not None else not beside
    if is_data:
        header["variables"][name] = {
            **entry,
            "dtype": np.dtype(item.dtype).str,
            "shape": list(item.shape),
            "chunks": list(chunks) if chunks else list(item.shape),
            "stored_bytes": int(stored),
        }
    elif item.nbytes > _MAX_READ_BYTES:
        raise ValueError(f"coordinate {name!r} has {item.nbytes} bytes; at most {_MAX_READ_BYTES} are read")
    else:
        packed = pack(np.asarray(item[...]))
        if "step" not in packed and item.nbytes > MAX_COORDINATE_BYTES:
            raise ValueError(
                f"coordinate {name!r} has {item.nbytes} bytes; at most {MAX_COORDINATE_BYTES} fit a catalog, "
                "unless they are whole numbers of even steps"
            )
        header["coords"][name] = {**entry, **packed}


def plain(attrs: Mapping[str, Any]) -> dict[str, Any]:
    """Attributes as JSON-ready values, without what HDF5 keeps for itself."""
    return {str(k): _plain_value(v) for k, v in attrs.items() if k not in _HDF5_ONLY}


def _plain_value(value: Any) -> Any:
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    if isinstance(value, np.ndarray):
        return _plain_value(value[0]) if value.size == 1 else [_plain_value(v) for v in value.tolist()]
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and not np.isfinite(value):
        return {"float": str(value)}
    return value if isinstance(value, (str, int, float, bool, list, dict)) or value is None else str(value)


def attributes(stored: Mapping[str, Any]) -> dict[str, Any]:
    """Attributes of a header as xarray wants them."""
    return {k: float(v["float"]) if isinstance(v, Mapping) and set(v) == {"float"} else v for k, v in stored.items()}
