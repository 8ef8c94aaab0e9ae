"""Raw variables: the common result of all readers, independent of the format.

Belongs here: this form, converting text, plain attributes. Does not belong here: any format.
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
    """A readable file cannot be catalogued; has the reason and the fix.

    Parameters
    ----------
    reason
        A clause whose subject is the file: ``has no dimension names``.
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
        Properties as stored; text has dtype ``object`` and no dimension of characters.
    chunks
        Stored chunks; the whole shape if not chunked.
    stored_bytes
        Bytes on disk.
    read
        Returns all values; text as ``str``.
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
        """Return whether values are strings."""
        return self.dtype.kind == "O"

    @property
    def nbytes(self) -> int:
        """Return the size in memory; an estimate for text."""
        return int(np.prod(self.shape, dtype=np.int64)) * self.dtype.itemsize


@dataclass(frozen=True)
class RawFile:
    """The content of one file or store at its root.

    ``groups`` are the names of groups below the root; ``container`` is the format of blocks if it is not the entry's
    format.
    """

    attrs: Mapping[str, Any]
    variables: tuple[RawVariable, ...]
    groups: tuple[str, ...] = ()
    container: str = ""


def as_text(values: Any) -> np.ndarray:
    """Convert strings of any storage to an object array of ``str``; invalid UTF-8 is replaced."""
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
    """Convert arrays of single characters (..., length) to strings (...)."""
    characters = np.ascontiguousarray(values)
    if not characters.shape[-1]:
        return as_text(np.full(characters.shape[:-1], b""))
    return as_text(characters.view(f"S{characters.shape[-1]}")[..., 0])


def clean(text: str) -> str:
    """Return text that can be encoded in UTF-8."""
    return text.encode("utf-8", "replace").decode("utf-8")


def plain(attrs: Mapping[str, Any]) -> dict[str, Any]:
    """Return attributes as JSON values, without internal ones of HDF5."""
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
    """Return attributes of a header in the form of xarray."""
    return {name: _number(value) for name, value in stored.items()}


def _number(value: Any) -> Any:
    if isinstance(value, Mapping) and set(value) == {"float"}:
        return float(value["float"])
    return [_number(v) for v in value] if isinstance(value, list) else value
