"""Where data lie, as their headers say it: grids of many kinds, read from real stores."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr

from xdask_pipelines.access.header import describe
from xdask_pipelines.catalog.extent import extent_of

NORTH, EAST = {"units": "degrees_north"}, {"units": "degrees_east"}
GLOBE = [-180.0, -90.0, 180.0, 90.0]


def _header(folder: Path, lat: Any, lon: Any, coords: dict[str, Any] | None = None) -> dict[str, Any]:
    """Header of a store on a grid, as it is stored."""
    grid = {"lat": ("lat", np.asarray(lat, "f8"), NORTH), "lon": ("lon", np.asarray(lon, "f8"), EAST)}
    shape = len(lat), len(lon)
    xr.Dataset({"tas": (("lat", "lon"), np.zeros(shape, "f4"))}, coords or grid).to_zarr(folder / "s", zarr_format=2)
    return describe(folder / "s", "zarr2", ["tas"])


@pytest.mark.parametrize(
    ("lat", "lon", "extent"),
    [
        (np.linspace(90, -90, 19), np.arange(0, 360, 10), GLOBE),
        (np.linspace(-85, 85, 18), np.arange(-175, 180, 10), GLOBE),
        (np.linspace(-90, 90, 19), np.arange(0, 361, 10), GLOBE),
        ([45, 55], np.arange(0, 360, 10), [-180, 40, 180, 60]),
        ([45, 55], [-5, 5, 15], [-10, 40, 20, 60]),
        ([45, 55], [355, 5, 15], [-10, 40, 20, 60]),
        ([-5, 5], [165, 175, 185, 195], [160, -10, 200, 10]),
        ([-5, 5], [165, 175, -175, -165], [160, -10, 200, 10]),
        ([52.5], [13.25], [13.25, 52.5, 13.25, 52.5]),
    ],
)
def test_a_grid_reaches_half_a_step_beyond_its_points(tmp_path: Path, lat: Any, lon: Any, extent: list[float]) -> None:
    found = _header(tmp_path, lat, lon)["extent"]
    assert found == pytest.approx(extent)
    assert list(extent_of(found, "")) == pytest.approx(extent), "it is in the catalog's own form"


def test_bounds_say_better_where_cells_end(tmp_path: Path) -> None:
    attrs = {"units": "degrees_north", "bounds": "lat_bnds"}, {"units": "degrees_east", "bounds": "lon_bnds"}
    coords = {
        "lat": ("lat", [40.0, 60.0], attrs[0]),
        "lon": ("lon", [0.0, 30.0], attrs[1]),
        "lat_bnds": (("lat", "two"), [[35.0, 50.0], [50.0, 62.0]]),
        "lon_bnds": (("lon", "two"), [[-7.0, 15.0], [15.0, 33.0]]),
    }
    assert _header(tmp_path, [40, 60], [0, 30], coords)["extent"] == pytest.approx([-7, 35, 33, 62])


def test_data_without_latitude_and_longitude_have_no_extent(tmp_path: Path) -> None:
    xr.Dataset({"tas": ("station", np.zeros(3))}, {"station": [1, 2, 3]}).to_zarr(tmp_path / "s", zarr_format=2)
    assert "extent" not in describe(tmp_path / "s", "zarr2", ["tas"])


def test_a_curvilinear_grid_lies_where_its_points_lie(tmp_path: Path) -> None:
    j, i = np.mgrid[0:5, 0:6]
    lat, lon = 60.0 + j + 0.1 * i, (355.0 + 2.0 * i - 0.1 * j) % 360
    axes = {"standard_name": "latitude", **NORTH}, {"standard_name": "longitude", **EAST}
    coords = {"lat": (("j", "i"), lat, axes[0]), "lon": (("j", "i"), lon, axes[1])}
    xr.Dataset({"tos": (("j", "i"), np.zeros((5, 6)))}, coords).to_zarr(tmp_path / "s", zarr_format=2)
    west, south, east, north = describe(tmp_path / "s", "zarr2", ["tos"])["extent"]
    assert (west, east) == pytest.approx((-6.4, 6.0))
    assert (south, north) == pytest.approx((59.95, 64.55))
