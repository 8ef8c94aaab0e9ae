"""Two coordinates are one if they differ by rounding, and by nothing else."""

from __future__ import annotations

import cftime
import numpy as np
import pytest
import xarray as xr

from xdask_pipelines.climate import same_coordinate

LAT = np.linspace(90, -90, 721)


@pytest.mark.parametrize(
    "other",
    [
        LAT.astype("f4"),
        LAT + 1e-4,
        xr.DataArray(LAT, dims="latitude", attrs={"units": "degrees_north"}),
        list(LAT),
    ],
    ids=["float32", "a rounding", "DataArray", "list"],
)
def test_an_axis_that_differs_by_rounding_is_the_same(other) -> None:
    assert same_coordinate(LAT, other)
    assert same_coordinate(other, LAT)


@pytest.mark.parametrize(
    "other",
    [LAT[::-1], LAT[1:], LAT + 0.25, LAT + 1e-3, np.where(LAT == 0, np.nan, LAT), LAT.reshape(7, 103)],
    ids=["turned", "shorter", "shifted by a cell", "shifted by 4e-3 of a cell", "a hole", "another shape"],
)
def test_an_axis_that_differs_by_more_is_another(other) -> None:
    assert not same_coordinate(LAT, other)
    assert not same_coordinate(other, LAT)


def test_the_tolerance_is_a_part_of_the_smallest_step() -> None:
    levels = np.array([100000.0, 85000.0, 50000.0, 100.0, 99.0])
    assert same_coordinate(levels, levels + 0.0009)
    assert not same_coordinate(levels, levels + 0.0011)


def test_a_single_value_may_differ_by_a_millionth_of_itself() -> None:
    assert same_coordinate(85000.0, 85000.05)
    assert not same_coordinate(85000.0, 85001.0)
    assert same_coordinate([2.0], [np.float32(2.0)])
    assert not same_coordinate(2.0, 10.0)


def test_float32_of_a_fine_axis_is_the_same_and_its_neighbour_is_not() -> None:
    lon = np.arange(36000) / 100
    assert same_coordinate(lon, lon.astype("f4"))
    assert not same_coordinate(lon, (lon + 0.005).astype("f4"))


def test_curvilinear_coordinates_may_differ_by_a_millionth_of_the_largest_value() -> None:
    lon = np.add.outer(np.linspace(0, 5, 4), np.linspace(0, 350, 9))
    assert same_coordinate(lon, lon.astype("f4"))
    assert not same_coordinate(lon, lon + 0.01)


def test_text_whole_numbers_and_dates_must_be_equal() -> None:
    assert same_coordinate(["r1i1p1f1", "r2i1p1f1"], ["r1i1p1f1", "r2i1p1f1"])
    assert not same_coordinate(["r1i1p1f1"], ["r2i1p1f1"])
    assert not same_coordinate(np.array([1, 5000]), np.array([2, 5000]))
    dates = {c: [cftime.datetime(2000, m, 1, calendar=c) for m in (1, 2)] for c in ("noleap", "360_day")}
    assert same_coordinate(dates["noleap"], dates["noleap"])
    assert not same_coordinate(dates["noleap"], dates["360_day"])
    assert not same_coordinate(["a", "b"], [1.0, 2.0])


def test_nan_equals_nan_and_infinity_itself() -> None:
    assert same_coordinate([1.0, np.nan, np.inf], [1.0 + 1e-9, np.nan, np.inf])
    assert not same_coordinate([1.0, np.nan, np.inf], [1.0, np.nan, -np.inf])
