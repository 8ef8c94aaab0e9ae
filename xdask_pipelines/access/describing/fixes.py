"""Fixes of known faults in the coordinates of named sources: small, each by name, and recorded.

Belongs here: one function for each fault that the makers of a source have published and not corrected. Does not belong here:
guesses about sources that are not named, faults of values (quarantine them).

A fix changes the header alone, before it is validated, and only if the fault is there: a corrected version of the data is
left as it is. The header lists the fixes, results record them, and a result depends on them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import cftime
import numpy as np

from xdask_pipelines.access.coordinates import pack, unpack

#: Key of a header with the names of its fixes.
FIXES = "fixes"
_MONTHLY = frozenset({"Amon", "Lmon", "Omon", "SImon", "AERmon", "LImon"})


@dataclass(frozen=True)
class Fix:
    """A fix of one fault.

    Attributes
    ----------
    name
        How records call it.
    sources
        The ``source_id`` of the models that have the fault.
    why
        The fault, in a sentence.
    correct
        From the header's attributes and coordinates to the coordinates that change; empty if the fault is not there.
    """

    name: str
    sources: frozenset[str]
    why: str
    correct: Callable[[Mapping[str, Any], Mapping[str, Any]], dict[str, Any]]


def fixed(header: dict[str, Any]) -> dict[str, Any]:
    """Return a header with the fixes of its source, by the global attribute ``source_id``, and their names."""
    source = str(header["attrs"].get("source_id", ""))
    names = []
    for fix in ALL_FIXES:
        if source in fix.sources and (changed := fix.correct(header["attrs"], header["coords"])):
            header = {**header, "coords": {**header["coords"], **changed}}
            names.append(fix.name)
    return {**header, FIXES: names} if names else header


def _calendar_months(attrs: Mapping[str, Any], coords: Mapping[str, Any]) -> dict[str, Any]:
    """Give monthly means the bounds of their calendar months, if the bounds in the file leave gaps between them."""
    if attrs.get("table_id") not in _MONTHLY or "time" not in coords:
        return {}
    time = coords["time"]
    name = str(time["attrs"].get("bounds", ""))
    if name not in coords or len(time["dims"]) != 1:
        return {}
    bounds = unpack(coords[name]).astype(np.float64)
    if bounds.ndim != 2 or len(bounds) < 2 or np.array_equal(bounds[:-1, 1], bounds[1:, 0]):
        return {}
    units, calendar = str(time["attrs"].get("units", "")), str(time["attrs"].get("calendar", "standard"))
    dates = cftime.num2date(unpack(time), units, calendar, only_use_cftime_datetimes=True)
    months = [date.year * 12 + date.month - 1 for date in dates]
    if (np.diff(months) != 1).any():  # other steps than consecutive months: it is another fault
        return {}
    edges = [cftime.datetime(m // 12, m % 12 + 1, 1, calendar=calendar) for m in (*months, months[-1] + 1)]
    numbers = np.asarray(cftime.date2num(edges, units, calendar), np.float64)
    return {name: {**coords[name], **pack(np.stack([numbers[:-1], numbers[1:]], axis=1))}}


def _cyclic_longitudes(_: Mapping[str, Any], coords: Mapping[str, Any]) -> dict[str, Any]:
    """Let the last cell of evenly spaced longitudes end half a step after its centre, if it ends at 360 instead."""
    for axis in coords.values():
        name = str(axis["attrs"].get("bounds", ""))
        if (
            axis["attrs"].get("standard_name", "").strip() != "longitude"
            or len(axis["dims"]) != 1
            or name not in coords
        ):
            continue
        centres, bounds = unpack(axis).astype(np.float64), unpack(coords[name]).astype(np.float64)
        steps = np.diff(centres)
        even = centres.size > 2 and np.allclose(steps, steps[0]) and np.isclose(steps[0] * centres.size, 360.0)
        if even and bounds.shape == (centres.size, 2) and bounds[-1, 1] == 360.0 and bounds[0, 0] < 0.0:
            bounds[-1, 1] = centres[-1] + steps[0] / 2
            return {name: {**coords[name], **pack(bounds)}}
    return {}


ALL_FIXES = (
    Fix(
        "calendar-month-bounds",
        frozenset({"FGOALS-f3-L", "IITM-ESM"}),
        "The bounds of monthly means span 20 days, so that months would not touch.",
        _calendar_months,
    ),
    Fix(
        "cyclic-longitude-bounds",
        frozenset({"MCM-UA-1-0"}),
        "The last cell of longitude ends at 360 degrees, where the first begins at -1.875: they overlap.",
        _cyclic_longitudes,
    ),
)
