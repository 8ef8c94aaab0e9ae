"""Common parts of all pictures: size, fonts, colours, units, and the caption.

Belongs here: the layout. Does not belong here: the content (``maps``, ``native_maps``, ``plots``).
"""

from __future__ import annotations

import io
import textwrap
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import xarray as xr
from matplotlib import colormaps
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.cm import ScalarMappable
from matplotlib.colors import BoundaryNorm
from matplotlib.figure import Figure

from xdask_pipelines.climate.grids.grid import Float
from xdask_pipelines.errors import ClimateError
from xdask_pipelines.system.safe_text import drawn
from xdask_pipelines.system.units import number, with_units

KELVIN_AT_ZERO_CELSIUS = 273.15
#: Nothing in air, sea or ground is as cold: even the mesopause has 130 K.
_COLDEST_KELVIN = 100.0
INK, FAINT, NO_VALUE = "#333333", "#666666", "#b0b0b0"

_SHARE_WITHIN_LIMITS = 0.98
Extend = Literal["both", "neither"]


@dataclass(frozen=True)
class Words:
    """A field in display units, with its texts."""

    values: Float
    diverging: bool
    label: str
    units: str
    caption: str
    credit: str

    @property
    def axis(self) -> str:
        """Return the label of a colour bar or an axis of values."""
        return f"{self.label} / {self.units}" if self.units else self.label


def in_words(field: xr.DataArray, mean: float, missing: str = "cells without value") -> Words:
    """Convert temperatures from K to degC, and compose the caption of a picture.

    A field in K that has values below 100 K is a difference, a spread or a range, and keeps its units.

    Parameters
    ----------
    field
        A field in memory. Used attributes: ``units``, ``long_name``, ``units_metadata``, ``attribution``;
        ``actual_range`` and ``missing_values`` (of a thumbnail) replace the field's own figures.
    mean
        Area-weighted mean; NaN leaves it out.
    missing
        Term for missing values.

    Raises
    ------
    ClimateError
        If no value is finite.
    """
    field = field.astype(np.float64).where(np.isfinite)
    if field.isnull().all():
        raise ClimateError(f"{field.name or 'the field'} has no finite value, so it cannot be drawn")
    attrs = field.attrs
    low, high = attrs.get("actual_range", (float(field.min()), float(field.max())))
    lacking = int(attrs.get("missing_values", np.isnan(field.values).sum()))
    units = str(attrs.get("units", ""))
    # No temperature is below 0 K, so a field with such values is a difference; attributes seldom tell a spread.
    is_difference = "difference" in str(attrs.get("units_metadata", "")) or (units == "K" and low < 0)
    values = field.values
    if units == "K" and not is_difference and low >= _COLDEST_KELVIN:
        values, units = values - KELVIN_AT_ZERO_CELSIUS, "°C"
        low, high, mean = (value - KELVIN_AT_ZERO_CELSIUS for value in (low, high, mean))
        diverging = False
    else:
        diverging = is_difference or low < 0 < high
    units = "" if units == "1" else units
    words = [f"minimum {with_units(number(low), units)}", f"maximum {with_units(number(high), units)}"]
    if np.isfinite(mean):
        words.insert(0, f"area-weighted mean {with_units(number(mean), units)}")
    if lacking:
        coarse = f"{lacking} of the {field.size} cells of this coarse picture without value"
        words.append(coarse if "is_coarse" in attrs else f"{lacking} {missing}")
    caption = "     ".join(words)
    label = str(attrs.get("long_name") or field.name or "")
    return Words(
        values,
        diverging,
        capital(label),
        units,
        capital(caption),
        str(attrs.get("attribution", "")),
    )


def frame(title: str, subtitle: str | None, words: Words) -> Figure:
    """Create a figure of 1200 x 740 pixels with title and caption, without axes."""
    figure = Figure(figsize=(10, 6.17), dpi=120, facecolor="white")
    FigureCanvasAgg(figure)
    figure.text(0.02, 0.955, drawn(title), fontsize=_fitting(title, 14, 80), fontweight="bold", va="center", color=INK)
    if subtitle:
        figure.text(0.02, 0.912, drawn(subtitle), fontsize=_fitting(subtitle, 9.5, 150), va="center", color=FAINT)
    figure.text(0.02, 0.062, drawn(words.caption), fontsize=9, va="center", color=INK)
    credit = textwrap.fill(words.credit, 210)
    figure.text(0.02, 0.01, drawn(credit), fontsize=6, va="bottom", color=FAINT, linespacing=1.3)
    return figure


def png(figure: Figure) -> bytes:
    """Return a figure as PNG."""
    content = io.BytesIO()
    figure.savefig(content, format="png", pil_kwargs={"compress_level": 4})
    return content.getvalue()


def colour_scale(values: Float, weights: Float, diverging: bool) -> tuple[BoundaryNorm, Any, Extend]:
    """Return the boundaries of colours, the palette, and whether values exceed the boundaries.

    Parameters
    ----------
    values, weights
        Finite values and their areas, shapes (n,).
    diverging
        Whether the scale is symmetric about 0, with limits that include 98 % of the area.
    """
    if diverging:
        limit = _quantile(np.abs(values), weights, _SHARE_WITHIN_LIMITS)
        step = nice_step(limit, 10)
        boundaries = step * np.arange(-np.ceil(limit / step - 1e-9), np.ceil(limit / step - 1e-9) + 0.5)
        palette = colormaps["RdBu_r"]
    else:
        first, last = float(values.min()), float(values.max())
        step = nice_step(last - first, 20)
        boundaries = step * np.arange(np.floor(first / step + 1e-9), np.ceil(last / step - 1e-9) + 0.5)
        if boundaries.size < 2:
            boundaries = np.append(boundaries, boundaries[-1] + step)
        palette = colormaps["viridis"]
    # Values exceed only a diverging palette. It is then extended at both ends, so that its middle stays at 0.
    beyond = values.min() < boundaries[0] or values.max() > boundaries[-1]
    extend: Extend = "both" if beyond else "neither"
    return BoundaryNorm(boundaries, palette.N, extend=extend), palette.with_extremes(bad=NO_VALUE), extend


def colour_bar(figure: Figure, norm: BoundaryNorm, palette: Any, extend: Extend, label: str) -> None:
    """Draw the colour bar below the axes."""
    axes = figure.add_axes((0.2, 0.145, 0.6, 0.025))
    bar = figure.colorbar(
        ScalarMappable(norm, palette), cax=axes, orientation="horizontal", extend=extend, spacing="proportional"
    )
    step = (norm.boundaries[1] - norm.boundaries[0]) * (2 if len(norm.boundaries) > 13 else 1)
    bar.set_ticks([float(edge) for edge in norm.boundaries if abs(edge / step - round(edge / step)) < 1e-6])
    bar.ax.tick_params(labelsize=8, length=2, color=FAINT)
    bar.outline.set_linewidth(0.5)
    bar.set_label(drawn(label), fontsize=9)


def capital(text: str) -> str:
    """Return a text with its first letter capitalised."""
    return text[:1].upper() + text[1:]


def nice_step(span: float, most: int) -> float:
    """Return the smallest of 1, 2, 2.5, 5 times a power of ten that divides a span into at most ``most`` steps."""
    span = span if span > 0 else 1.0
    power = 10.0 ** np.floor(np.log10(span / most))
    return float(next(m * power for m in (1.0, 2.0, 2.5, 5.0, 10.0) if span / (m * power) <= most + 1e-9))


def _fitting(text: str, points: float, most: int) -> float:
    """Return the font size at which a line fits the picture, if ``most`` characters fit at the given size."""
    return points * min(1.0, most / max(len(text), 1))


def _quantile(values: Float, weights: Float, share: float) -> float:
    """Return the weighted quantile of values, at least a small number above 0."""
    order = np.argsort(values)
    total = np.cumsum(weights[order])
    return float(values[order][np.searchsorted(total, share * total[-1])]) or float(values.max()) or 1.0
