"""Means of months, seasons and years, climatologies and anomalies: exact weights, whole periods, any chunks."""

from __future__ import annotations

from typing import Any

import dask.array as da
import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

from xdask_pipelines.climate import time_weighted_mean
from xdask_pipelines.climate.analyses import anomaly, climatology, period_means
from xdask_pipelines.errors import ClimateError

FEBRUARY = {"noleap": 28, "360_day": 30, "standard": 28.5, "all_leap": 29}


def series(start: str, steps: int, freq: str = "MS", calendar: str = "standard", cells: int = 2) -> xr.DataArray:
    time = xr.date_range(start, periods=steps, freq=freq, calendar=calendar, use_cftime=True)
    values = np.arange(steps * cells, dtype=np.float64).reshape(steps, cells)
    return xr.DataArray(values, coords={"time": time}, dims=("time", "cell"), name="tas", attrs={"units": "K"})


@pytest.mark.parametrize(
    ("calendar", "mean"), [("noleap", 6.526027397260274), ("360_day", 6.5), ("all_leap", 6.513661202185792)]
)
def test_a_year_of_months_numbered_from_1(calendar: str, mean: float) -> None:
    field = (series("2011-01", 12, calendar=calendar, cells=1) + 1).assign_attrs(units="1")
    assert float(period_means(field, "year").squeeze()) == pytest.approx(mean, abs=1e-12)
    assert float(time_weighted_mean(field).squeeze()) == pytest.approx(mean, abs=1e-12)


@pytest.mark.parametrize("every", ["month", "season", "year"])
@pytest.mark.parametrize("calendar", ["standard", "noleap", "360_day"])
@pytest.mark.parametrize("chunks", [None, 7, 31, 400])
def test_days_become_periods_as_each_by_itself(every: Any, calendar: str, chunks: int | None) -> None:
    field = series("2010-11", 800, "D", calendar)
    means = period_means(field.chunk(time=chunks) if chunks else field, every)
    assert isinstance(means.data, da.Array if chunks else np.ndarray)
    assert means.sizes["time"] == {"month": 26, "season": 8, "year": 2}[every]
    for i in range(means.sizes["time"]):
        inside = (field.time.values >= means.time_lower.values[i]) & (field.time.values < means.time_upper.values[i])
        np.testing.assert_allclose(means[i], time_weighted_mean(field[inside]), rtol=1e-13)


def test_periods_that_are_not_complete_are_left_out_by_name() -> None:
    field = series("2010-12-15", 400, "D")
    assert period_means(field, "season").attrs["left_out"] == "DJF 2011, DJF 2012"
    assert period_means(field, "year").attrs["left_out"] == "2010, 2012"
    assert period_means(field, "month").attrs["left_out"] == "2010-12, 2012-01"
    assert "left_out" not in period_means(series("2010-12", 24), "season").attrs
    with pytest.raises(ClimateError, match="covers no complete year, only 2010-12-15"):
        period_means(field[:100], "year")


def test_seasons_take_the_december_before() -> None:
    field = series("2010-12", 12, calendar="360_day", cells=1)
    winter = period_means(field, "season")[0]
    assert float(winter.squeeze()) == 1.0
    assert (str(winter.time_lower.values), str(winter.time_upper.values)) == (
        "2010-12-01 00:00:00",
        "2011-03-01 00:00:00",
    )
    years = series("2010-01", 36, calendar="360_day", cells=1)
    climate = climatology(years, "season")
    assert climate.season.values.tolist() == ["DJF", "MAM", "JJA", "SON"]
    assert climate.squeeze().values.tolist() == [18.0, 15.0, 18.0, 21.0]  # two winters, three of each other season


def test_leap_years_weigh_in_a_climatology() -> None:
    field = series("2011-01", 24, cells=1)
    months = climatology(field)
    assert months.dims == ("month", "cell")
    assert float(months.sel(month=2).squeeze()) == pytest.approx((28 * 1 + 29 * 13) / 57)
    assert float(months.sel(month=1).squeeze()) == 6.0


@pytest.mark.parametrize("chunks", [None, 5])
def test_a_missing_value_stays_in_its_month(chunks: int | None) -> None:
    field = series("2011-01", 24)
    field[1, 0] = np.nan
    field = field.chunk(time=chunks) if chunks else field
    assert np.argwhere(np.isnan(climatology(field).values)).tolist() == [[1, 0]]
    part = climatology(field, min_weight=0.5)
    assert float(part.sel(month=2)[0]) == 26.0
    assert np.argwhere(np.isnan(period_means(field, "year").values)).tolist() == [[0, 0]]
    assert np.isfinite(period_means(field, "year", min_weight=0.9)).all()


def test_anomalies_have_no_cycle_and_a_mean_of_0_in_their_baseline() -> None:
    field = series("1995-01", 120, calendar="noleap") + 10 * np.cos(np.arange(120) * np.pi / 6)[:, None]
    field.attrs["units"] = "K"
    for every in ("month", "season", "year"):
        result = (
            anomaly(field[2:], "1996-2001", every, of=field)
            if every != "season"
            else anomaly(field, "1996-2001", every)
        )
        base = result.sel(time=slice("1996", "2001"))
        if every != "season":
            assert float(abs(time_weighted_mean(base)).max()) < 1e-12
        assert result.attrs["units_metadata"] == "temperature: difference"
    months = anomaly(field, "1996-2001")
    assert float(months[12:84:12].mean()) == pytest.approx(0, abs=1e-12)
    lazy = anomaly(field.chunk(time=7), "1996-2001")
    assert isinstance(lazy.data, da.Array)
    np.testing.assert_allclose(lazy, months)


@pytest.mark.parametrize(
    ("baseline", "reason"),
    [
        ("wmo", "unknown baseline 'wmo'; use two years such as 1986-2005"),
        ("2005-1986", "unknown baseline"),
        ("pre-industrial", r"baseline 'pre-industrial' \(1850 to 1900\): .* does not cover 1850 to 1900"),
    ],
)
def test_baselines_that_are_unknown_or_not_in_the_data_are_refused(baseline: str, reason: str) -> None:
    with pytest.raises(ClimateError, match=reason):
        anomaly(series("1995-01", 120), baseline)


def test_gaps_duplicates_and_too_long_steps_are_refused() -> None:
    field = series("2010-01", 60, "D")
    with pytest.raises(ClimateError, match="lacks 2010-01-11"):
        period_means(field.isel(time=[*range(10), *range(12, 60)]), "month")
    with pytest.raises(ClimateError, match="2010-01-10"):
        period_means(field.isel(time=[*range(10), *range(9, 60)]), "month")
    with pytest.raises(ClimateError, match="not inside one month"):
        period_means(series("2010-01", 12, "YS"), "month")
    with pytest.raises(ClimateError, match="unknown period 'week'"):
        period_means(field, "week")  # type: ignore[arg-type]
    with pytest.raises(ClimateError, match="has no complete month 3, 4, 5"):
        climatology(field)
    with pytest.raises(ClimateError, match="use time_weighted_mean"):
        climatology(field, "year")


@settings(max_examples=30, deadline=None)
@given(
    start=st.integers(0, 400),
    steps=st.integers(65, 300),
    chunk=st.integers(1, 90),
    every=st.sampled_from(["month", "season"]),
    seed=st.integers(0, 1000),
)
def test_chunks_never_change_a_mean(start: int, steps: int, chunk: int, every: Any, seed: int) -> None:
    field = series("2003-01", 700, "D")[start : start + steps]
    field = field.copy(data=np.random.default_rng(seed).normal(280, 20, field.shape))
    try:
        wanted = period_means(field, every)
    except ClimateError:
        with pytest.raises(ClimateError):
            period_means(field.chunk(time=chunk), every)
        return
    np.testing.assert_allclose(period_means(field.chunk(time=chunk), every), wanted, rtol=1e-14)
