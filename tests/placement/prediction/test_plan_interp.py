"""Interpolation across Regions: a plan predicts the bytes that cross, although graphs state another size and dtype."""

from __future__ import annotations

from collections.abc import Callable

import dask.array as da
import numpy as np
import pytest
import xarray as xr

from tests.support.places import EAST, SETTINGS, WEST, Cluster
from xdask_pipelines.placement import compute, pin, plan

Join = Callable[[xr.DataArray, xr.DataArray], xr.DataArray]


def field(region: str, rows: int, columns: int) -> xr.DataArray:
    """Twelve steps of float32 in one Region, three blocks."""
    data = pin(da.ones((12, rows, columns), chunks=(4, rows, columns), dtype="f4"), region)
    coords = {"lat": np.linspace(-90, 90, rows), "lon": np.linspace(0, 355, columns), "time": np.arange(12)}
    return xr.DataArray(data, coords, ("time", "lat", "lon"))


def zonal(x: xr.DataArray) -> xr.DataArray:
    return x.mean(("time", "lon"))


def extremes(x: xr.DataArray) -> xr.DataArray:
    """Of two outputs of one function."""
    lowest, highest = xr.apply_ufunc(
        lambda values: (values.min(-1), values.max(-1)),
        x,
        input_core_dims=[["lon"]],
        output_core_dims=[[], []],
        dask="parallelized",
        output_dtypes=["f4", "f4"],
    )
    return lowest + highest


POINTS = {"lat": xr.DataArray([1.0, 2.0, 3.0], dims="p"), "lon": xr.DataArray([10.0, 20.0, 30.0], dims="p")}
JOINS: dict[str, Join] = {
    "to the other grid": lambda e, w: e.mean("time").interp(lat=w.lat, lon=w.lon) - w.mean("time"),
    "to a finer grid": lambda e, w: e.mean("time") - w.mean("time").interp(lat=e.lat, lon=e.lon),
    "like the other": lambda e, w: w.mean("time").interp_like(e.isel(time=0)) - e.mean("time"),
    "one dimension": lambda e, w: zonal(e).interp(lat=np.linspace(-80, 80, 181)) - zonal(w).mean(),
    "one of two dimensions": lambda e, w: e.mean("time").interp(lat=w.lat).mean("lon") - zonal(w),
    "series at a place": lambda e, w: e.interp(lat=10.0, lon=20.0) - w.interp(lat=10.0, lon=20.0),
    "points": lambda e, w: e.mean("time").interp(POINTS) - w.mean("time").interp(POINTS),
    "nearest": lambda e, w: e.mean("time").interp(lat=w.lat, lon=w.lon, method="nearest") - w.mean("time"),
    "a map alone": lambda e, _: e.mean("time").interp(lat=[1.0, 2.0], lon=[3.0, 4.0, 5.0]),
    "a reduction of a map": lambda e, w: e.mean("time").interp(lat=w.lat, lon=w.lon).max("lon") - zonal(w),
    "two outputs": lambda e, w: extremes(e.mean("time")) - zonal(w).interp(lat=e.lat),
}


@pytest.mark.parametrize("join", JOINS.values(), ids=JOINS)
def test_bytes_across_are_predicted_exactly(cluster: Cluster, join: Join):
    lazy = join(field(EAST, 19, 36), field(WEST, 10, 18))
    predicted = plan(lazy, settings=SETTINGS)
    _, evidence = compute(cluster.client, lazy)
    assert dict(predicted.bytes_across) == dict(evidence.bytes_across)
    assert dict(predicted.tasks_by_region) == dict(evidence.tasks_by_region)
    assert not any("sizes of" in warning for warning in predicted.warnings)


def test_a_function_of_the_user_is_not_called_for_a_prediction():
    called: list[int] = []

    def own(values: np.ndarray) -> np.ndarray:
        called.append(values.size)
        return values.astype("f8")

    lazy = xr.apply_ufunc(
        own,
        field(EAST, 19, 36).mean("time"),
        input_core_dims=[["lat", "lon"]],
        output_core_dims=[["lat", "lon"]],
        dask="parallelized",
        output_dtypes=["f4"],
    )
    called.clear()
    predicted = plan(lazy, settings=SETTINGS)
    assert called == []
    assert sum(predicted.bytes_across.values()) == 19 * 36 * 4, "the whole block, of the dtype that its author states"
