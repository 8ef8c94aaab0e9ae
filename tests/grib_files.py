"""GRIB files made on the spot with ecCodes, encoded as weather centres do.

Belongs here: writing. Does not belong here: claims.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import eccodes
import numpy as np

RNG = np.random.default_rng(11)


def message(sample: str = "regular_ll_pl_grib2", values: Any = None, **keys: Any) -> bytes:
    """One message; keys are ecCodes' own, set in the order given."""
    handle = eccodes.codes_grib_new_from_samples(sample)
    try:
        for key, value in keys.items():
            eccodes.codes_set(handle, key, value)
        reduced = str(eccodes.codes_get(handle, "gridType")).startswith("reduced")
        points = [eccodes.codes_get(handle, key) for key in (["numberOfDataPoints"] if reduced else ["Nj", "Ni"])]
        field = RNG.normal(280, 10, points) if values is None else values
        eccodes.codes_set_values(handle, np.asarray(field, "f8").ravel())
        return bytes(eccodes.codes_get_message(handle))
    finally:
        eccodes.codes_release(handle)


def write_grib(path: Path, *messages: bytes) -> Path:
    """A file of messages, one after another."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"".join(messages))
    return path


def decoded(path: Path) -> list[np.ndarray]:
    """Fields of a file, as ecCodes itself gives them."""
    fields = []
    with path.open("rb") as file:
        while (handle := eccodes.codes_grib_new_from_file(file)) is not None:
            shape = eccodes.codes_get(handle, "Nj"), eccodes.codes_get(handle, "Ni")
            fields.append(eccodes.codes_get_values(handle).reshape(shape))
            eccodes.codes_release(handle)
    return fields
