"""A header is held against itself and against its path when it is described; what fails is named with file and remedy."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr

from tests.support.netcdf_files import LAT, LON, axes, field, times, written
from xdask_pipelines.access.describing.validation import Claim
from xdask_pipelines.access.header import describe
from xdask_pipelines.catalog.times import time_range
from xdask_pipelines.errors import AccessError

DAYS = np.array([31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31])
EDGES = np.r_[0, DAYS.cumsum()].astype("f8")
BOUNDS = np.stack([EDGES[:-1], EDGES[1:]], 1)


def _monthly(bounds: np.ndarray, stamps: np.ndarray | None = None) -> xr.Dataset:
    middles = BOUNDS.mean(axis=1) if stamps is None else stamps
    time = times(middles, "days since 2001-01-01", "noleap", bounds="time_bnds")
    made = field(np.zeros(12), "tas", time)
    return made.assign(time_bnds=(("time", "bnds"), bounds))


def _changed(step: int, side: int, value: float) -> np.ndarray:
    bounds = BOUNDS.copy()
    bounds[step, side] = value
    return bounds


@pytest.mark.parametrize("suffix", ["nc", "zarr"])
@pytest.mark.parametrize(
    ("dataset", "reason"),
    [
        (field([0] * 4, time=times([0, 1, 1, 2], "hours since 2021-08-01")), "has 2021-08-01 01:00:00 twice"),
        (field([0] * 3, time=times([0, 2, 1], "hours since 2021-08-01")), "goes back at step 2"),
        (field([0] * 3, time=times([0, np.nan, 2], "days since 2021-08-01")), "missing value in its coordinate 'time'"),
        (_monthly(_changed(0, 0, -700_000.0)), "bounds far from its stamp at step 0"),
        (_monthly(np.stack([0 * EDGES[1:], EDGES[1:]], 1)), "bounds that overlap at steps 0 and 1"),
        (_monthly(_changed(3, 1, 110.0)), "bounds that leave a gap between steps 3 and 4"),
        (_monthly(_changed(4, 0, np.nan)), "has no bounds at step 4"),
        (field([0], time=times([0.0], "months since 2001-01-01")), "no fixed length in the calendar 'standard'"),
        (field([0], time=times([0.0], "days since 2001-01-01", "360")), "calendar '360'"),
        (field([0], time=times([0.0], "day as %Y%m%d.%f")), "not as numbers of units since a date"),
        (field([0], time=times([1e30], "days since 2001-01-01")), "cannot be decoded"),
        (field([0], time=times([4e7], "days since 2001-01-01", "noleap")), "the catalog supports the years 1 to 99999"),
        (field([0]).assign_coords(lat=LAT * 2), "has -170 degrees in its coordinate 'lat' at index 0"),
        (field([0], missing_value="-999"), "has a variable 't2m' whose missing_value is text"),
        (field([0], scale_factor=0.0), "has a variable 't2m' whose scale_factor is 0.0"),
        (field([0], add_offset=np.nan), "has a variable 't2m' whose add_offset is nan"),
        (field([0]).drop_vars("t2m"), "has no data variable of numbers; it has"),
    ],
)
def test_what_cannot_be_true_is_refused_with_reason_and_remedy(
    tmp_path: Path, suffix: str, dataset: xr.Dataset, reason: str
) -> None:
    path = written(tmp_path / f"a.{suffix}", dataset)
    with pytest.raises(AccessError, match=reason) as caught:
        describe(path, "netcdf4" if suffix == "nc" else "zarr2")
    assert str(caught.value).startswith(f"a.{suffix} has ")
    assert "If the file is yours," in str(caught.value)
    assert "list this one under `exclude` of its dataset in regions.yaml" in str(caught.value)


@pytest.mark.parametrize("stamps", [BOUNDS[:, 0], BOUNDS.mean(axis=1), BOUNDS[:, 1]])
def test_months_stamped_anywhere_in_their_bounds_are_the_same_year(tmp_path: Path, stamps: np.ndarray) -> None:
    header = describe(written(tmp_path / "a.nc", _monthly(BOUNDS, stamps)), "netcdf4")
    assert header["time_range"] == [20010101000000, 20020101000000]
    assert header["steps"] == {"found": 12, "expected": 12, "unit": "months"}
    assert "time_gaps" not in header


def test_bounds_of_other_times_count_for_nothing_and_are_warned_of(tmp_path: Path) -> None:
    header = describe(written(tmp_path / "a.nc", _monthly(BOUNDS + 3650)), "netcdf4")
    assert header["time_range"] == [20010101000000, 20020101000000]
    (warning,) = header["warnings"]
    assert "'time' lies outside its bounds at step 0" in warning


def test_bounds_beyond_a_pole_and_over_360_degrees_are_warned_of(tmp_path: Path) -> None:
    coords = axes()
    coords["lat"][2]["bounds"], coords["lon"][2]["bounds"] = "lat_bnds", "lon_bnds"
    lat_bnds, lon_bnds = (np.stack([c - 5, c + 5], 1) for c in (LAT, LON))
    lat_bnds[0, 0], lon_bnds[-1, 1] = -95.0, 360.0
    bounds = {"lat_bnds": (("lat", "two"), lat_bnds), "lon_bnds": (("lon", "two"), lon_bnds)}
    made = xr.Dataset({"tas": (("lat", "lon"), np.zeros((18, 36)), {"units": "K"}), **bounds}, coords)
    header = describe(written(tmp_path / "a.nc", made), "netcdf4")
    assert [text.partition(";")[0] for text in header["warnings"]] == [
        "the bounds of 'lat' reach from -95 to 90 degrees, beyond a pole",
        "the bounds of 'lon' span 365 degrees, more than the Earth",
    ]
    assert header["extent"] == [-180.0, -90.0, 180.0, 90.0]


def _hours(first: str, count: int, path_name: str = "t2m") -> xr.Dataset:
    return field(np.zeros(count), path_name, times(np.arange(count), f"hours since {first}"))


@pytest.mark.parametrize(
    ("dataset", "claim", "reason"),
    [
        (_hours("2020-01-01", 744), Claim(("t2m",), time_range("2021-07")), "its path says 2021-07"),
        (_hours("2021-06-30T23:00:00", 744), Claim(("t2m",), time_range("2021-07")), "its path says 2021-07"),
        (_hours("2021-07-01", 745), Claim(("t2m",), time_range("2021-07")), "its path says 2021-07"),
        (_hours("2021-07-01", 24, "d2m"), Claim(("t2m",)), "has d2m, but its path says t2m"),
    ],
)
def test_content_that_its_path_does_not_name_is_refused(
    tmp_path: Path, dataset: xr.Dataset, claim: Claim, reason: str
) -> None:
    with pytest.raises(AccessError, match=reason):
        describe(written(tmp_path / "a.nc", dataset), "netcdf4", claim=claim)


def test_accumulations_stamped_at_their_end_belong_to_the_month_of_their_bounds(tmp_path: Path) -> None:
    hours = np.arange(1, 745.0)
    made = _hours("2021-07-01", 744).assign_coords(time=times(hours, "hours since 2021-07-01", bounds="time_bounds"))
    made = made.assign(time_bounds=(("time", "two"), np.stack([hours - 1, hours], 1)))
    header = describe(
        written(tmp_path / "a.nc", made), "netcdf4", claim=Claim(("t2m",), time_range("2021-07"), step_seconds=3600)
    )
    assert header["time_range"] == [20210701000000, 20210801000000]
    assert header["steps"] == {"found": 744, "expected": 744, "unit": "h"}


@pytest.mark.parametrize(
    ("time", "claim", "steps"),
    [
        (times(np.arange(400), "hours since 2020-01-01"), Claim(period=time_range("2020-01")), (400, 744, "h")),
        (
            times(np.arange(0, 744, 2), "hours since 2020-01-01"),
            Claim(period=time_range("2020-01")),
            (372, 372, "steps of 2 h"),
        ),
        (
            times(np.arange(0, 744, 2), "hours since 2020-01-01"),
            Claim(period=time_range("2020-01"), step_seconds=3600),
            (372, 744, "h"),
        ),
        (
            times(np.arange(31), "days since 2020-01-01"),
            Claim(period=time_range("2020")),
            (31, 366, "days"),
        ),
        (times(15.0 + 30 * np.array([0, 1, 2, 6, 7]), "days since 2001-01-01", "360_day"), Claim(), (5, 8, "months")),
        (times(180.0 + 360 * np.array([0, 1, 4]), "days since 2001-01-01", "360_day"), Claim(), (3, 5, "years")),
    ],
)
def test_missing_steps_are_counted_whatever_the_layout(
    tmp_path: Path, time: Any, claim: Claim, steps: tuple[int, int, str]
) -> None:
    path = written(tmp_path / "a.nc", field(np.zeros(len(time[1])), time=time))
    assert tuple(describe(path, "netcdf4", claim=claim)["steps"].values()) == steps


def test_gaps_of_a_series_are_known_by_their_times(tmp_path: Path) -> None:
    time = times(15.0 + 30 * np.array([0, 2, 3, 6]), "days since 2001-01-01", "360_day")
    header = describe(written(tmp_path / "a.nc", field(np.zeros(4), time=time)), "netcdf4")
    assert header["time_range"] == [20010101000000, 20010801000000]
    assert header["time_gaps"] == [[20010201000000, 20010301000000], [20010501000000, 20010701000000]]


def test_invariant_data_have_no_time_although_their_file_has_an_axis(tmp_path: Path) -> None:
    path = written(tmp_path / "a.nc", field([0], "Z", times([0], "hours since 1979-01-01")))
    assert "time_range" in describe(path, "netcdf4", claim=Claim(("Z",)))
    assert "time_range" not in describe(path, "netcdf4", claim=Claim(("Z",), timeless=True))


def test_when_a_forecast_began_is_no_time_of_its_values(tmp_path: Path) -> None:
    made = xr.Dataset(
        {"LSP": (("forecast_initial_time", "forecast_hour", "lat", "lon"), np.zeros((2, 3, 18, 36)))},
        {
            **axes(),
            "forecast_initial_time": ("forecast_initial_time", [6, 18], {"units": "hours since 2020-01-01"}),
            "forecast_hour": ("forecast_hour", [1, 2, 3], {"units": "hours"}),
        },
    )
    assert "time_range" not in describe(
        written(tmp_path / "a.nc", made), "netcdf4", claim=Claim(("LSP",), time_range("2020-01-01"))
    )


def test_where_values_hold_is_told_from_valid_times_and_not_from_when_a_forecast_began(tmp_path: Path) -> None:
    hours = np.array([6.0, 12.0, 18.0, 24.0])
    began = {"standard_name": "time", "long_name": "initial time of forecast", "units": "days since 2001-01-01"}
    valid = {"standard_name": "time", "long_name": "time", "units": "days since 2001-01-01"}
    made = xr.Dataset(
        {"t2m": (("step", "lat", "lon"), np.zeros((4, 18, 36)), {"units": "K"})},
        {**axes(), "time": ((), 30.0, began), "step": ("step", hours), "valid_time": ("step", 30 + hours / 24, valid)},
    )
    assert describe(written(tmp_path / "a.nc", made), "netcdf4")["time_range"] == [20010131060000, 20010201060000]


def test_places_in_radians_are_found_by_their_degrees(tmp_path: Path) -> None:
    coords = axes(np.deg2rad(LAT), np.deg2rad(LON))
    coords["lat"][2]["units"] = coords["lon"][2]["units"] = "radian"
    made = xr.Dataset({"t2m": (("lat", "lon"), np.zeros((18, 36)), {"units": "K"})}, coords)
    assert describe(written(tmp_path / "a.nc", made), "netcdf4")["extent"] == pytest.approx(
        [-180.0, -90.0, 180.0, 90.0]
    )
