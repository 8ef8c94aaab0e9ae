"""Times become datetime64 where numpy has them, exactly, and stay what they are elsewhere."""

from __future__ import annotations

import cftime
import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

from xdask_pipelines.access.plain_datetimes import with_datetimes
from xdask_pipelines.climate import time_weighted_mean, with_bounds

NAMES = ("time", "time_lower", "time_upper")


def months(calendar: str, start: str = "2015-01", number: int = 14) -> xr.DataArray:
    """A monthly series with bounds, in the middle of its months."""
    edges = xr.date_range(start, periods=number + 1, freq="MS", calendar=calendar, use_cftime=True).values
    middle = edges[:-1] + (edges[1:] - edges[:-1]) / 2
    time = xr.Variable("time", middle, {"bounds": "time_bnds", "long_name": "time"}, {"calendar": calendar})
    bounds = xr.Variable(("time", "bnds"), np.stack([edges[:-1], edges[1:]], axis=1))
    values = xr.Variable("time", np.arange(number, dtype=float), {"units": "K"})
    return with_bounds(xr.Dataset({"tas": values}, {"time": time, "time_bnds": bounds}), "tas")


@pytest.mark.parametrize("calendar", ["standard", "proleptic_gregorian"])
def test_a_standard_calendar_becomes_datetime64_with_its_bounds(calendar: str) -> None:
    series = months(calendar)
    plain = with_datetimes(series)
    for name in NAMES:
        assert plain[name].dtype == "datetime64[us]"
        assert plain[name].dims == series[name].dims
        texts = [date.isoformat() for date in series[name].values.flat]
        assert [str(np.datetime64(text)) for text in texts] == [
            str(np.datetime64(str(value).removesuffix(".000000"))) for value in plain[name].values.flat
        ]
    assert plain.time.attrs == series.time.attrs
    assert plain.time.encoding["calendar"] == calendar
    whole = xr.Dataset(
        {"tas": series.drop_vars(NAMES[1:])}, {"time_bnds": (("time", "bnds"), np.stack([series.time] * 2, 1))}
    )
    assert with_datetimes(whole).time_bnds.dtype == "datetime64[us]"
    assert plain.sel(time="2015-03").size == 1
    xr.testing.assert_identical(time_weighted_mean(plain), time_weighted_mean(series))


@pytest.mark.parametrize("calendar", ["noleap", "360_day", "all_leap", "julian"])
def test_other_calendars_stay_cftime(calendar: str) -> None:
    series = months(calendar)
    assert with_datetimes(series).identical(series)


def test_julian_days_of_the_standard_calendar_stay_cftime_and_so_do_their_bounds() -> None:
    for start, converted in (("1581-06", False), ("1582-09", False), ("1583-01", True), ("0900-01", False)):
        series = months("standard", start)
        plain = with_datetimes(series)
        kinds = {plain[name].dtype.kind for name in NAMES}
        assert kinds == {"M" if converted else "O"}, start


def test_years_that_text_cannot_hold_and_no_dates_stay() -> None:
    spin_up = months("proleptic_gregorian", "2015-01").isel(time=slice(1)).drop_vars(["time_lower", "time_upper"])
    spin_up["time"] = [cftime.datetime(12_000, 1, 1, calendar="proleptic_gregorian")]
    assert with_datetimes(spin_up).time.dtype == object
    plain = xr.DataArray([1.0], {"x": ["a"]}, ["x"])
    assert with_datetimes(plain).identical(plain)
    assert with_datetimes(months("standard").isel(time=slice(0, 0))).size == 0


@given(st.integers(1583, 9999), st.integers(1, 12), st.integers(1, 28), st.integers(0, 86_399_999_999))
@settings(max_examples=50, deadline=None)
def test_to_the_microsecond(year: int, month: int, day: int, microseconds: int) -> None:
    moment = cftime.datetime(year, month, day, calendar="standard") + np.timedelta64(microseconds, "us").item()
    series = xr.DataArray([1.0], {"time": [moment]}, ["time"])
    assert with_datetimes(series).time.values[0] == np.datetime64(moment.isoformat())
