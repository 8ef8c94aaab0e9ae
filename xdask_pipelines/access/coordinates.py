"""Coordinates in headers: complete, encoded as in their file, stored as text.

Belongs here: packing and unpacking coordinates, and recognising bounds. Does not belong here: reading files
(describing).
"""

from __future__ import annotations

import base64
import json
import zlib
from collections.abc import Mapping
from typing import Any

import numpy as np

#: Non-dimension variables up to this size (bounds, auxiliary coordinates) are part of the header.
MAX_COORDINATE_BYTES = 1_000_000
#: Replaces the dtype of coordinates whose values are strings.
TEXT = "text"


def unpack(coordinate: Mapping[str, Any]) -> np.ndarray:
    """Return the values of a coordinate in a header, as stored in the file; text as an array of ``str``."""
    if coordinate["dtype"] == TEXT:
        words = json.loads(coordinate["data"])
        return np.array(words, np.dtype(str) if words else "<U1").reshape(coordinate["shape"])
    if "step" in coordinate:
        steps = np.arange(coordinate["shape"][0], dtype=coordinate["dtype"])
        return np.asarray(steps * steps.dtype.type(coordinate["step"]) + steps.dtype.type(coordinate["start"]))
    raw = zlib.decompress(base64.b64decode(coordinate["data"]))
    return np.frombuffer(raw, np.dtype(coordinate["dtype"])).reshape(coordinate["shape"])


def pack(values: np.ndarray) -> dict[str, Any]:
    """Return the form of a coordinate's values in a header."""
    if values.dtype.kind in "OU":
        words = [str(value) for value in values.ravel()]
        return {"dtype": TEXT, "shape": list(values.shape), "data": json.dumps(words, ensure_ascii=False)}
    little = np.ascontiguousarray(values).astype(values.dtype.newbyteorder("<"))
    if little.nbytes > MAX_COORDINATE_BYTES and (step := _even_step(little)) is not None:
        start = int(little[0])
        form = {"dtype": little.dtype.str, "shape": list(values.shape), "start": start, "step": step}
        return {**form, "data": f"{start}+{step}"}
    return {
        "dtype": little.dtype.str,
        "shape": list(values.shape),
        "data": base64.b64encode(zlib.compress(little.tobytes())).decode(),
    }


def _even_step(values: np.ndarray) -> int | None:
    """Return the step of evenly spaced integers, such as the hours of decades in one store; None for other values."""
    if values.ndim != 1 or values.dtype.kind not in "iu" or values.size < 2:
        return None
    steps = np.diff(values.astype("<i8"))
    return int(steps[0]) if (steps == steps[0]).all() else None


def is_bounds(name: str) -> bool:
    """Return whether a variable has bounds of cells, by its name."""
    return name.endswith(("_bnds", "_bounds"))
