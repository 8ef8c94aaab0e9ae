"""Fixes of known faults: only for named sources, only if the fault is there, and recorded."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr

from xdask_pipelines.access.coordinates import unpack
from xdask_pipelines.access.describing.fixes import ALL_FIXES, fixed
from xdask_pipelines.access.header import describe, read_unchecked

MONTHS = xr.date_range("2001-01", periods=13, freq="MS", calendar="noleap", use_cftime=True)
EDGES = np.array([(month - MONTHS[0]).days for month in MONTHS], float)


def written(path: Path, **changes: Any) -> Path:
    """A store of 12 monthly means, with bounds of 20 days and longitudes whose last cell ends at 360."""
    lon = 3.75 * np.arange(96)
    lon_bounds = np.stack([lon - 1.875, lon + 1.875], axis=1)
    lon_bounds[-1, 1] = 360.0
    starts = np.arange(12) * 30.0
    values = {
        "time": 15.0 + 365 / 12 * np.arange(12),
        "time_bnds": np.stack([starts + 5, starts + 25], axis=1),
    } | changes
    dataset = xr.Dataset(
        {
            "tas": (("time", "lat", "lon"), np.full((12, 3, 96), 280, "f4"), {"units": "K"}),
            "time_bnds": (("time", "bnds"), values["time_bnds"]),
            "lon_bnds": (("lon", "bnds"), values.get("lon_bnds", lon_bounds)),
        },
        coords={
            "time": (
                "time",
                values["time"],
                {
                    "units": "days since 2001-01-01",
                    "calendar": "noleap",
                    "bounds": "time_bnds",
                    "standard_name": "time",
                },
            ),
            "lat": ("lat", [-60.0, 0.0, 60.0], {"standard_name": "latitude", "units": "degrees_north"}),
            "lon": ("lon", lon, {"standard_name": "longitude", "units": "degrees_east", "bounds": "lon_bnds"}),
        },
        attrs={"source_id": values.get("source_id", "FGOALS-f3-L"), "table_id": values.get("table_id", "Amon")},
    )
    dataset.to_netcdf(path)
    return path


def test_months_get_the_bounds_of_the_calendar(tmp_path: Path) -> None:
    header = describe(written(tmp_path / "a.nc"), "netcdf4")
    assert header["fixes"] == ["calendar-month-bounds"]
    bounds = unpack(header["coords"]["time_bnds"])
    assert bounds[:, 0].tolist() == [(month - MONTHS[0]).days for month in MONTHS[:-1]]
    assert bounds[:, 1].tolist() == [(month - MONTHS[0]).days for month in MONTHS[1:]]


def test_the_last_longitude_gets_its_whole_cell(tmp_path: Path) -> None:
    sound = np.stack([EDGES[:-1], EDGES[1:]], axis=1)
    header = describe(written(tmp_path / "a.nc", source_id="MCM-UA-1-0", time_bnds=sound), "netcdf4")
    assert header["fixes"] == ["cyclic-longitude-bounds"]
    assert unpack(header["coords"]["lon_bnds"])[-1].tolist() == [354.375, 358.125]


@pytest.mark.parametrize(
    "changes",
    [
        {"source_id": "CESM2"},
        {"source_id": ""},
        {"table_id": "day"},
        {"time_bnds": np.stack([EDGES[:-1], EDGES[1:]], axis=1)},
        {
            "time": 15.0 + 60.0 * np.arange(12),
            "time_bnds": np.stack([60.0 * np.arange(12), 60.0 * np.arange(12) + 20], axis=1),
        },
    ],
    ids=["another model", "no model", "days", "corrected data", "not every month"],
)
def test_what_has_not_this_fault_is_left_alone(tmp_path: Path, changes: dict[str, Any]) -> None:
    header = fixed(read_unchecked(written(tmp_path / "a.nc", **changes), "netcdf4"))
    assert "fixes" not in header
    with xr.open_dataset(tmp_path / "a.nc", decode_times=False) as raw:
        np.testing.assert_array_equal(unpack(header["coords"]["time_bnds"]), raw.time_bnds)
        np.testing.assert_array_equal(unpack(header["coords"]["lon_bnds"]), raw.lon_bnds)


def test_each_fix_says_for_whom_and_why() -> None:
    assert len({fix.name for fix in ALL_FIXES}) == len(ALL_FIXES)
    assert all(fix.sources and fix.why.endswith(".") for fix in ALL_FIXES)
