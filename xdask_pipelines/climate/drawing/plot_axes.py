"""Axes of plots: numbers for any coordinate, readable ticks, and their direction.

Belongs here: converting a coordinate to an axis. Does not belong here: drawing values (``plots``).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import cftime
import numpy as np
import xarray as xr
from matplotlib.axis import Axis as MatplotlibAxis

from xdask_pipelines.climate.axes import is_time, latitude_name, longitude_name
from xdask_pipelines.climate.drawing.picture_frame import capital
from xdask_pipelines.climate.grids.grid import Float
from xdask_pipelines.errors import ClimateError
from xdask_pipelines.system.safe_text import drawn

_PRESSURE_UNITS = {"pa", "hpa", "mb", "mbar", "millibar", "millibars", "dbar", "kpa"}
_VERTICAL_NAMES = {"air_pressure", "depth", "altitude", "height", "geopotential_height", "model_level_number"}
_MOST_TICKS = 9
_EPOCH = "days since 0001-01-01"


@dataclass(frozen=True)
class PlotAxis:
    """A coordinate as an axis.

    Attributes
    ----------
    places
        Positions of the values, shape (n,), ascending or descending.
    order
        Index of the field's value at each position, shape (n,).
    label
        Long name and units.
    ticks
        Positions and texts; empty for plain numbers.
    downwards
        Whether larger numbers are lower: pressure, depth.
    """

    places: Float
    order: Any
    label: str
    ticks: tuple[tuple[float, str], ...] = ()
    downwards: bool = False

    @property
    def edges(self) -> Float:
        """Return midpoints between positions, and half a step beyond the outer ones, shape (n + 1,)."""
        if self.places.size == 1:
            return np.array([self.places[0] - 0.5, self.places[0] + 0.5])
        middle = (self.places[1:] + self.places[:-1]) / 2
        ends = 2 * self.places[0] - middle[0], 2 * self.places[-1] - middle[-1]
        return np.concatenate([ends[:1], middle, ends[1:]])

    def apply(self, axis: MatplotlibAxis) -> None:
        """Label an axis of matplotlib and set its ticks."""
        axis.set_label_text(drawn(self.label), fontsize=9)
        if self.ticks:
            axis.set_ticks([place for place, _ in self.ticks], [text for _, text in self.ticks])


def axis_of(field: xr.DataArray, dim: str) -> PlotAxis:
    """Return the axis of one dimension of a field: dates, numbers, texts, or else indices."""
    size = field.sizes[dim]
    every = np.arange(size)
    if dim not in field.coords:
        return PlotAxis(every.astype(np.float64), every, dim, _names(list(map(str, every))))
    coordinate = field[dim]
    label = label_of(coordinate)
    if is_time(coordinate) and coordinate.dtype.kind in "OM":
        return _time_axis(coordinate, label)
    if coordinate.dtype.kind not in "iuf" or not np.isfinite(coordinate.values).all():
        return PlotAxis(every.astype(np.float64), every, label, _names(list(map(str, coordinate.values))))
    places = coordinate.values.astype(np.float64)
    if is_longitude(field, dim):
        places, every = _from_widest_gap(places)
    steps = np.diff(places)
    if size > 1 and not ((steps > 0).all() or (steps < 0).all()):
        return PlotAxis(np.arange(size, dtype=np.float64), every, label, _names([f"{v:g}" for v in places]))
    return PlotAxis(places, every, label, downwards=_is_downwards(coordinate))


def label_of(coordinate: xr.DataArray) -> str:
    """Return the long name, else the standard name, else the name, with units."""
    attrs = coordinate.attrs
    name = attrs.get("long_name") or str(attrs.get("standard_name") or coordinate.name or "").replace("_", " ")
    units = str(attrs.get("units", ""))
    units = {"degrees_north": "°N", "degrees_east": "°E", "1": ""}.get(units, units)
    return capital(str(name)) + (f" / {units}" if units and not is_time(coordinate) else "")


def is_vertical(field: xr.DataArray, dim: str) -> bool:
    """Return whether a dimension is vertical: pressure, height or depth."""
    if dim not in field.coords:
        return False
    attrs = field[dim].attrs
    return bool(
        attrs.get("axis") == "Z"
        or "positive" in attrs
        or attrs.get("standard_name") in _VERTICAL_NAMES
        or str(attrs.get("units", "")).lower() in _PRESSURE_UNITS
    )


def _is_downwards(coordinate: xr.DataArray) -> bool:
    attrs = coordinate.attrs
    if "positive" in attrs:
        return str(attrs["positive"]).lower() == "down"
    return (
        attrs.get("standard_name") in ("air_pressure", "depth")
        or str(attrs.get("units", "")).lower() in _PRESSURE_UNITS
    )


def is_horizontal(field: xr.DataArray, dim: str) -> bool:
    """Return whether a dimension is latitude or longitude."""
    for find in (latitude_name, longitude_name):
        try:
            if find(field) == dim:
                return True
        except ClimateError:
            continue
    return False


def is_longitude(field: xr.DataArray, dim: str) -> bool:
    """Return whether a dimension is longitude."""
    try:
        return longitude_name(field) == dim
    except ClimateError:
        return False


def _from_widest_gap(longitudes: Float) -> tuple[Float, Any]:
    """Return contiguous ascending longitudes, and their order: a region across Greenwich becomes -30 … 10."""
    steps = np.diff(longitudes)
    around = np.sort(longitudes % 360.0)
    gaps = np.append(np.diff(around), around[0] + 360.0 - around[-1])
    across = 360.0 - np.ptp(longitudes)
    if ((steps > 0).all() or (steps < 0).all()) and across >= gaps.max() - 1e-6:
        return longitudes, np.arange(longitudes.size)
    start = around[(int(np.argmax(gaps)) + 1) % around.size]
    turned = (longitudes - start) % 360.0 + start
    turned -= 360.0 * (turned.max() > 360.0)
    order = np.argsort(turned, kind="stable")
    return turned[order], order


def _names(texts: Sequence[str]) -> tuple[tuple[float, str], ...]:
    stride = -(-len(texts) // 2 // _MOST_TICKS) or 1
    return tuple((float(i), drawn(texts[i])) for i in range(0, len(texts), stride))


def _time_axis(coordinate: xr.DataArray, label: str) -> PlotAxis:
    """Return an axis of days in the data's own calendar, with ticks at years, months, days or hours."""
    calendar = str(coordinate.dt.calendar)
    if coordinate.dtype.kind == "M":
        instants = coordinate.values.astype("M8[s]").astype(object)
        dates = [cftime.datetime(*each.timetuple()[:6], calendar=calendar) for each in instants]
    else:
        dates = list(coordinate.values)
    places = np.asarray(cftime.date2num(dates, _EPOCH, calendar), np.float64)
    order = np.argsort(places, kind="stable")
    ticks = _time_ticks(dates[int(order[0])], dates[int(order[-1])], calendar)
    return PlotAxis(places[order], order, label or "Time", ticks)


def _time_ticks(first: Any, last: Any, calendar: str) -> tuple[tuple[float, str], ...]:
    def at(year: int, month: int = 1, day: int = 1, hour: int = 0) -> float:
        return float(cftime.date2num(cftime.datetime(year, month, day, hour, calendar=calendar), _EPOCH, calendar))

    start, end = (float(cftime.date2num(date, _EPOCH, calendar)) for date in (first, last))
    days = end - start
    ticks: list[tuple[float, str]] = []
    if days > 3 * 360:
        step = next(n for m in range(6) for n in (10**m, 2 * 10**m, 5 * 10**m) if days / 360 / n <= _MOST_TICKS)
        years = range(first.year + -first.year % step, last.year + 1, step)
        ticks = [(at(year), f"{year:04}") for year in years if year]
    elif days > 60:
        step = next(n for n in (1, 2, 3, 6) if days / 30 / n <= _MOST_TICKS or n == 6)
        months = range(first.year * 12, last.year * 12 + 12, step)
        ticks = [(at(m // 12, m % 12 + 1), f"{m // 12:04}-{m % 12 + 1:02}") for m in months]
    else:
        step_hours = next(n for n in (1, 3, 6, 12, 24, 48, 120, 240) if days * 24 / n <= _MOST_TICKS - 2 or n == 240)
        midnight = np.floor(start)
        for hours in range(0, int(days * 24) + 25, step_hours):
            place = midnight + hours / 24
            date = cftime.num2date(place, _EPOCH, calendar)
            form = "%Y-%m-%d" if step_hours >= 24 else "%H:%M\n%Y-%m-%d" if not ticks or date.hour == 0 else "%H:%M"
            if place >= start - 1e-6:
                ticks.append((place, date.strftime(form)))
    inside = tuple((place, text) for place, text in ticks if start - 1e-6 <= place <= end + 1e-6)
    return inside or ((start, str(first)[:16]),)
