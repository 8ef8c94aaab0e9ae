"""Regions: outlines and their areas, the fraction of each cell in them, and means over them."""

from __future__ import annotations

import json
import pickle
from typing import Any

import dask.array as da
import numpy as np
import pytest
import shapely
import xarray as xr

from xdask_pipelines.climate import area_weighted_mean, cell_areas
from xdask_pipelines.climate.regions import (
    ar6_acronyms,
    ar6_region,
    box,
    land,
    polygon,
    region,
    region_fraction,
    regional_mean,
    regions_of_geojson,
    sea,
)
from xdask_pipelines.errors import ClimateError

ONE_DEGREE = {"lat": np.linspace(90, -90, 181), "lon": np.arange(360.0)}


def field(lat: Any = None, lon: Any = None) -> xr.DataArray:
    """Sine of latitude plus a wave, whose means over boxes are known."""
    lat = np.arange(-89.5, 90) if lat is None else np.asarray(lat)
    lon = np.arange(0.5, 360) if lon is None else np.asarray(lon)
    values = np.sin(np.deg2rad(lat))[:, None] + np.cos(np.deg2rad(lon))[None]
    return xr.DataArray(values, coords={"lat": lat, "lon": lon}, dims=("lat", "lon"), attrs={"units": "K"})


def test_land_and_sea_make_up_the_globe() -> None:
    assert land().area + sea().area == pytest.approx(4 * np.pi, rel=1e-12)
    assert land().area / (4 * np.pi) == pytest.approx(0.29, abs=0.01)
    marked = region_fraction(field(), "land")
    for lat, lon, expected in ((-85, 10, 1), (45, 5, 1), (0, 330, 0), (42, 50, 0), (67, 181, 1), (0, 200, 0)):
        assert float(marked.sel(lat=lat + 0.5, lon=lon + 0.5)) == expected, (lat, lon)


def test_reference_regions_are_those_of_the_report() -> None:
    assert len(ar6_acronyms()) == 58
    assert sum(ar6_region(name).area for name in ar6_acronyms()) == pytest.approx(4 * np.pi, rel=1e-4)
    mediterranean = np.deg2rad(50) * (np.sin(np.deg2rad(45)) - np.sin(np.deg2rad(30)))
    assert ar6_region("MED").area == pytest.approx(mediterranean, rel=1e-12)
    assert float(region_fraction(field(), "NPO").sel(lat=20.5, lon=[179.5, 180.5]).sum()) == 2


@pytest.mark.parametrize(
    "name", ["land", "MED & land", "RAR", "EAN", "box(-15, 25, 340, 20)", "box(60, 90, 170, -170)"]
)
@pytest.mark.parametrize("step", [5.0, 2.8125])
def test_parts_of_cells_add_up_to_the_area_of_a_region(name: str, step: float) -> None:
    for lon in (np.arange(0, 360, step), np.arange(-180, 180, step), np.arange(180, -180, -step)):
        grid = xr.DataArray(
            np.zeros((72, len(lon))), coords={"lat": np.linspace(88.75, -88.75, 72), "lon": lon}, dims=("lat", "lon")
        )
        total = float((region_fraction(grid, name) * cell_areas(grid)).sum())
        assert total == pytest.approx(region(name).area, rel=1e-11)


def test_parts_of_cells_agree_with_counting_points() -> None:
    outline = polygon("kite", [(-20, 0), (0, -31), (33, 5), (0, 47)])
    fine = 40
    points = (np.arange(10 * fine) + 0.5) / fine * 5 - 25  # in cells of 5 degrees
    lat, lon = points * 1.0 + 20, points * 1.0 + 10
    inside = shapely.contains_xy(outline.geometry, *np.meshgrid(lon, lat))
    weights = inside * np.cos(np.deg2rad(lat))[:, None]
    blocks = weights.reshape(10, fine, 10, fine).sum(axis=(1, 3))
    whole = np.broadcast_to(np.cos(np.deg2rad(lat))[:, None], inside.shape).reshape(10, fine, 10, fine).sum(axis=(1, 3))
    centres = np.arange(10) * 5 - 22.5
    marked = region_fraction(field(centres + 20, centres + 10), outline)
    np.testing.assert_allclose(marked, blocks / whole, atol=2e-3)


def test_means_over_boxes_have_closed_forms() -> None:
    mean = regional_mean(field(), ["global", "box(0, 90, 0, 360)", "box(-30, 30, -90, 90)", "box(0, 0.5, 0, 0.5)"])
    assert mean.dims == ("region",)
    assert mean.region.values.tolist()[0] == "global"
    half = np.sin(np.deg2rad(0.5)) / np.deg2rad(0.5)  # values at centres, not means of cells
    wave = 2 / np.pi / half
    assert mean.values[:2] == pytest.approx([0, 0.5], abs=1e-4)
    assert mean.values[2] == pytest.approx(wave, rel=1e-4)
    assert mean.values[3] == float(field().sel(lat=0.5, lon=0.5))
    assert float(regional_mean(field(), "global")) == pytest.approx(float(area_weighted_mean(field())), abs=1e-14)


def test_origin_and_direction_of_axes_change_nothing() -> None:
    names = ["MED", "NPO", "box(30, 60, -40, 30)", "SEA & land"]
    wanted = regional_mean(field(), names).values
    turned = field(lon=np.arange(-179.5, 180))
    for same in (turned, field()[::-1], field()[:, ::-1], field().T, field(np.arange(89.5, -90, -1))):
        np.testing.assert_allclose(regional_mean(same, names), wanted, atol=1e-12)


def test_missing_values_and_what_a_grid_leaves_out_count_as_missing() -> None:
    values = field().where(field().lon > 10)
    assert np.isnan(regional_mean(values, "MED"))
    part = regional_mean(values, "MED", min_fraction=0.7)  # 38 of 50 degrees... less those of 0 to 10
    assert float(part) == pytest.approx(
        float(regional_mean(values, [box(30, 45, 11, 40), box(30, 45, -10, 0)])[0]), abs=0.3
    )
    europe = field(np.arange(30.5, 45), np.arange(0.5, 40))
    assert np.isnan(regional_mean(europe, "MED"))
    assert np.isfinite(regional_mean(europe, "MED", min_fraction=0.8))
    assert np.isnan(regional_mean(europe, "MED", min_fraction=0.81))
    with pytest.raises(ClimateError, match="'SEA' has no part in the grid 15 x 40"):
        regional_mean(europe, "SEA")


def test_other_dimensions_stay_and_laziness_too() -> None:
    stack = xr.concat([field(), field() + 1], "time").chunk(time=1)
    means = regional_mean(stack, ["MED", "SEA"])
    assert means.dims == ("time", "region")
    assert isinstance(means.data, da.Array)
    np.testing.assert_allclose(means[1] - means[0], 1.0)
    assert regional_mean(stack, "MED").dims == ("time",)


def test_regions_travel_small_and_stay_the_same() -> None:
    kite = polygon("kite", [(170, 0), (190, 0), (180, 20)])
    assert kite.geometry.geom_type == "MultiPolygon"  # on both sides of the date line
    assert pickle.loads(pickle.dumps(kite)) == kite
    assert len(pickle.dumps(kite)) < 500


def test_geojson_gives_its_regions() -> None:
    ring = [[0, 0], [10, 0], [10, 10], [0, 10], [0, 0]]
    feature = {
        "type": "Feature",
        "properties": {"name": "basin"},
        "geometry": {"type": "Polygon", "coordinates": [ring]},
    }
    (basin,) = regions_of_geojson(json.dumps({"type": "FeatureCollection", "features": [feature]}))
    assert (basin.name, basin.area) == ("basin", pytest.approx(box(0, 10, 0, 10).area))
    assert regions_of_geojson(json.dumps(feature["geometry"]))[0].name == "region 0"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("MDE", "unknown region 'MDE'; available: global, land"),
        ("MED & SEA", "'MED & SEA' is empty"),
        ("box(10, 0, 0, 10)", "south < north"),
        ("box(0, 10, 5, 5)", "east and west must differ"),
        ("box(0, 10, 5)", "is not a box"),
        ("box(0, nan, 5, 6)", "has no area"),
        ("", "unknown region ''"),
    ],
)
def test_bad_names_are_refused(text: str, reason: str) -> None:
    with pytest.raises(ClimateError, match=reason.replace("(", r"\(").replace(")", r"\)")):
        regional_mean(field(), text)


def test_bad_outlines_are_refused() -> None:
    with pytest.raises(ClimateError, match="Self-intersection"):
        polygon("bow", [(0, 0), (10, 10), (10, 0), (0, 10)])
    with pytest.raises(ClimateError, match="170 to 190"):
        polygon("far", [(170, 0), (-170, 0), (-175, 10)])
    with pytest.raises(ClimateError, match="at least 3"):
        polygon("line", [(0, 0), (1, 1)])
    with pytest.raises(ClimateError, match="beyond a pole"):
        polygon("swapped", [(0, 100), (10, 100), (10, 120)])
    for text in ("{", "[]", '{"type": "FeatureCollection", "features": []}', '{"type": "Feature", "geometry": null}'):
        with pytest.raises(ClimateError, match="GeoJSON"):
            regions_of_geojson(text)
    with pytest.raises(ClimateError, match="is a Point"):
        regions_of_geojson('{"type": "Point", "coordinates": [0, 0]}')
