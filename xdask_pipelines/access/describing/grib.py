"""GRIB messages: their keys and positions in a file, and reading the messages of a block.

Belongs here: single messages, and ecCodes. Does not belong here: combining messages to arrays (grib_arrays), placement.
No index files are written next to the data: the positions of messages are part of the header.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import cftime
import numpy as np

from xdask_pipelines.errors import AccessError
from xdask_pipelines.placement.worker.guard import ReadCounter

#: Units and calendar of the time coordinate, which has the valid times.
TIME_UNITS, CALENDAR = "seconds since 1970-01-01", "proleptic_gregorian"
_MISSING = float(np.finfo(np.float32).max)
#: Keys that must be equal in all messages of one variable.
SAME = ("paramId", "typeOfLevel", "stepType", "units", "md5GridSection")
#: Keys in which duplicate messages of one variable, time, level and member may differ.
TELLS_APART = ("dataDate", "dataTime", "stepRange", "dataType", "topLevel", "bottomLevel", "expver", "stream", "type")


@dataclass(frozen=True)
class Message:
    """One field: its position in the file, and its properties; ``keys`` are those of ecCodes."""

    offset: int
    length: int
    name: str
    valid_seconds: int
    level: float
    number: int
    keys: Mapping[str, Any]

    @property
    def at(self) -> tuple[int, int, float]:
        """Return the location in the variable's array."""
        return self.number, self.valid_seconds, self.level


@cache
def load_eccodes() -> Any:
    """Import ecCodes without exposing its bundled libraries to the process.

    Its wheels load all bundled libraries globally, among them SQLite 3.26 and PROJ 9.8. Modules that are imported later
    would then use these: ``sqlite3`` would lack features, and pyproj would crash the process.

    Raises
    ------
    AccessError
        If ecCodes is not installed.
    """
    try:
        import findlibs

        findlibs.RTLD_GLOBAL = ctypes.RTLD_LOCAL
        import eccodes
    except ModuleNotFoundError as error:
        raise AccessError(
            "GRIB files need ecCodes, which is not installed on this worker. Install it with "
            "`pip install 'xdask_pipelines[grib]'`, restart the pools, and sync again."
        ) from error

    return eccodes


def read_messages(path: Path, messages: np.ndarray, slices: Sequence[slice], ledger: ReadCounter) -> np.ndarray:
    """Read the values of a block as float32, NaN if missing.

    Parameters
    ----------
    messages
        Offsets and lengths of the block's messages, in the shape of its leading dimensions and 2.
    slices
        The block in the variable's array; the last two slices are those of the horizontal grid.
    ledger
        Counts the stored bytes.
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
    """Return the field of one message, as rows and columns."""
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


def scan(path: Path) -> Iterator[Message]:
    """Iterate over all messages in the order of the file, without their data."""
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
                raise rejection(
                    path,
                    f"the message at byte {message.offset} holds {fields} fields",
                    "write each as a separate message",
                )
            yield message


def _message(handle: Any) -> Message:
    eccodes = load_eccodes()

    def get(key: str) -> Any:
        return eccodes.codes_get(handle, key) if eccodes.codes_is_defined(handle, key) else None

    names = ("edition", "centre", "gridType", "validityDate", "validityTime", "shortName", "name", "cfName")
    keys = {key: get(key) for key in (*names, *SAME, *TELLS_APART)}
    name = get("cfVarName")
    if name in (None, "unknown", "~"):  # unknown parameters are distinguished by their numbers
        new = ["discipline", "parameterCategory", "parameterNumber"]
        numbers = new if keys["edition"] == 2 else ["table2Version", "indicatorOfParameter"]
        name = "unknown_" + "_".join(str(get(number)) for number in numbers)
    date, clock = keys["validityDate"], keys["validityTime"]
    moment = cftime.DatetimeProlepticGregorian(
        date // 10000, date // 100 % 100, date % 100, clock // 100, clock % 100, has_year_zero=True
    )
    return Message(
        offset=int(get("offset")),
        length=int(get("totalLength")),
        name=str(name),
        valid_seconds=int(cftime.date2num(moment, TIME_UNITS, CALENDAR, has_year_zero=True)),
        level=float(eccodes.codes_get(handle, "level", float)),
        number=int(get("number") or 0),
        keys=keys,
    )


def _fields(fd: int, message: Message) -> int:
    """Count the data sections of a GRIB 2 message; ecCodes would silently return only the first of several fields."""
    at, end, number = message.offset + 16, message.offset + message.length - 4, 0
    while at < end:
        start = os.pread(fd, 5, at)
        length = int.from_bytes(start[:4])
        if length < 5:
            raise ValueError(f"the message at byte {message.offset} has a damaged section")
        number += start[4] == 7
        at += length
    return number


def rejection(path: Path, what: str, remedy: str = "split it by the keys named here") -> AccessError:
    """Error that says why a file is not one array a variable, and what to do."""
    return AccessError(
        f"{path.name} is not one array a variable: {what}. With ecCodes' grib_copy, {remedy}"
        f", then run `xdask sync`. Full path: {path}"
    )
