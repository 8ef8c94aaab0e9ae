"""GRIB files: a header with the place of every message, and reading just the messages of a block.

Belongs here: from messages to one array a variable, or the reason why they are none. Does not belong here: other formats,
placement. Nothing is ever written beside the data: where the messages are is part of the header.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import product
from pathlib import Path
from typing import Any

import cftime
import findlibs
import numpy as np

from xdask_pipelines.errors import AccessError
from xdask_pipelines.placement.guard import Ledger

_TIME_UNITS, _CALENDAR = "seconds since 1970-01-01", "proleptic_gregorian"
_MISSING = float(np.finfo(np.float32).max)
#: What messages of one variable must have in common.
_SAME = ("paramId", "typeOfLevel", "stepType", "units", "md5GridSection")
#: What may tell apart two messages of one variable, time, level and member.
_TELLS_APART = ("dataDate", "dataTime", "stepRange", "dataType", "topLevel", "bottomLevel", "expver", "stream", "type")
_Axes = dict[str, tuple[np.ndarray, dict[str, Any]]]
_PRESSURE = {"isobaricInhPa": "hPa", "isobaricInPa": "Pa"}


@dataclass(frozen=True)
class _Message:
    """One field: where it is in the file, and what it is."""

    offset: int
    length: int
    name: str
    valid_seconds: int
    level: float
    number: int
    keys: Mapping[str, Any]

    @property
    def at(self) -> tuple[int, int, float]:
        """Place in the variable's array."""
        return self.number, self.valid_seconds, self.level


@cache
def load_eccodes() -> Any:
    """ecCodes, with its libraries kept to itself.

    Its wheels load all libraries they bring as the process's own, among them SQLite 3.26 and PROJ 9.8: what is imported
    later then calls these, so that ``sqlite3`` refuses what it could do before, and pyproj ends the process. Not so here.
    """
    findlibs.RTLD_GLOBAL = ctypes.RTLD_LOCAL
    import eccodes

    return eccodes


def describe_grib(path: Path) -> dict[str, Any]:
    """What `header.describe` needs: coordinates as ``{name: (dims, attrs, values)}``, variables, attributes.

    Each variable's ``messages`` is an array of the shape of its leading dimensions and 2: offset and length in bytes.

    Raises
    ------
    AccessError
        If the messages of a variable do not form one array, or the variables do not share their grid and times.
    ValueError
        If the file is damaged.
    """
    messages = list(_scan(path))
    if not messages:
        raise ValueError("it holds no GRIB message")
    by_name: dict[str, list[_Message]] = {}
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
                raise _rejection(
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


def read_messages(path: Path, messages: np.ndarray, slices: Sequence[slice], ledger: Ledger) -> np.ndarray:
    """Values of a block as float32, NaN where missing.

    Parameters
    ----------
    messages
        Offsets and lengths of the block's messages, of the shape of its leading dimensions and 2.
    slices
        The block in the variable's array; the last two are of the horizontal grid.
    ledger
        Is told the stored bytes.
    """
    lead = messages.shape[:-1]
    out = np.empty((*lead, *(s.stop - s.start for s in slices[-2:])), np.float32)
    fd = os.open(path, os.O_RDONLY)
    try:
        for at in np.ndindex(*lead):
            offset, size = (int(n) for n in messages[at])
            raw = os.pread(fd, size, offset)
            if len(raw) != size:
                raise OSError(f"truncated: the message at byte {offset} ends {size - len(raw)} bytes early")
            ledger.read(size)
            out[at] = _values(raw)[tuple(slices[-2:])]
    finally:
        os.close(fd)
    return out


def _values(raw: bytes) -> np.ndarray:
    """Field of one message, as rows and columns."""
    eccodes = load_eccodes()

    try:
        handle = eccodes.codes_new_from_message(raw)
        try:
            eccodes.codes_set(handle, "missingValue", _MISSING)
            shape = eccodes.codes_get(handle, "Nj"), eccodes.codes_get(handle, "Ni")
            values = np.asarray(eccodes.codes_get_values(handle), np.float32).reshape(shape)
            if eccodes.codes_get(handle, "bitmapPresent"):
                values[values == np.float32(_MISSING)] = np.nan
            return values
        finally:
            eccodes.codes_release(handle)
    except eccodes.CodesInternalError as error:
        raise ValueError(f"a message cannot be decoded: {error}") from error


def _scan(path: Path) -> Iterator[_Message]:
    """All messages in the order of the file, read without their data."""
    eccodes = load_eccodes()

    size = path.stat().st_size
    with path.open("rb") as file:
        while True:
            try:
                handle = eccodes.codes_grib_new_from_file(file, headers_only=True)
            except eccodes.CodesInternalError as error:
                raise ValueError(f"a message is damaged: {error}") from error
            if handle is None:
                return
            try:
                message = _message(handle)
            except eccodes.CodesInternalError as error:
                raise ValueError(f"a message has no {error}") from error
            finally:
                eccodes.codes_release(handle)
            if message.offset + message.length > size:
                raise ValueError(f"truncated: the message at byte {message.offset} is longer than the file")
            if message.keys["edition"] == 2 and (fields := _fields(file.fileno(), message)) != 1:
                raise _rejection(
                    path, f"the message at byte {message.offset} holds {fields} fields", "write each by itself"
                )
            yield message


def _message(handle: Any) -> _Message:
    eccodes = load_eccodes()

    def get(key: str) -> Any:
        return eccodes.codes_get(handle, key) if eccodes.codes_is_defined(handle, key) else None

    names = ("edition", "centre", "gridType", "validityDate", "validityTime", "shortName", "name", "cfName")
    keys = {key: get(key) for key in (*names, *_SAME, *_TELLS_APART)}
    name = get("cfVarName")
    if name in (None, "unknown", "~"):  # parameters that no table knows are told apart by their numbers
        new = ["discipline", "parameterCategory", "parameterNumber"]
        numbers = new if keys["edition"] == 2 else ["table2Version", "indicatorOfParameter"]
        name = "unknown_" + "_".join(str(get(number)) for number in numbers)
    date, clock = keys["validityDate"], keys["validityTime"]
    moment = cftime.DatetimeProlepticGregorian(
        date // 10000, date // 100 % 100, date % 100, clock // 100, clock % 100, has_year_zero=True
    )
    return _Message(
        offset=int(get("offset")),
        length=int(get("totalLength")),
        name=str(name),
        valid_seconds=int(cftime.date2num(moment, _TIME_UNITS, _CALENDAR, has_year_zero=True)),
        level=float(eccodes.codes_get(handle, "level", float)),
        number=int(get("number") or 0),
        keys=keys,
    )


def _fields(fd: int, message: _Message) -> int:
    """Data sections of a GRIB 2 message; ecCodes would give the first of several fields and say nothing."""
    at, end, found = message.offset + 16, message.offset + message.length - 4, 0
    while at < end:
        start = os.pread(fd, 5, at)
        length = int.from_bytes(start[:4])
        if length < 5:
            raise ValueError(f"the message at byte {message.offset} has a damaged section")
        found += start[4] == 7
        at += length
    return found


def _arranged(path: Path, name: str, found: Sequence[_Message]) -> tuple[_Axes, list[_Message]]:
    """Leading coordinates of one variable, members and levels where there are several and always times; its messages."""
    for key in _SAME:
        _require_one(path, key, key, {name: found})
    places: dict[tuple[int, int, float], _Message] = {}
    for message in found:
        other = places.setdefault(message.at, message)
        if other is not message:
            keys = [k for k in _TELLS_APART if other.keys[k] != message.keys[k]]
            values = "; ".join(f"{k} {other.keys[k]} and {message.keys[k]}" for k in keys)
            raise _rejection(
                path, f"{name} at {_when(message)} is there twice{f', with {values}' if keys else ', with equal keys'}"
            )
    numbers = sorted({m.number for m in found})
    times = sorted({m.valid_seconds for m in found})
    levels = sorted({m.level for m in found})
    for at in product(numbers, times, levels):
        if at not in places:
            near = next(m for m in found if m.valid_seconds == at[1])
            raise _rejection(
                path,
                f"{name} has {len(places)} messages for {len(numbers)} number × {len(times)} time × {len(levels)} level; "
                f"that of number {at[0]}, level {at[2]:g} at {_when(near)} is missing",
            )
    axes: _Axes = {}
    if len(numbers) > 1:
        axes["number"] = np.array(numbers, "<i8"), {"standard_name": "realization", "units": "1"}
    axes["time"] = (
        np.array(times, "<i8"),
        {"standard_name": "time", "units": _TIME_UNITS, "calendar": _CALENDAR},
    )
    if len(levels) > 1:
        kind = str(found[0].keys["typeOfLevel"])
        attrs = {"long_name": kind}
        if kind in _PRESSURE:
            attrs |= {"standard_name": "air_pressure", "units": _PRESSURE[kind], "positive": "down"}
        axes[kind] = np.array(levels, "<f8"), attrs
    return axes, [places[at] for at in product(numbers, times, levels)]


def _grid(path: Path, message: _Message) -> dict[str, tuple[list[str], dict[str, Any], np.ndarray]]:
    """Latitudes and longitudes of a grid whose rows have one latitude and whose columns one longitude each."""
    eccodes = load_eccodes()

    with path.open("rb") as file:
        file.seek(message.offset)
        handle = eccodes.codes_new_from_message(file.read(message.length))
    try:
        kind = message.keys["gridType"]
        odd = [k for k in ("jPointsAreConsecutive", "alternativeRowScanning") if _flag(handle, k)]
        if kind not in ("regular_ll", "regular_gg") or odd:
            what = f"its grid is {kind}" + (f" with {odd[0]}" if odd else "")
            raise _rejection(path, what, "regrid it to regular_ll")
        shape = eccodes.codes_get(handle, "Nj"), eccodes.codes_get(handle, "Ni")
        lat, lon = (eccodes.codes_get_array(handle, k).reshape(shape) for k in ("latitudes", "longitudes"))
    except eccodes.CodesInternalError as error:
        raise ValueError(f"its grid cannot be read: {error}") from error
    finally:
        eccodes.codes_release(handle)
    if not ((lat == lat[:, :1]).all() and (lon == lon[:1]).all()):
        raise _rejection(path, "its rows are not of one latitude each", "regrid it to regular_ll")
    return {
        "latitude": (["latitude"], {"standard_name": "latitude", "units": "degrees_north"}, lat[:, 0].copy()),
        "longitude": (["longitude"], {"standard_name": "longitude", "units": "degrees_east"}, lon[0].copy()),
    }


def _flag(handle: Any, key: str) -> bool:
    eccodes = load_eccodes()

    return bool(eccodes.codes_is_defined(handle, key) and eccodes.codes_get(handle, key))


def _attrs(message: _Message) -> dict[str, Any]:
    keys = message.keys
    attrs = {"units": keys["units"], "long_name": keys["name"], "GRIB_shortName": keys["shortName"]}
    attrs |= {f"GRIB_{key}": keys[key] for key in ("paramId", "typeOfLevel", "stepType")}
    if keys["cfName"] not in (None, "unknown"):
        attrs["standard_name"] = keys["cfName"]
    return {name: value for name, value in attrs.items() if value is not None}


def _require_one(path: Path, key: str, word: str, by_name: Mapping[str, Sequence[_Message]]) -> None:
    holders: dict[Any, str] = {}
    for name, found in by_name.items():
        for message in found:
            holders.setdefault(message.keys[key], name)
    if len(holders) > 1:
        names = sorted(set(holders.values()))
        raise _rejection(path, f"{', '.join(names)} has several {word}: {', '.join(map(str, holders))}")


def _when(message: _Message) -> str:
    return f"{message.keys['validityDate']:08} {message.keys['validityTime']:04}"


def _some(axis: str, values: np.ndarray) -> str:
    first = cftime.num2date(values[:4], _TIME_UNITS, _CALENDAR) if axis == "time" else map("{:g}".format, values[:4])
    shown = ", ".join(map(str, first))
    return f"{shown}, … ({len(values)} in all)" if len(values) > 4 else shown


def _rejection(path: Path, what: str, remedy: str = "split it by the keys named here") -> AccessError:
    return AccessError(
        f"{path.name} is not one array a variable: {what}. With ecCodes' grib_copy, {remedy}"
        f", then run `xdask sync`. Full path: {path}"
    )
