"""Coordinates as headers keep them: whole, encoded as in their file, as text.

Belongs here: that form, and which variables are bounds. Does not belong here: reading files (describing).
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
#: In place of a dtype: values are strings.
TEXT = "text"


def unpack(coordinate: Mapping[str, Any]) -> np.ndarray:
    """Values of a coordinate kept in a header, as stored in the file; text as an array of ``str``."""
    if coordinate["dtype"] == TEXT:
        words = json.loads(coordinate["data"])
        return np.array(words, np.dtype(str) if words else "<U1").reshape(coordinate["shape"])
    if "step" in coordinate:
        steps = np.arange(coordinate["shape"][0], dtype=coordinate["dtype"])
        return np.asarray(steps * steps.dtype.type(coordinate["step"]) + steps.dtype.type(coordinate["start"]))
    raw = zlib.decompress(base64.b64decode(coordinate["data"]))
    return np.frombuffer(raw, np.dtype(coordinate["dtype"])).reshape(coordinate["shape"])


def pack(values: np.ndarray) -> dict[str, Any]:
    """Form in which a header keeps a coordinate's values."""
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
    """Step of whole numbers that go on evenly, such as the hours of decades in one store; None for others."""
    if values.ndim != 1 or values.dtype.kind not in "iu" or values.size < 2:
        return None
    steps = np.diff(values.astype("<i8"))
    return int(steps[0]) if (steps == steps[0]).all() else None


def is_bounds(name: str) -> bool:
    """Whether a variable holds bounds of cells, by its name."""
    return name.endswith(("_bnds", "_bounds"))
