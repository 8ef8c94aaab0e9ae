"""Only the dimension that is meant is reduced: members, levels and native grids come through every function."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import cftime
import numpy as np
import pytest
import xarray as xr

from xdask_pipelines.climate import (
    area_weighted_mean,
    cell_areas,
    climate_signal,
    combine_partials,
    difference,
    field_statistics,
    grid_of,
    mean_of_partials,
    month_partial,
    quantise,
    regrid,
    time_weighted_mean,
)
from xdask_pipelines.errors import ClimateError

LAT, LON = np.linspace(-85, 85, 18), np.arange(0, 360, 10.0)
LEVELS, MEMBERS = [85000.0, 50000.0, 25000.0], ["r1i1p1f1", "r2i1p1f1"]


def full(calendar: str = "noleap", year: int = 2001, seed: int = 0) -> xr.DataArray:
    """A field (time, member, plev, lat, lon) of twelve months."""
    dates = [cftime.datetime(year, m, 15, calendar=calendar) for m in range(1, 13)]
    values = np.random.default_rng(seed).standard_normal((12, 2, 3, 18, 36)).astype("f4")
    values += np.array([285, 245, 205], "f4")[:, None, None]
    return xr.DataArray(
        values,
        dims=("time", "member", "plev", "lat", "lon"),
        coords={"time": dates, "member": MEMBERS, "plev": LEVELS, "lat": LAT, "lon": LON},
        name="ta",
        attrs={"units": "K"},
    )


def native(seed: int = 0, dates: Any = None) -> xr.DataArray:
    """A field (time, j, i) with 2-D coordinates, as ocean models store it."""
    lat = np.linspace(-75, 85, 12)[:, None] + np.linspace(0, 3, 20)
    lon = np.linspace(0, 342, 20) + np.linspace(0, 5, 12)[:, None]
    dates = [cftime.datetime(2001, m, 15, calendar="noleap") for m in (1, 2, 3)] if dates is None else dates
    return xr.DataArray(
        np.random.default_rng(seed).standard_normal((3, 12, 20)).astype("f4"),
        dims=("time", "j", "i"),
        coords={
            "time": dates,
            "latitude": (("j", "i"), lat, {"standard_name": "latitude"}),
            "longitude": (("j", "i"), lon, {"standard_name": "longitude"}),
        },
        name="tos",
        attrs={"units": "K"},
    )


def hourly(field: xr.DataArray, day: int = 1) -> xr.Dataset:
    """Partial of a field, its steps taken for hours of a day."""
    hours = [cftime.datetime(2001, 1, day, hour, calendar="noleap") for hour in range(field.sizes["time"])]
    return month_partial(field.assign_coords(time=hours))


@pytest.mark.parametrize("chunks", [None, {"time": 5, "plev": 1}])
def test_levels_and_members_survive_partials(chunks: Any) -> None:
    field = full().chunk(chunks) if chunks else full()
    mean = mean_of_partials(hourly(field))
    assert mean.dims == ("member", "plev", "lat", "lon")
    assert np.allclose(mean.mean(("member", "lat", "lon")), [285, 245, 205], atol=0.1)
    assert np.array_equal(mean.plev, LEVELS)
    assert list(mean.member.values) == MEMBERS


def test_only_partitions_of_a_store_are_summed() -> None:
    stored = xr.concat([hourly(full(seed=i)) for i in (0, 1)], "partition", combine_attrs="override")
    mean = mean_of_partials(stored)
    assert mean.dims == ("member", "plev", "lat", "lon")
    assert np.allclose(mean, np.concatenate([full(seed=i) for i in (0, 1)]).mean(axis=0, dtype="f8"), atol=1e-12)


def test_time_and_area_means_keep_members_and_levels() -> None:
    assert time_weighted_mean(full()).dims == ("member", "plev", "lat", "lon")
    assert area_weighted_mean(full()).dims == ("time", "member", "plev")
    assert np.allclose(area_weighted_mean(full()).mean(("time", "member")), [285, 245, 205], atol=0.1)


def test_regridding_and_statistics_are_of_each_member_and_level() -> None:
    out = regrid(full(), np.linspace(-80, 80, 9), np.arange(10, 360, 20.0))
    assert out.dims == full().dims
    assert np.allclose(out.mean(("time", "member", "lat", "lon")), [285, 245, 205], atol=0.1)
    found = field_statistics(full())
    assert found.maximum.dims == ("time", "member", "plev")
    assert np.array_equal(found.maximum, full().max(("lat", "lon")))
    assert cell_areas(full()).dims == ("lat", "lon")


def test_a_difference_keeps_what_one_of_both_has() -> None:
    anomaly = difference(full(), time_weighted_mean(full()))
    assert anomaly.dims == full().dims
    assert np.array_equal(difference(full(), full(seed=1)), full().astype("f8") - full(seed=1).values)


def test_fields_of_which_neither_has_the_others_dimensions_are_not_multiplied_out() -> None:
    rows = full().isel(time=0, member=0, plev=0, drop=True)
    with pytest.raises(ClimateError, match=r"\('lat', 'lon'\).*\('j', 'i'\).*one grid"):
        difference(rows, native().isel(time=0, drop=True))


def test_native_ocean_grids_have_partials_means_and_differences() -> None:
    first, second = native(0), native(1)
    partial = combine_partials([hourly(first), hourly(second, 2)])
    mean = mean_of_partials(partial)
    assert mean.dims == ("j", "i")
    assert set(mean.coords) == {"latitude", "longitude"}
    assert np.allclose(mean, np.concatenate([first, second]).mean(axis=0, dtype="f8"), atol=1e-12)
    assert time_weighted_mean(first).dims == ("j", "i")
    change = climate_signal(time_weighted_mean(first), time_weighted_mean(second))
    assert change.dims == ("j", "i")
    assert "latitude" in change.coords


def test_native_grids_whose_cells_lie_elsewhere_are_neither_added_nor_subtracted() -> None:
    moved = native(1)
    moved = moved.assign_coords(latitude=moved.latitude + 1.0)
    with pytest.raises(ClimateError, match="differs from the first in 'latitude'"):
        combine_partials([hourly(native()), hourly(moved, 2)])
    with pytest.raises(ClimateError, match="differ in 'latitude'"):
        difference(native(), moved)


def test_profiles_and_series_have_differences() -> None:
    profile = full().mean(("time", "member", "lon"), keep_attrs=True)
    assert difference(profile, profile + xr.DataArray(0.0)).dims == ("plev", "lat")
    series = area_weighted_mean(full())
    assert np.array_equal(difference(series, series), series * 0)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda p: p.isel(member=0, drop=True), "has dimensions"),
        (lambda p: p.assign_coords(plev=[85000.0, 70000.0, 25000.0]), "'plev'"),
        (lambda p: p.assign_coords(member=MEMBERS[::-1]), "'member'"),
        (lambda p: p.assign_attrs(variable="ua"), "is of 'ua', the first of 'ta'"),
    ],
)
def test_partials_of_other_levels_members_or_variables_are_refused(change: Callable[..., Any], words: str) -> None:
    partial = hourly(full())
    with pytest.raises(ClimateError, match=rf"partial 1 .*{words}"):
        combine_partials([partial, change(partial)])


def test_partials_of_two_single_levels_are_refused() -> None:
    low, high = (hourly(full().isel(plev=i)) for i in (0, 1))
    with pytest.raises(ClimateError, match="differs from the first in 'plev'"):
        combine_partials([low, high])


def test_coordinates_that_differ_by_rounding_are_added_and_subtracted_without_loss() -> None:
    field = full()
    other = field.assign_coords(lat=LAT * (1 + 1e-7), plev=np.array(LEVELS) + 0.01, lon=LON.astype("f4"))
    assert difference(field, other).shape == field.shape
    assert float(np.abs(difference(field, other)).max()) == 0
    assert combine_partials([hourly(field), hourly(other, 2)])["sum"].shape == field.shape[1:]


def test_models_of_two_calendars_are_named_with_a_remedy() -> None:
    with pytest.raises(
        ClimateError, match=r"projected has the calendar '360_day' but historic 'noleap'.*convert_calendar"
    ):
        difference(full("360_day"), full("noleap"))
    means = difference(time_weighted_mean(full("360_day")), time_weighted_mean(full("noleap")))
    assert means.dims == ("member", "plev", "lat", "lon")


def test_a_calendar_error_names_the_files() -> None:
    one, other = full("360_day"), full("noleap")
    one.time.encoding["source"], other.time.encoding["source"] = "us-east-1:a.nc", "us-west-2:b"
    with pytest.raises(ClimateError, match=r"projected of us-east-1:a\.nc has .* historic of us-west-2:b"):
        difference(one, other)


@pytest.mark.parametrize("function", [area_weighted_mean, cell_areas, grid_of, field_statistics, quantise])
def test_a_dataset_in_the_place_of_a_variable_is_said(function: Callable[..., Any]) -> None:
    dataset = xr.Dataset({"tas": full(), "pr": full()})
    with pytest.raises(ClimateError, match=r"takes one variable: pass dataset\['tas'\]; this Dataset has tas, pr"):
        function(dataset)
    with pytest.raises(ClimateError, match="not ndarray"):
        function(full().values)


def test_a_dataset_in_a_difference_and_a_field_in_the_place_of_a_partial_are_said() -> None:
    dataset = xr.Dataset({"tas": full()})
    for pair in ((dataset, full()), (full(), dataset)):
        with pytest.raises(ClimateError, match=r"temperature_difference takes one variable: pass dataset\['tas'\]"):
            difference(*pair)  # type: ignore[arg-type]
    for wrong in (full(), dataset):
        with pytest.raises(ClimateError, match="Call month_partial"):
            mean_of_partials(wrong)  # type: ignore[arg-type]
        with pytest.raises(ClimateError, match="partial 0 is"):
            combine_partials([wrong])  # type: ignore[list-item]
