"""Numbers that are known without a computer: areas, weights of months, exact sums, frost days."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import xarray as xr

from xdask_pipelines.climate import area_weighted_mean, make_grid, mean_of_partials, month_partial, regrid
from xdask_pipelines.climate.analyses import frost_days

ONE_DEGREE = np.arange(-89.5, 90), np.arange(0.5, 360)
F48 = np.rad2deg(np.arcsin(np.polynomial.legendre.leggauss(96)[0])), 1.875 * np.arange(192)


def sine_squared(lat: np.ndarray, lon: np.ndarray) -> xr.DataArray:
    """Means of sin(latitude)**2 over cells: its integral over the sphere's area is sin**3 / 3."""
    edges = np.sin(np.deg2rad(make_grid(lat, lon).lat.edges))
    means = np.diff(edges**3) / (3 * np.diff(edges))
    values = np.broadcast_to(means[:, None], (lat.size, lon.size))
    return xr.DataArray(values, coords={"lat": lat, "lon": lon}, dims=("lat", "lon"), attrs={"units": "1"})


@pytest.mark.parametrize(("source", "target"), [(ONE_DEGREE, F48), (F48, ONE_DEGREE)])
def test_a_third_stays_a_third(source: Any, target: Any) -> None:
    field = sine_squared(*source)
    assert float(area_weighted_mean(field)) == pytest.approx(1 / 3, abs=1e-13)
    assert float(area_weighted_mean(regrid(field, *target))) == pytest.approx(1 / 3, abs=1e-13)


@pytest.mark.parametrize("chunks", [None, 24])
def test_hours_in_float32_add_up_exactly(chunks: int | None) -> None:
    hours = np.datetime64("2011-01-01", "ns") + np.arange(744) * np.timedelta64(1, "h")
    values = (np.arange(744) / 32).astype(np.float32)
    field = xr.DataArray(values, coords={"time": hours}, attrs={"units": "K"})
    partial = month_partial(field.chunk(time=chunks) if chunks else field)
    assert float(partial["sum"]) == 8637.375
    assert float(mean_of_partials(partial)) == 11.609375


def test_a_cosine_of_a_year_has_182_frost_days() -> None:
    days = xr.date_range("2001-01-01", periods=365, calendar="noleap", use_cftime=True)
    values = 273.15 + 10 * np.cos(2 * np.pi * np.arange(365) / 365)
    attrs = {"units": "K", "standard_name": "air_temperature", "cell_methods": "time: minimum"}
    field = xr.DataArray(values, coords={"time": days}, name="tasmin", attrs=attrs)
    assert frost_days(field).values.tolist() == [182]
    celsius = (field - 273.15).assign_attrs({**attrs, "units": "degC"})
    assert frost_days(celsius).values.tolist() == [182]
