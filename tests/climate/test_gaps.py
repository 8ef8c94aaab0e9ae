"""A region is a region however its longitudes are cut, and cells that do not touch have no area."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import xarray as xr

from xdask_pipelines.climate import area_weighted_mean, cell_areas, grid_of, make_grid, regrid, with_bounds
from xdask_pipelines.errors import ClimateError

LAT = np.linspace(87.5, -87.5, 36)
EUROPE = np.r_[330:360:5.0, 0:15:5.0]
GLOBE = np.arange(0, 360, 5.0)


def region(lon: Any, name: str = "longitude", lat: Any = LAT) -> xr.DataArray:
    """250 K where longitude is 330 or 10, 300 K elsewhere."""
    values = np.where(np.isin(np.asarray(lon) % 360, (330, 10)), 250.0, 300.0) * np.ones((len(lat), 1))
    return xr.DataArray(values, dims=("latitude", name), coords={"latitude": lat, name: lon}, name="t2m")


def followed(message: str, field: xr.DataArray) -> xr.DataArray:
    """What the code that a message recommends makes of the field."""
    names: dict[str, Any] = {"field": field}
    exec(message.split("`")[1], names)
    return names["field"]


@pytest.mark.parametrize("lon", [EUROPE, np.sort(EUROPE), EUROPE[::-1]], ids=["unsorted", "sorted", "falling"])
@pytest.mark.parametrize("name", ["longitude", "lon"])
def test_region_across_greenwich_is_refused_and_the_remedy_gives_its_true_mean(lon: Any, name: str) -> None:
    field = region(lon, name).rename({name: name})
    with pytest.raises(ClimateError, match=r"-30 to 10: `field = field\.assign_coords\(") as caught:
        area_weighted_mean(field)
    unwrapped = followed(str(caught.value), field)
    assert unwrapped[name].values.tolist() == np.arange(-30, 15, 5.0).tolist()
    assert float(area_weighted_mean(unwrapped)) == pytest.approx((2 * 250 + 7 * 300) / 9)
    world = regrid(unwrapped, np.arange(-85, 90, 10.0), np.arange(5, 360, 10.0))
    assert np.isnan(world.sel({name: slice(10, 330)})).all()
    assert np.isfinite(world.sel({name: [335, 345, 355, 5]})).all()


def test_region_across_the_date_line_is_unwrapped_to_0_360() -> None:
    lon = np.r_[170:180:2.0, -180:-169:2.0]
    for order in (lon, np.sort(lon)):
        with pytest.raises(ClimateError, match=r"longitude % 360") as caught:
            grid_of(region(order))
        assert grid_of(followed(str(caught.value), region(order))).lon.edges[[0, -1]].tolist() == [169, 191]


def test_region_across_both_meridians_is_unwrapped_too() -> None:
    lon = np.r_[0:200:10.0, 330:360:10.0]
    with pytest.raises(ClimateError, match="-30 to 190") as caught:
        grid_of(region(lon))
    assert grid_of(followed(str(caught.value), region(lon))).lon.edges[[0, -1]].tolist() == [-35, 195]


def test_no_region_is_advised_to_sort() -> None:
    for lon in (EUROPE, np.sort(EUROPE)):
        with pytest.raises(ClimateError) as caught:
            grid_of(region(lon))
        assert "assign_coords" in str(caught.value).split("sortby")[0]


@pytest.mark.parametrize(
    ("missing", "words"),
    [
        ([100], "between 95 and 105: the step is 10 degrees, the neighbouring steps 5"),
        ([5], "between 0 and 10"),
        ([350], "between 345 and 355"),
        ([100, 200], "between 95 and 105"),
        ([100, 105, 110, 120, 125], "between 95 and 115"),  # 115 stands alone
    ],
)
@pytest.mark.parametrize("turned", [False, True])
def test_a_missing_column_is_refused_naming_the_gap(missing: list[float], words: str, turned: bool) -> None:
    lon = GLOBE[~np.isin(GLOBE, missing)]
    field = region(lon[::-1] if turned else lon)
    for use in (area_weighted_mean, cell_areas, grid_of):
        with pytest.raises(ClimateError, match=words) as caught:
            use(field)
        assert "A column is missing" in str(caught.value)
    with pytest.raises(ClimateError, match=words):
        regrid(field, LAT, GLOBE)


def test_a_missing_row_is_refused_and_one_side_of_it_has_an_area() -> None:
    lat = LAT[~np.isin(LAT, [12.5])]
    with pytest.raises(ClimateError, match=r"latitude has a gap between 7\.5 and 17\.5.*slice\(7\.5, -87\.5\)"):
        grid_of(region(GLOBE, lat=lat))
    assert grid_of(region(GLOBE, lat=lat).sel({"latitude": slice(7.5, -87.5)})).lat.edges[0] == -90


def test_a_missing_last_column_leaves_a_region() -> None:
    assert not make_grid(LAT, GLOBE[:-1]).complete
    assert not make_grid(LAT, GLOBE[1:]).complete


def test_two_columns_on_either_side_of_greenwich_are_no_globe() -> None:
    with pytest.raises(ClimateError, match="-10 to 10"):
        grid_of(region([10.0, 350.0]))
    assert make_grid(LAT, [90.0, 270.0]).complete


@pytest.mark.parametrize("rows", [4, 8, 32, 64, 160, 320])
def test_gaussian_latitudes_have_no_gap(rows: int) -> None:
    lat = np.degrees(np.arcsin(np.polynomial.legendre.leggauss(rows)[0]))
    assert make_grid(lat, GLOBE).complete


@pytest.mark.parametrize("ratio", [1.05, 1.2, 1.4])
def test_stretched_axes_have_no_gap_and_close_the_circle(ratio: float) -> None:
    steps = ratio ** np.r_[0:8, 8:0:-1].astype(float)
    lon = np.cumsum(steps) * 360 / steps.sum()
    assert make_grid(LAT, lon - lon[0]).lon.complete
    lat = -80 + np.append(0, np.cumsum(steps)) * 160 / steps.sum()
    assert make_grid(lat, GLOBE).lat.size == 17


def test_rows_at_the_poles_of_a_grid_of_half_steps_make_no_gap() -> None:
    assert make_grid(np.r_[-90, np.arange(-88.75, 90, 2.5), 90], GLOBE).complete


def test_a_part_of_coarser_cells_is_no_gap() -> None:
    assert make_grid(LAT, np.r_[0:90:1.0, 90:180:2.0]).lon.size == 135


def bounded(lon: Any, ends: Any, lat_ends: Any = None) -> xr.DataArray:
    lat = -85 + 10.0 * np.arange(18)
    lat_ends = np.stack([lat - 5, lat + 5], 1) if lat_ends is None else lat_ends
    dataset = xr.Dataset(
        {"tas": (("lat", "lon"), np.ones((18, len(lon))))},
        coords={
            "lat": ("lat", lat, {"bounds": "lat_bnds"}),
            "lon": ("lon", lon, {"bounds": "lon_bnds"}),
            "lat_bnds": (("lat", "bnds"), lat_ends),
            "lon_bnds": (("lon", "bnds"), ends),
        },
    )
    for name in ("lat", "lon"):
        dataset[name].encoding["source"] = "us-east-1:g/over/tas.nc"
    return with_bounds(dataset, "tas")


def ends_of(lon: Any, half: float = 5.0) -> np.ndarray:
    return np.stack([np.asarray(lon) - half, np.asarray(lon) + half], axis=1)


def test_bounds_of_more_than_a_turn_are_refused_with_their_span_and_file_and_can_be_dropped() -> None:
    lon = 10.0 * np.arange(36)
    ends = ends_of(lon)
    ends[-1, 1] = 360.0
    field = bounded(lon, ends)
    with pytest.raises(
        ClimateError, match=r'of us-east-1:g/over/tas\.nc span 365 degrees.*drop_vars\(\["lon_lower", "lon_upper"\]'
    ):
        area_weighted_mean(field)
    assert float(area_weighted_mean(field.drop_vars(["lon_lower", "lon_upper"]))) == pytest.approx(1.0)


def test_bounds_beyond_a_pole_are_refused_with_their_file_and_can_be_dropped() -> None:
    lat_ends = ends_of(-85 + 10.0 * np.arange(18))
    lat_ends[0, 0], lat_ends[-1, 1] = -95, 95
    field = bounded(GLOBE, ends_of(GLOBE, 2.5), lat_ends)
    with pytest.raises(ClimateError, match=r"tas\.nc reach from -95 to 95, beyond a pole.*\"lat_lower\""):
        area_weighted_mean(field)
    assert float(area_weighted_mean(field.drop_vars(["lat_lower", "lat_upper"]))) == pytest.approx(1.0)


def test_bounds_of_a_cell_on_greenwich_may_be_given_as_355_to_5() -> None:
    lon = 10.0 * np.arange(36)
    grid = grid_of(bounded(lon, ends_of(lon) % 360.0))
    assert grid.complete
    assert grid.lon.edges[[0, -1]].tolist() == [-5, 355]


def test_a_region_with_bounds_is_unwrapped_and_keeps_them() -> None:
    for lon in (EUROPE, np.sort(EUROPE)):
        field = bounded(lon, ends_of(lon, 2.5))
        with pytest.raises(ClimateError, match="-30 to 10") as caught:
            grid_of(field)
        grid = grid_of(followed(str(caught.value), field))
        assert (grid.lon.from_bounds, *grid.lon.edges[[0, -1]]) == (True, -32.5, 12.5)


def test_a_missing_column_is_named_though_the_axis_has_bounds() -> None:
    lon = GLOBE[GLOBE != 100]
    with pytest.raises(ClimateError, match="gap between 95 and 105") as caught:
        grid_of(bounded(lon, ends_of(lon, 2.5)))
    assert "drop_vars" not in str(caught.value)


def test_bounds_that_touch_make_an_uneven_axis_sound() -> None:
    lat = np.array([-80.0, -60, -40, 0, 40, 60, 80])
    edges = np.array([-90.0, -70, -50, -30, 30, 50, 70, 90])
    field = xr.DataArray(np.ones((7, 72)), dims=("lat", "lon"), coords={"lat": lat, "lon": GLOBE})
    with pytest.raises(ClimateError, match="lat_lower and lat_upper"):
        grid_of(field)
    sound = field.assign_coords(lat_lower=("lat", edges[:-1]), lat_upper=("lat", edges[1:]))
    assert grid_of(sound).complete


def test_errors_name_the_file_of_the_field_where_coordinates_do_not() -> None:
    field = region(GLOBE[GLOBE != 100])
    field.encoding["source"] = "us-east-1:g/t2m.nc"
    with pytest.raises(ClimateError, match=r"longitude of us-east-1:g/t2m\.nc has a gap"):
        grid_of(field)
