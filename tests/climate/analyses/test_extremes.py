"""Indices of extremes by xclim: units, gaps, placed arrays, and what they refuse."""

from __future__ import annotations

import sys

import dask.array as da
import numpy as np
import pytest
import xarray as xr

from xdask_pipelines.climate.analyses import frost_days, warm_days
from xdask_pipelines.errors import ClimateError


def daily(years: int = 4, calendar: str = "noleap", **attrs: str) -> xr.DataArray:
    time = xr.date_range("2001-01-01", periods=365 * years, calendar=calendar, use_cftime=True)
    day = np.arange(time.size)
    values = (
        283.15 + 12 * np.cos(2 * np.pi * day / 365)[:, None] + np.random.default_rng(0).normal(0, 3, (time.size, 2))
    )
    said = {"units": "K", "standard_name": "air_temperature", "cell_methods": "time: maximum", **attrs}
    return xr.DataArray(values, coords={"time": time}, dims=("time", "cell"), name="tasmax", attrs=said)


def test_frost_days_equal_counting() -> None:
    field = daily(cell_methods="time: minimum").rename("tasmin")
    wanted = (field < 273.15).groupby("time.year").sum().rename(year="time")
    for each in (field, field.chunk(time=100)):
        found = frost_days(each)
        np.testing.assert_array_equal(found, wanted.transpose(*found.dims))
        assert found.attrs["units"] == "days"
    assert isinstance(frost_days(field.chunk(time=100)).data, da.Array)


def test_warm_days_are_a_tenth_in_their_baseline_and_follow_warming() -> None:
    field = daily(12)
    warmer = field + 5 * (field.time.dt.year > 2010)
    found = warm_days(warmer.assign_attrs(field.attrs).chunk(time=365), "2001-2010")
    assert float(found.sel(time=slice("2001", "2010")).mean()) / 365 == pytest.approx(0.1, abs=0.02)
    assert float(found.sel(time="2011").mean()) > 100
    assert found.attrs["baseline"] == "2001 to 2010"


def test_years_that_are_not_complete_are_nan() -> None:
    assert np.isnan(frost_days(daily()[:500])).any("cell").values.tolist() == [False, True]


def test_what_is_not_daily_complete_or_a_temperature_is_refused() -> None:
    field = daily()
    with pytest.raises(ClimateError, match="takes daily values, but the steps of 'time' last 48 h"):
        frost_days(field[::2])
    with pytest.raises(ClimateError, match="lacks 2001-01-11"):
        frost_days(field.isel(time=[*range(10), *range(11, 400)]))
    with pytest.raises(ClimateError, match="xclim refuses tasmax"):
        frost_days(field.assign_attrs(units="kg m-2"))
    with pytest.raises(ClimateError, match="unknown baseline"):
        warm_days(field, "wmo")
    with pytest.raises(ClimateError, match="baseline '1961-1990'"):
        warm_days(field, "1961-1990")


def test_without_xclim_one_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "xclim", None)
    with pytest.raises(ClimateError, match=r"pip install .xdask_pipelines\[indices\]"):
        frost_days(daily())
