"""Entries that are joined agree in what their numbers mean; units are converted, rounding is overlooked."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from uuid import uuid4

import numpy as np
import pytest
import xarray as xr

from tests.support.access_helpers import described
from tests.support.netcdf_files import LAT, axes, field, times, written
from tests.support.places import EAST, Cluster
from xdask_pipelines.access import open_entries
from xdask_pipelines.access.join import linear_conversion
from xdask_pipelines.errors import AccessError
from xdask_pipelines.placement import compute


def _month(number: int, value: float = 290.0, calendar: str = "standard", **attrs: Any) -> xr.Dataset:
    days = 31 * (number - 1) + np.arange(3.0)
    return field([value] * 3, time=times(days, "days since 2001-01-01", calendar), **attrs)


def _without_units(number: int) -> xr.Dataset:
    made = _month(number)
    del made["t2m"].attrs["units"]
    return made


@pytest.fixture
def join(cluster: Cluster) -> Callable[..., xr.Dataset]:
    """Opens datasets written as files of their own."""

    def opened(*datasets: xr.Dataset) -> xr.Dataset:
        folder = uuid4().hex
        keys = [f"join/{folder}/{i}.nc" for i in range(len(datasets))]
        for key, dataset in zip(keys, datasets, strict=True):
            written(cluster.data[EAST] / key, dataset)
        return open_entries(described(cluster.client, EAST, *keys))

    return opened


def test_units_are_converted_to_those_of_the_earliest(cluster: Cluster, join: Callable[..., xr.Dataset]) -> None:
    opened = join(_month(2, 16.85, units="degC"), _month(1, 290.0))
    (got,), _ = compute(cluster.client, opened.t2m)
    assert got.units == "K"
    assert got.dtype == np.float32
    assert np.abs(got.values - 290.0).max() < 1e-4


@pytest.mark.parametrize(
    ("first", "second", "reason"),
    [
        (
            _month(1),
            _month(2, units="m"),
            r"units of t2m is 'K' in us-east-1:join.*0.nc and 'm' in us-east-1:join.*1.nc",
        ),
        (_month(1), _month(2, units="warmth"), "Failed to parse unit"),
        (_month(1), _without_units(2), "units of t2m is 'K' in .* and not given in"),
        (_month(1, cell_methods="time: mean"), _month(2, cell_methods="time: maximum"), "cell_methods of t2m is"),
        (
            _month(1, cell_methods="time: standard_deviation"),
            _month(2, cell_methods="time: standard_deviation", units="degC"),
            "differ by an offset, which must not be applied to a difference",
        ),
        (
            _month(1, long_name="temperature bias"),
            _month(2, long_name="temperature bias", units="degC"),
            "by an offset",
        ),
        (_month(1, positive="up"), _month(2, positive="down"), "positive of t2m is 'up'"),
        (_month(1), _month(2).assign_coords(time=[40.0, 41.0, 42.0]), r"'standard' and those of .* in 'none \(numbers"),
        (_month(1), _month(2, calendar="360_day"), "are in the calendar 'standard' and those of .* in '360_day'"),
        (_month(1), _month(2).assign_coords(lat=LAT + 0.1), "The coordinate 'lat' of .* differs from that of"),
        (_month(1).assign_coords(height=2.0), _month(2).assign_coords(height=10.0), "'height' of .* differs"),
        (
            _month(1)
            .expand_dims(plev=("plev", [850.0], {"units": "hPa"})[1])
            .assign_coords(plev=("plev", [850.0], {"units": "hPa"})),
            _month(2).expand_dims(plev=[850.0]).assign_coords(plev=("plev", [850.0], {"units": "Pa"})),
            "units of the coordinate 'plev' is 'hPa' in .* and 'Pa' in",
        ),
        (_month(1), _month(1, 291.0), "overlap in time, so they cannot be joined"),
    ],
)
def test_what_means_something_else_is_not_joined(
    join: Callable[..., xr.Dataset], first: xr.Dataset, second: xr.Dataset, reason: str
) -> None:
    with pytest.raises(AccessError, match=reason):
        join(first, second)


def test_rounding_and_a_scalar_that_one_file_lacks_do_not_prevent_a_join(
    cluster: Cluster, join: Callable[..., xr.Dataset]
) -> None:
    rounded = _month(2).assign_coords(lat=("lat", (LAT + 1e-6).astype("f4"), axes()["lat"][2]))
    opened = join(_month(1), rounded, _month(3).assign_coords(height=2.0), _month(4).drop_attrs(deep=False))
    assert opened.sizes["time"] == 12
    assert float(opened.height) == 2.0
    np.testing.assert_array_equal(opened.lat, LAT)


def test_comments_in_cell_methods_are_overlooked(join: Callable[..., xr.Dataset]) -> None:
    plain, with_comment = (_month(i, cell_methods=m) for i, m in ((1, "time: mean"), (2, "time: mean (interval: 1 h)")))
    assert join(plain, with_comment).sizes["time"] == 6


def test_files_that_are_packed_differently_give_one_dtype_and_right_values(
    cluster: Cluster, join: Callable[..., xr.Dataset]
) -> None:
    packed = _month(2, 291.5)
    packed["t2m"].encoding |= {"dtype": "i2", "scale_factor": 0.01, "add_offset": 290.0, "_FillValue": -1}
    opened = join(_month(1), packed)
    (got,), _ = compute(cluster.client, opened.t2m)
    assert got.dtype == opened.t2m.dtype == np.float64
    np.testing.assert_allclose(got[:, 0, 0], [290] * 3 + [291.5] * 3, atol=1e-6)


def test_a_variable_without_time_is_not_taken_from_the_first_file_for_all(join: Callable[..., xr.Dataset]) -> None:
    files = [_month(i).assign(orography=(("lat", "lon"), np.full((18, 36), float(i)))) for i in (1, 2)]
    assert list(join(*files).data_vars) == ["t2m"]
    with pytest.raises(AccessError, match=r"orography of .* has no dimension 'time', so 2 entries cannot be joined"):
        join(*(f.drop_vars("t2m") for f in files))


@pytest.mark.parametrize(
    ("units", "target", "expected"),
    [
        ("degC", "K", (1.0, 273.15)),
        ("hPa", "Pa", (100.0, 0.0)),
        ("m s**-1", "m s-1", (1.0, 0.0)),
        ("g kg-1", "kg kg-1", (0.001, 0.0)),
        ("%", "1", (0.01, 0.0)),
    ],
)
def test_units_convert_as_udunits_says(units: str, target: str, expected: tuple[float, float]) -> None:
    assert linear_conversion(units, target) == expected


def test_units_without_a_linear_conversion_have_none() -> None:
    assert isinstance(linear_conversion("mm day-1", "kg m-2 s-1"), str)
    assert isinstance(linear_conversion("lg(re 1 mm)", "mm"), str)
