"""GRIB files made on the spot with ecCodes, encoded as weather centres do.

Belongs here: writing. Does not belong here: claims.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from xdask_pipelines.access.describing.grib import load_eccodes

eccodes = load_eccodes()
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


def decoded(path: Path) -> dict[tuple[str, str, float, int], np.ndarray]:
    """Fields of a file as ecCodes itself gives them, by name, valid time (YYYYMMDDhhmm), level and member."""
    fields = {}
    with path.open("rb") as file:
        while (handle := eccodes.codes_grib_new_from_file(file)) is not None:
            get = {k: eccodes.codes_get(handle, k) for k in ("cfVarName", "validityDate", "validityTime", "Nj", "Ni")}
            member = eccodes.codes_get(handle, "number") if eccodes.codes_is_defined(handle, "number") else 0
            values = eccodes.codes_get_values(handle)
            if eccodes.codes_get(handle, "bitmapPresent"):
                values[values == eccodes.codes_get(handle, "missingValue")] = np.nan
            when = f"{get['validityDate']:08}{get['validityTime']:04}"
            at = (get["cfVarName"], when, float(eccodes.codes_get(handle, "level")), int(member))
            fields[at] = values.reshape(get["Nj"], get["Ni"]).astype("f4")
            eccodes.codes_release(handle)
    return fields
