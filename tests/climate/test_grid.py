"""Grids are recognised by CF, have exact areas, and are refused with the index when they are damaged."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

from xdask_pipelines import climate
from xdask_pipelines.climate.axes import latitude_name, time_name
from xdask_pipelines.errors import ClimateError

ERA5_LAT, ERA5_LON = np.linspace(90, -90, 181), np.arange(360.0)


def field(lat: Any, lon: Any, names: tuple[str, str] = ("lat", "lon"), **attrs: Any) -> xr.DataArray:
    coords = {names[0]: lat, names[1]: lon}
    return xr.DataArray(np.zeros((len(lat), len(lon))), dims=names, coords=coords, attrs=attrs)


@pytest.mark.parametrize(
    ("lat", "lon"),
    [
        (ERA5_LAT, ERA5_LON),
        (ERA5_LAT[::-1].astype("f4"), ERA5_LON.astype("f4") - 180),
        (np.linspace(-89.375, 89.375, 144), 0.9375 + 1.875 * np.arange(192)),
        (np.degrees(np.arcsin(np.polynomial.legendre.leggauss(64)[0])), 360 * np.arange(128) / 128),
        (np.linspace(-89.95, 89.95, 1800, dtype="f4"), np.linspace(0.05, 359.95, 3600, dtype="f4")),
        (ERA5_LAT, ERA5_LON[::-1]),
    ],
    ids=["era5", "ascending, -180..180, float32", "cmip6", "gaussian", "tenth of a degree, float32", "lon descending"],
)
def test_cells_of_global_grids_cover_the_sphere_exactly(lat: Any, lon: Any) -> None:
    areas = climate.cell_areas(field(lat, lon))
    assert float(areas.sum()) == pytest.approx(4 * np.pi, rel=1e-13)
    assert (areas > 0).all()
    assert climate.make_grid(lat, lon).complete


def test_a_row_at_a_pole_is_half_a_cell() -> None:
    cells = climate.make_grid(ERA5_LAT, ERA5_LON).lat
    assert (cells.edges[0], cells.edges[1], cells.edges[-1]) == (-90, -89.5, 90)
    # Area of a cap is 2 pi (1 - sin(latitude)): the one exact figure that needs no integration.
    caps = climate.cell_areas(field(ERA5_LAT, ERA5_LON)).sum("lon")
    assert float(caps[0]) == pytest.approx(2 * np.pi * (1 - np.sin(np.deg2rad(89.5))), rel=1e-11)


def test_longitude_cells_close_the_circle_whatever_the_first_longitude() -> None:
    assert climate.make_grid(ERA5_LAT, ERA5_LON).lon.edges[[0, -1]].tolist() == [-0.5, 359.5]
    assert climate.make_grid(ERA5_LAT, ERA5_LON - 180).lon.edges[[0, -1]].tolist() == [-180.5, 179.5]


def test_rounding_of_the_first_longitude_breaks_no_circle() -> None:
    for first in np.random.default_rng(0).uniform(-180, 180, 300):
        assert climate.make_grid(ERA5_LAT, first + 24.0 * np.arange(15)).complete


def test_regional_grid_is_not_taken_for_a_global_one() -> None:
    grid = climate.make_grid(np.linspace(15, 60, 37), np.linspace(225, 315, 49))
    assert not grid.complete
    assert (grid.lat.edges[0], grid.lon.edges[-1]) == (15 - 0.625, 315 + 0.9375)


def test_axes_are_recognised_by_standard_name_units_or_usual_name() -> None:
    plain = field(ERA5_LAT, ERA5_LON, ("latitude", "longitude"))
    odd = field(ERA5_LAT, ERA5_LON, ("y", "x"))
    with pytest.raises(ClimateError, match="no latitude dimension among"):
        climate.grid_of(odd)
    odd.y.attrs["standard_name"] = "latitude"
    odd.x.attrs["units"] = "degrees_east"
    assert climate.grid_of(odd) == climate.grid_of(plain)
    plain.longitude.attrs["standard_name"] = "latitude"
    with pytest.raises(ClimateError, match="more than one latitude"):
        latitude_name(plain)


def test_time_is_recognised_under_another_name_by_its_dates() -> None:
    dates = np.array(["2011-01-01", "2011-01-02"], "M8[ns]")
    array = xr.DataArray(np.zeros((2, 3)), dims=("time0", "lat"), coords={"time0": dates, "lat": [0, 1, 2]})
    assert time_name(array) == "time0"


@pytest.mark.parametrize(
    ("damage", "index", "words"),
    [
        (lambda lat, lon: (np.where(lat == 60, np.nan, lat), lon), 30, "is nan"),
        (lambda lat, lon: (np.where(lat == 60, 65, lat), lon), 30, "not monotonic"),
        (lambda lat, lon: (lat * 1.01, lon), 0, "beyond a pole"),
        (lambda lat, lon: (lat, np.append(lon, 360.0)), 360, r"drop the duplicate columns.*slice\(0, 360\)"),
        (lambda lat, lon: (np.where(lat == 60, 65, lat), lon), 30, r"65 occurs twice, at index 25 and 30"),
        (lambda lat, lon: (lat, np.roll(lon, 3)), 3, "sort the field"),
    ],
)
def test_damaged_coordinate_is_refused_with_its_index(damage: Any, index: int, words: str) -> None:
    with pytest.raises(ClimateError, match=words) as caught:
        climate.make_grid(*damage(ERA5_LAT, ERA5_LON))
    assert caught.value.details["index"] == index
    assert f"index {index}" in str(caught.value)


def with_bounds(lat: Any, lat_bnds: Any, lon: Any, lon_bnds: Any) -> xr.DataArray:
    dataset = xr.Dataset(
        {"tas": (("lat", "lon"), np.zeros((len(lat), len(lon))))},
        coords={
            "lat": ("lat", lat, {"bounds": "lat_bnds"}),
            "lon": ("lon", lon, {"bounds": "lon_bnds"}),
            "lat_bnds": (("lat", "bnds"), np.asarray(lat_bnds, float)),
            "lon_bnds": (("lon", "bnds"), np.asarray(lon_bnds, float)),
        },
    )
    return climate.with_bounds(dataset, "tas")


def test_bounds_travel_with_a_field_and_win_over_midpoints() -> None:
    lat, lat_bnds = [50.0, 0.0, -50.0], [[90, 40], [40, -40], [-40, -90]]
    lon, lon_bnds = [10.0, 130.0, 250.0], [[-50, 70], [70, 190], [-170, -50]]  # the last a turn away
    grid = climate.grid_of(with_bounds(lat, lat_bnds, lon, lon_bnds))
    assert grid.complete
    assert grid.lat.edges.tolist() == [-90, -40, 40, 90]
    assert grid.lon.edges.tolist() == [-50, 70, 190, 310]
    assert pickle.loads(pickle.dumps(grid)) == grid
    assert grid != climate.make_grid(lat, lon)


@pytest.mark.parametrize(
    ("lat_bnds", "words"),
    [
        ([[90, 40], [30, -40], [-40, -90]], r"gap or overlap at index 0"),
        ([[90, 60], [60, -40], [-40, -90]], r"outside its bounds 60 to 90"),
        ([[90, 40], [40, np.nan], [-40, -90]], r"not two finite values"),
        ([[95, 40], [40, -40], [-40, -90]], r"beyond a pole"),
    ],
)
def test_impossible_bounds_are_refused(lat_bnds: Any, words: str) -> None:
    with pytest.raises(ClimateError, match=words):
        climate.grid_of(with_bounds([50.0, 0.0, -50.0], lat_bnds, [90.0, 270.0], [[0, 180], [180, 360]]))


def test_lazy_bounds_are_refused_with_the_remedy() -> None:
    dataset = xr.Dataset({"t": ("lat", np.zeros(3))}, coords={"lat": ("lat", [-60.0, 0, 60], {"bounds": "b"})})
    dataset["b"] = xr.DataArray(np.zeros((3, 2)), dims=("lat", "bnds")).chunk()
    with pytest.raises(ClimateError, match=r"\.load\(\)"):
        climate.with_bounds(dataset, "t")


@settings(max_examples=30, deadline=None)
@given(st.lists(st.floats(1.0, 1.5), min_size=2, max_size=12), st.booleans())
def test_areas_do_not_depend_on_orientation(steps: list[float], west: bool) -> None:
    ascending = np.append(0.0, np.cumsum(steps)) * 170 / sum(steps) - 85
    lon = np.arange(0.0, 360.0, 30.0)
    forward = climate.make_grid(ascending, lon)
    backward = climate.make_grid(ascending[::-1], lon - 180 * west)
    assert np.array_equal(forward.lat.measure, backward.lat.measure[::-1])
    assert np.allclose(forward.lon.measure, backward.lon.measure, rtol=1e-13)


def test_axes_in_radians_are_refused_with_a_remedy_that_works() -> None:
    lat, lon = np.deg2rad(np.linspace(-85, 85, 18)), np.deg2rad(np.arange(0, 360, 10.0))
    attrs = {"standard_name": "latitude", "units": "radian"}, {"standard_name": "longitude", "units": "radian"}
    coords = {"lat": ("lat", lat, attrs[0]), "lon": ("lon", lon, attrs[1])}
    field = xr.DataArray(np.ones((18, 36)), dims=("lat", "lon"), coords=coords)
    for _ in ("latitude", "longitude"):
        with pytest.raises(
            ClimateError, match=r"is in 'radian': convert it to degrees first: `field = (.*)`"
        ) as caught:
            climate.cell_areas(field)
        remedy = str(caught.value).split("`field = ")[1].split("`")[0]
        field = eval(remedy, {"field": field, "np": np})
    assert float(climate.cell_areas(field).sum()) == pytest.approx(4 * np.pi)
