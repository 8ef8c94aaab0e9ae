"""Maps side by side: one for each name of a dimension, such as scenarios, in the colours of one scale.

Belongs here: several maps in one picture. Does not belong here: a single map (``maps``), its view (``region_view``).
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import xarray as xr

from xdask_pipelines.climate.axes import horizontal_names
from xdask_pipelines.climate.drawing.maps import ShownField, pixels_of, scale_of, view_on
from xdask_pipelines.climate.drawing.picture_frame import INK, KELVIN_AT_ZERO_CELSIUS, colour_bar, frame, in_words, png
from xdask_pipelines.climate.grids.grid import grid_of
from xdask_pipelines.climate.grids.shapes import panels_of
from xdask_pipelines.climate.means import area_weighted_mean
from xdask_pipelines.climate.thumbnail import AREA_MEAN
from xdask_pipelines.errors import ClimateError
from xdask_pipelines.system.safe_text import drawn
from xdask_pipelines.system.units import number, with_units


def draw_map_panels(fields: xr.DataArray, title: str, subtitle: str | None = None) -> bytes:
    """Draw a map for each name of a dimension, all on the same part of the globe, with one colour bar.

    Parameters
    ----------
    fields
        A field of latitude, longitude and a dimension of two to six names, in memory. Attributes as of `maps.draw_map`; the
        coordinate ``area_mean`` (of a thumbnail) replaces the means of the maps.
    title, subtitle
        As of `maps.draw_map`.

    Returns
    -------
    A PNG of 1200 x 740 pixels. Each map has its name and its area-weighted mean, unless values are missing.

    Raises
    ------
    ClimateError
        If the field has other dimensions, is a Dask array, or has no finite value.
    """
    names = panels_of(fields)
    if names is None or fields.chunks is not None:
        raise ClimateError(
            f"maps side by side need a field of latitude, longitude and two to six names in memory, not {fields.dims}"
            f"{' as a Dask array' if fields.chunks is not None else ''}; select and compute first"
        )
    texts = list(map(str, fields[names].values))
    fields = fields.transpose(names, *horizontal_names(fields[{names: 0}]))
    means = fields.coords[AREA_MEAN].values if AREA_MEAN in fields.coords else area_weighted_mean(fields).values
    words = in_words(fields, float("nan"))
    grid = grid_of(fields[0])
    panels = [ShownField(grid.lat, grid.lon, replace(words, values=values)) for values in words.values]
    norm, palette, extend = scale_of(panels)
    view = view_on(grid.lat, grid.lon, np.asarray(np.isfinite(words.values).any(axis=0), bool))
    figure = frame(title, subtitle, words)
    columns = 2 if len(panels) in (2, 4) else 3
    # Between the title, and the colour bar with the caption.
    middle = figure.add_subfigure(figure.add_gridspec(3, 1, height_ratios=(0.1, 0.7, 0.2))[1])
    places = middle.add_gridspec(-(-len(panels) // columns), columns)
    shift = KELVIN_AT_ZERO_CELSIUS if words.units == "°C" else 0.0
    for i, (panel, text, mean) in enumerate(zip(panels, texts, means, strict=True)):
        part = middle.add_subfigure(places[i // columns, i % columns])
        view.draw(part, pixels_of(panel, view, norm, palette))
        for label in part.axes[0].texts if columns > 2 else ():
            label.set_fontsize(4.5)
        of_all = f"   {with_units(number(float(mean) - shift), words.units)}" if np.isfinite(mean) else ""
        part.axes[0].set_title(drawn(text + of_all), fontsize=10, color=INK, pad=4)
    colour_bar(figure, norm, palette, extend, words.axis)
    return png(figure)
