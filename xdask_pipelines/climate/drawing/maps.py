"""Maps as PNG: cells of a horizontal field on the globe, without global state and network access.

Belongs here: drawing horizontal fields. Does not belong here: what a map shows (``globe``, ``region_view``), other fields
(``plots``).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr
from matplotlib.colors import BoundaryNorm
from numpy.typing import NDArray

from xdask_pipelines.climate.axes import horizontal_names, require_field
from xdask_pipelines.climate.drawing.picture_frame import (
    Extend,
    Words,
    colour_bar,
    colour_scale,
    frame,
    in_words,
    png,
)
from xdask_pipelines.climate.drawing.region_view import MapView, WholeGlobe, view_of
from xdask_pipelines.climate.grids.grid import Cells, Float, grid_of
from xdask_pipelines.climate.means import area_weighted_mean
from xdask_pipelines.climate.regridding.regrid import regrid
from xdask_pipelines.errors import ClimateError

_FINEST_ROWS = 361  # finer fields are averaged first: a pixel would show a single cell of many


def draw_map(field: xr.DataArray, title: str, subtitle: str | None = None) -> bytes:
    """Draw a horizontal field on a world map, or, if all its values are in one region, on a map of that region.

    A temperature in K is shown in degC (K - 273.15), and a spread or range (values below 100 K) in K, with a sequential
    palette. A difference (by ``units_metadata``, or if values have both signs) keeps its units and has a palette that
    diverges from 0, with symmetric limits that include 98 % of the area. Each cell is drawn with its true edges; cells
    without value are grey.

    Parameters
    ----------
    field
        A field with latitude and longitude, in memory. Used attributes: ``units``, ``long_name``, ``units_metadata``,
        ``attribution``; ``actual_range`` and ``area_mean`` (of a thumbnail) replace the field's own figures.
    title, subtitle
        The title, and a restriction ("excerpt, 24 of 744 h").

    Returns
    -------
    A PNG of 1200 x 740 pixels.

    Raises
    ------
    ClimateError
        If the field has other dimensions, is a Dask array, or has no finite value.
    """
    shown = shown_field(field)
    view = view_on(shown.lat, shown.lon, np.isfinite(shown.values))
    image, norm, palette, extend = coloured(shown, view)
    figure = frame(title, subtitle, shown.words)
    view.draw(figure, image)
    colour_bar(figure, norm, palette, extend, shown.words.axis)
    return png(figure)


@dataclass(frozen=True)
class ShownField:
    """The cells of a map, and its texts."""

    lat: Cells
    lon: Cells
    words: Words

    @property
    def values(self) -> Float:
        """Return the values, in displayed units."""
        return self.words.values

    @property
    def units(self) -> str:
        """Return the displayed units."""
        return self.words.units

    @property
    def caption(self) -> str:
        """Return the line below the map."""
        return self.words.caption


def shown_field(field: xr.DataArray) -> ShownField:
    """Return the content of a map: cells in rows from north to south, the range, and the caption."""
    require_field(field, "draw_map")
    names = horizontal_names(field)
    if set(field.dims) != set(names) or field.chunks is not None:
        raise ClimateError(
            f"a map needs a field of latitude and longitude in memory, not {field.dims}"
            f"{' as a Dask array' if field.chunks is not None else ''}; select one step and compute it first"
        )
    field = field.transpose(*names).astype(np.float64).where(np.isfinite)
    # With missing values the mean of the others is not the mean of the sphere, so no mean is shown.
    mean = float(field.attrs["area_mean"]) if "area_mean" in field.attrs else float(area_weighted_mean(field))
    if field.sizes[names[0]] > _FINEST_ROWS and grid_of(field).complete:
        figures = {
            "actual_range": (float(field.min()), float(field.max())),
            "missing_values": int(field.isnull().sum()),
        }
        step = 180.0 / _FINEST_ROWS
        lat, lon = -90 + step * (np.arange(_FINEST_ROWS) + 0.5), step * (np.arange(2 * _FINEST_ROWS) + 0.5)
        field = regrid(field, lat, lon).assign_attrs({**figures, **field.attrs})
    grid = grid_of(field)
    return ShownField(grid.lat, grid.lon, in_words(field, mean))


def view_on(lat: Cells, lon: Cells, known: NDArray[np.bool_]) -> MapView:
    """Return the part of the globe on which the cells with values are drawn."""
    rows, columns = np.nonzero(known)
    largest = max(float(np.diff(cells.edges).max()) for cells in (lat, lon))
    return view_of(lat.centres[rows], lon.centres[columns], largest)


def coloured(shown: ShownField, view: MapView | None = None) -> tuple[NDArray[np.uint8], BoundaryNorm, Any, Extend]:
    """Return pixels (RGBA, transparent off the map), and the scale of the colour bar; by default of the whole world."""
    view = view or WholeGlobe()
    norm, palette, extend = scale_of([shown])
    return pixels_of(shown, view, norm, palette), norm, palette, extend


def scale_of(panels: Sequence[ShownField]) -> tuple[BoundaryNorm, Any, Extend]:
    """Return the colours of maps that share a scale, as `picture_frame.colour_scale`."""
    finite = [np.isfinite(shown.values) for shown in panels]
    weights = [np.outer(s.lat.measure, s.lon.measure)[known] for s, known in zip(panels, finite, strict=True)]
    values = [shown.values[known] for shown, known in zip(panels, finite, strict=True)]
    return colour_scale(np.concatenate(values), np.concatenate(weights), panels[0].words.diverging)


def pixels_of(shown: ShownField, view: MapView, norm: BoundaryNorm, palette: Any) -> NDArray[np.uint8]:
    """Return the pixels of a map (RGBA, transparent off the map)."""
    rows, columns = cell_at(shown.lat, view.latitudes), cell_at(shown.lon, view.longitudes)
    outside = (rows < 0)[:, None] | (columns < 0)
    pixels = np.ma.masked_invalid(shown.values[rows[:, None], columns])
    pixels[outside] = np.ma.masked
    image: NDArray[np.uint8] = palette(norm(pixels), bytes=True)
    image[~view.inside] = 0
    return image


def cell_at(cells: Cells, degrees: Float) -> NDArray[np.intp]:
    """Return the position in the field of the cell that contains each point; -1 if no cell does."""
    if cells.kind == "longitude":
        degrees = (degrees - cells.edges[0]) % 360.0 + cells.edges[0]
    place = np.searchsorted(cells.edges, degrees, side="right") - 1
    place = np.where(degrees == cells.edges[-1], cells.size - 1, place)
    outside = (place < 0) | (place >= cells.size)
    if cells.descending:
        place = cells.size - 1 - place
    return np.where(outside, -1, place)
