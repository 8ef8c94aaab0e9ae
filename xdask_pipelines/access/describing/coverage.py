"""Coverage of data in space and time, from the coordinates in their header.

Belongs here: computing time axes, time keys and extents from coordinates. Does not belong here: arithmetic on time axes
(climate.times.time_axis), the forms of keys and extents (catalog.times, catalog.extent), reading coordinates from files
(header).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import cftime
import numpy as np

from xdask_pipelines.access.coordinates import TEXT, is_bounds, unpack
from xdask_pipelines.access.describing.raw import Unusable
from xdask_pipelines.catalog.times import carried
from xdask_pipelines.climate.axes import is_reference_time
from xdask_pipelines.climate.times.time_axis import TimeAxis

_TIME_NAME = re.compile(r"(?:valid_)?time\d*", re.ASCII)
Coordinates = Mapping[str, Mapping[str, Any]]
#: Maximum number of gaps. More gaps are joined with their neighbours: then too many steps count as missing, never too
#: few.
_MOST_GAPS = 1000
#: Bounds are often stored as float32.
_TOLERANCE_DEGREES = 1e-3


def time_axes(header: Mapping[str, Any]) -> dict[str, TimeAxis]:
    """Return the axes of all 1-D and scalar time coordinates by name, without those of size 0.

    Raises
    ------
    Unusable
        If a coordinate has the standard name of time but cannot be decoded.
    """
    coords: Coordinates = header["coords"]
    return {
        n: _axis(n, c, coords)
        for n, c in coords.items()
        if _is_time(n, c) and len(c["dims"]) < 2 and 0 not in c["shape"]
    }


def _is_time(name: str, coordinate: Mapping[str, Any]) -> bool:
    """Return whether a coordinate has the times of the values; the start time of a forecast does not count."""
    attrs = coordinate["attrs"]
    if is_reference_time(name, attrs):
        return False
    if "standard_name" in attrs:
        return bool(attrs["standard_name"] == "time") and not is_bounds(name)
    if coordinate["dims"] == [name] and " since " in str(attrs.get("units", "")) and not is_bounds(name):
        return True
    named = _TIME_NAME.fullmatch(name) is not None or attrs.get("axis") == "T"
    return named and ("units" in attrs or coordinate["dtype"] == TEXT)


def _axis(name: str, coordinate: Mapping[str, Any], coords: Coordinates) -> TimeAxis:
    attrs = coordinate["attrs"]
    units, calendar = str(attrs.get("units", "")), str(attrs.get("calendar", "standard"))
    if coordinate["dtype"] == TEXT or "since" not in units:
        form = "text" if coordinate["dtype"] == TEXT else repr(units)
        raise Unusable(f"has times {name!r} as {form}, not as numbers of units since a date", "write them by CF")
    values = _numbers(coordinate, attrs).ravel()
    if not np.isfinite(values).all():
        raise Unusable(
            f"has a missing value in its coordinate {name!r} at index {int(np.argmin(np.isfinite(values)))}",
            "write the coordinate whole",
        )
    bounds = coords.get(str(attrs.get("bounds", "")))
    if bounds is not None and bounds["attrs"].get("calendar", calendar) != calendar:
        raise Unusable(
            f"has times {name!r} in the calendar {calendar!r} and their bounds in {bounds['attrs']['calendar']!r}",
            "write both in one",
        )
    try:
        ends = None
        if bounds is not None and bounds["shape"] == [*coordinate["shape"], 2]:
            pairs = _numbers(bounds, {**attrs, **bounds["attrs"]}).reshape(-1, 2)
            own = str(bounds["attrs"].get("units", units))
            ends = _in_units(pairs, own, units, calendar)
        axis = TimeAxis.from_numbers(values, units, calendar, ends)
        axis.date(axis.seconds[-1])
    except (ValueError, OverflowError, TypeError) as error:
        raise Unusable(
            f"has times {name!r} that cannot be decoded from units {units!r} and calendar {calendar!r} ({error})",
            "write units and calendar of CF, such as 'days since 2001-01-01' and '360_day'",
        ) from error
    return axis


def _in_units(pairs: np.ndarray, own: str, units: str, calendar: str) -> tuple[np.ndarray, np.ndarray]:
    """Return lower and upper bounds in the units of the times."""
    if own != units:
        dates = cftime.num2date(pairs, own, calendar, only_use_cftime_datetimes=True)
        pairs = np.asarray(cftime.date2num(dates, units, calendar), np.float64)
    return pairs[:, 0], pairs[:, 1]


def time_keys(axis: TimeAxis) -> tuple[int, int]:
    """Return the start of the first step and the end of the last one, as time keys of the catalog.

    Raises
    ------
    Unusable
        If the catalog does not support the year.
    """
    start, end = axis.span
    return _key(start), _key(end)


def time_gaps(axis: TimeAxis) -> list[list[int]]:
    """Return the gaps between steps, as pairs of time keys (half-open)."""
    holes = axis.holes
    groups = [
        holes[i : i + -(-len(holes) // _MOST_GAPS)] for i in range(0, len(holes), -(-len(holes) // _MOST_GAPS) or 1)
    ]
    return [[_key(axis.date(group[0][0])), _key(axis.date(group[-1][1]))] for group in groups]


def is_inside(axis: TimeAxis, step: int, period: tuple[int, int]) -> bool:
    """Return whether a step is in a half-open period of time keys: its time, or completely with its bounds."""
    start, end = period[0], carried(period[1], axis.origin.calendar)
    if start <= _key(axis.date(axis.seconds[step])) < end:
        return True
    if axis.bounds is None:
        return False
    lower, upper = (_key(axis.date(side[step])) for side in axis.bounds)
    return start <= lower and upper <= end


def seconds_of(axis: TimeAxis, key: int) -> float:
    """Convert a time key to seconds after the origin of an axis, in its calendar."""
    rest, clock = divmod(carried(key, axis.origin.calendar), 1_000_000)
    (year, month), day = divmod(rest // 100, 100), rest % 100
    hour, minute, second = clock // 10_000, clock // 100 % 100, clock % 100
    instant = axis.origin.replace(
        year=year, month=month, day=day, hour=hour, minute=minute, second=second, microsecond=0
    )
    return float((instant - axis.origin).total_seconds())


def _key(t: Any) -> int:
    t = t + timedelta(microseconds=500_000)  # compensates rounding below a second
    if not 1 <= t.year <= 99_999:
        raise Unusable(
            f"has times in the year {t.year}; the catalog supports the years 1 to 99999", "correct its times"
        )
    return int(f"{t.year:04}{t.month:02}{t.day:02}{t.hour:02}{t.minute:02}{t.second:02}")


def extent(coords: Coordinates) -> list[float] | None:
    """Return the box of the data, [west, south, east, north] in degrees, as :mod:`xdask_pipelines.catalog.extent`.

    The box includes the bounds of cells, or else half a step beyond the outermost points. The longitudes are the
    complement of the widest gap between neighbours; if that gap is at most one and a half steps, they cover 360
    degrees.
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
    """Return values of latitude or longitude, half a step (0 for bounds), and the step."""
    units = {f"degrees_{towards}", f"degree_{towards}", f"degrees_{towards[0].upper()}", f"degree_{towards[0].upper()}"}
    numbers = {n: c for n, c in coords.items() if c["dtype"] != TEXT and 0 not in c["shape"]}
    named = [n for n, c in numbers.items() if c["attrs"].get("standard_name") == standard]
    named += [n for n, c in numbers.items() if str(c["attrs"].get("units")) in units and not is_bounds(n)]
    named += [n for n in (standard, short) if n in numbers]
    if not named:
        return None
    coordinate = numbers[named[0]]
    bounds = numbers.get(str(coordinate["attrs"].get("bounds", "")))
    points = _possible(named[0], coordinate, 90.0 if towards == "north" else 720.0)
    if not np.isfinite(points).any():
        return None
    steps = np.abs((np.diff(points, axis=-1) + 180) % 360 - 180)
    step = float(np.median(steps[np.isfinite(steps)])) if np.isfinite(steps).any() else 0.0
    if bounds and points.ndim == 1 and bounds["shape"] == [points.size, 2]:
        edges = _numbers(bounds, {**coordinate["attrs"], **bounds["attrs"]})
        if str(coordinate["attrs"].get("units", "")).startswith("rad"):
            edges = np.rad2deg(edges)
        if not np.isfinite(edges).all():
            return points, step / 2, step
        return edges.ravel(), 0.0, max(step, float(np.median(np.abs(np.diff(edges, axis=-1)))))
    return points[np.isfinite(points)], step / 2, step


def grid_warnings(coords: Coordinates) -> list[str]:
    """Return warnings about invalid bounds of latitude and longitude; areas and means that need them are refused."""
    problems = []
    for name, coordinate in coords.items():
        attrs = coordinate["attrs"]
        kind, bounds = str(attrs.get("standard_name", name)), coords.get(str(attrs.get("bounds", "")))
        if coordinate["dims"] != [name] or bounds is None or bounds["shape"] != [*coordinate["shape"], 2]:
            continue
        if coordinate["dtype"] == TEXT or bounds["dtype"] == TEXT:
            continue
        edges = _numbers(bounds, {**attrs, **bounds["attrs"]})
        low, high = float(edges.min()), float(edges.max())
        if kind.startswith("lat") and max(-low, high) > 90 + _TOLERANCE_DEGREES:
            problems.append(f"the bounds of {name!r} reach from {low:g} to {high:g} degrees, beyond a pole")
        if kind.startswith("lon") and high - low > 360 + _TOLERANCE_DEGREES:
            problems.append(f"the bounds of {name!r} span {high - low:g} degrees, more than the Earth")
    return [f"{text}; areas and means that need them are refused until they are dropped" for text in problems]


def _possible(name: str, coordinate: Mapping[str, Any], most: float) -> np.ndarray:
    """Return the degrees of a coordinate; NaN for invalid positions, as on land in some ocean grids.

    Raises
    ------
    Unusable
        If a coordinate of a dimension has such a value.
    """
    points = _numbers(coordinate, coordinate["attrs"])
    if str(coordinate["attrs"].get("units", "")).startswith("rad"):
        points = np.rad2deg(points)
    impossible = np.abs(points) > most + 1e-3
    if impossible.any() and coordinate["dims"] == [name]:
        at = int(np.argmax(impossible))
        raise Unusable(f"has {points[at]:g} degrees in its coordinate {name!r} at index {at}", "correct the coordinate")
    return np.where(impossible, np.nan, points)


def _numbers(coordinate: Mapping[str, Any], attrs: Mapping[str, Any]) -> np.ndarray:
    """Return the unpacked values, NaN if missing, with at least one dimension."""
    raw = np.atleast_1d(coordinate["values"] if "values" in coordinate else unpack(coordinate))
    values = raw.astype("f8") * _attribute(attrs, "scale_factor", 1.0) + _attribute(attrs, "add_offset", 0.0)
    for name in ("_FillValue", "missing_value"):
        fill = attrs.get(name)
        if isinstance(fill, (int, float)):
            values = np.where(raw == fill, np.nan, values)
    return values


def _attribute(attrs: Mapping[str, Any], name: str, usual: float) -> float:
    value = attrs.get(name, usual)
    return float(value) if isinstance(value, (int, float)) else usual
