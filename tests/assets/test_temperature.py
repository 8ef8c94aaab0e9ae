"""The analyses of the main job take any model, whatever its axes are called."""

from __future__ import annotations

from typing import Any

import cftime
import dagster as dg
import numpy as np
import pytest
import xarray as xr

from xdask_pipelines.assets.analysis import analyses_of
from xdask_pipelines.assets.temperature import Projection, Reference, temperature_assets
from xdask_pipelines.climate import month_partial

ANALYSES = analyses_of(temperature_assets(dg.MonthlyPartitionsDefinition(start_date="2026-01", fmt="%Y-%m")))


def model(lat: str, lon: str) -> xr.DataArray:
    """280 K in January and 281 K in February, on a calendar of months of 30 days."""
    axes = {
        lat: (lat, -85 + 10.0 * np.arange(18), {"standard_name": "latitude"}),
        lon: (lon, 10.0 * np.arange(36), {"standard_name": "longitude"}),
    }
    dates = [cftime.datetime(2015, m, 16, calendar="360_day") for m in (1, 2)]
    values = np.array([280.0, 281.0], "f4")[:, None, None] * np.ones((1, 18, 36), "f4")
    attrs = {"units": "K"}
    return xr.DataArray(values, dims=("time", lat, lon), coords={"time": dates, **axes}, name="tas", attrs=attrs)


def run(name: str, **arguments: Any) -> xr.DataArray:
    result: xr.DataArray = ANALYSES[name].function(**arguments)
    return result


@pytest.mark.parametrize("names", [("lat", "lon"), ("latitude", "longitude"), ("y", "x")])
def test_axes_of_a_model_may_have_any_name(names: tuple[str, str]) -> None:
    tas = model(*names)
    for name, config in (
        ("cmip6_predicted_tas_regridded", Projection()),
        ("cmip6_reference_tas_regridded", Reference()),
    ):
        mean = run(name, tas=tas, config=config)
        assert mean.dims == names
        assert np.allclose(mean, 280.5)
    era5 = model("lat", "lon").isel(lat=slice(None, None, -1))
    historic = run("era5_historic_temp_regridded", era5_monthly_mean=month_partial(era5), model=tas, config=Reference())
    other = run("cmip6_predicted_tas_regridded", tas=tas, config=Projection())
    assert np.allclose(
        run("temperature_difference", cmip6_predicted_tas_regridded=other, era5_historic_temp_regridded=historic), 0.0
    )
