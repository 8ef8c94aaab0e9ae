"""Decoding of stored values by the CF conventions, used everywhere in the project.

Belongs here: decoding coordinates of a header and values of a block. Does not belong here: reading either. A header is
decoded once when it is described, so that opening it later cannot fail.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import xarray as xr

from xdask_pipelines.access.coordinates import unpack
from xdask_pipelines.access.describing.raw import attributes


def decode_coordinates(header: Mapping[str, Any]) -> xr.Dataset:
    """Decode coordinates and attributes of a header, with times as cftime objects; data variables are left out."""
    values = {name: unpack(c) for name, c in header["coords"].items()}
    return decode_dataset(header, values)


def decode_dataset(header: Mapping[str, Any], values: Mapping[str, np.ndarray]) -> xr.Dataset:
    """Decode the coordinates of a header with given stored values, which may be a part of the original ones."""
    coords = {name: (c["dims"], values[name], attributes(c["attrs"])) for name, c in header["coords"].items()}
    raw = xr.Dataset(coords=coords, attrs=attributes(header["attrs"]))
    return xr.decode_cf(raw, decode_times=xr.coders.CFDatetimeCoder(use_cftime=True))


def decode_values(raw: np.ndarray, name: str, dims: tuple[str, ...], attrs: Mapping[str, Any]) -> np.ndarray:
    """Apply CF packing and fill values to stored values (an empty array gives the decoded dtype)."""
    variable = xr.conventions.decode_cf_variable(name, xr.Variable(dims, raw, dict(attrs)), decode_times=False)
    return np.asarray(variable.values)


#: Attributes that change values when they are decoded.
_DECODED = frozenset({"_FillValue", "missing_value", "scale_factor", "add_offset", "_Unsigned", "dtype"})


def is_decoded(dtype: np.dtype, attrs: Mapping[str, Any]) -> bool:
    """Return whether stored values are those that `decode_values` returns: native floats without packing or fill value."""
    return dtype.kind == "f" and dtype.isnative and not _DECODED & attrs.keys()
