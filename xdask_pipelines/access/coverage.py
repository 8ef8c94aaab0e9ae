"""Where and when data lie, as the coordinates in their header say it.

Belongs here: reckoning time range and extent from coordinates. Does not belong here: their forms (catalog.times,
catalog.extent), reading coordinates from files (header).
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import cftime
import numpy as np

from xdask_pipelines.access.packed import is_bounds, unpack

Coordinates = Mapping[str, Mapping[str, Any]]
_DAY = timedelta(days=1)


def time_range(coords: Coordinates) -> list[int] | None:
    """Half-open range of the data's own time as two catalog time keys; None without time.

    Bounds of cells where there are any. Else each step stands for the year, month, day, or part of a day in which its
    time lies, whichever is as long as the steps are (their median): hours 00 to 23 are a whole day, monthly means of the
    1st or the 16th are whole months. One step alone lasts a moment.
    """
    time = next((c for n, c in coords.items() if c["attrs"].get("standard_name") == "time" or n == "time"), None)
    if time is None or "since" not in str(time["attrs"].get("units", "")):
        return None
    bounds = coords.get(time["attrs"].get("bounds", ""))
    attrs = {**time["attrs"], **(bounds["attrs"] if bounds else {})}
    values = np.unique(unpack(bounds if bounds else time))
    if not values.size:
        return None
    step = 0.0 if bounds or values.size < 2 else float(np.median(np.diff(values.astype("f8"))))
    numbers = [float(values[0]), float(values[0]) + step, float(values[-1])]
    start, second, end = cftime.num2date(numbers, attrs["units"], attrs.get("calendar", "standard"))
    if not bounds:
        start, end = _steps(start, end, second - start)
    return [_key(start), _key(end)]


def _steps(first: Any, last: Any, step: timedelta) -> tuple[Any, Any]:
    """When the first step begins and the last one ends, as instants of their calendar."""
    midnight = {"hour": 0, "minute": 0, "second": 0, "microsecond": 0}
    if not step:
        return first, last + timedelta(seconds=1)
    if step / _DAY >= 355 and step / _DAY <= 370:
        return first.replace(month=1, day=1, **midnight), last.replace(year=last.year + 1, month=1, day=1, **midnight)
    if step / _DAY >= 28 and step / _DAY <= 31:
        year, month = divmod(last.year * 12 + last.month, 12)
        return first.replace(day=1, **midnight), last.replace(year=year, month=month + 1, day=1, **midnight)
    if step % _DAY and _DAY % step:
        return first, last + step
    whole = min(step, _DAY)
    start, end = (t.replace(**midnight) + (t - t.replace(**midnight)) // whole * whole for t in (first, last))
    return start, end + step


def _key(t: Any) -> int:
    t = t + timedelta(microseconds=500_000)  # what floating point took away from a second
    return int(f"{t.year:04}{t.month:02}{t.day:02}{t.hour:02}{t.minute:02}{t.second:02}")


def extent(coords: Coordinates) -> list[float] | None:
    """Box of the data, [west, south, east, north] in degrees, in the form of :mod:`xdask_pipelines.catalog.extent`.

    Bounds of cells where there are any, else half a step beyond the outermost points. The longitudes lie within all but
    the widest gap between neighbours; where that gap is not wider than one and a half steps, they go all round.
    """
    lat, lon = (_degrees(coords, *names) for names in (("latitude", "lat", "north"), ("longitude", "lon", "east")))
    if lat is None or lon is None:
        return None
    (south_north, half, _), (values, half_east, width) = lat, lon
    south, north = max(-90.0, south_north.min() - half), min(90.0, south_north.max() + half)
    around = np.unique(np.round(values % 360, 9))
    gaps = np.diff(around, append=around[0] + 360)
    widest = int(np.argmax(gaps))
    if np.ptp(values) >= 360 or (around.size > 1 and gaps[widest] <= 1.5 * width):
        return [-180.0, float(south), 180.0, float(north)]
    west = around[(widest + 1) % around.size] - half_east
    first = (west + 180) % 360 - 180
    return [float(v) for v in (first, south, first + 360 - gaps[widest] + 2 * half_east, north)]


def _degrees(coords: Coordinates, standard: str, short: str, towards: str) -> tuple[np.ndarray, float, float] | None:
    """Values of latitude or longitude, half a step where they are points of a grid and not bounds, and a step."""
    units = {f"degrees_{towards}", f"degree_{towards}", f"degrees_{towards[0].upper()}", f"degree_{towards[0].upper()}"}
    named = [n for n, c in coords.items() if c["attrs"].get("standard_name") == standard]
    named += [n for n, c in coords.items() if c["attrs"].get("units") in units and not is_bounds(n)]
    named += [n for n in (standard, short) if n in coords]
    if not named:
        return None
    coordinate = coords[named[0]]
    bounds = coords.get(coordinate["attrs"].get("bounds", ""))
    points = _decoded(coordinate, coordinate["attrs"])
    step = float(np.nanmedian(np.abs((np.diff(points, axis=-1) + 180) % 360 - 180))) if points.shape[-1] > 1 else 0.0
    if bounds and points.ndim == 1 and bounds["shape"] == [points.size, 2]:
        edges = _decoded(bounds, {**coordinate["attrs"], **bounds["attrs"]})
        return edges.ravel(), 0.0, max(step, float(np.median(np.abs(np.diff(edges, axis=-1)))))
    points = points[np.isfinite(points)]
    return (points, step / 2, step) if points.size else None


def _decoded(coordinate: Mapping[str, Any], attrs: Mapping[str, Any]) -> np.ndarray:
    raw = np.atleast_1d(unpack(coordinate))
    values = raw.astype("f8") * float(attrs.get("scale_factor", 1)) + float(attrs.get("add_offset", 0))
    fill = attrs.get("_FillValue")
    return values if fill is None or isinstance(fill, Mapping) else np.where(raw == fill, np.nan, values)
