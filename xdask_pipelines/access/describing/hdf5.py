"""Variables of a netCDF-4 file, read with h5py.

Belongs here: dimensions from HDF5's dimension scales, text in all its storages. Does not belong here: netCDF classic
(classic).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np

from xdask_pipelines.access.describing.raw import NUMBERS, RawFile, RawVariable, Unusable, as_text, joined_characters

_WRITE_WHOLE = "write a copy that holds its values itself (`xarray.open_dataset(...).to_netcdf(...)`)"
_BARE_DIMENSION = b"This is a netCDF dimension but not a netCDF variable"


def read_raw(file: h5py.File) -> RawFile:
    """Return all variables at the root of an open file; values are read on demand, while it is open.

    Raises
    ------
    Unusable
        If a variable has no dimension scales, and therefore no names of dimensions, or has its values in other files.
    """
    items = {name: own_item(file, name) for name in file}
    datasets = {name: item for name, item in items.items() if isinstance(item, h5py.Dataset)}
    names = _dimension_names(datasets)
    variables = [
        variable
        for name, item in datasets.items()
        if not _is_bare_dimension(item) and (variable := _variable(name, item, names)) is not None
    ]
    groups = tuple(name for name, item in items.items() if isinstance(item, h5py.Group))
    return RawFile(_attrs(file), tuple(variables), groups)


def _attrs(item: Any) -> dict[str, Any]:
    """Attributes; those without a value are empty arrays."""
    return {k: np.array([], v.dtype) if isinstance(v, h5py.Empty) else v for k, v in item.attrs.items()}


def _variable(name: str, item: h5py.Dataset, names: dict[int, str]) -> RawVariable | None:
    """Return the variable; None for other types than numbers and text, such as compound types and references."""
    kind, is_string = item.dtype.kind, h5py.check_string_dtype(item.dtype) is not None
    if kind not in NUMBERS and kind not in "SU" and not is_string:
        return None
    dims = _dims(name, item, names)
    shape, read, dtype = item.shape, lambda: np.asarray(item[...]), item.dtype
    if kind not in NUMBERS:
        characters = kind == "S" and item.dtype.itemsize == 1 and item.ndim > 0 and dims[-1:] != [name]
        read = (lambda: joined_characters(item[...])) if characters else (lambda: as_text(item[...]))
        if characters:
            dims, shape = dims[:-1], shape[:-1]
        dtype = np.dtype(object)
    chunks = item.chunks if item.chunks and len(item.chunks) == len(shape) else shape
    return RawVariable(name, tuple(dims), dtype, tuple(shape), _attrs(item), chunks, item.id.get_storage_size(), read)


def _is_bare_dimension(item: h5py.Dataset) -> bool:
    label = item.attrs.get("NAME", b"")
    return isinstance(label, (bytes, np.bytes_)) and bytes(label).startswith(_BARE_DIMENSION)


def _dimension_names(datasets: dict[str, h5py.Dataset]) -> dict[int, str]:
    """Return names of dimensions by their netCDF-4 number."""
    return {int(item.attrs["_Netcdf4Dimid"]): name for name, item in datasets.items() if _is_scale(item, one=True)}


def _is_scale(item: h5py.Dataset, *, one: bool = False) -> bool:
    return item.attrs.get("CLASS") == b"DIMENSION_SCALE" and (not one or "_Netcdf4Dimid" in item.attrs)


def _dims(name: str, item: h5py.Dataset, names: dict[int, str]) -> list[str]:
    if _is_scale(item):
        if item.ndim <= 1:
            return [name] if item.ndim else []
        numbers: Any = item.attrs.get("_Netcdf4Coordinates", ())
        if len(numbers) == item.ndim and all(int(n) in names for n in numbers):
            return [names[int(n)] for n in numbers]
    if item.ndim and not all(len(d) for d in item.dims):
        raise Unusable(
            f"has a variable {name!r} without dimension scales, so that its dimensions have no names",
            "write it with netCDF4 or xarray",
        )
    return [d[0].name.rsplit("/", 1)[-1] for d in item.dims]


def open_hdf5(path: Path) -> h5py.File:
    """Open a netCDF-4 file for reading."""
    return h5py.File(path, "r")


def own_item(file: h5py.File, name: str) -> Any:
    """Return a dataset or group at the root, whose content must be in this file; takes 20 us.

    HDF5 would follow external links, external storage and virtual datasets to any file that the process may read.

    Raises
    ------
    Unusable
        If the content is in another file.
    """
    _check_link(file, name)
    item = file[name]
    if isinstance(item, h5py.Dataset):
        layout = (
            item.id.get_create_plist()
        )  # before reading the shape, which would open the sources of a virtual dataset
        if layout.get_layout() == h5py.h5d.VIRTUAL:
            raise Unusable(f"has a virtual dataset {name!r}, whose values lie in other datasets", _WRITE_WHOLE)
        if layout.get_external_count():
            raise Unusable(f"keeps the values of {name!r} in external files", _WRITE_WHOLE)
    return item


def _check_link(file: h5py.File, name: str) -> None:
    """Refuse a link to another file, including one behind a soft link."""
    try:
        link = file.get(name, getlink=True)
        group = file
        for part in link.path.strip("/").split("/") if isinstance(link, h5py.SoftLink) else ():
            if not isinstance(link := group.get(part, getlink=True), h5py.HardLink):
                break
            group = group[part]
    except TypeError:  # of h5py, for a kind of link that a user defined
        link = None
    if link is None or isinstance(link, h5py.ExternalLink):
        raise Unusable(f"has a link {name!r} to another file", _WRITE_WHOLE)
    if isinstance(link, h5py.SoftLink):
        raise Unusable(f"has a link {name!r} that leads through another link", _WRITE_WHOLE)
