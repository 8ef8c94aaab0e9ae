"""One variable as it lies in its file, whatever the format: the form that all readers give.

Belongs here: that form, text among values, plain attributes. Does not belong here: any format.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

_HDF5_ONLY = {
    "DIMENSION_LIST",
    "REFERENCE_LIST",
    "CLASS",
    "NAME",
    "_Netcdf4Dimid",
    "_Netcdf4Coordinates",
    "_NCProperties",
}
NUMBERS, TEXT = "iufb", "SUOT"


class Unusable(Exception):
    """Why a file that can be read cannot be catalogued: what is wrong, and what its reader can do.

    Parameters
    ----------
    reason
        A clause whose subject is the file: ``names no dimensions``.
    remedy
        What the owner of the file can do, as a clause: ``convert it with ...``.
    """

    def __init__(self, reason: str, remedy: str = "write it again") -> None:
        super().__init__(reason)
        self.reason, self.remedy = reason, remedy


@dataclass(frozen=True)
class RawVariable:
    """A variable before CF decoding.

    Attributes
    ----------
    name, dims, dtype, shape, attrs
        As stored; text has dtype ``object`` and no dimension of characters.
    chunks
        Stored chunks; the whole shape where there are none.
    stored_bytes
        Bytes on disk.
    read
        Gives all values; text as ``str``.
    """

    name: str
    dims: tuple[str, ...]
    dtype: np.dtype
    shape: tuple[int, ...]
    attrs: Mapping[str, Any]
    chunks: tuple[int, ...]
    stored_bytes: int
    read: Callable[[], np.ndarray]

    @property
    def is_text(self) -> bool:
        """Whether values are strings."""
        return self.dtype.kind == "O"

    @property
    def nbytes(self) -> int:
        """Size in memory; of text an estimate."""
        return int(np.prod(self.shape, dtype=np.int64)) * self.dtype.itemsize


@dataclass(frozen=True)
class RawFile:
    """All that one file or store holds at its root.

    ``groups`` are the names of groups below the root; ``container`` says how blocks are read where that is not the
    entry's own format.
    """

    attrs: Mapping[str, Any]
    variables: tuple[RawVariable, ...]
    groups: tuple[str, ...] = ()
    container: str = ""


def as_text(values: Any) -> np.ndarray:
    """Strings of any storage as an object array of ``str``; what is no UTF-8 is replaced."""
    array = np.asarray(values)
    out = np.empty(array.shape, object)
    for at in np.ndindex(array.shape):
        value = array[at]
        if isinstance(value, bytes):
            text = value.rstrip(b"\0").decode("utf-8", "replace")
        else:
            text = "" if value is None else str(value).rstrip("\0")
        out[at] = clean(text)
    return out


def joined_characters(values: np.ndarray) -> np.ndarray:
    """Arrays of single characters (..., length) as strings (...)."""
    characters = np.ascontiguousarray(values)
    if not characters.shape[-1]:
        return as_text(np.full(characters.shape[:-1], b""))
    return as_text(characters.view(f"S{characters.shape[-1]}")[..., 0])


def clean(text: str) -> str:
    """Text that UTF-8 can write."""
    return text.encode("utf-8", "replace").decode("utf-8")


def plain(attrs: Mapping[str, Any]) -> dict[str, Any]:
    """Attributes as JSON-ready values, without what HDF5 keeps for itself."""
    return {clean(str(k)): _plain_value(v) for k, v in attrs.items() if k not in _HDF5_ONLY}


def _plain_value(value: Any) -> Any:
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    if isinstance(value, np.ndarray) and value.dtype.names is None:
        return _plain_value(value.flat[0]) if value.size == 1 else [_plain_value(v) for v in value.tolist()]
    if isinstance(value, np.generic) and value.dtype.names is None:
        value = value.item()
    if isinstance(value, str):
        return clean(value)
    if isinstance(value, float) and not np.isfinite(value):
        return {"float": str(value)}
    if isinstance(value, (list, tuple)):
        return [_plain_value(v) for v in value]
    if isinstance(value, Mapping):
        return {clean(str(k)): _plain_value(v) for k, v in value.items()}
    if isinstance(value, int) and not isinstance(value, bool) and not -(2**63) <= value < 2**64:
        return str(value)
    return value if isinstance(value, (int, float, bool)) or value is None else clean(str(value))


def attributes(stored: Mapping[str, Any]) -> dict[str, Any]:
    """Attributes of a header as xarray wants them."""
    return {name: _number(value) for name, value in stored.items()}


def _number(value: Any) -> Any:
    if isinstance(value, Mapping) and set(value) == {"float"}:
        return float(value["float"])
    return [_number(v) for v in value] if isinstance(value, list) else value
