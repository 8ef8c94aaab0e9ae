"""Regridding agrees with CDO (Debian: apt-get install cdo): missing values, values, and both methods."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from tests.climate.test_missing_values import example
from xdask_pipelines.climate import regrid

pytestmark = pytest.mark.cdo


def cdo(operator: str, field: xr.DataArray, folder: Path, area_min: float | None = None) -> xr.DataArray:
    """What CDO's operator makes of a field."""
    program = shutil.which("cdo") or pytest.fail("CDO is not installed. On Debian: apt-get install cdo.")
    source, result = folder / "in.nc", folder / "out.nc"
    for path in (source, result):
        path.unlink(missing_ok=True)
    lat, lon = (
        {"standard_name": n, "units": u} for n, u in (("latitude", "degrees_north"), ("longitude", "degrees_east"))
    )
    field.assign_coords(lat=field.lat.assign_attrs(lat), lon=field.lon.assign_attrs(lon)).rename("f").to_netcdf(source)
    environment = dict(os.environ) | ({} if area_min is None else {"REMAP_AREA_MIN": str(area_min)})
    subprocess.run([program, "-s", "-b", "F64", operator, source, result], env=environment, check=True)
    with xr.open_dataset(result) as out:
        return out.f.load()


@pytest.mark.parametrize("grid", ["n48", "r72x36", "r144x73"])
@pytest.mark.parametrize("min_fraction", [0.0, 0.25, 0.4, 0.75, 0.95])
def test_missing_values_and_values_of_remapcon(grid: str, min_fraction: float, tmp_path: Path) -> None:
    field = example()
    wanted = cdo(f"remapcon,{grid}", field, tmp_path, min_fraction)
    ours = regrid(field, wanted.lat.values, wanted.lon.values, min_fraction=min_fraction)
    assert np.array_equal(ours.isnull(), wanted.isnull())
    assert float(abs(ours - wanted).max()) < 1e-10


def test_a_region_across_greenwich_is_nan_outside(tmp_path: Path) -> None:
    field = example().fillna(300.0)
    region = (
        field.assign_coords(lon=(field.lon + 180) % 360 - 180).sortby("lon").sel(lat=slice(20, 60), lon=slice(-40, 30))
    )
    wanted = cdo("remapcon,r72x36", region, tmp_path, 0.4)
    ours = regrid(region, wanted.lat.values, wanted.lon.values, min_fraction=0.4)
    assert 0 < int(ours.notnull().sum()) < 300
    assert np.array_equal(ours.isnull(), wanted.isnull())
    assert float(abs(ours - wanted).max()) < 1e-10


def test_bilinear_between_the_rows_of_the_source(tmp_path: Path) -> None:
    field = example().fillna(300.0)
    wanted = cdo("remapbil,n48", field, tmp_path)
    ours = regrid(field, wanted.lat.values, wanted.lon.values, "bilinear")
    inside = abs(wanted.lat) < 89.5
    assert float(abs(ours - wanted).where(inside).max()) < 1e-10
