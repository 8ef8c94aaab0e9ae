"""Where and when data lie, as their headers say it: grids and calendars of many kinds, read from real stores."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr

from xdask_pipelines.access.header import describe
from xdask_pipelines.catalog.extent import extent_of
from xdask_pipelines.errors import AccessError

NORTH, EAST = {"units": "degrees_north"}, {"units": "degrees_east"}
GLOBE = [-180.0, -90.0, 180.0, 90.0]


def _header(folder: Path, lat: Any, lon: Any, coords: dict[str, Any] | None = None) -> dict[str, Any]:
    """Header of a store on a grid, as it is stored."""
    grid = {"lat": ("lat", np.asarray(lat, "f8"), NORTH), "lon": ("lon", np.asarray(lon, "f8"), EAST)}
    shape = len(lat), len(lon)
    xr.Dataset({"tas": (("lat", "lon"), np.zeros(shape, "f4"))}, coords or grid).to_zarr(folder / "s", zarr_format=2)
    return describe(folder / "s", "zarr2", ["tas"])


@pytest.mark.parametrize(
    ("lat", "lon", "extent"),
    [
        (np.linspace(90, -90, 19), np.arange(0, 360, 10), GLOBE),
        (np.linspace(-85, 85, 18), np.arange(-175, 180, 10), GLOBE),
        (np.linspace(-90, 90, 19), np.arange(0, 361, 10), GLOBE),
        ([45, 55], np.arange(0, 360, 10), [-180, 40, 180, 60]),
        ([45, 55], [-5, 5, 15], [-10, 40, 20, 60]),
        ([45, 55], [355, 5, 15], [-10, 40, 20, 60]),
        ([-5, 5], [165, 175, 185, 195], [160, -10, 200, 10]),
        ([-5, 5], [165, 175, -175, -165], [160, -10, 200, 10]),
        ([52.5], [13.25], [13.25, 52.5, 13.25, 52.5]),
    ],
)
def test_a_grid_reaches_half_a_step_beyond_its_points(tmp_path: Path, lat: Any, lon: Any, extent: list[float]) -> None:
    found = _header(tmp_path, lat, lon)["extent"]
    assert found == pytest.approx(extent)
    assert list(extent_of(found, "")) == pytest.approx(extent), "it is in the catalog's own form"


def test_bounds_say_better_where_cells_end(tmp_path: Path) -> None:
    attrs = {"units": "degrees_north", "bounds": "lat_bnds"}, {"units": "degrees_east", "bounds": "lon_bnds"}
    coords = {
        "lat": ("lat", [40.0, 60.0], attrs[0]),
        "lon": ("lon", [0.0, 30.0], attrs[1]),
        "lat_bnds": (("lat", "two"), [[35.0, 50.0], [50.0, 62.0]]),
        "lon_bnds": (("lon", "two"), [[-7.0, 15.0], [15.0, 33.0]]),
    }
    assert _header(tmp_path, [40, 60], [0, 30], coords)["extent"] == pytest.approx([-7, 35, 33, 62])


def test_data_without_latitude_and_longitude_have_no_extent(tmp_path: Path) -> None:
    xr.Dataset({"tas": ("station", np.zeros(3))}, {"station": [1, 2, 3]}).to_zarr(tmp_path / "s", zarr_format=2)
    assert "extent" not in describe(tmp_path / "s", "zarr2", ["tas"])


def test_a_curvilinear_grid_lies_where_its_points_lie(tmp_path: Path) -> None:
    j, i = np.mgrid[0:5, 0:6]
    lat, lon = 60.0 + j + 0.1 * i, (355.0 + 2.0 * i - 0.1 * j) % 360
    axes = {"standard_name": "latitude", **NORTH}, {"standard_name": "longitude", **EAST}
    coords = {"lat": (("j", "i"), lat, axes[0]), "lon": (("j", "i"), lon, axes[1])}
    xr.Dataset({"tos": (("j", "i"), np.zeros((5, 6)))}, coords).to_zarr(tmp_path / "s", zarr_format=2)
    west, south, east, north = describe(tmp_path / "s", "zarr2", ["tos"])["extent"]
    assert (west, east) == pytest.approx((-6.4, 6.0))
    assert (south, north) == pytest.approx((59.95, 64.55))


def _times(folder: Path, units: str, calendar: str, values: Any, bounds: Any = None) -> list[int] | None:
    """Time range of a store with these times, as they are stored."""
    attrs = {"units": units, "calendar": calendar} | ({"bounds": "time_bnds"} if bounds else {})
    coords: dict[str, Any] = {"time": ("time", values, attrs)}
    if bounds:
        coords["time_bnds"] = (("time", "two"), bounds)
    xr.Dataset({"tas": ("time", np.zeros(len(values), "f4"))}, coords).to_zarr(folder / "s", zarr_format=2)
    return describe(folder / "s", "zarr2", ["tas"])["time_range"]


@pytest.mark.parametrize(
    ("units", "calendar", "values", "start", "end"),
    [
        ("hours since 1900-01-01", "standard", 1051896 + np.arange(744), 2020_01_01_00_00_00, 2020_02_01_00_00_00),
        ("hours since 2020-02-28", "standard", [0, 6, 12, 18], 2020_02_28_00_00_00, 2020_02_29_00_00_00),
        ("hours since 2021-12-31", "standard", 1.5 + np.arange(0, 24, 3), 2021_12_31_00_00_00, 2022_01_01_00_00_00),
        ("days since 2021-01-01", "standard", 0.5 + np.arange(365), 2021_01_01_00_00_00, 2022_01_01_00_00_00),
        ("days since 2021-01-01", "standard", [15.5, 45.0, 74.5], 2021_01_01_00_00_00, 2021_04_01_00_00_00),
        ("days since 2020-10-01", "standard", [0, 31, 61], 2020_10_01_00_00_00, 2021_01_01_00_00_00),
        ("days since 2020-01-01", "360_day", 15 + 30 * np.arange(2), 2020_01_01_00_00_00, 2020_03_01_00_00_00),
        ("days since 0001-01-01", "noleap", 182 + 365 * np.arange(3), 1_01_01_00_00_00, 4_01_01_00_00_00),
        ("days since 12000-01-01", "noleap", [0, 365], 12000_01_01_00_00_00, 12002_01_01_00_00_00),
        ("days since 2020-01-01", "standard", [0, 7, 14], 2020_01_01_00_00_00, 2020_01_15_00_00_01),
        ("hours since 2020-01-01", "standard", [0, 36], 2020_01_01_00_00_00, 2020_01_02_12_00_01),
        ("days since 2020-01-01", "standard", [0.1, 0.2, 0.3], 2020_01_01_02_24_00, 2020_01_01_09_36_00),
        ("hours since 2020-01-01", "standard", [5], 2020_01_01_05_00_00, 2020_01_01_05_00_01),
    ],
)
def test_a_step_without_bounds_stands_for_the_year_month_day_or_hours_it_lies_in(
    tmp_path: Path, units: str, calendar: str, values: Any, start: int, end: int
) -> None:
    assert _times(tmp_path, units, calendar, values) == [start, end]


def test_a_store_without_any_step_is_refused(tmp_path: Path) -> None:
    time = ("time", np.zeros(0), {"units": "days since 2020-01-01"})
    xr.Dataset({"tas": ("time", np.zeros(0, "f4"))}, {"time": time}).to_zarr(tmp_path / "s", zarr_format=2)
    with pytest.raises(AccessError, match="s holds no value: 'tas' has the dimension 'time' of size 0"):
        describe(tmp_path / "s", "zarr2", ["tas"])


@pytest.mark.parametrize("units", ["days since the flood", "fortnights since 2020-01-01", "days since 2020-13-45"])
def test_times_that_nobody_can_decode_are_an_error_of_that_file(tmp_path: Path, units: str) -> None:
    with pytest.raises(AccessError, match="s has times 'time' that cannot be decoded from units"):
        _times(tmp_path, units, "standard", [0.0, 1.0])


def test_bounds_say_better_when_steps_begin_and_end(tmp_path: Path) -> None:
    bounds = [[0.0, 10.0], [10.0, 20.0]]
    found = _times(tmp_path, "days since 2020-01-01", "standard", [5.0, 15.0], bounds)
    assert found == [2020_01_01_00_00_00, 2020_01_21_00_00_00]
