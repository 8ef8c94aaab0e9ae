"""Libraries that climate scientists bring work on placed arrays, and what they compute runs where the data are."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import cf_xarray  # noqa: F401  (registers the accessor)
import flox.xarray
import matplotlib.pyplot as plt
import nc_time_axis  # noqa: F401  (registers its axis)
import numpy as np
import pytest
import regionmask
import xarray as xr
import xclim
from cmcrameri import cm

from xdask_pipelines.climate.regions import ar6_region, region_fraction
from xdask_pipelines.notebook import Project

WEST = "us-west-2"


@pytest.fixture
def tas(project: Project) -> Iterator[xr.DataArray]:
    opened = project.open(dataset="models", member_id="r2i1p1f2")
    assert isinstance(opened, xr.DataArray)
    yield opened
    assert project.evidence.misplaced_tasks == 0
    assert set(project.evidence.tasks_by_region) == {WEST}


@pytest.fixture
def plain(folder: Path) -> xr.DataArray:
    """What plain xarray reads."""
    (store,) = (folder / "data" / WEST / "models").rglob("r2i1p1f2/Amon/tas/gn/*")
    return xr.open_zarr(store, consolidated=True, decode_times=xr.coders.CFDatetimeCoder(use_cftime=True)).tas.load()


def test_flox_groups(tas: xr.DataArray, plain: xr.DataArray) -> None:
    wanted = plain.groupby("time.month").mean()
    np.testing.assert_allclose(tas.groupby("time.month").mean().compute(), wanted, rtol=1e-6)
    found = flox.xarray.xarray_reduce(tas, tas.time.dt.month, func="mean").compute()
    np.testing.assert_allclose(found.transpose(*wanted.dims), wanted, rtol=1e-6)


def test_cf_xarray_finds_coordinates(tas: xr.DataArray, plain: xr.DataArray) -> None:
    np.testing.assert_array_equal(
        tas.cf.mean("time").cf.sel(latitude=5, method="nearest").compute(), plain.mean("time")[9]
    )


def test_regionmask_masks_on_the_client(tas: xr.DataArray, plain: xr.DataArray) -> None:
    regions = regionmask.Regions([ar6_region("SAH").geometry], names=["Sahara"])
    mask = regions.mask(tas.lon.values, tas.lat.values, wrap_lon=True).values == 0
    assert 5 < mask.sum() < 40
    found = tas.where(xr.DataArray(mask, dims=("lat", "lon"))).mean().compute()
    assert float(found) == pytest.approx(float(plain.where(xr.DataArray(mask, dims=("lat", "lon"))).mean()), rel=1e-6)
    assert (region_fraction(plain, "SAH").values[mask] > 0).all()


def test_xclim_converts_units_and_computes_indices(tas: xr.DataArray, plain: xr.DataArray) -> None:
    celsius = xclim.core.units.convert_units_to(tas, "degC").compute()
    np.testing.assert_allclose(celsius, plain - 273.15, rtol=1e-5)
    warmest = xclim.indices.tg_max(tas, freq="YS").compute()
    np.testing.assert_allclose(warmest, plain.groupby("time.year").max(), rtol=1e-6)


def test_plots_take_colour_maps_and_calendars(tas: xr.DataArray) -> None:
    figure, axes = plt.subplots(ncols=2)
    tas[0].plot(ax=axes[0], cmap=cm.batlow)
    tas[:, 9, 9].plot(ax=axes[1])
    assert axes[1].lines[0].get_xdata().size == 24
    plt.close(figure)
