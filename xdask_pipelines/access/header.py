"""Headers: everything that a client needs to build a lazy array without opening the file.

Belongs here: the header's form, and creating it from a file in its home Region. Does not belong here: file formats
(describing), validation (validation), packing coordinates (coordinates).
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from xdask_pipelines.access.coordinates import MAX_COORDINATE_BYTES, pack, unpack
from xdask_pipelines.access.describing import classic, hdf5, zarr_store
from xdask_pipelines.access.describing.classic_size import needed_bytes
from xdask_pipelines.access.describing.coverage import extent
from xdask_pipelines.access.describing.fixes import fixed
from xdask_pipelines.access.describing.grib_arrays import describe_grib
from xdask_pipelines.access.describing.long_attributes import with_short_attributes
from xdask_pipelines.access.describing.raw import RawFile, RawVariable, Unusable, plain
from xdask_pipelines.access.describing.roles import data_names
from xdask_pipelines.access.describing.validation import Claim, validated
from xdask_pipelines.access.location import Location
from xdask_pipelines.climate.cell_measures import AREA_NAMES
from xdask_pipelines.errors import AccessError

_MAX_READ_BYTES = 100_000_000
#: Attributes of the storage of text in files, which headers do not need.
_STORAGE_OF_TEXT = {"_Encoding", "_FillValue", "missing_value"}
_HDF5_SIGNATURE = b"\x89HDF\r\n\x1a\n"
Files = Mapping[str, os.stat_result]


def describe(
    path: Path | Location, file_format: str, variables: Collection[str] | None = None, claim: Claim | None = None
) -> dict[str, Any]:
    """Read the header of a file or store, and validate it.

    Parameters
    ----------
    path
        NetCDF file, GRIB file or Zarr store; links may not lead out of a plain path.
    file_format
        ``netcdf4`` (netCDF classic too), ``zarr2``, ``zarr3`` or ``grib``.
    variables
        Names of the data variables, if they are known; else the rules of CF distinguish them from coordinates.
    claim
        The content according to the path.

    Returns
    -------
    ``{"attrs", "coords": {name: {dims, dtype, shape, attrs, data}}, "variables": {name: {dims, dtype, shape, chunks,
    attrs, stored_bytes}}, "file": {size_bytes, modified_ns}}`` with coordinates stored whole and still encoded as in the
    file; auxiliary coordinates too large for that are among the variables, with ``"coordinate": true``. Areas of cells have
    the ``digest`` of their values, and up to 1 MB the ``values``, packed like a coordinate. ``file`` has
    size and time of modification on the Region's mount, which may differ from those of S3 in the catalog. If the data
    have them, ``time_range`` (two time keys), ``time_gaps`` (pairs of time keys), ``steps`` (found, expected, unit) and
    ``extent`` (west, south, east, north in degrees). ``variable`` is the data variable in the path; ``container`` is
    ``netcdf3`` for netCDF classic. ``cut_attributes`` lists truncated attributes,
    and ``fixes`` the fixes of known faults of the source (`describing.fixes`).

    Raises
    ------
    AccessError
        If the file cannot be read or catalogued: corrupt, without data, with an invalid time axis, or with other
        content than its path says.
    """
    place = path if isinstance(path, Location) else Location.alone(path)
    path = place.path
    try:
        files = dict(place.files())
        given = claim or Claim()
        header = with_short_attributes(validated(fixed(_read(path, file_format, variables, given.names, files)), given))
    except Unusable as error:
        raise AccessError(
            f"{path.name} {error.reason}. If the file is yours, {error.remedy}, then run `xdask sync`; if not, use another "
            f"one, and list this one under `exclude` of its dataset in regions.yaml. Full path: {path}"
        ) from error
    except AccessError:
        raise
    except Exception as error:  # an error of a library in one file must not stop the description of others
        raise AccessError(
            f"{path.name} cannot be read as {file_format} ({type(error).__name__}: {_first_line(error)}). The file is "
            "corrupt, incomplete or not supported: fetch or write it again, then run `xdask sync`. If "
            f"that does not help, list it under `exclude` of its dataset in regions.yaml. Full path: {path}"
        ) from error
    stats = files.values()
    header["file"] = {
        "size_bytes": sum(s.st_size for s in stats),
        "modified_ns": max(s.st_mtime_ns for s in stats),
    }
    return header


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0].rstrip(".") if lines else "no reason given"


def read_unchecked(path: Path, file_format: str) -> dict[str, Any]:
    """Read a header like `describe`, without validation; for benchmarks.

    Raises
    ------
    Exception
        Any error of the library that reads the file.
    """
    return _read(path, file_format, None, (), dict(Location.alone(path).files()))


def _read(
    path: Path, file_format: str, known: Collection[str] | None, named: Collection[str], files: Files
) -> dict[str, Any]:
    if file_format == "grib":
        return _grib_header(path, known)
    if file_format != "netcdf4":
        return _assembled(zarr_store.read_raw(path, files), known, named)
    with path.open("rb") as file:
        start = file.read(64)
    if start.startswith(classic.MAGIC):
        with path.open("rb") as file:
            needed = needed_bytes(file)
        if (size := path.stat().st_size) < needed:
            raise OSError(f"truncated: it has {size} bytes, but its header requires {needed}")
        with classic.opened(path) as opened:
            return _assembled(classic.read_raw(opened), known, named)
    if (
        start and not start.startswith(_HDF5_SIGNATURE) and not start.startswith(b"\0")
    ):  # HDF5 may start later in the file, after zeros
        raise Unusable(f"is not a netCDF file: it starts with {start[:16]!r}", "fetch it again")
    with hdf5.open_hdf5(path) as opened:
        return _assembled(hdf5.read_raw(opened), known, named)


def _assembled(raw: RawFile, known: Collection[str] | None, named: Collection[str]) -> dict[str, Any]:
    """Create the header of an open file; coordinates are read now."""
    names = data_names(raw, known, named)
    if not names:
        raise _without_data(raw)
    header: dict[str, Any] = {"attrs": plain(raw.attrs), "coords": {}, "variables": {}}
    if raw.container:
        header["container"] = raw.container
    large: dict[str, dict[str, Any]] = {}
    for variable in raw.variables:
        attrs = {k: v for k, v in variable.attrs.items() if not (variable.is_text and k in _STORAGE_OF_TEXT)}
        form = {"dims": list(variable.dims), "attrs": plain(attrs)}
        if variable.name in names:
            header["variables"][variable.name] = {**form, **_stored(variable), **_areas_in(variable)}
        elif (packed := _packed(variable)) is not None:
            header["coords"][variable.name] = {**form, **packed}
        else:  # read together with the data
            header["variables"][variable.name] = {**form, **_stored(variable), "coordinate": True}
            if variable.nbytes <= _MAX_READ_BYTES:
                values = variable.read()
                large[variable.name] = {**form, **_stored(variable), "values": values}
                header["variables"][variable.name]["digest"] = _digest(values)
    return header | ({"extent": box} if (box := extent({**header["coords"], **large})) else {})


def _stored(variable: RawVariable) -> dict[str, Any]:
    return {
        "dtype": variable.dtype.str,
        "shape": list(variable.shape),
        "chunks": list(variable.chunks),
        "stored_bytes": int(variable.stored_bytes),
    }


def _areas_in(variable: RawVariable) -> dict[str, Any]:
    """Return the digest of areas of cells, and their values if they are small: fields carry them as a coordinate."""
    is_area = variable.name in AREA_NAMES or variable.attrs.get("standard_name") == "cell_area"
    if not is_area or variable.is_text or variable.nbytes > _MAX_READ_BYTES:
        return {}
    values = variable.read()
    small = variable.nbytes <= MAX_COORDINATE_BYTES
    return {"digest": _digest(values), **({"values": pack(values)} if small else {})}


def _digest(values: np.ndarray) -> str:
    return hashlib.blake2b(np.ascontiguousarray(values).tobytes(), digest_size=16).hexdigest()


def _packed(variable: RawVariable) -> dict[str, Any] | None:
    """Pack a coordinate for the header; None for an auxiliary coordinate that is too large.

    Raises
    ------
    Unusable
        If a coordinate of a dimension is too large, or is long text.
    """
    must = variable.dims == (variable.name,) or variable.is_text
    bounds = len(variable.dims) == 2 and variable.shape[-1] == 2  # bounds of a long axis are regular, and compress well
    if variable.nbytes <= _MAX_READ_BYTES and (must or bounds or variable.nbytes <= MAX_COORDINATE_BYTES):
        packed = pack(variable.read())
        if "step" in packed or variable.nbytes <= MAX_COORDINATE_BYTES or len(packed["data"]) <= MAX_COORDINATE_BYTES:
            return packed
    if must:
        raise Unusable(
            f"has a coordinate {variable.name!r} of {variable.nbytes} bytes; at most {MAX_COORDINATE_BYTES} compressed fit "
            "a catalog, unless they are whole numbers of even steps",
            "split it into several",
        )
    return None


def _without_data(raw: RawFile) -> Unusable:
    if raw.groups:
        inside = ", ".join(sorted(raw.groups)[:5])
        return Unusable(
            f"has no data variable at its root, but groups ({inside}), which are not opened",
            "write the group to a separate file (`ncks -G : -g GROUP in.nc out.nc`)",
        )
    available = ", ".join(v.name for v in raw.variables[:8]) or "nothing"
    return Unusable(f"has no data variable of numbers; it has {available}", "write the data into it")


def _grib_header(path: Path, known: Collection[str] | None) -> dict[str, Any]:
    content = describe_grib(path)
    coords = {name: {"dims": dims, "attrs": attrs, **pack(v)} for name, (dims, attrs, v) in content["coords"].items()}
    variables = {
        name: {**variable, "messages": pack(variable["messages"])}
        for name, variable in content["variables"].items()
        if known is None or name in known
    }
    header = {"coords": coords, "variables": variables, "attrs": plain(content["attrs"])}
    return header | ({"extent": box} if (box := extent(coords)) else {})


#: What a header says of all its times together, which is not true of a part of them.
_OF_ALL_TIMES = ("time_range", "time_gaps", "steps")


def select_steps(header: Mapping[str, Any], dim: str, start: int, stop: int) -> dict[str, Any]:
    """Return the header of some steps along a dimension of a store, for an entry that is a part of the store."""

    def coordinate(c: Mapping[str, Any]) -> dict[str, Any]:
        if dim not in c["dims"]:
            return dict(c)
        axis = c["dims"].index(dim)
        return {**c, **pack(np.take(unpack(c), range(start, stop), axis=axis))}

    def variable(v: Mapping[str, Any]) -> dict[str, Any]:
        if dim not in v["dims"]:
            return dict(v)
        axis = v["dims"].index(dim)
        shape, origin = list(v["shape"]), [0] * len(v["shape"])
        steps, shape[axis], origin[axis] = shape[axis], stop - start, start
        whole = {key: value for key, value in v.items() if key not in ("values", "digest")}
        return {**whole, "shape": shape, "origin": origin, "stored_bytes": v["stored_bytes"] * (stop - start) // steps}

    return {
        **{key: value for key, value in header.items() if key not in _OF_ALL_TIMES},
        "coords": {name: coordinate(c) for name, c in header["coords"].items()},
        "variables": {name: variable(v) for name, v in header["variables"].items()},
    }
