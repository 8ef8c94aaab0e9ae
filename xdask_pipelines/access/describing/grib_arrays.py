"""Arrays of GRIB files: combining the messages of a file to one array for each variable.

Belongs here: the header of a GRIB file. Does not belong here: single messages (grib).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import Any

import cftime
import numpy as np

from xdask_pipelines.access.describing.grib import (
    CALENDAR,
    SAME,
    TELLS_APART,
    TIME_UNITS,
    Message,
    load_eccodes,
    rejection,
    scan,
)

_Axes = dict[str, tuple[np.ndarray, dict[str, Any]]]
_PRESSURE = {"isobaricInhPa": "hPa", "isobaricInPa": "Pa"}


def describe_grib(path: Path) -> dict[str, Any]:
    """Return the content for `header.describe`: coordinates as ``{name: (dims, attrs, values)}``, variables, attributes.

    Each variable's ``messages`` is an array of the shape of its leading dimensions and 2: offset and length in bytes.

    Raises
    ------
    AccessError
        If the messages of a variable do not form one array, or the variables do not share their grid and times.
    ValueError
        If the file is damaged.
    """
    messages = list(scan(path))
    if not messages:
        raise ValueError("it holds no GRIB message")
    by_name: dict[str, list[Message]] = {}
    for message in messages:
        by_name.setdefault(message.name, []).append(message)
    _require_one(path, "md5GridSection", "grids", by_name)
    coords = _grid(path, messages[0])
    ny, nx = (len(values) for _, _, values in coords.values())
    owner: dict[str, str] = {}
    variables = {}
    for name, found in by_name.items():
        axes, ordered = _arranged(path, name, found)
        for axis, (values, attrs) in axes.items():
            known = coords.setdefault(axis, ([axis], attrs, values))[2]
            if not np.array_equal(known, values):
                raise rejection(
                    path, f"{axis} of {name} is {_some(axis, values)} and that of {owner[axis]} {_some(axis, known)}"
                )
            owner.setdefault(axis, name)
        shape = [len(values) for values, _ in axes.values()]
        variables[name] = {
            "dims": [*axes, "latitude", "longitude"],
            "attrs": _attrs(found[0]) | ({"GRIB_level": found[0].level} if len({m.level for m in found}) == 1 else {}),
            "dtype": "<f4",
            "shape": [*shape, ny, nx],
            "chunks": [*[1] * len(shape), ny, nx],
            "stored_bytes": sum(m.length for m in found),
            "messages": np.array([(m.offset, m.length) for m in ordered], "<i8").reshape(*shape, 2),
        }
    attrs = {"Conventions": "CF-1.7", "GRIB_centre": str(messages[0].keys["centre"])}
    return {"coords": coords, "variables": variables, "attrs": attrs}


def _arranged(path: Path, name: str, found: Sequence[Message]) -> tuple[_Axes, list[Message]]:
    """Return the leading coordinates of one variable (times, and several members and levels), and its messages."""
    for key in SAME:
        _require_one(path, key, key, {name: found})
    places: dict[tuple[int, int, float], Message] = {}
    for message in found:
        other = places.setdefault(message.at, message)
        if other is not message:
            keys = [k for k in TELLS_APART if other.keys[k] != message.keys[k]]
            values = "; ".join(f"{k} {other.keys[k]} and {message.keys[k]}" for k in keys)
            raise rejection(
                path, f"{name} at {_when(message)} occurs twice{f', with {values}' if keys else ', with equal keys'}"
            )
    numbers = sorted({m.number for m in found})
    times = sorted({m.valid_seconds for m in found})
    levels = sorted({m.level for m in found})
    for at in product(numbers, times, levels):
        if at not in places:
            near = next(m for m in found if m.valid_seconds == at[1])
            raise rejection(
                path,
                f"{name} has {len(places)} messages for {len(numbers)} number × {len(times)} time × {len(levels)} level; "
                f"that of number {at[0]}, level {at[2]:g} at {_when(near)} is missing",
            )
    axes: _Axes = {}
    if len(numbers) > 1:
        axes["number"] = np.array(numbers, "<i8"), {"standard_name": "realization", "units": "1"}
    axes["time"] = (
        np.array(times, "<i8"),
        {"standard_name": "time", "units": TIME_UNITS, "calendar": CALENDAR},
    )
    if len(levels) > 1:
        kind = str(found[0].keys["typeOfLevel"])
        attrs = {"long_name": kind}
        if kind in _PRESSURE:
            attrs |= {"standard_name": "air_pressure", "units": _PRESSURE[kind], "positive": "down"}
        axes[kind] = np.array(levels, "<f8"), attrs
    return axes, [places[at] for at in product(numbers, times, levels)]


def _grid(path: Path, message: Message) -> dict[str, tuple[list[str], dict[str, Any], np.ndarray]]:
    """Return latitudes and longitudes of a regular grid; raise for other grids."""
    eccodes = load_eccodes()

    with path.open("rb") as file:
        file.seek(message.offset)
        handle = eccodes.codes_new_from_message(file.read(message.length))
    try:
        kind = message.keys["gridType"]
        odd = [k for k in ("jPointsAreConsecutive", "alternativeRowScanning") if _flag(handle, k)]
        if kind not in ("regular_ll", "regular_gg") or odd:
            what = f"its grid is {kind}" + (f" with {odd[0]}" if odd else "")
            raise rejection(path, what, "regrid it to regular_ll")
        shape = eccodes.codes_get(handle, "Nj"), eccodes.codes_get(handle, "Ni")
        lat, lon = (eccodes.codes_get_array(handle, k).reshape(shape) for k in ("latitudes", "longitudes"))
    except eccodes.CodesInternalError as error:
        raise ValueError(f"its grid cannot be read: {error}") from error
    finally:
        eccodes.codes_release(handle)
    if not ((lat == lat[:, :1]).all() and (lon == lon[:1]).all()):
        raise rejection(path, "its rows are not of one latitude each", "regrid it to regular_ll")
    return {
        "latitude": (["latitude"], {"standard_name": "latitude", "units": "degrees_north"}, lat[:, 0].copy()),
        "longitude": (["longitude"], {"standard_name": "longitude", "units": "degrees_east"}, _unwrapped(lon[0])),
    }


def _unwrapped(longitudes: np.ndarray) -> np.ndarray:
    """Return contiguous longitudes of a row: 330 … 359, 0 … 10 of a region across Greenwich become -30 … 10."""
    steps = np.diff(longitudes)
    if (steps > 0).all() or (steps < 0).all():
        return longitudes.copy()
    whole: np.ndarray = np.unwrap(longitudes, period=360.0)
    whole -= 360.0 * np.floor(whole.max() / 360.0)
    return whole


def _flag(handle: Any, key: str) -> bool:
    eccodes = load_eccodes()

    return bool(eccodes.codes_is_defined(handle, key) and eccodes.codes_get(handle, key))


def _attrs(message: Message) -> dict[str, Any]:
    keys = message.keys
    attrs = {"units": keys["units"], "long_name": keys["name"], "GRIB_shortName": keys["shortName"]}
    attrs |= {f"GRIB_{key}": keys[key] for key in ("paramId", "typeOfLevel", "stepType")}
    if keys["cfName"] not in (None, "unknown"):
        attrs["standard_name"] = keys["cfName"]
    return {name: value for name, value in attrs.items() if value is not None}


def _require_one(path: Path, key: str, word: str, by_name: Mapping[str, Sequence[Message]]) -> None:
    holders: dict[Any, str] = {}
    for name, found in by_name.items():
        for message in found:
            holders.setdefault(message.keys[key], name)
    if len(holders) > 1:
        names = sorted(set(holders.values()))
        raise rejection(path, f"{', '.join(names)} has several {word}: {', '.join(map(str, holders))}")


def _when(message: Message) -> str:
    return f"{message.keys['validityDate']:08} {message.keys['validityTime']:04}"


def _some(axis: str, values: np.ndarray) -> str:
    first = cftime.num2date(values[:4], TIME_UNITS, CALENDAR) if axis == "time" else map("{:g}".format, values[:4])
    shown = ", ".join(map(str, first))
    return f"{shown}, … ({len(values)} in all)" if len(values) > 4 else shown
