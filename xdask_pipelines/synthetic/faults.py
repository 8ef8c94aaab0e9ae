"""What can be wrong with, or merely unusual about, a synthetic file.

Belongs here: the faults' names, and what every format does alike. Does not belong here: a format's own ways.
"""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

KELVIN_AT_ZERO_CELSIUS = 273.15


class Fault(StrEnum):
    """A fault, or an orientation that careless code trips over; the data are otherwise the same."""

    MISSING_STEP = "missing-step"  #: one hour (ERA5) or one month (CMIP6) is not there, nor in the time axis
    TRUNCATED = "truncated"  #: the file, or the store's first chunk, ends half-way
    NAN_COORDINATE = "nan-coordinate"  #: one latitude is NaN
    NAN_VALUE = "nan-value"  #: one value is NaN
    WRONG_UNITS = "wrong-units"  #: degC, label and values, where K is expected
    WEST_LONGITUDES = "west-longitudes"  #: longitudes from -180 instead of from 0
    FLIPPED_LATITUDES = "flipped-latitudes"  #: ERA5 from south to north, CMIP6 from north to south
    DUPLICATE_VERSION = "duplicate-version"  #: an older version of a CMIP6 store lies next to it


def turn(
    fault: Fault | None, lat: NDArray[np.float64], lon: NDArray[np.float64]
) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.float64]]:
    """Order of rows and columns in the file, and each column's longitude in the file's own range."""
    rows = np.arange(lat.size)
    columns = np.arange(lon.size)
    if fault is Fault.FLIPPED_LATITUDES:
        rows = rows[::-1]
    if fault is Fault.WEST_LONGITUDES:
        lon = (lon + 180.0) % 360.0 - 180.0
        columns = np.argsort(lon)
    return rows, columns, lon[columns]


def truncate(path: Path) -> None:
    """Cut a file to half its size."""
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size // 2)
