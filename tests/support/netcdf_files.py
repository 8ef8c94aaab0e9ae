"""Small files for tests of what a header says: fields on a grid of 18 by 36, written as people write them.

Belongs here: making files. Does not belong here: claims.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

LAT, LON = -85 + 10.0 * np.arange(18), 10.0 * np.arange(36)


def axes(lat: Any = LAT, lon: Any = LON, names: tuple[str, str] = ("lat", "lon")) -> dict[str, Any]:
    """Latitude and longitude by CF, under any names."""
    return {
        names[0]: (names[0], lat, {"standard_name": "latitude", "units": "degrees_north"}),
        names[1]: (names[1], lon, {"standard_name": "longitude", "units": "degrees_east"}),
    }


def times(values: Any, units: str, calendar: str = "standard", **attrs: Any) -> tuple[str, Any, dict[str, Any]]:
    """A time coordinate as stored."""
    return "time", values, {"standard_name": "time", "units": units, "calendar": calendar, **attrs}


def field(steps: Any, name: str = "t2m", time: Any = None, **attrs: Any) -> xr.Dataset:
    """A field that is one number a step."""
    values = np.asarray(steps, "f4")[:, None, None] * np.ones((1, 18, 36), "f4")
    time = times(np.arange(len(values)), "hours since 2001-01-01") if time is None else time
    return xr.Dataset({name: (("time", "lat", "lon"), values, {"units": "K", **attrs})}, {**axes(), "time": time})


def written(path: Path, dataset: xr.Dataset, **options: Any) -> Path:
    """Write a netCDF file, or a Zarr store if the path ends in .zarr."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".zarr":
        dataset.to_zarr(path, mode="w", consolidated=options.pop("zarr_format", 2) == 2, **options)
    else:
        dataset.to_netcdf(path, **options)
    return path
