"""Maps as PNG: Robinson projection, coastlines from the package, no state, no network.

Belongs here: how a horizontal field is drawn. Does not belong here: which fields, or where pictures go.
"""

from __future__ import annotations

import io
import textwrap
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal

import cartopy.crs as ccrs
import numpy as np
import xarray as xr
from matplotlib import colormaps
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.cm import ScalarMappable
from matplotlib.colors import BoundaryNorm
from matplotlib.figure import Figure
from numpy.typing import NDArray

from xdask_pipelines.climate.axes import horizontal_names
from xdask_pipelines.climate.coastline import coastlines
from xdask_pipelines.climate.grid import Cells, Float, grid_of
from xdask_pipelines.climate.means import area_weighted_mean
from xdask_pipelines.climate.regrid import regrid
from xdask_pipelines.errors import ClimateError

KELVIN_AT_ZERO_CELSIUS = 273.15

_PIXELS_WIDE = 1100
_FINEST_ROWS = 361  # finer fields are averaged first, or pixels would pick single cells
_SHARE_WITHIN_LIMITS = 0.98
_INK, _FAINT = "#333333", "#666666"


def draw_map(field: xr.DataArray, title: str, subtitle: str | None = None) -> bytes:
    """Draw a horizontal field on a world map.

    A temperature in K is shown in degC (K - 273.15), with a sequential palette. A difference (``units_metadata``
    says so, or values have both signs) keeps its units and has a palette that diverges from 0, with equal limits on
    both sides that 98 % of the area lies within. Each cell is drawn as the cell it is; cells without value are grey.

    Parameters
    ----------
    field
        Dimensions latitude and longitude, in memory. Attributes used: ``units``, ``long_name``, ``units_metadata``,
        ``attribution``; ``actual_range`` and ``area_mean`` (of a thumbnail) are quoted instead of its own.
    title, subtitle
        What is shown, and what must be said of it ("excerpt, 24 of 744 h").

    Returns
    -------
    A PNG of 1200 x 740 pixels.

    Raises
    ------
    ClimateError
        If the field has other dimensions, is a Dask array, or holds no finite value.
    """
    shown = _shown(field)
    image, norm, palette, extend = _coloured(shown)
    globe = _globe()

    figure = Figure(figsize=(10, 6.17), dpi=120, facecolor="white")
    FigureCanvasAgg(figure)
    axes = figure.add_axes((0.045, 0.2, 0.91, 0.68))
    axes.set_axis_off()
    axes.set_aspect("equal")
    axes.imshow(image, extent=globe.extent, interpolation="nearest", origin="upper", zorder=1)
    # The coast has a pale rim, or it is lost on the darkest colours.
    drawn = ((globe.graticule, "#00000030", 0.5), (globe.coast, "#ffffff70", 1.8), (globe.coast, _INK, 0.7))
    for lines, colour, width in drawn:
        axes.plot(lines[:, 0], lines[:, 1], color=colour, linewidth=width, zorder=2, solid_joinstyle="round")
    axes.plot(globe.outline[:, 0], globe.outline[:, 1], color=_INK, linewidth=1.0, zorder=3)
    for x, y, text, horizontal, vertical in globe.labels:
        axes.text(x, y, text, ha=horizontal, va=vertical, fontsize=7, color=_FAINT)
    margin = 0.005 * np.ptp(globe.extent[:2])
    axes.set_xlim(globe.extent[0] - margin, globe.extent[1] + margin)
    axes.set_ylim(globe.extent[2] - margin, globe.extent[3] + margin)

    bar_axes = figure.add_axes((0.2, 0.145, 0.6, 0.025))
    bar = figure.colorbar(
        ScalarMappable(norm, palette), cax=bar_axes, orientation="horizontal", extend=extend, spacing="proportional"
    )
    step = (norm.boundaries[1] - norm.boundaries[0]) * (2 if len(norm.boundaries) > 13 else 1)
    bar.set_ticks([float(edge) for edge in norm.boundaries if abs(edge / step - round(edge / step)) < 1e-6])
    bar.ax.tick_params(labelsize=8, length=2, color=_FAINT)
    bar.outline.set_linewidth(0.5)
    bar.set_label(f"{shown.label} / {shown.units}" if shown.units else shown.label, fontsize=9)

    figure.text(0.02, 0.955, title, fontsize=_fitting(title, 14, 80), fontweight="bold", va="center", color=_INK)
    if subtitle:
        figure.text(0.02, 0.912, subtitle, fontsize=_fitting(subtitle, 9.5, 150), va="center", color=_FAINT)
    figure.text(0.02, 0.062, shown.caption, fontsize=9, va="center", color=_INK)
    credit = textwrap.fill(shown.credit, 210)
    figure.text(0.02, 0.01, credit, fontsize=6, va="bottom", color=_FAINT, linespacing=1.3)
    png = io.BytesIO()
    figure.savefig(png, format="png", pil_kwargs={"compress_level": 4})
    return png.getvalue()


@dataclass(frozen=True)
class _Shown:
    """A field in the units that people read, and the words that go with it."""

    values: Float
    lat: Cells
    lon: Cells
    diverging: bool
    label: str
    units: str
    caption: str
    credit: str


def _shown(field: xr.DataArray) -> _Shown:
    names = horizontal_names(field)
    if set(field.dims) != set(names) or field.chunks is not None:
        raise ClimateError(
            f"a map needs a field of latitude and longitude in memory, not {field.dims}"
            f"{' as a Dask array' if field.chunks is not None else ''}; choose one step and compute it first"
        )
    field = field.transpose(*names).astype(np.float64).where(np.isfinite)
    if field.isnull().all():
        raise ClimateError(f"{field.name or 'the field'} holds no finite value; there is nothing to draw")
    attrs = field.attrs
    low, high = attrs.get("actual_range", (float(field.min()), float(field.max())))
    # Where values are missing the mean of the others is not the mean of the sphere: say nothing instead.
    mean = float(attrs["area_mean"]) if "area_mean" in attrs else float(area_weighted_mean(field))
    missing = int(np.isnan(field.values).sum())
    units = str(attrs.get("units", ""))
    is_difference = "difference" in str(attrs.get("units_metadata", ""))
    if units == "K" and not is_difference:
        field, units = field - KELVIN_AT_ZERO_CELSIUS, "°C"
        low, high, mean = (value - KELVIN_AT_ZERO_CELSIUS for value in (low, high, mean))
        diverging = False
    else:
        diverging = is_difference or low < 0 < high
    if field.sizes[names[0]] > _FINEST_ROWS and grid_of(field).complete:
        step = 180.0 / _FINEST_ROWS
        field = regrid(field, -90 + step * (np.arange(_FINEST_ROWS) + 0.5), step * (np.arange(2 * _FINEST_ROWS) + 0.5))
    grid = grid_of(field)
    words = [f"minimum {_number(low)} {units}", f"maximum {_number(high)} {units}"]
    if np.isfinite(mean):
        words.insert(0, f"area-weighted mean {_number(mean)} {units}")
    if missing:
        words.append(f"{missing} cells without value")
    caption = "     ".join(word.strip() for word in words)
    label = str(attrs.get("long_name") or field.name or "")
    return _Shown(
        field.values,
        grid.lat,
        grid.lon,
        diverging,
        label[:1].upper() + label[1:],
        units,
        caption[:1].upper() + caption[1:],
        str(attrs.get("attribution", "")),
    )


def _fitting(text: str, points: float, most: int) -> float:
    """Size of type at which a line fits the picture, if so many characters fit at the usual one."""
    return points * min(1.0, most / max(len(text), 1))


def _number(value: float) -> str:
    return f"{value:.2f}".replace("-", "−") if abs(value) < 1000 else f"{value:.6g}".replace("-", "−")


def _coloured(shown: _Shown) -> tuple[NDArray[np.uint8], BoundaryNorm, Any, Literal["both", "neither"]]:
    """Pixels (RGBA, transparent off the globe), and what the colour bar needs."""
    finite = np.isfinite(shown.values)
    weights = np.outer(shown.lat.measure, shown.lon.measure)[finite]
    values = shown.values[finite]
    if shown.diverging:
        limit = _quantile(np.abs(values), weights, _SHARE_WITHIN_LIMITS)
        step = _nice_step(limit, 10)
        boundaries = step * np.arange(-np.ceil(limit / step - 1e-9), np.ceil(limit / step - 1e-9) + 0.5)
        palette = colormaps["RdBu_r"]
    else:
        first, last = float(values.min()), float(values.max())
        step = _nice_step(last - first, 20)
        boundaries = step * np.arange(np.floor(first / step + 1e-9), np.ceil(last / step - 1e-9) + 0.5)
        if boundaries.size < 2:
            boundaries = np.append(boundaries, boundaries[-1] + step)
        palette = colormaps["viridis"]
    # Only a diverging palette can be exceeded. Then at both ends: with one end alone its middle would leave 0.
    beyond = values.min() < boundaries[0] or values.max() > boundaries[-1]
    extend: Literal["both", "neither"] = "both" if beyond else "neither"
    norm = BoundaryNorm(boundaries, palette.N, extend=extend)
    globe = _globe()
    rows, columns = _cell_at(shown.lat, globe.latitudes), _cell_at(shown.lon, globe.longitudes)
    outside = (rows < 0)[:, None] | (columns < 0)
    pixels = np.ma.masked_invalid(shown.values[rows[:, None], columns])
    pixels[outside] = np.ma.masked
    image = palette.with_extremes(bad="#b0b0b0")(norm(pixels), bytes=True)
    image[~globe.inside] = 0
    return image, norm, palette, extend


def _cell_at(cells: Cells, degrees: Float) -> NDArray[np.intp]:
    """Place in the field of the cell that holds each point; -1 where none does."""
    if cells.kind == "longitude":
        degrees = (degrees - cells.edges[0]) % 360.0 + cells.edges[0]
    place = np.searchsorted(cells.edges, degrees, side="right") - 1
    place = np.where(degrees == cells.edges[-1], cells.size - 1, place)
    outside = (place < 0) | (place >= cells.size)
    if cells.descending:
        place = cells.size - 1 - place
    return np.where(outside, -1, place)


def _quantile(values: Float, weights: Float, share: float) -> float:
    """The value that the given share of the weight does not exceed; at least something above 0."""
    order = np.argsort(values)
    total = np.cumsum(weights[order])
    return float(values[order][np.searchsorted(total, share * total[-1])]) or float(values.max()) or 1.0


def _nice_step(span: float, most: int) -> float:
    """The smallest of 1, 2, 2.5, 5 times a power of ten that divides a span into at most so many steps."""
    span = span if span > 0 else 1.0
    power = 10.0 ** np.floor(np.log10(span / most))
    return float(next(m * power for m in (1.0, 2.0, 2.5, 5.0, 10.0) if span / (m * power) <= most + 1e-9))


@dataclass(frozen=True)
class _Globe:
    """Everything about the map that no field changes, in projected metres unless said otherwise."""

    extent: tuple[float, float, float, float]
    latitudes: Float  #: degrees, one a row of pixels, from the top
    longitudes: Float  #: degrees, one a pixel
    inside: NDArray[np.bool_]
    coast: Float
    graticule: Float
    outline: Float
    labels: tuple[tuple[float, float, str, str, str], ...]


@lru_cache(maxsize=1)
def _globe() -> _Globe:
    """Project once: a row of pixels is one latitude, and along it longitude is proportional to x."""
    robinson, degrees = ccrs.Robinson(), ccrs.PlateCarree()

    def project(lonlat: Float) -> Float:
        lon, lat = lonlat.T.copy()  # cartopy overwrites the NaN that it is given with 0
        return np.asarray(robinson.transform_points(degrees, lon, lat)[:, :2])

    def line(lon: Any, lat: Any) -> Float:
        points = np.stack(np.broadcast_arrays(lon, lat), axis=1).astype(np.float64)
        return np.concatenate([project(points), np.full((1, 2), np.nan)])

    meridian = np.linspace(-90.0, 90.0, 721)
    east = line(180.0, meridian)[:-1]
    x_most, y_most = float(east[:, 0].max()), float(east[:, 1].max())
    rows = round(_PIXELS_WIDE * y_most / x_most)
    y = y_most * (1 - (2 * np.arange(rows) + 1) / rows)
    x = x_most * ((2 * np.arange(_PIXELS_WIDE) + 1) / _PIXELS_WIDE - 1)
    half_width = np.interp(y, east[:, 1], east[:, 0])
    longitudes = 180.0 * x[None, :] / half_width[:, None]
    inside = np.abs(longitudes) <= 180.0
    parallels, meridians = range(-60, 61, 30), range(-120, 121, 60)
    around = np.linspace(-180.0, 180.0, 181)
    labels = [(-1.02 * float(np.interp(lat, meridian, east[:, 0])), lat, _degrees(lat, "N", "S")) for lat in parallels]
    return _Globe(
        extent=(-x_most, x_most, -y_most, y_most),
        latitudes=np.interp(y, east[:, 1], meridian),
        longitudes=np.clip(longitudes, -180.0, 180.0),
        inside=inside,
        coast=project(coastlines()),
        graticule=np.concatenate([line(around, lat) for lat in parallels] + [line(lon, meridian) for lon in meridians]),
        outline=np.concatenate([east, [[-1, 1]] * east[::-1], east[:1]]),
        labels=(
            *((x, float(np.interp(lat, meridian, east[:, 1])), text, "right", "center") for x, lat, text in labels),
            *(
                (
                    float(project(np.array([[lon, -90.0]]))[0, 0]),
                    -1.02 * y_most,
                    _degrees(lon, "E", "W"),
                    "center",
                    "top",
                )
                for lon in meridians
            ),
        ),
    )


def _degrees(value: float, positive: str, negative: str) -> str:
    return f"{abs(value):g}°{positive if value > 0 else negative if value < 0 else ''}"
