"""A result of any shape is drawn as what it is, from a copy of some 10 kB."""

from __future__ import annotations

import io
from typing import Any

import cftime
import dask.array as da
import numpy as np
import pytest
import xarray as xr
from PIL import Image

from xdask_pipelines.climate import area_weighted_mean, dequantise, month_partial, quantise
from xdask_pipelines.climate.drawing import map_panels, plots
from xdask_pipelines.climate.drawing.globe import globe
from xdask_pipelines.climate.drawing.plot_axes import axis_of
from xdask_pipelines.climate.drawing.plots import arranged, draw
from xdask_pipelines.climate.grids.shapes import picture_of, shape_of
from xdask_pipelines.errors import ClimateError
from xdask_pipelines.system.units import number

LAT, LON = np.linspace(-88.75, 88.75, 72), np.arange(0, 360, 2.5)
LEVELS = [100000.0, 85000.0, 50000.0, 25000.0]
EUROPE = np.r_[0:15:2.5, 330:360:2.5]
GREY = (0xB0, 0xB0, 0xB0)


def months(n: int, calendar: str = "360_day") -> list[Any]:
    return [cftime.datetime(1990 + i // 12, i % 12 + 1, 15, calendar=calendar) for i in range(n)]


AXES: dict[str, Any] = {
    "lat": ("lat", LAT, {"standard_name": "latitude", "units": "degrees_north"}),
    "lon": ("lon", LON, {"standard_name": "longitude", "units": "degrees_east"}),
    "plev": ("plev", LEVELS, {"standard_name": "air_pressure", "units": "Pa", "long_name": "pressure"}),
    "depth": ("depth", [5.0, 50.0, 500.0], {"positive": "down", "units": "m"}),
    "time": ("time", months(60), {"standard_name": "time"}),
    "member": ("member", ["r1i1p1f1", "r2i1p1f1", "r3i1p1f1"]),
    "j": None,
    "i": None,
}
SIZES = {"j": 40, "i": 60}


def made(*dims: str) -> xr.DataArray:
    coords = {dim: AXES[dim] for dim in dims if AXES[dim]}
    shape = [SIZES.get(dim) or len(AXES[dim][1]) for dim in dims]
    values = 280 + np.random.default_rng(0).standard_normal(shape)
    attrs = {"units": "K", "long_name": "air temperature"}
    return xr.DataArray(values, dims=dims, coords=coords, name="ta", attrs=attrs)


def ocean(shape: tuple[int, int] = (60, 90), turn: float = 73.0) -> xr.DataArray:
    """A native grid whose first column lies at 73 E and whose rows bend in the north; a tenth of it is land."""
    j, i = shape
    lat = np.linspace(-78, 85, j)[:, None] + np.zeros(i)
    lon = (turn + 360 * np.arange(i) / i + np.zeros((j, 1)) + 10 * np.clip((lat - 50) / 40, 0, 1)) % 360
    values = np.where((np.arange(i) < i / 10) & (lat < 40), np.nan, 300 - 25 * np.sin(np.deg2rad(lat)) ** 2)
    attrs = {"units": "K", "long_name": "sea surface temperature"}
    coords = {
        "latitude": (("j", "i"), lat, {"standard_name": "latitude"}),
        "longitude": (("j", "i"), lon, {"standard_name": "longitude"}),
    }
    return xr.DataArray(values, dims=("j", "i"), coords=coords, name="tos", attrs=attrs)


def many_names() -> xr.DataArray:
    names = [f"r{i}" for i in range(13)]
    return xr.DataArray(np.random.default_rng(3).normal(size=(13, 5)), {"member": names}, ("member", "x"), name="tas")


def pixels(png: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(png)).convert("RGB")).astype(int)


@pytest.mark.parametrize(
    ("field", "shape"),
    [
        (made("lat", "lon"), "map"),
        (made("lat", "lon").rename(lat="y", lon="x"), "map"),
        (made("lon", "lat"), "map"),
        (ocean(), "native map"),
        (made("lat", "lon").isel(lon=np.r_[0:3, 20:40]), "native map"),
        (made("plev", "lat"), "plane"),
        (made("time", "lon"), "plane"),
        (made("member", "time"), "lines"),
        (made("plev", "member"), "lines"),
        (many_names(), "plane"),
        (made("j", "i"), "plane"),
        (made("time"), "line"),
        (made("plev"), "line"),
        (made("member"), "line"),
        (made("j"), "line"),
    ],
    ids=lambda x: f"{x.dims}" if isinstance(x, xr.DataArray) else x,
)
def test_every_shape_is_drawn_as_what_it_is_and_changes_with_its_values(field: xr.DataArray, shape: str) -> None:
    assert shape_of(field) == shape
    png = draw(field, "A title", "excerpt")
    assert Image.open(io.BytesIO(png)).size == (1200, 740)
    assert draw(field, "A title", "excerpt") == png
    other = field.copy(data=field.values[..., ::-1] + 0.3)
    assert not np.array_equal(pixels(draw(other, "A title", "excerpt")), pixels(png))


@pytest.mark.parametrize(
    ("dims", "across", "up"),
    [
        (("plev", "lat"), "lat", "plev"),
        (("lat", "plev"), "lat", "plev"),
        (("time", "plev"), "time", "plev"),
        (("depth", "lon"), "lon", "depth"),
        (("time", "lon"), "lon", "time"),
        (("lon", "time"), "lon", "time"),
        (("time", "lat"), "time", "lat"),
        (("lat", "time"), "time", "lat"),
        (("member", "time"), "time", "member"),
        (("member", "lat"), "lat", "member"),
    ],
)
def test_levels_lie_upwards_and_time_beside_longitude_too(dims: tuple[str, str], across: str, up: str) -> None:
    assert arranged(made(*dims)) == (across, up)


def test_pressure_and_depth_grow_downwards_and_height_upwards() -> None:
    assert axis_of(made("plev", "lat"), "plev").downwards
    assert axis_of(made("depth", "lat"), "depth").downwards
    assert not axis_of(made("plev", "lat"), "lat").downwards
    height = made("plev").assign_coords(
        plev=("plev", [10.0, 100, 1000, 5000], {"standard_name": "height", "units": "m"})
    )
    assert not axis_of(height, "plev").downwards


def test_a_cross_section_has_warm_ground_below() -> None:
    """Of a field that is warm at 1000 hPa, the lower half of the picture is yellow and the upper half violet."""
    section = made("plev", "lat") * 0 + xr.DataArray([300.0, 280, 260, 240], dims="plev")
    picture = pixels(draw(section.assign_attrs(units="K"), "t"))
    top, bottom = picture[130, 600], picture[510, 600]
    assert bottom[0] > 200 > bottom[2]
    assert top[0] < 100 < top[2] + 40


def test_axes_are_labelled_with_long_name_and_units() -> None:
    assert axis_of(made("plev", "lat"), "plev").label == "Pressure / Pa"
    assert axis_of(made("plev", "lat"), "lat").label == "Latitude / °N"
    assert axis_of(made("time"), "time").label == "Time"


@pytest.mark.parametrize(
    ("dates", "texts"),
    [
        (months(60), ["1991", "1992", "1993", "1994"]),
        (months(24, "noleap"), ["1990-04", "1990-07", "1990-10", "1991-01", "1991-04", "1991-07", "1991-10"]),
        (months(1200, "standard"), ["2000", "2020", "2040", "2060", "2080"]),
        (
            [cftime.datetime(2026, 2, d, calendar="360_day") for d in range(1, 31)],
            ["2026-02-01", "2026-02-06", "2026-02-11", "2026-02-16", "2026-02-21", "2026-02-26"],
        ),
        (
            np.arange("2026-03-01", "2026-03-02", dtype="M8[h]").astype("M8[ns]"),
            ["00:00\n2026-03-01", "06:00", "12:00", "18:00"],
        ),
    ],
)
def test_dates_of_any_calendar_have_readable_ticks(dates: Any, texts: list[str]) -> None:
    field = xr.DataArray(np.zeros(len(dates)), dims="time", coords={"time": dates})
    axis = axis_of(field, "time")
    assert [text for _, text in axis.ticks] == texts
    assert (np.diff(axis.places) > 0).all()


def test_maps_of_scenarios_are_side_by_side_in_one_scale(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Any] = []
    png = map_panels.png
    monkeypatch.setattr(map_panels, "png", lambda figure: seen.append(figure) or png(figure))
    one = made("lat", "lon").assign_attrs(units="K")
    both = xr.concat([one, one + 2], xr.Variable("scenario", ["A1B", "E1"]), combine_attrs="override")
    shown, reason = picture_of(both.expand_dims(member=["r1"]))
    assert shown is not None, reason
    assert shape_of(shown) == "maps"
    small = dequantise(quantise(shown.chunk()).compute())
    means = area_weighted_mean(both)
    np.testing.assert_allclose(small.area_mean, means, rtol=1e-12)
    assert small.attrs["actual_range"] == (float(both.min()), float(both.max()))
    for each in (both, both.transpose("lat", "scenario", "lon"), small):
        assert Image.open(io.BytesIO(draw(each, "Both", "excerpt"))).size == (1200, 740)
        figure = seen.pop()
        (middle,) = figure.subfigs
        titles = [part.axes[0].get_title() for part in middle.subfigs]
        shift = 273.15 if "°C" in titles[0] else 0.0
        for title, name, mean in zip(titles, ("A1B", "E1"), means.values, strict=True):
            assert title.startswith(f"{name}   {number(float(mean) - shift)} ")
        images = [part.axes[0].images[0].get_array() for part in middle.subfigs]
        assert not np.array_equal(*images), "the second is warmer, in the same colours"
    assert shape_of(both.isel(scenario=[0])) is None
    with pytest.raises(ClimateError, match="two to six names"):
        map_panels.draw_map_panels(one, "One")


def test_named_lines_have_a_legend_and_exact_values(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Any] = []
    png = plots.png
    monkeypatch.setattr(plots, "png", lambda figure: seen.append(figure) or png(figure))
    values = np.array([[1.0, 2.0, 4.0], [1.5, np.nan, 0.25]])
    field = xr.DataArray(values, {"scenario": ["A1B", "E1"], "year": [2001, 2002, 2003]}, name="warming")
    for each in (field, field.T, dequantise(quantise(field.chunk()).compute())):
        draw(each, "Warming")
        (axes,) = seen.pop().axes
        assert [text.get_text() for text in axes.get_legend().get_texts()] == ["A1B", "E1"]
        np.testing.assert_array_equal([line.get_ydata() for line in axes.lines[:2]], values)


def test_lines_are_interrupted_where_months_are_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Any] = []
    png = plots.png
    monkeypatch.setattr(plots, "png", lambda figure: seen.append(figure) or png(figure))
    months = xr.date_range("2013-01", periods=12, freq="MS", calendar="noleap", use_cftime=True)
    whole = xr.DataArray(np.arange(12.0), {"time": months}, name="tas")
    for field, interrupted in ((whole, False), (whole[[0, 1, 2, 5, 6]], True)):
        draw(field, "A series")
        drawn = seen.pop().axes[0].lines[0].get_ydata()
        assert np.isnan(drawn).any() == interrupted
        np.testing.assert_array_equal(drawn[np.isfinite(drawn)], field.values)


def test_texts_and_bare_dimensions_are_numbered_and_named() -> None:
    axis = axis_of(made("member", "time"), "member")
    assert [text for _, text in axis.ticks] == ["r1i1p1f1", "r2i1p1f1", "r3i1p1f1"]
    assert axis.edges.tolist() == [-0.5, 0.5, 1.5, 2.5]
    assert axis_of(made("j", "i"), "i").label == "i"


def test_longitudes_across_greenwich_are_one_piece() -> None:
    field = xr.DataArray(np.arange(EUROPE.size), dims="lon", coords={"lon": EUROPE})
    axis = axis_of(field, "lon")
    assert axis.places.tolist() == np.arange(-30, 15, 2.5).tolist()
    assert (EUROPE[axis.order] % 360).tolist() == (axis.places % 360).tolist()
    assert np.array_equal(axis_of(made("time", "lon"), "lon").places, LON)


def on_globe(png: bytes, lat: float, lon: float) -> tuple[int, ...]:
    """Colour of a picture where a place lies on its map."""
    world = globe()
    row = int(np.argmin(np.abs(world.latitudes - lat)))
    column = int(np.argmin(np.abs(world.longitudes[row] - lon)))
    height, width = world.inside.shape
    # the axes of maps: left, bottom, width and height of the picture, with equal scales
    box = np.array([0.045, 0.2, 0.91, 0.68]) * [1200, 740, 1200, 740]
    scale = min(box[2] / (1.01 * width), box[3] / (1.01 * height))
    x = box[0] + box[2] / 2 + (column + 0.5 - width / 2) * scale
    y = 740 - box[1] - box[3] / 2 + (row + 0.5 - height / 2) * scale
    return tuple(int(v) for v in pixels(png)[round(y), round(x)])


def test_a_native_grid_lies_where_its_coordinates_say_on_both_sides_of_the_date_line() -> None:
    png = draw(ocean(), "t")
    equator, north = on_globe(png, 12, -150), on_globe(png, 70, -150)
    assert on_globe(png, 12, 176) == on_globe(png, 12, -176) == equator != GREY
    assert equator[0] > north[0]
    assert on_globe(png, 2, 90) == GREY  # land
    assert on_globe(png, -86, 33) == GREY  # no points at all
    moved = draw(ocean(turn=200.0), "t")
    assert on_globe(moved, 2, -140) == GREY
    assert on_globe(moved, 12, 90) == equator


def test_a_region_that_is_wrapped_around_is_drawn_where_it_lies_and_nowhere_else() -> None:
    field = made("lat", "lon").isel(lon=np.r_[0:5, 132:144])
    png = draw(field, "t")
    assert on_globe(png, 40, -20) != GREY
    assert on_globe(png, 40, 5) != GREY
    assert on_globe(png, 35, 170) == GREY


def test_points_without_a_place_are_left_out_and_a_grid_without_any_is_refused() -> None:
    field = ocean()
    lat, lon = (field[n].copy() for n in ("latitude", "longitude"))
    lat[:30], lon[:30] = np.nan, np.nan
    assert on_globe(draw(field.assign_coords(latitude=lat, longitude=lon), "t"), -40, -150) == GREY
    with pytest.raises(ClimateError, match="cannot be drawn on a map"):
        draw(field.assign_coords(latitude=lat * np.nan), "t")


@pytest.mark.parametrize(
    ("field", "words"),
    [
        (made("time", "lat", "lon"), "one or two dimensions"),
        (made("time").mean(), "one or two dimensions"),
        (made("time").chunk(), "as a Dask array"),
        (made("time") * np.nan, "no finite value"),
        (ocean() * np.nan, "no finite value"),
    ],
)
def test_what_cannot_be_drawn_is_refused_with_a_reason(field: xr.DataArray, words: str) -> None:
    with pytest.raises(ClimateError, match=words):
        draw(field, "t")


@pytest.mark.parametrize(
    "field",
    [
        ocean((400, 500)),
        xr.DataArray(np.random.default_rng(0).random((5000, 30)), dims=("time", "lat")),
        xr.DataArray(np.random.default_rng(0).random((20, 9000)), dims=("plev", "time")),
        xr.DataArray(np.random.default_rng(0).random(100_000), dims="time"),
        xr.DataArray(np.float64(281.5), attrs={"units": "K"}),
    ],
    ids=["native", "tall", "wide", "line", "number"],
)
def test_a_thumbnail_of_any_shape_is_small_lazy_and_quotes_the_field_itself(field: xr.DataArray) -> None:
    chunked = (
        field.chunk(dict.fromkeys(field.dims, 100)) if field.ndim else field.copy(data=da.from_array(field.values))
    )
    lazy = quantise(chunked)
    assert all(isinstance(variable.data, da.Array) for variable in lazy.values())
    thumbnail = lazy.compute(scheduler="synchronous")
    assert thumbnail.codes.nbytes + thumbnail.summary.nbytes < 10_500
    back = dequantise(thumbnail)
    assert back.dims == field.dims
    assert back.attrs["actual_range"] == (float(field.min()), float(field.max()))
    assert back.attrs["missing_values"] == int(field.isnull().sum())
    assert back.name == field.name
    assert float(back.mean()) == pytest.approx(float(field.mean()), rel=0.02)


def test_values_of_a_thumbnail_lie_where_those_of_the_field_do() -> None:
    field = ocean((400, 500))
    back = dequantise(quantise(field))
    assert set(back.coords) == {"latitude", "longitude"}
    expected = 300 - 25 * np.sin(np.deg2rad(back.latitude)) ** 2
    assert float(np.abs(back - expected).max()) < 0.6
    assert Image.open(io.BytesIO(draw(field, "t"))).size == (1200, 740)


def test_short_lines_and_numbers_are_exact() -> None:
    line = made("time")
    assert np.array_equal(dequantise(quantise(line)), line)
    assert [str(t) for t in dequantise(quantise(line)).time.values] == [str(t) for t in line.time.values]
    assert float(dequantise(quantise(line.mean()))) == float(line.mean())


def test_blocks_of_which_most_is_missing_have_no_value() -> None:
    field = xr.DataArray(np.ones((720, 1440)), dims=("a", "b"))
    field[:, 6:10], field[:, 20:26] = np.nan, np.nan
    back = dequantise(quantise(field))
    assert back.shape == (72, 144)
    assert back.isnull().all("a").values.nonzero()[0].tolist() == [2]


@pytest.mark.parametrize(
    ("result", "words"),
    [
        (made("time", "plev", "lat", "lon"), r"dimensions time, plev, lat, lon.*result\.isel\(time=0, plev=0\)"),
        (xr.Dataset({"a": made("time"), "b": made("time")}), r"2 variables \(a, b\).*result\['a'\]"),
        (xr.Dataset(), "no variables"),
        (made("time").isel(time=slice(0, 0)), "empty"),
        (3.0, "float"),
    ],
)
def test_a_result_without_a_picture_says_why_and_what_to_do(result: Any, words: str) -> None:
    field, why = picture_of(result)
    assert field is None
    assert why.startswith("no picture: ")
    with pytest.raises(AssertionError, match=words):
        raise AssertionError(why)


def test_a_partial_is_shown_as_the_mean_that_it_stands_for() -> None:
    field = made("time", "lat", "lon")
    hours = np.datetime64("2001-01-01", "ns") + np.arange(field.sizes["time"]) * np.timedelta64(1, "h")
    shown, why = picture_of(month_partial(field.assign_coords(time=hours)))
    assert shown is not None
    assert (shown.dims, why) == (("lat", "lon"), "")
    assert np.allclose(shown, field.mean("time"))


def test_dimensions_of_size_one_are_left_out_of_a_picture() -> None:
    field, why = picture_of(made("time", "lat", "lon").isel(time=[0]))
    assert field is not None
    assert (field.dims, why) == (("lat", "lon"), "")
    only, _ = picture_of(xr.Dataset({"ta": made("plev", "lat")}))
    assert only is not None
    assert only.dims == ("plev", "lat")
