"""Headers: all that a client must know of an entry to build a lazy array without touching its file.

Belongs here: the header's form, and reading it from a file at home. Does not belong here: reading data.
"""

from __future__ import annotations

import base64
import os
import zlib
from collections import Counter
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import cftime
import h5py
import numpy as np
import zarr

from xdask_pipelines.access.grib_arrays import describe_grib
from xdask_pipelines.errors import AccessError

#: Non-dimension variables up to this size (bounds, auxiliary coordinates) are part of the header.
MAX_COORDINATE_BYTES = 1_000_000
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
    except (OSError, KeyError, ValueError, RuntimeError) as error:
        raise AccessError(
            f"{path.name} cannot be read as {file_format}: {error}. The file is damaged or not finished: fetch or write it "
            f"again, then run `xdask sync`. Full path: {path}"
        ) from error
    for name, coordinate in header["coords"].items():
        values = unpack(coordinate)
        if values.dtype.kind == "f" and not np.isfinite(values).all() and coordinate["dims"] == [name]:
            raise AccessError(
                f"{path.name}: coordinate {name!r} has a missing value at index {int(np.argmin(np.isfinite(values)))}. "
                f"Repair the file, then run `xdask sync`. Full path: {path}"
            )
    if times := _time_range(header):
        header["time_range"] = times
    if extent := _extent(header):
        header["extent"] = extent
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


def _time_range(header: Mapping[str, Any]) -> list[int] | None:
    """Half-open range of the data's own time as two catalog time keys: bounds where there are any, else the steps."""
    time = next(
        (c for n, c in header["coords"].items() if c["attrs"].get("standard_name") == "time" or n == "time"), None
    )
    if time is None or "since" not in str(time["attrs"].get("units", "")):
        return None
    bounds = header["coords"].get(time["attrs"].get("bounds", ""))
    values = np.atleast_1d(unpack(bounds if bounds else time)).ravel()
    attrs = {**time["attrs"], **(bounds["attrs"] if bounds else {})}
    ends = cftime.num2date([values.min(), values.max()], attrs["units"], attrs.get("calendar", "standard"))
    start, end = (int(f"{t.year:04}{t.month:02}{t.day:02}{t.hour:02}{t.minute:02}{t.second:02}") for t in ends)
    return [start, end if bounds else end + 1]  # a step without bounds lasts, as far as is known, a moment


def _extent(header: Mapping[str, Any]) -> list[float] | None:
    """Box of the data, [west, south, east, north] in degrees, as :mod:`xdask_pipelines.catalog.extent` defines it.

    Bounds of cells where there are any, else half a step beyond the outermost points. The longitudes lie within all but
    the widest gap between neighbours; where that gap is not wider than one and a half steps, they go all round.
    """
    lat, lon = (_degrees(header, *names) for names in (("latitude", "lat", "north"), ("longitude", "lon", "east")))
    if lat is None or lon is None:
        return None
    (south_north, half, _), (values, half_east, width) = lat, lon
    south, north = max(-90.0, south_north.min() - half), min(90.0, south_north.max() + half)
    around = np.unique(np.round(values % 360, 9))
    gaps = np.diff(around, append=around[0] + 360)
    widest = int(np.argmax(gaps))
    if np.ptp(values) >= 360 or (around.size > 1 and gaps[widest] <= 1.5 * width):
        return [-180.0, float(south), 180.0, float(north)]
    west = around[(widest + 1) % around.size] - half_east
    first = (west + 180) % 360 - 180
    return [float(v) for v in (first, south, first + 360 - gaps[widest] + 2 * half_east, north)]


def _degrees(
    header: Mapping[str, Any], standard: str, short: str, towards: str
) -> tuple[np.ndarray, float, float] | None:
    """Values of latitude or longitude, half a step where they are points of a grid and not bounds, and a step."""
    coords = header["coords"]
    units = {f"degrees_{towards}", f"degree_{towards}", f"degrees_{towards[0].upper()}", f"degree_{towards[0].upper()}"}
    named = [n for n, c in coords.items() if c["attrs"].get("standard_name") == standard]
    named += [n for n, c in coords.items() if c["attrs"].get("units") in units and not _is_bounds(n)]
    named += [n for n in (standard, short) if n in coords]
    if not named:
        return None
    coordinate = coords[named[0]]
    bounds = coords.get(coordinate["attrs"].get("bounds", ""))
    points = _decoded(coordinate, coordinate["attrs"])
    step = float(np.nanmedian(np.abs((np.diff(points, axis=-1) + 180) % 360 - 180))) if points.shape[-1] > 1 else 0.0
    if bounds and points.ndim == 1 and bounds["shape"] == [points.size, 2]:
        edges = _decoded(bounds, {**coordinate["attrs"], **bounds["attrs"]})
        return edges.ravel(), 0.0, max(step, float(np.median(np.abs(np.diff(edges, axis=-1)))))
    points = points[np.isfinite(points)]
    return (points, step / 2, step) if points.size else None


def _decoded(coordinate: Mapping[str, Any], attrs: Mapping[str, Any]) -> np.ndarray:
    raw = np.atleast_1d(unpack(coordinate))
    values = raw.astype("f8") * float(attrs.get("scale_factor", 1)) + float(attrs.get("add_offset", 0))
    fill = attrs.get("_FillValue")
    return values if fill is None or isinstance(fill, Mapping) else np.where(raw == fill, np.nan, values)


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


def unpack(coordinate: Mapping[str, Any]) -> np.ndarray:
    """Values of a coordinate kept in a header, as stored in the file."""
    if "step" in coordinate:
        steps = np.arange(coordinate["shape"][0], dtype=coordinate["dtype"])
        return np.asarray(steps * steps.dtype.type(coordinate["step"]) + steps.dtype.type(coordinate["start"]))
    raw = zlib.decompress(base64.b64decode(coordinate["data"]))
    return np.frombuffer(raw, np.dtype(coordinate["dtype"])).reshape(coordinate["shape"])


def pack(values: np.ndarray) -> dict[str, Any]:
    """Form in which a header keeps a coordinate's values."""
    little = np.ascontiguousarray(values).astype(values.dtype.newbyteorder("<"))
    if little.nbytes > MAX_COORDINATE_BYTES and (step := _even_step(little)) is not None:
        said = {"dtype": little.dtype.str, "shape": list(values.shape), "start": int(little[0]), "step": step}
        return {**said, "data": f"{said['start']}+{step}"}
    return {
        "dtype": little.dtype.str,
        "shape": list(values.shape),
        "data": base64.b64encode(zlib.compress(little.tobytes())).decode(),
    }


def _even_step(values: np.ndarray) -> int | None:
    """Step of whole numbers that go on evenly, such as the hours of decades in one store; None for others."""
    if values.ndim != 1 or values.dtype.kind not in "iu" or values.size < 2:
        return None
    steps = np.diff(values.astype("<i8"))
    return int(steps[0]) if (steps == steps[0]).all() else None


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
    beside = dims == [name] or not dims or _is_bounds(name) or name in _BESIDE
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


def _is_bounds(name: str) -> bool:
    return name.endswith(("_bnds", "_bounds"))


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
