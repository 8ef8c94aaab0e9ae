"""Trends and warming levels agree with their definitions and with pymannkendall."""

from __future__ import annotations

import numpy as np
import pymannkendall
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

from xdask_pipelines.climate.analyses import sen_trend, warming_level_crossing
from xdask_pipelines.errors import ClimateError


def annual(values: np.ndarray, start: int = 1951, calendar: str = "noleap") -> xr.DataArray:
    time = xr.date_range(str(start), periods=len(values), freq="YS", calendar=calendar, use_cftime=True)
    dims = ("time", *(f"n{i}" for i in range(np.ndim(values) - 1)))
    return xr.DataArray(values, coords={"time": time}, dims=dims, name="tas", attrs={"units": "K"})


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 10_000), n=st.integers(8, 60), digits=st.sampled_from([0, 1, 9]))
def test_slope_and_p_value_are_those_of_pymannkendall(seed: int, n: int, digits: int) -> None:
    random = np.random.default_rng(seed)
    values = np.round(random.normal(0, 2, (n, 3)) + random.normal(0, 0.1) * np.arange(n)[:, None], digits)
    ours = sen_trend(annual(values))
    for cell in range(3):
        wanted = pymannkendall.original_test(values[:, cell])
        assert float(ours.slope[cell]) == pytest.approx(10 * wanted.slope, abs=1e-9)
        assert float(ours.p_value[cell]) == pytest.approx(wanted.p, abs=1e-12)


def test_missing_years_are_left_out_or_refused() -> None:
    values = np.cumsum(np.ones((20, 2)), axis=0)
    values[5, 1] = np.nan
    assert np.isnan(sen_trend(annual(values)).slope.values).tolist() == [False, True]
    part = sen_trend(annual(values), min_weight=0.9)
    assert part.slope.values == pytest.approx([10.0, 10.0])
    assert part.trend_steps.values.tolist() == [20, 19]
    with pytest.raises(ClimateError, match="at least 4"):
        sen_trend(annual(values[:3]))
    with pytest.raises(ClimateError, match="lacks"):
        sen_trend(annual(values).isel(time=[0, 1, 2, 3, 6, 7, 8]))


def test_lazy_equals_eager_and_equal_values_have_no_trend() -> None:
    values = np.random.default_rng(0).normal(size=(30, 4, 5))
    values[:, 0, 0] = 7.0
    field = annual(values)
    eager, lazy = sen_trend(field), sen_trend(field.chunk(time=10, n0=2))
    assert lazy.slope.chunks is not None
    xr.testing.assert_allclose(eager, lazy.compute())
    assert (float(eager.slope[0, 0]), float(eager.p_value[0, 0])) == (0.0, 1.0)
    assert eager.slope.attrs["units"] == "K decade-1"


@pytest.mark.parametrize("calendar", ["standard", "noleap", "360_day"])
def test_slopes_are_per_decade_of_the_calendar(calendar: str) -> None:
    assert float(sen_trend(annual(0.02 * np.arange(40.0), calendar=calendar)).slope) == pytest.approx(0.2, rel=1e-3)


def test_warming_levels_are_the_first_window_that_reaches_them() -> None:
    values = np.concatenate([np.zeros(30), np.full(20, 1.5), np.full(20, 0.0), np.full(31, 2.5)])
    found = warming_level_crossing(annual(values, 1901), [1.5, 2.0, 3.0])
    assert found.first_year.values.tolist()[:1] == [1931.0]
    assert found.last_year.values.tolist()[:1] == [1950.0]
    assert found.central_year.values.tolist()[:1] == [1941.0]
    assert found.first_year.values.tolist()[1] == 1901 + 70 - 4  # 4 years of 0 and 16 of 2.5
    assert np.isnan(found.first_year.values[2])


def test_warming_levels_of_months_members_and_short_series() -> None:
    months = xr.date_range("1901-01", periods=12 * 60, freq="MS", calendar="360_day", use_cftime=True)
    values = np.stack([np.arange(720.0) / 240, np.full(720, np.nan)])
    field = xr.DataArray(values, coords={"time": months}, dims=("run", "time"), attrs={"units": "K"})
    for each in (field, field.chunk(time=100)):
        found = warming_level_crossing(each, [1.0])
        assert found.first_year.dims == ("run", "warming_level")
        assert found.first_year.values[0, 0] == 1912  # the mean of window n is (n + 10) / 20 less half a month
        assert np.isnan(found.first_year.values[1, 0])
    with pytest.raises(ClimateError, match="windows of 20 consecutive years"):
        warming_level_crossing(field[:, :120])


def test_levels_that_the_data_begin_above_are_unknown_and_temperatures_are_refused() -> None:
    years = xr.date_range("2001", periods=40, freq="YS", use_cftime=True)
    warming = xr.DataArray(1.0 + 0.05 * np.arange(40), coords={"time": years}, attrs={"units": "K"})
    found = warming_level_crossing(warming, [0.5, 1.5, 9.0])
    assert np.isnan(found.first_year.values[[0, 2]]).all()
    assert found.first_year.values[1] == 2002  # the mean of 2001 to 2020 is 1.475
    temperatures = (warming + 287).assign_attrs(units="K", standard_name="air_temperature")
    with pytest.raises(ClimateError, match=r"since a baseline.*anomaly"):
        warming_level_crossing(temperatures)
