"""Pictures of any field: a map, or else a line or a plane with axes.

Belongs here: choosing the kind of picture, lines and planes. Does not belong here: maps (``maps``, ``native_maps``).
"""

from __future__ import annotations

import numpy as np
import xarray as xr
from matplotlib.axes import Axes

from xdask_pipelines.climate.axes import is_time, require_field
from xdask_pipelines.climate.drawing.map_panels import draw_map_panels
from xdask_pipelines.climate.drawing.maps import draw_map
from xdask_pipelines.climate.drawing.native_maps import draw_native_map
from xdask_pipelines.climate.drawing.picture_frame import (
    FAINT,
    INK,
    Words,
    colour_bar,
    colour_scale,
    frame,
    in_words,
    png,
)
from xdask_pipelines.climate.drawing.plot_axes import axis_of, is_horizontal, is_longitude, is_vertical
from xdask_pipelines.climate.drawing.taylor import draw_taylor
from xdask_pipelines.climate.grids.grid import Float
from xdask_pipelines.climate.grids.shapes import lines_of, shape_of
from xdask_pipelines.climate.thumbnail import dequantise, quantise
from xdask_pipelines.errors import ClimateError
from xdask_pipelines.system.safe_text import drawn

#: How many values are drawn one by one. More are averaged first, because a pixel would show a single value of many.
_MOST_VALUES = 200_000
#: Of lines; Okabe and Ito's, which people with any colour vision can tell apart, after the colour of a single line.
_COLOURS = ("#2166ac", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000")


def draw(field: xr.DataArray, title: str, subtitle: str | None = None) -> bytes:
    """Draw a field as a map, a line, a plane or a Taylor diagram.

    A field with latitude and longitude becomes a map (`maps.draw_map`), and one on a native ocean grid a map of its
    points. One dimension becomes a line: vertical for levels, else horizontal. A dimension of at most 12 names, such as
    regions or scenarios, and another one become a line for each name. Two other dimensions become a plane:
    levels are vertical (pressure and depth increase downwards); time is horizontal with latitude or levels, and
    vertical with longitude (a Hovmöller diagram). Points of `analyses.taylor_points` become a Taylor diagram. Latitude,
    longitude and a dimension of two to six names become maps side by side.

    Parameters
    ----------
    field
        A field with one or two dimensions, in memory. Attributes as in `maps.draw_map`.
    title, subtitle
        The title, and a restriction ("excerpt, 24 of 744 h").

    Returns
    -------
    A PNG of 1200 x 740 pixels.

    Raises
    ------
    ClimateError
        If the field has zero or more than two dimensions (of maps: three), is a Dask array, or has no finite value.
    """
    require_field(field, "draw")
    shape = shape_of(field)
    if shape in (None, "number") or field.chunks is not None:
        raise ClimateError(
            f"a picture needs one or two dimensions in memory, not {tuple(map(str, field.dims))}"
            f"{' as a Dask array' if field.chunks is not None else ''}; select two and compute the field first"
        )
    if shape == "map":
        return draw_map(field, title, subtitle)
    if shape == "maps":
        return draw_map_panels(field, title, subtitle)
    if shape == "taylor":
        return draw_taylor(field, title, subtitle)
    if field.size > _MOST_VALUES:
        field = dequantise(quantise(field))
    if shape == "native map":
        return draw_native_map(field, title, subtitle)
    words = in_words(field, float("nan"), "values missing")
    figure = frame(title, subtitle, words)
    if shape in ("line", "lines"):
        _lines(figure.add_axes((0.09, 0.19, 0.87, 0.67)), field, words)
    else:
        _plane(figure.add_axes((0.09, 0.29, 0.87, 0.58)), field, words)
    return png(figure)


def _lines(axes: Axes, field: xr.DataArray, words: Words) -> None:
    """Draw a line, or one for each name of a dimension; where steps of time are missing, lines are interrupted."""
    names = lines_of(field) if field.ndim == 2 else None
    (dim,) = (str(each) for each in field.dims if each != names)
    along = axis_of(field, dim)
    values = np.atleast_2d(words.values if names is None or field.dims[0] == names else words.values.T)[:, along.order]
    upright = is_vertical(field, dim)
    marker = "o" if along.places.size <= 40 else ""
    holes = _holes(along.places) if dim in field.coords and is_time(field[dim]) else []
    places = np.insert(along.places, holes, np.nan)
    for i, whole in enumerate(values):
        line = np.insert(whole, holes, np.nan)
        label = None if names is None else drawn(str(field[names].values[i]))
        xy = (line, places) if upright else (places, line)
        colour, style = _COLOURS[i % len(_COLOURS)], "-" if i < len(_COLOURS) else "--"
        axes.plot(*xy, style, color=colour, linewidth=1.4, marker=marker, markersize=4, label=label)
    if names is not None:
        axes.legend(fontsize=8, frameon=False, ncols=2 if len(values) > 6 else 1)
    if words.diverging:
        (axes.axvline if upright else axes.axhline)(0.0, color=FAINT, linewidth=0.8)
    along.apply(axes.yaxis if upright else axes.xaxis)
    (axes.xaxis if upright else axes.yaxis).set_label_text(drawn(words.axis), fontsize=9)
    if upright and along.downwards:
        axes.invert_yaxis()
    axes.margins(x=0.02)
    _style(axes)
    axes.grid(color="#00000018", linewidth=0.6)


def _holes(places: Float) -> list[int]:
    """Return the positions after steps of time that are twice as long as usual; months differ in length by a tenth."""
    steps = np.abs(np.diff(places))
    return [int(i) + 1 for i in np.flatnonzero(steps > 1.9 * np.median(steps))] if steps.size else []


def _plane(axes: Axes, field: xr.DataArray, words: Words) -> None:
    across, up = arranged(field)
    x, y = axis_of(field, across), axis_of(field, up)
    values = words.values if tuple(map(str, field.dims)) == (up, across) else words.values.T
    values = values[np.ix_(y.order, x.order)]
    finite = values[np.isfinite(values)]
    norm, palette, extend = colour_scale(finite, np.ones(finite.size), words.diverging)
    axes.pcolormesh(x.edges, y.edges, np.ma.masked_invalid(values), cmap=palette, norm=norm, rasterized=True)
    axes.set_facecolor("#b0b0b0")
    x.apply(axes.xaxis)
    y.apply(axes.yaxis)
    if y.downwards:
        axes.invert_yaxis()
    _style(axes)
    colour_bar(axes.figure, norm, palette, extend, words.axis)  # type: ignore[arg-type]


def arranged(field: xr.DataArray) -> tuple[str, str]:
    """Return the horizontal and the vertical dimension."""
    first, second = map(str, field.dims)
    for up, across in ((first, second), (second, first)):
        if is_vertical(field, up):
            return across, up
    times = [dim for dim in (first, second) if dim in field.coords and is_time(field[dim])]
    if len(times) == 1:
        (time,) = times
        other = second if time == first else first
        return (other, time) if is_longitude(field, other) else (time, other)
    if is_horizontal(field, first) and not is_horizontal(field, second):
        return first, second
    return second, first


def _style(axes: Axes) -> None:
    axes.tick_params(labelsize=8, length=3, color=FAINT)
    for side in axes.spines.values():
        side.set_color(INK)
        side.set_linewidth(0.7)
