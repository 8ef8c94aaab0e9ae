"""Means are exact: monthly partials add up with ==, time weighs by real lengths, area by exact cells."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cftime
import dask.array as da
import h5py
import numpy as np
import pytest
import xarray as xr

from xdask_pipelines.climate import (
    area_weighted_mean,
    combine_partials,
    mean_of_partials,
    month_partial,
    time_weighted_mean,
    with_bounds,
)
from xdask_pipelines.errors import ClimateError
from xdask_pipelines.synthetic import write_era5_month

T2M = "air_temperature_at_2_metres"
LAT, LON = np.linspace(90, -90, 19), np.arange(0, 360, 10.0)


def month(path: Path) -> xr.DataArray:
    with h5py.File(path) as file:
        seconds = file["time0"][:].astype("M8[s]").astype("M8[ns]")
        coords = {"time0": seconds, "lat": file["lat"][:], "lon": file["lon"][:]}
        return xr.DataArray(
            file[T2M][:],
            dims=("time0", "lat", "lon"),
            coords=coords,
            name=T2M,
            attrs={"units": file[T2M].attrs["units"]},
        )


@pytest.fixture
def months(tmp_path: Path) -> list[xr.DataArray]:
    return [
        month(write_era5_month(tmp_path, 2011, m, shape=(19, 36), hours=hours))
        for m, hours in ((1, 30), (2, 24), (3, 48))
    ]


def test_partials_of_months_equal_plain_numpy_with_no_tolerance(months: list[xr.DataArray]) -> None:
    partial = combine_partials([month_partial(field) for field in months])
    everything = np.concatenate([field.values for field in months])
    assert np.array_equal(partial["sum"], everything.sum(axis=0, dtype=np.float64))
    assert (partial["count"] == 102).all()
    mean = mean_of_partials(partial)
    assert np.array_equal(mean, everything.astype(np.float64).mean(axis=0))
    assert mean.name == T2M
    assert mean.attrs["units"] == "K"
    assert mean.attrs["cell_methods"] == "time: mean"
    assert mean.attrs["time_coverage_start"] == "2011-01-01 00:00:00"
    assert mean.attrs["time_coverage_end"] == "2011-03-02 23:00:00"
    assert mean.attrs["time_steps"] == 102


def test_lazy_partials_equal_eager_ones_and_keep_chunks_in_space(months: list[xr.DataArray]) -> None:
    for field in months:
        lazy = month_partial(field.chunk(time0=7, lat=10, lon=20))
        assert lazy["sum"].chunks == ((10, 9), (20, 16))
        xr.testing.assert_identical(lazy.compute(), month_partial(field))
    lazies = [month_partial(field.chunk(time0=7, lat=10, lon=20)) for field in months]
    both = combine_partials(lazies), combine_partials([month_partial(field) for field in months])
    assert both[0]["sum"].chunks is not None
    xr.testing.assert_identical(both[0].compute(), both[1])
    xr.testing.assert_identical(mean_of_partials(both[0]).compute(), mean_of_partials(both[1]))


def test_values_that_are_not_finite_are_neither_summed_nor_counted(months: list[xr.DataArray]) -> None:
    field = months[0].copy()
    field[3, 5, 7], field[4, 5, 7], field[:, 0, 0] = np.nan, np.inf, np.nan
    partial = month_partial(field)
    assert int(partial["count"][5, 7]) == 28
    assert float(partial["sum"][5, 7]) == np.delete(field.values[:, 5, 7], [3, 4]).sum(dtype=np.float64)
    assert partial["count"].dtype == np.int64
    assert np.argwhere(np.isnan(mean_of_partials(partial).values)).tolist() == [[0, 0], [5, 7]]
    for min_weight, missing in ((28 / 30, 1), (0.0, 1), (0.94, 2)):
        assert int(np.isnan(mean_of_partials(partial, min_weight)).sum()) == missing


def test_a_store_of_many_partials_is_summed_over_its_partitions(months: list[xr.DataArray]) -> None:
    partials = [month_partial(field) for field in months]
    stored = xr.concat([p.chunk() for p in partials], "partition", combine_attrs="override")
    stored = stored.assign_coords(partition=np.arange(3))
    mean = mean_of_partials(stored)
    assert mean.chunks is not None
    assert np.array_equal(mean, mean_of_partials(combine_partials(partials)))


def test_partials_of_another_grid_or_unit_are_refused(months: list[xr.DataArray]) -> None:
    first, second = month_partial(months[0]), month_partial(months[1])
    with pytest.raises(ClimateError, match="partial 1 differs from the first in 'lat'"):
        combine_partials([first, second.assign_coords(lat=second.lat[::-1])])
    second["sum"].attrs["units"] = "degC"
    with pytest.raises(ClimateError, match="partial 1 is in 'degC', the first in 'K'"):
        combine_partials([first, second])
    with pytest.raises(ClimateError, match="no monthly partials"):
        combine_partials([])


def test_a_month_is_one_task_a_block_and_wide_sums() -> None:
    hours, dates = 744, np.arange("2011-01-01", "2011-02-01", dtype="M8[h]").astype("M8[ns]")
    blocks = da.zeros((hours, 19, 36), chunks=(24, 19, 36), dtype="f4")
    coords = {"time0": dates, "lat": LAT, "lon": LON}
    partial = month_partial(xr.DataArray(blocks, dims=("time0", "lat", "lon"), coords=coords))
    # 31 blocks: kernels, their sums (which fusion takes in), one sum of sums, two halves, one cast
    assert len(partial["sum"].data.dask) + 1 <= 31 * 3 + 4
    assert len(partial["sum"].data.dask.layers) <= 6


def test_combining_120_partials_takes_five_tasks_a_block() -> None:
    def lazy(i: int) -> xr.Dataset:
        coords = {"lat": LAT, "lon": LON}
        data = da.full((19, 36), float(i), chunks=-1)
        total = xr.DataArray(data, dims=("lat", "lon"), coords=coords, attrs={"units": "K"})
        return xr.Dataset({"sum": total, "count": total.astype(np.int64)})

    total = combine_partials([lazy(i) for i in range(120)])["sum"]
    assert len(total.data.dask) == 120 + 4 + 1
    assert float(total[0, 0]) == 120 * 119 / 2


def monthly(calendar: str, years: int = 1, lead: tuple[int, ...] = ()) -> xr.DataArray:
    dates = [cftime.datetime(2016 + i // 12, i % 12 + 1, 15, calendar=calendar) for i in range(12 * years)]
    values = np.random.default_rng(0).standard_normal((12 * years, *lead, 19, 36)).astype("f4")
    dims = ("time", *(f"n{i}" for i in range(len(lead))), "lat", "lon")
    return xr.DataArray(values, dims=dims, coords={"time": dates, "lat": LAT, "lon": LON}, attrs={"units": "K"})


@pytest.mark.parametrize(
    ("calendar", "lengths"),
    [
        ("360_day", [30] * 12),
        ("noleap", [31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31]),
        ("standard", [31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31]),
    ],
)
@pytest.mark.parametrize("chunks", [None, {"time": 5}])
def test_months_weigh_as_long_as_they_are_in_their_calendar(calendar: str, lengths: list[int], chunks: Any) -> None:
    field = monthly(calendar)
    expected = np.average(field.values.astype(np.float64), axis=0, weights=lengths)
    mean = time_weighted_mean(field.chunk(chunks) if chunks else field)
    assert (mean.chunks is not None) == (chunks is not None)
    assert np.abs(mean.values - expected).max() < 1e-13
    assert mean.dtype == np.float64
    assert "time" not in mean.coords


def test_dates_of_numpy_weigh_the_same_as_those_of_cftime() -> None:
    field = monthly("standard")
    numpy_dates = field.assign_coords(time=np.array([date.isoformat() for date in field.time.values], "M8[ns]"))
    assert np.array_equal(time_weighted_mean(numpy_dates), time_weighted_mean(field))


def test_time_in_another_place_is_found_and_other_dimensions_stay() -> None:
    field = monthly("noleap", lead=(2,))
    mean = time_weighted_mean(field.transpose("lat", "time", "n0", "lon"))
    assert mean.dims == ("lat", "n0", "lon")
    assert np.allclose(mean.transpose("n0", "lat", "lon"), time_weighted_mean(field), rtol=1e-14)


def test_bounds_that_travel_along_decide() -> None:
    dates = [cftime.datetime(2000, m, 1, calendar="360_day") for m in (2, 7)]
    ends = [
        [cftime.datetime(2000, a, 1, calendar="360_day"), cftime.datetime(2000, b, 1, calendar="360_day")]
        for a, b in ((1, 4), (4, 12))
    ]
    dataset = xr.Dataset(
        {"tas": ("time", [0.0, 11.0]), "time_bnds": (("time", "bnds"), ends)},
        coords={"time": ("time", dates, {"bounds": "time_bnds"})},
    )
    assert float(time_weighted_mean(with_bounds(dataset, "tas"))) == pytest.approx(8.0)
    with pytest.raises(ClimateError, match="with_bounds"):
        time_weighted_mean(dataset.tas)


@pytest.mark.parametrize("step_hours", [1, 3, 24, 5 * 24])
def test_steps_that_are_evenly_apart_weigh_the_same(step_hours: int) -> None:
    dates = np.datetime64("2011-07-01", "ns") + step_hours * np.timedelta64(1, "h") * np.arange(4)
    field = xr.DataArray([1.0, 2.0, 3.0, 10.0], dims="time", coords={"time": dates})
    assert float(time_weighted_mean(field)) == pytest.approx(4.0, rel=1e-15)


def test_years_weigh_as_long_as_they_are() -> None:
    dates = [cftime.datetime(year, 7, 1, calendar="standard") for year in (2019, 2020, 2021)]
    field = xr.DataArray([1.0, 2.0, 4.0], dims="time", coords={"time": dates})
    assert float(time_weighted_mean(field)) == pytest.approx((365 + 2 * 366 + 4 * 365) / 1096, rel=1e-15)


@pytest.mark.parametrize("days", [[0, 91, 182], [0, 3650], [0, 5, 11, 13]])
def test_steps_of_unknown_length_are_refused(days: list[int]) -> None:
    dates = np.datetime64("2011-07-01", "ns") + np.timedelta64(1, "D") * np.array(days)
    with pytest.raises(ClimateError, match="the length of each step is unknown"):
        time_weighted_mean(xr.DataArray(np.zeros(len(days)), dims="time", coords={"time": dates}))


def test_a_series_of_months_that_lacks_two_is_refused_with_their_names() -> None:
    field = monthly("noleap", years=2).isel(time=[*range(5), *range(7, 24)])
    with pytest.raises(ClimateError, match="lacks 2016-06-01 00:00:00 until before 2016-08-01 00:00:00"):
        time_weighted_mean(field)
    knowingly = time_weighted_mean(field.assign_attrs(excerpt="22 of 24 months"))
    lengths = np.delete(np.tile([31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31], 2), [5, 6])
    assert np.allclose(knowingly, np.average(field.values.astype("f8"), axis=0, weights=lengths), rtol=1e-12)


def _hours(hours: list[int]) -> xr.DataArray:
    dates = np.datetime64("2021-08-01", "ns") + np.timedelta64(1, "h") * np.array(hours)
    return xr.DataArray(np.ones((len(hours), 2)), dims=("time", "x"), coords={"time": dates})


@pytest.mark.parametrize(
    ("hours", "reason"),
    [
        ([0, 1, 1, 2, 3], "has 2021-08-01 01:00:00 twice, at steps 1 and 2"),
        ([0, 1, 2, 4, 5], "lacks 2021-08-01 03:00:00 until before 2021-08-01 04:00:00"),
        ([0, 1, 1, 3, 4], "twice"),
        ([0, 2, 1, 3, 4], "goes back at step 2"),
    ],
)
def test_a_partial_of_doubled_missing_or_disordered_hours_is_refused(hours: list[int], reason: str) -> None:
    with pytest.raises(ClimateError, match=reason):
        month_partial(_hours(hours))


def test_partials_weigh_all_steps_the_same_and_refuse_what_would_not() -> None:
    with pytest.raises(ClimateError, match=r"steps of different lengths.*time_weighted_mean"):
        month_partial(monthly("noleap"))
    day = month_partial(_hours(list(range(24))))
    with pytest.raises(ClimateError, match="partials 0 and 1 share steps"):
        combine_partials([day, day])
    daily = month_partial(_hours([24, 48, 72]))
    with pytest.raises(ClimateError, match="steps of 1 h and 24 h, which would get the same weight"):
        combine_partials([day, daily])
    assert int(combine_partials([day, month_partial(_hours(list(range(24, 48))))])["count"][0]) == 48


@pytest.mark.parametrize(
    ("field", "reason"),
    [
        (_hours([0, 1, 2]).isel(time=[]), "'time' has no step"),
        (_hours([0, 1]).assign_coords(time=np.array(["NaT", "2001-01-01"], "M8[ns]")), "has no value at step 0"),
        (_hours([0, 1, 2]).assign_coords(time=[0, 1, 2]), "has numbers in '', not dates"),
    ],
)
def test_times_that_are_none_are_named(field: xr.DataArray, reason: str) -> None:
    for function in (time_weighted_mean, month_partial):
        with pytest.raises(ClimateError, match=reason):
            function(field)


def test_when_a_forecast_began_is_not_averaged_over() -> None:
    field = _hours([0, 6]).rename(time="forecast_initial_time")
    with pytest.raises(ClimateError, match="no time dimension"):
        time_weighted_mean(field)


def test_a_partial_of_an_excerpt_may_lack_hours() -> None:
    partial = month_partial(_hours([0, 7, 15, 22]).assign_attrs(excerpt="4 of 744 h"))
    assert (partial["count"] == 4).all()
    assert partial.attrs["time_steps"] == 4


def test_a_scalar_time_passes_through() -> None:
    field = monthly("360_day").isel(time=0)
    assert time_weighted_mean(field) is field


def test_area_mean_of_a_function_with_a_known_integral() -> None:
    lat, lon = np.linspace(90, -90, 721), np.arange(0, 360, 1.0)
    phi = np.deg2rad(xr.DataArray(lat, dims="lat", coords={"lat": lat}))
    field = (np.sin(phi) ** 2).expand_dims(lon=lon)
    assert float(area_weighted_mean(field)) == pytest.approx(1 / 3, abs=1e-5)
    assert float(area_weighted_mean(field * 0 + 1)) == pytest.approx(1, rel=1e-14)


def test_area_mean_keeps_other_dimensions_is_lazy_and_shows_nan() -> None:
    field = monthly("360_day", lead=(2,))
    field[1, 1, 3, 4] = np.nan
    mean = area_weighted_mean(field.chunk(time=6, lat=10))
    assert mean.dims == ("time", "n0")
    assert mean.chunks == ((6, 6), (2,))
    assert mean.attrs["units"] == "K"
    assert np.argwhere(np.isnan(mean.values)).tolist() == [[1, 1]]
    weights = np.sin(np.deg2rad(np.clip(LAT + 5, -90, 90))) - np.sin(np.deg2rad(np.clip(LAT - 5, -90, 90)))
    expected = np.average(field.values.astype(np.float64).mean(axis=-1), axis=-1, weights=weights)
    assert np.allclose(mean, expected, rtol=1e-12, atol=1e-14, equal_nan=True)
