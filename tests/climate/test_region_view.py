"""A field of one region is drawn zoomed to it, wherever on the globe it is."""

from __future__ import annotations

import io

import numpy as np
import pytest
import xarray as xr
from PIL import Image

from xdask_pipelines.climate.drawing.maps import draw_map
from xdask_pipelines.climate.drawing.native_maps import draw_native_map
from xdask_pipelines.climate.drawing.region_view import RegionView, WholeGlobe, view_of


def places(south: float, north: float, west: float, east: float) -> tuple[np.ndarray, np.ndarray]:
    lat, lon = np.meshgrid(np.arange(south, north, 1.0), np.arange(west, east, 1.0), indexing="ij")
    return lat.ravel(), lon.ravel()


@pytest.mark.parametrize(
    ("box", "expected"),
    [
        ((30.0, 46.0, 5.0, 36.0), (30.0, 46.0, 5.0, 36.0)),
        ((35.0, 70.0, 350.0, 400.0), (35.0, 70.0, -10.0, 40.0)),  # across Greenwich
        ((-50.0, 0.0, 160.0, 200.0), (-50.0, 0.0, 160.0, 200.0)),  # across 180 degrees
    ],
)
def test_the_view_holds_all_places_and_little_more(box: tuple[float, ...], expected: tuple[float, ...]) -> None:
    lat, lon = places(*box)
    view = view_of(lat + 0.5, lon % 360 + 0.5, 1.0)
    assert isinstance(view, RegionView)
    np.testing.assert_allclose((view.south, view.north, view.west, view.east), expected, atol=2.1)
    assert view.south <= expected[0] + 1e-9
    assert view.north >= expected[1] - 1e-9
    assert view.west <= expected[2] + 1e-9
    assert view.east >= expected[3] - 1e-9


@pytest.mark.parametrize("box", [(-89.5, 90.0, 0.5, 360.0), (60.5, 90.0, 0.5, 360.0), (-89.5, 90.0, 0.5, 60.0)])
def test_the_world_and_what_reaches_around_it_is_drawn_on_the_globe(box: tuple[float, ...]) -> None:
    assert isinstance(view_of(*places(*box), 1.0), WholeGlobe)


def test_a_single_place_has_a_view() -> None:
    view = view_of(np.array([89.9]), np.array([0.0]), 2.0)
    assert isinstance(view, RegionView)
    assert view.north == 90.0
    assert view.east - view.west >= 2.0
    assert all(size > 0 for size in view.inside.shape)


def coloured_share(png: bytes) -> float:
    """Share of a picture that has the colours of values, which are not grey."""
    pixels = np.asarray(Image.open(io.BytesIO(png)).convert("RGB")).astype(int)
    return float((np.ptp(pixels, axis=-1) > 25).mean())


def test_values_of_a_region_fill_the_picture() -> None:
    lat, lon = np.arange(-89.5, 90), np.arange(0.5, 360)
    world = xr.DataArray(
        np.add.outer(lat, lon), dims=("lat", "lon"), coords={"lat": lat, "lon": lon}, attrs={"units": "1"}
    )
    masked = world.where((world.lat > 30) & (world.lat < 46) & ((world.lon > 355) | (world.lon < 36)))
    cut = world.isel(lat=slice(120, 136), lon=slice(5, 36))
    assert coloured_share(draw_map(masked, "t")) > 0.3
    assert coloured_share(draw_map(cut, "t")) > 0.3
    rows, columns = np.meshgrid(np.arange(16), np.arange(31), indexing="ij")
    native = xr.DataArray(
        np.asarray(cut),
        dims=("j", "i"),
        coords={
            "latitude": (("j", "i"), 30 + rows + 0.1 * columns, {"units": "degrees_north"}),
            "longitude": (("j", "i"), 5 + columns - 0.1 * rows, {"units": "degrees_east"}),
        },
    )
    assert coloured_share(draw_native_map(native, "t")) > 0.25
