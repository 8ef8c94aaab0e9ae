"""Maps show every cell where it is, say what they show, and need neither network nor the field itself."""

from __future__ import annotations

import io
import socket
import subprocess
import sys
from typing import Any

import numpy as np
import pytest
import xarray as xr
from PIL import Image

from xdask_pipelines.climate import area_weighted_mean, dequantise, quantise, regrid
from xdask_pipelines.climate.drawing.coastline import coastlines
from xdask_pipelines.climate.drawing.globe import globe
from xdask_pipelines.climate.drawing.maps import cell_at, coloured, draw_map, shown_field
from xdask_pipelines.climate.grids.grid import grid_of, make_grid
from xdask_pipelines.errors import ClimateError


def made(lat: Any, lon: Any, **attrs: Any) -> xr.DataArray:
    phi, lam = np.deg2rad(lat)[:, None], np.deg2rad(lon)[None]
    values = 288 - 40 * np.sin(phi) ** 2 + 5 * np.cos(lam) * np.cos(phi)
    attrs = {"units": "K", "long_name": "near-surface air temperature", **attrs}
    return xr.DataArray(values, dims=("lat", "lon"), coords={"lat": lat, "lon": lon}, attrs=attrs)


USUAL = made(np.linspace(90, -90, 73), np.arange(0, 360, 2.5))
DIFFERENCE = (USUAL - 280).assign_attrs(units="K", units_metadata="temperature: difference")


def pixels(png: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(png)).convert("RGB")).astype(int)


def test_a_map_is_a_png_that_changes_with_the_field_and_its_words() -> None:
    first = draw_map(USUAL, "A title", "excerpt, 24 of 744 h")
    assert first.startswith(b"\x89PNG")
    assert Image.open(io.BytesIO(first)).size == (1200, 740)
    assert draw_map(USUAL, "A title", "excerpt, 24 of 744 h") == first
    for other in (draw_map(USUAL, "A title"), draw_map(USUAL + 0.5, "A title", "excerpt, 24 of 744 h")):
        assert not np.array_equal(pixels(other), pixels(first))


def test_orientation_of_the_field_does_not_change_the_picture() -> None:
    west = USUAL.assign_coords(lon=(USUAL.lon + 180) % 360 - 180).sortby("lon")
    for turned in (USUAL[::-1], west, USUAL.T):
        assert np.array_equal(pixels(draw_map(turned, "t")), pixels(draw_map(USUAL, "t")))


def test_no_network_is_touched(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError("network")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    globe.cache_clear()
    draw_map(USUAL, "t")


def test_drawing_keeps_no_global_state_and_climate_alone_loads_no_matplotlib() -> None:
    code = (
        "import sys, xdask_pipelines.climate; assert 'matplotlib' not in sys.modules and 'cartopy' not in sys.modules;"
        "import xdask_pipelines.climate.drawing.maps; assert 'matplotlib.pyplot' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def test_every_pixel_of_the_globe_has_the_colour_of_the_cell_that_it_lies_in() -> None:
    world = globe()
    grid = make_grid(np.linspace(90, -90, 73), np.arange(0, 360, 2.5))
    rows, columns = cell_at(grid.lat, world.latitudes), cell_at(grid.lon, world.longitudes)
    assert (rows >= 0).all()
    assert (columns >= 0).all()
    assert (rows[0], rows[-1]) == (0, 72)
    assert np.abs(grid.lat.centres[rows] - world.latitudes).max() <= 1.25 + 1e-9
    away = np.abs((grid.lon.centres[columns] - world.longitudes + 180) % 360 - 180)
    assert away.max() <= 1.25 + 1e-9
    image, *_ = coloured(shown_field(USUAL))
    assert (image[world.inside][:, 3] == 255).all()
    assert (image[~world.inside][:, 3] == 0).all()


def test_the_date_line_is_no_seam() -> None:
    image, *_ = coloured(shown_field(USUAL))
    middle = image[image.shape[0] // 2].astype(int)
    assert np.array_equal(middle[0], middle[-1])


@pytest.mark.parametrize("offset", [0.0, 4.0, -30.0])
def test_a_difference_has_limits_that_are_equal_about_zero(offset: float) -> None:
    field = (DIFFERENCE + offset).assign_attrs(DIFFERENCE.attrs)
    _, norm, palette, _ = coloured(shown_field(field))
    assert np.allclose(norm.boundaries, -norm.boundaries[::-1])
    step = norm.boundaries[1] - norm.boundaries[0]
    below, above = (np.array(palette(norm(value))) for value in (-step / 2, step / 2))
    assert below[2] > below[0]
    assert above[0] > above[2]
    assert below[:3].min() > 0.85
    assert above[:3].min() > 0.85


def test_absolute_temperature_is_shown_in_celsius_and_differences_stay_in_kelvin() -> None:
    shown = shown_field(USUAL)
    assert shown.units == "°C"
    assert f"mean {float(area_weighted_mean(USUAL)) - 273.15:.2f} °C" in shown.caption
    shown = shown_field(DIFFERENCE)
    assert shown.units == "K"
    assert f"mean {float(area_weighted_mean(DIFFERENCE)):.2f} K".replace("-", "−") in shown.caption


@pytest.mark.parametrize(
    "field",
    [abs(USUAL - 280), DIFFERENCE - float(DIFFERENCE.min()) + 0.5],
    ids=["a spread without a negative value", "warmer everywhere"],
)
def test_differences_and_spreads_that_do_not_say_so_are_no_temperatures(field: xr.DataArray) -> None:
    assert float(field.min()) >= 0
    shown = shown_field(field.drop_attrs().assign_attrs(units="K", standard_name="air_temperature"))
    assert shown.units == "K"
    assert f"maximum {float(field.max()):.2f} K" in shown.caption


def test_missing_cells_are_grey_and_counted_and_no_mean_is_claimed() -> None:
    field = USUAL.copy()
    field[30:40, 20:30] = np.nan
    shown = shown_field(field)
    assert "100 cells without value" in shown.caption
    assert "mean" not in shown.caption
    image, *_ = coloured(shown)
    assert (image == (0xB0, 0xB0, 0xB0, 255)).all(axis=-1).sum() > 500


def test_fields_that_are_constant_fine_or_regional_can_be_drawn() -> None:
    draw_map(USUAL * 0 + 280, "constant")
    draw_map((DIFFERENCE * 0).assign_attrs(DIFFERENCE.attrs), "no difference")
    draw_map(made(np.linspace(90, -90, 721), np.arange(0, 360, 0.25)), "fine")
    image, *_ = coloured(shown_field(made(np.linspace(20, 60, 21), np.arange(230, 300, 2.0))))
    grey = (image == (0xB0, 0xB0, 0xB0, 255)).all(axis=-1)
    assert 0.8 < grey[globe().inside].mean() < 0.99


@pytest.mark.parametrize(
    ("field", "words"),
    [
        (USUAL.expand_dims(time=2), "select one step"),
        (USUAL.chunk(), "as a Dask array"),
        (USUAL * np.nan, "no finite value"),
    ],
)
def test_what_cannot_be_drawn_is_refused_with_a_reason(field: xr.DataArray, words: str) -> None:
    with pytest.raises(ClimateError, match=words):
        draw_map(field, "t")


def test_coastlines_stay_within_the_map_and_never_cross_it() -> None:
    lines = coastlines()
    known = lines[np.isfinite(lines[:, 0])]
    assert np.abs(known).max(axis=0).tolist() == pytest.approx([180, 85.6], abs=0.1)
    steps = np.abs(np.diff(lines, axis=0))
    assert np.nanmax(steps[:, 0]) < 20  # degrees: a line across the map would be 360
    projected = np.abs(np.diff(globe().coast, axis=0))
    assert np.nanmax(projected) < 0.06 * np.ptp(globe().extent[:2])


def test_a_thumbnail_is_small_lazy_and_within_half_a_step() -> None:
    field = made(np.linspace(90, -90, 361), np.arange(0, 360, 0.5)).chunk(lat=100)
    lazy = quantise(field)
    assert all(variable.chunks is not None for variable in lazy.values())
    thumbnail = lazy.compute()
    assert thumbnail.codes.shape == (72, 144)
    assert thumbnail.codes.nbytes + thumbnail.summary.nbytes < 10_500
    back = dequantise(thumbnail)
    exact = regrid(field.compute(), back.lat, back.lon)
    step = float(thumbnail.summary[1])
    assert float(np.abs(back - exact).max()) < step / 2 + 1e-9
    assert back.attrs["units"] == "K"


def test_a_picture_of_a_thumbnail_quotes_the_field_itself() -> None:
    field = made(np.linspace(90, -90, 361), np.arange(0, 360, 0.5))
    back = dequantise(quantise(field))
    assert back.attrs["actual_range"] == (float(field.min()), float(field.max()))
    assert shown_field(back).caption == shown_field(field).caption
    assert draw_map(back, "t").startswith(b"\x89PNG")


def test_a_coarse_picture_does_not_claim_to_count_the_cells_of_the_field() -> None:
    field = made(np.linspace(90, -90, 361), np.arange(0, 360, 0.5))
    field[100:140, 100:140] = np.nan
    back = dequantise(quantise(field))
    lacking = int(back.isnull().sum())
    assert f"{lacking} of the 10368 cells of this coarse picture without value" in shown_field(back).caption
    assert "1600 cells without value" in shown_field(field).caption


def test_thumbnails_of_small_regional_and_broken_fields() -> None:
    small = USUAL[::3, ::4]
    assert np.abs(dequantise(quantise(small)) - small).max() <= np.ptp(small.values) / 254 / 2 + 1e-9
    region = made(np.linspace(20, 60, 101), np.arange(230, 300, 0.5))
    thumbnail = quantise(region)
    assert thumbnail.codes.shape == (74, 140)
    back = dequantise(thumbnail)
    assert float(back.area_mean) == pytest.approx(float(area_weighted_mean(region)))
    assert float(area_weighted_mean(back)) == pytest.approx(back.area_mean, abs=0.02)
    assert grid_of(back).lat.edges[[0, -1]].tolist() == grid_of(region).lat.edges[[0, -1]].tolist()
    holed = small.copy()
    holed[2, 3] = np.nan
    assert np.isnan(dequantise(quantise(holed))).sum() == 1
    assert np.isnan(dequantise(quantise(small * np.nan))).all()
    assert np.array_equal(dequantise(quantise(small * 0 + 3)), small * 0 + 3)
    with pytest.raises(ClimateError, match="select along"):
        quantise(small.expand_dims(time=2))
