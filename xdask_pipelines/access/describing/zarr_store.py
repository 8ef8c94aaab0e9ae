"""Variables of a Zarr store, v2 or v3.

Belongs here: dimensions, fill values and text as xarray writes them. Does not belong here: reading blocks.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from xarray.backends.zarr import FillValueCoder

from xdask_pipelines.access.describing.raw import NUMBERS, TEXT, RawFile, RawVariable, Unusable, as_text
from xdask_pipelines.topology.names import is_plain_key


def read_raw(path: Path, files: Mapping[str, os.stat_result]) -> RawFile:
    """Return all arrays at the root of a store; ``files`` are its files by their paths in it.

    Raises
    ------
    Unusable
        If an array has no dimension names, or its name leads out of the store.
    """
    group = zarr.open_group(path, mode="r")
    stored: Counter[str] = Counter()
    for file, stat in files.items():
        stored[file.partition("/")[0]] += stat.st_size
    members = dict(group.members())  # read once: without consolidated metadata each access reads a file for each array
    if strange := [name for name in members if not is_plain_key(name) or "/" in name]:
        raise Unusable(f"has an array or group {strange[0]!r}, whose name leads out of the store", "rename it")
    arrays = {name: item for name, item in members.items() if isinstance(item, zarr.Array)}
    variables = [v for name, array in arrays.items() if (v := _variable(name, array, stored[name])) is not None]
    return RawFile(dict(group.attrs), tuple(variables), tuple(members.keys() - arrays.keys()))


def _variable(name: str, array: Any, stored_bytes: int) -> RawVariable | None:
    attrs = dict(array.attrs)
    names: Any = attrs.pop("_ARRAY_DIMENSIONS", None) or getattr(array.metadata, "dimension_names", None) or ()
    if len(names) != array.ndim or not all(isinstance(n, str) for n in names):
        raise Unusable(f"has an array {name!r} without dimension names", "write it with xarray's to_zarr")
    dtype = np.dtype(array.dtype)
    if dtype.kind in TEXT:
        attrs.pop("_FillValue", None)
        return RawVariable(
            name,
            tuple(names),
            np.dtype(object),
            array.shape,
            attrs,
            array.chunks,
            stored_bytes,
            lambda: as_text(array[...]),
        )
    if dtype.kind not in NUMBERS:
        return None
    if array.metadata.zarr_format == 2:
        fill = array.metadata.fill_value
        if fill is not None and "_FillValue" not in attrs:
            attrs["_FillValue"] = fill
    elif isinstance(attrs.get("_FillValue"), str):  # xarray keeps fill values of Zarr v3 as base64
        attrs["_FillValue"] = FillValueCoder.decode(attrs["_FillValue"], dtype)
    return RawVariable(
        name, tuple(names), dtype, array.shape, attrs, array.chunks, stored_bytes, lambda: np.asarray(array[...])
    )
