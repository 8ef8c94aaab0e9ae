"""Missing values: means and regridding over what is there, and NaN where too little is."""

from __future__ import annotations

from typing import Any

import dask.array as da
import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

from xdask_pipelines.climate import (
    area_weighted_mean,
    cell_areas,
    combine_partials,
    covered_fraction,
    mean_of_partials,
    month_partial,
    regrid,
    time_weighted_mean,
)
from xdask_pipelines.errors import ClimateError

GAUSSIAN = np.rad2deg(np.arcsin(np.polynomial.legendre.leggauss(96)[0])), 1.875 * np.arange(192)  # F48


def example() -> xr.DataArray:
    """One degree; NaN in 16,220 cells of an irregular shape."""
    lat, lon = np.arange(-89.5, 90), np.arange(0.5, 360)
    phi, lam = np.deg2rad(lat)[:, None], np.deg2rad(lon)[None]
    field = 288 - 40 * np.sin(phi) ** 2 + 5 * np.cos(3 * lam) * np.cos(phi)
    masked = np.cos(2 * lam + 1) * np.cos(phi) + 0.5 * np.sin(3 * phi) > 0.45
    coords = {"lat": lat, "lon": lon}
    return xr.DataArray(np.where(masked, np.nan, field), coords=coords, dims=("lat", "lon"), attrs={"units": "K"})


def test_the_fraction_that_must_be_there_decides_which_cells_are_missing() -> None:
    field = example()
    assert int(field.isnull().sum()) == 16_220
    missing = [int(regrid(field, *GAUSSIAN, min_fraction=x).isnull().sum()) for x in (0.0, 0.4, 1.0)]
    assert missing == [4272, 4532, 4906]
    assert int(regrid(field, *GAUSSIAN).isnull().sum()) == 4906


def test_weighted_by_the_fraction_with_values_regridding_keeps_the_mean() -> None:
    field = example()
    coarse, fraction = regrid(field, *GAUSSIAN, min_fraction=0), covered_fraction(field, *GAUSSIAN)
    weights = cell_areas(coarse) * fraction
    kept = float((coarse * weights).sum() / weights.sum())
    assert kept == pytest.approx(float(area_weighted_mean(field, 0)), abs=1e-11)
    assert kept == pytest.approx(273.660283485713, abs=1e-9)
    assert np.array_equal(fraction > 0, coarse.notnull())


def test_fractions_do_not_hide_what_a_region_leaves_out() -> None:
    region = xr.DataArray(np.ones((2, 2)), coords={"lat": [5.0, 15.0], "lon": [355.0, 365.0]}, dims=("lat", "lon"))
    fraction = covered_fraction(region, np.arange(-80.0, 81, 20), np.arange(0.0, 360, 40))
    assert fraction.sel(lat=0, lon=0) == pytest.approx(np.sin(np.deg2rad(10)) / 2 / np.sin(np.deg2rad(10)) / 2)
    assert set(np.argwhere(fraction.values > 0)[:, 1].tolist()) == {0}


def test_area_mean_needs_its_fraction() -> None:
    field = example()
    share = float(cell_areas(field).where(field.notnull()).sum() / (4 * np.pi))
    assert np.isnan(area_weighted_mean(field))
    assert np.isfinite(area_weighted_mean(field, share - 1e-9))
    assert np.isnan(area_weighted_mean(field, share + 1e-9))
    stack = xr.concat([field, field.fillna(280.0)], "time")
    assert np.isnan(area_weighted_mean(stack)).values.tolist() == [True, False]
    assert np.isnan(area_weighted_mean(field.where(False), 0))


@pytest.mark.parametrize("chunks", [None, {"time": 2}])
def test_time_mean_needs_its_weight(chunks: Any) -> None:
    months = xr.date_range("2011-01", periods=3, freq="MS", use_cftime=True)  # 31, 28 and 31 days
    values = np.array([[1.0, np.nan, np.nan], [2.0, 2.0, np.nan], [4.0, 4.0, np.nan]])
    field = xr.DataArray(values, coords={"time": months}, dims=("time", "cell"), attrs={"units": "K"})
    field = field.chunk(chunks) if chunks else field
    assert np.isnan(time_weighted_mean(field)).values.tolist() == [False, True, True]
    part = time_weighted_mean(field, min_weight=59 / 90)
    assert part.values[:2] == pytest.approx([(31 + 56 + 124) / 90, (56 + 124) / 59])
    assert np.isnan(part[2])
    assert np.isnan(time_weighted_mean(field, min_weight=0.66)).values.tolist() == [False, True, True]
    assert isinstance(part.data, da.Array if chunks else np.ndarray)


def test_partials_count_the_steps_of_all_their_months() -> None:
    def month(number: int, values: list[float]) -> xr.Dataset:
        hours = np.datetime64(f"2011-{number:02d}-01", "ns") + np.arange(2) * np.timedelta64(1, "h")
        return month_partial(xr.DataArray(values, coords={"time": hours}, attrs={"units": "K"}))

    both = combine_partials([month(1, [1.0, np.nan]), month(2, [3.0, 5.0])])
    assert np.isnan(mean_of_partials(both))
    assert float(mean_of_partials(both, 0.75)) == 3.0
    assert np.isnan(mean_of_partials(both, 0.76))
    stored = xr.concat([month(1, [1.0, np.nan]), month(2, [3.0, 5.0])], "partition")
    assert float(mean_of_partials(stored, 0.75)) == 3.0
    assert np.isnan(mean_of_partials(stored))


@pytest.mark.parametrize("bad", [-0.1, 1.1, np.nan])
def test_a_fraction_is_from_0_to_1(bad: float) -> None:
    field = example()
    for call in (
        lambda: area_weighted_mean(field, bad),
        lambda: regrid(field, *GAUSSIAN, min_fraction=bad),
        lambda: time_weighted_mean(field, bad),
    ):
        with pytest.raises(ClimateError, match="is a fraction from 0"):
            call()


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 2**31),
    turn=st.integers(0, 35),
    min_fraction=st.sampled_from([0.0, 0.3, 0.55, 1.0]),
    method=st.sampled_from(["conservative", "bilinear"]),
)
def test_origin_direction_and_a_mask_moved_with_its_field_change_nothing(
    seed: int, turn: int, min_fraction: float, method: Any
) -> None:
    random = np.random.default_rng(seed)
    values = np.where(random.random((18, 36)) < 0.3, np.nan, random.normal(280, 20, (18, 36)))
    field = xr.DataArray(
        values, coords={"lat": np.arange(-85.0, 90, 10), "lon": np.arange(0.0, 360, 10)}, dims=("lat", "lon")
    )
    target = np.arange(-82.0, 83, 16.4), np.arange(3.0, 360, 24)
    wanted = regrid(field, *target, method, min_fraction).values
    mean = float(area_weighted_mean(field, 0.0))
    rolled = field.roll(lon=turn, roll_coords=True)
    rolled = rolled.assign_coords(lon=np.unwrap(rolled.lon, period=360.0))
    for moved in (rolled, field[::-1], field[:, ::-1], field.transpose("lon", "lat"), field.chunk(lat=5)):
        result = regrid(moved, *target, method, min_fraction).transpose("lat", "lon").values
        np.testing.assert_allclose(result, wanted, atol=1e-10)
        assert float(area_weighted_mean(moved, 0.0)) == pytest.approx(mean, abs=1e-10)
    two = regrid(xr.concat([field, field + 1], "n"), *target, method, min_fraction)
    np.testing.assert_allclose(two[1] - two[0], np.where(np.isnan(wanted), np.nan, 1.0), atol=1e-10)
