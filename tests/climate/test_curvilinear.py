"""Curvilinear and unstructured fields: regridding by weights of CDO and ESMF, and means by given areas."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr

from xdask_pipelines.climate import area_weighted_mean, cell_areas, regrid, regrid_by_weights
from xdask_pipelines.errors import ClimateError

LAT, LON = np.arange(-87.5, 90, 5), np.arange(0.0, 360, 5)


def ocean(rows: int = 332, columns: int = 362) -> xr.DataArray:
    """A field on a rotated, curvilinear grid with corners, and land without values."""
    y, x = np.meshgrid(np.linspace(-88, 88, rows + 1), np.linspace(0, 360, columns + 1), indexing="ij")

    def place(y: np.ndarray, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Turn the sphere by 30 degrees around the axis through 0 N 0 E."""
        lat, lon, tilt = np.deg2rad(y), np.deg2rad(x), np.deg2rad(30)
        a, b, c = np.cos(lat) * np.cos(lon), np.cos(lat) * np.sin(lon), np.sin(lat)
        b, c = b * np.cos(tilt) - c * np.sin(tilt), b * np.sin(tilt) + c * np.cos(tilt)
        return np.rad2deg(np.arcsin(np.clip(c, -1, 1))), np.rad2deg(np.arctan2(b, a)) % 360

    centre_y, centre_x = (y[1:, 1:] + y[:-1, :-1]) / 2, (x[1:, 1:] + x[:-1, :-1]) / 2
    lat, lon = place(centre_y, centre_x)
    corners = [(y[:-1, :-1], x[:-1, :-1]), (y[:-1, 1:], x[:-1, 1:]), (y[1:, 1:], x[1:, 1:]), (y[1:, :-1], x[1:, :-1])]
    vertices = [np.stack(each, axis=-1) for each in zip(*(place(*corner) for corner in corners), strict=True)]
    phi, lam = np.deg2rad(lat), np.deg2rad(lon)
    values = 288 - 40 * np.sin(phi) ** 2 + 5 * np.cos(3 * lam) * np.cos(phi)
    values = np.where(np.cos(2 * lam + 1) * np.cos(phi) + 0.5 * np.sin(3 * phi) > 0.45, np.nan, values)
    attrs = [
        {"standard_name": name, "units": units, "bounds": f"{short}_bnds"}
        for name, units, short in (("latitude", "degrees_north", "lat"), ("longitude", "degrees_east", "lon"))
    ]
    return xr.Dataset(
        {
            "tos": (("j", "i"), values, {"units": "K"}),
            "lat_bnds": (("j", "i", "corner"), vertices[0]),
            "lon_bnds": (("j", "i", "corner"), vertices[1]),
        },
        coords={"lat": (("j", "i"), lat, attrs[0]), "lon": (("j", "i"), lon, attrs[1])},
    )


def cdo(*words: Any, area_min: float = 0.0) -> None:
    program = shutil.which("cdo") or pytest.fail("CDO is not installed. On Debian: apt-get install cdo.")
    environment = {**os.environ, "REMAP_AREA_MIN": str(area_min)}
    subprocess.run([program, "-s", "-b", "F64", *map(str, words)], env=environment, check=True)


@pytest.mark.cdo
def test_a_masked_ocean_grid_is_regridded_as_by_remapcon(tmp_path: Path) -> None:
    dataset = ocean()
    dataset.to_netcdf(tmp_path / "tos.nc")
    dataset.assign(tos=dataset.tos.fillna(0.0)).to_netcdf(tmp_path / "whole.nc")
    cdo("gencon,r72x36", tmp_path / "whole.nc", tmp_path / "weights.nc")
    with xr.open_dataset(tmp_path / "weights.nc") as found:
        weights = found.load()
    lazy = regrid_by_weights(dataset.tos.chunk(j=100), weights.chunk(), LAT, LON, 0.4)
    for min_fraction in (0.0, 0.4, 0.75):
        out = tmp_path / f"{min_fraction}.nc"
        cdo("remapcon,r72x36", tmp_path / "tos.nc", out, area_min=min_fraction)
        wanted = xr.open_dataset(out).tos.load()
        ours = regrid_by_weights(dataset.tos, weights, wanted.lat.values, wanted.lon.values, min_fraction)
        assert np.array_equal(ours.isnull(), wanted.isnull())
        assert float(abs(ours - wanted).max()) < 1e-10
        if min_fraction == 0.4:
            np.testing.assert_allclose(lazy, ours)


def weights_of(field: xr.DataArray, lat: np.ndarray, lon: np.ndarray, convention: str) -> xr.Dataset:
    """Weights between rectangular grids, found by regridding unit fields; as a file of either convention has them."""
    n = field.size
    units = xr.DataArray(np.eye(n).reshape(n, *field.shape), dims=("n", "lat", "lon"), coords=field.coords)
    matrix = regrid(units, lat, lon).values.reshape(n, -1).T
    row, col = np.nonzero(matrix)
    y, x = (each.ravel() for each in np.meshgrid(lat, lon, indexing="ij"))
    one = np.ones(len(y))
    if convention == "esmf":
        data = {
            "S": ("n_s", matrix[row, col]),
            "row": ("n_s", row + 1),
            "col": ("n_s", col + 1),
            "frac_b": ("n_b", one),
            "area_b": ("n_b", one),
            "yc_b": ("n_b", y, {"units": "degrees"}),
            "xc_b": ("n_b", x, {"units": "degrees"}),
            "mask_a": ("n_a", np.ones(n)),
        }
        return xr.Dataset(data)
    data = {
        "remap_matrix": (("num_links", "num_wgts"), matrix[row, col][:, None]),
        "dst_address": ("num_links", row + 1),
        "src_address": ("num_links", col + 1),
        "dst_grid_frac": ("dst_grid_size", one),
        "dst_grid_area": ("dst_grid_size", one),
        "dst_grid_center_lat": ("dst_grid_size", np.deg2rad(y), {"units": "radians"}),
        "dst_grid_center_lon": ("dst_grid_size", np.deg2rad(x), {"units": "radians"}),
        "src_grid_area": ("src_grid_size", np.ones(n)),
    }
    return xr.Dataset(data, attrs={"normalization": "fracarea"})


def rectangular() -> xr.DataArray:
    coords = {"lat": np.arange(-75.0, 90, 30), "lon": np.arange(0.0, 360, 40)}
    values = np.random.default_rng(1).normal(280, 10, (2, 6, 9))
    values[1, 2, 3] = np.nan
    return xr.DataArray(values, coords=coords, dims=("time", "lat", "lon"), name="tas", attrs={"units": "K"})


def native(field: xr.DataArray, *, unstructured: bool = False) -> xr.DataArray:
    """The same field with 2-D coordinates, or as a list of cells."""
    lat, lon = xr.broadcast(field.lat, field.lon)
    if unstructured:
        cells = (
            field.stack(cell=("lat", "lon"), create_index=False)
            .reset_coords(drop=True)
            .drop_vars(["lat", "lon"], errors="ignore")
        )
        return cells.assign_coords(lat=("cell", lat.values.ravel()), lon=("cell", lon.values.ravel()))
    bare = field.rename(lat="j", lon="i").drop_vars(["j", "i"])
    return bare.assign_coords(lat=(("j", "i"), lat.values), lon=(("j", "i"), lon.values))


@pytest.mark.parametrize("convention", ["scrip", "esmf"])
@pytest.mark.parametrize("unstructured", [False, True])
def test_weights_of_both_conventions_give_what_regrid_gives(convention: str, unstructured: bool) -> None:
    field, lat, lon = rectangular(), np.arange(-80.0, 90, 20), np.arange(10.0, 360, 60)
    weights = weights_of(field[0], lat, lon, convention)
    for min_fraction in (0.3, 1.0):
        ours = regrid_by_weights(native(field, unstructured=unstructured), weights, lat, lon, min_fraction)
        np.testing.assert_allclose(ours, regrid(field, lat, lon, min_fraction=min_fraction), atol=1e-10)
    assert ours.dims == ("time", "lat", "lon")


def test_weights_that_do_not_fit_are_refused() -> None:
    field, lat, lon = rectangular(), np.arange(-80.0, 90, 20), np.arange(10.0, 360, 60)
    weights = weights_of(field[0], lat, lon, "scrip")
    with pytest.raises(ClimateError, match="no regridding weights"):
        regrid_by_weights(native(field), xr.Dataset({"a": 1}), lat, lon)
    with pytest.raises(ClimateError, match="from 54 cells to 54, but the field has 45"):
        regrid_by_weights(native(field)[:, :5], weights, lat, lon)
    with pytest.raises(ClimateError, match="up to 5 degrees from"):
        regrid_by_weights(native(field), weights, lat, lon + 5)
    with pytest.raises(ClimateError, match="second order"):
        regrid_by_weights(native(field), weights.isel(num_wgts=[0, 0, 0]), lat, lon)
    with pytest.raises(ClimateError, match="no latitudes and longitudes on the same dimensions"):
        regrid_by_weights(field, weights, lat, lon)
    with pytest.raises(ClimateError, match=r"cdo gencon.*regrid_by_weights"):
        regrid(native(field), lat, lon)


@pytest.mark.parametrize("chunks", [None, {"time": 1}])
def test_means_by_given_areas(chunks: Any) -> None:
    field = rectangular()
    areas = native(cell_areas(field[0]))
    own = native(field).chunk(chunks) if chunks else native(field)
    np.testing.assert_allclose(area_weighted_mean(own, areas=areas), area_weighted_mean(field))
    np.testing.assert_allclose(area_weighted_mean(own, 0.0, areas=areas), area_weighted_mean(field, 0.0))
    with pytest.raises(ClimateError, match="this field's own grid"):
        area_weighted_mean(own, areas=areas[:3])
    with pytest.raises(ClimateError, match="differ in 'lat'"):
        area_weighted_mean(own, areas=areas.assign_coords(lat=areas.lat + 1))
    with pytest.raises(ClimateError, match=r"area_weighted_mean\(field, areas=areas\)"):
        area_weighted_mean(own)
