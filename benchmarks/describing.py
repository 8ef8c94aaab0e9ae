"""Describing a thousand files and stores: what the checks cost in addition to reading.

Belongs here: jobs, beside the reading alone and beside xarray, which is what one would pick instead. Does not belong here:
clocks.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

COUNT = 1000
_KINDS = {
    "netcdf4": "ERA5-like files of 744 hours",
    "zarr2": "CMIP6-like stores of 85 years",
    "zarr3": "the same in v3",
}


def _prepare(kind: str) -> Callable[[Path], None]:
    def prepare(folder: Path) -> None:
        """One of a kind, copied: the times of each are its own file's, and nothing is kept between processes."""
        made = folder / "made"
        if kind == "netcdf4":
            from xdask_pipelines.synthetic import write_era5_month

            one = write_era5_month(made, 2011, 1, shape=(181, 360))
        else:
            one = _store(made / "one", int(kind[-1]))
        for i in range(COUNT):
            target = folder / f"{i:04}"
            shutil.copytree(one, target) if one.is_dir() else shutil.copy(one, target)
        shutil.rmtree(made)

    return prepare


def _store(path: Path, version: int) -> Path:
    import numpy as np
    import xarray as xr

    edges = np.r_[0, np.cumsum(np.tile([31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31], 85))].astype("f8")
    lat, lon = np.linspace(-89, 89, 90), np.arange(0, 360, 2.0)
    attrs = {"units": "days since 2015-01-01", "calendar": "noleap", "standard_name": "time", "bounds": "time_bnds"}
    made = xr.Dataset(
        {
            "tas": (("time", "lat", "lon"), np.zeros((edges.size - 1, 90, 180), "f4"), {"units": "K"}),
            "time_bnds": (("time", "bnds"), np.stack([edges[:-1], edges[1:]], 1)),
        },
        {
            "time": ("time", (edges[1:] + edges[:-1]) / 2, attrs),
            "lat": ("lat", lat, {"standard_name": "latitude", "units": "degrees_north"}),
            "lon": ("lon", lon, {"standard_name": "longitude", "units": "degrees_east"}),
        },
    )
    made.chunk(time=255).to_zarr(path, zarr_format=version, consolidated=version == 2)
    return path


def _described(kind: str) -> Callable[[Path], Callable[[], Any]]:
    def way(folder: Path) -> Callable[[], Any]:
        from xdask_pipelines.access.describing.validation import Claim
        from xdask_pipelines.access.header import describe
        from xdask_pipelines.catalog.times import time_range

        hourly = Claim(("air_temperature_at_2_metres",), time_range("2011-01"), step_seconds=3600)
        claim = hourly if kind == "netcdf4" else Claim(("tas",))
        files = sorted(folder.iterdir())
        return lambda: sum("time_range" in describe(path, kind, claim=claim) for path in files)

    return way


def _read(kind: str) -> Callable[[Path], Callable[[], Any]]:
    def way(folder: Path) -> Callable[[], Any]:
        from xdask_pipelines.access.header import read_unchecked

        files = sorted(folder.iterdir())
        return lambda: sum("coords" in read_unchecked(path, kind) for path in files)

    return way


def _opened(kind: str) -> Callable[[Path], Callable[[], Any]]:
    def way(folder: Path) -> Callable[[], Any]:
        import xarray as xr

        engine = {"engine": "netcdf4"} if kind == "netcdf4" else {"engine": "zarr", "consolidated": kind == "zarr2"}
        files = sorted(folder.iterdir())

        def run() -> int:
            found = 0
            for path in files:
                with xr.open_dataset(
                    path, decode_times=xr.coders.CFDatetimeCoder(use_cftime=True), **engine
                ) as dataset:
                    found += "time" in str(dataset.dims)
            return found

        return run

    return way


def jobs() -> Iterator[tuple[str, str, Callable[[Path], None], dict[str, Any]]]:
    """Name, what it is, how its folder is made, and its ways."""
    for kind, what in _KINDS.items():
        ways = {
            "described and checked": _described(kind),
            "limit: reading alone, without checks": _read(kind),
            "xarray.open_dataset": _opened(kind),
        }
        yield f"describe-{kind}", f"headers of {COUNT:,} {what}", _prepare(kind), ways
