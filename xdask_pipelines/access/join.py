"""Compatibility of entries that are joined: properties that must agree, are converted, or may be missing.

Belongs here: comparing headers of entries. Does not belong here: building arrays (open), choosing entries (catalog).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from itertools import pairwise
from typing import Any, Protocol

import numpy as np
import xarray as xr

from xdask_pipelines.climate import same_coordinate
from xdask_pipelines.errors import AccessError

#: Attributes that define the meaning of a variable's numbers: they must agree; units may be converted.
_MEANING = ("standard_name", "cell_methods", "positive")
_COORDINATE_MEANING = ("standard_name", "units", "positive")


class Placed(Protocol):
    """The properties of an entry in messages."""

    @property
    def region(self) -> str: ...
    @property
    def key(self) -> str: ...


Conversion = tuple[float, float] | None
#: Words in a long name of temperature differences, which are not points on a scale.
_DIFFERENCES = (
    "anomal",
    "bias",
    "change",
    "correction",
    "deviation",
    "difference",
    "error",
    "increment",
    "trend",
    "spread",
)


def where(entry: Placed) -> str:
    """Return the name of an entry for messages."""
    return f"{entry.region}:{entry.key}"


def conversions(name: str, variables: Sequence[Mapping[str, Any]], entries: Sequence[Placed]) -> list[Conversion]:
    """Return the conversion of each entry's values to the units of the first entry; None if units are equal.

    Raises
    ------
    AccessError
        If units cannot be converted or are missing in some entries, or other defining attributes differ.
    """
    first, place = variables[0]["attrs"], where(entries[0])
    found: list[Conversion] = []
    for variable, entry in zip(variables, entries, strict=True):
        attrs = variable["attrs"]
        for key in _MEANING:
            one, other = _words(first.get(key)), _words(attrs.get(key))
            if one != other:
                raise _difference(f"{key} of {name}", place, one, where(entry), other)
        found.append(_conversion(name, place, first, where(entry), attrs))
    return found


def _words(value: Any) -> str | None:
    """Return an attribute without comments in parentheses and extra spaces."""
    return None if value is None else " ".join(re.sub(r"\([^)]*\)", " ", str(value)).split())


def _difference(what: str, place: str, one: Any, other_place: str, other: Any) -> AccessError:
    shown = [repr(value) if value is not None else "not given" for value in (one, other)]
    return AccessError(
        f"{what} is {shown[0]} in {place} and {shown[1]} in {other_place}: they are not one series. Open each separately, "
        "bring them together in your analysis, and join the results with xarray.concat"
    )


def _conversion(
    name: str, place: str, first: Mapping[str, Any], other_place: str, attrs: Mapping[str, Any]
) -> Conversion:
    target, units = first.get("units"), attrs.get("units")
    if units == target:
        return None
    if units is None or target is None:
        raise _difference(f"units of {name}", place, target, other_place, units)
    conversion = linear_conversion(str(units), str(target))
    if not isinstance(conversion, str) and conversion[1] and _is_difference(attrs):
        conversion = (
            f"{units!r} and {target!r} differ by an offset, which must not be applied to a difference, an anomaly or a "
            "deviation"
        )
    if isinstance(conversion, str):
        error = _difference(f"units of {name}", place, target, other_place, units)
        raise AccessError(f"{error} ({conversion})")
    return None if conversion == (1.0, 0.0) else conversion


def _is_difference(attrs: Mapping[str, Any]) -> bool:
    """Return whether numbers are differences and not points on a scale, so that offsets of units do not apply."""
    methods = str(attrs.get("cell_methods", ""))
    words = f"{attrs.get('long_name', '')} {attrs.get('standard_name', '')}".lower()
    return any(word in words for word in _DIFFERENCES) or (
        str(attrs.get("standard_name", "")).endswith("_anomaly")
        or "difference" in str(attrs.get("units_metadata", ""))
        or any(word in methods for word in ("standard_deviation", "variance", "range"))
    )


@lru_cache(256)
def linear_conversion(units: str, target: str) -> tuple[float, float] | str:
    """Return factor and summand from one unit to another by UDUNITS, or the reason why conversion is not possible."""
    from cf_units import Unit  # loads its database of units, 50 ms

    try:
        one, other = Unit(units), Unit(target)
        if not one.is_convertible(other):
            return f"{units!r} cannot be converted to {target!r}"
        zero, far, near = (float(v) for v in one.convert(np.array([0.0, 1e6, 10.0]), other))
    except ValueError as error:
        return f"{str(error).strip()}"
    scale, offset = float(f"{(far - zero) / 1e6:.15g}"), float(f"{zero:.15g}")
    if not np.isclose(near, 10 * scale + offset, rtol=1e-9, atol=1e-9 * abs(offset)):
        return f"{units!r} and {target!r} are not related linearly"
    return scale, offset


def check_calendars(parts: Sequence[xr.Dataset], dim: str, entries: Sequence[Placed]) -> None:
    """Raise `AccessError` if the times of entries have several calendars."""
    first = _calendar(parts[0][dim])
    for part, entry in zip(parts[1:], entries[1:], strict=True):
        if (other := _calendar(part[dim])) != first:
            raise AccessError(
                f"Times of {where(entries[0])} are in the calendar {first!r} and those of {where(entry)} in {other!r}: they "
                "cannot be joined. Open each separately, compute means over time, and combine these"
            )


def _calendar(time: xr.DataArray) -> str:
    values = time.values
    return str(getattr(values.flat[0], "calendar", "none (numbers without units)")) if values.size else "none"


def in_time_order(parts: Sequence[xr.Dataset], dim: str, entries: Sequence[Placed]) -> list[int]:
    """Return the order of entries along time.

    Raises
    ------
    AccessError
        If two of them overlap, or have different calendars.
    """
    check_calendars(parts, dim, entries)
    order = sorted(range(len(parts)), key=lambda i: parts[i][dim].values[0])
    for a, b in pairwise(order):
        if not parts[a][dim].values[-1] < parts[b][dim].values[0]:
            raise AccessError(
                f"{where(entries[a])} and {where(entries[b])} overlap in time, so they cannot be joined. Select one of them "
                "by a facet in which they differ; `xdask catalog search` shows the facets"
            )
    return order


def joined_coordinates(parts: Sequence[xr.Dataset], entries: Sequence[Placed], dim: str | None) -> xr.Dataset:
    """Return the coordinates of all entries, joined along a dimension; coordinates without it are those of the first entry.

    Coordinates may differ by rounding (`climate.grids.tolerance`). Scalar and auxiliary coordinates that some entries lack
    are taken from the others.

    Raises
    ------
    AccessError
        If a coordinate differs in value or meaning.
    """
    if len(parts) == 1:
        return parts[0]
    fixed: dict[str, tuple[xr.DataArray, Placed]] = {}
    along: list[set[str]] = []
    for part, entry in zip(parts, entries, strict=True):
        for name, coordinate in part.coords.items():
            if dim in coordinate.dims:
                continue
            known, owner = fixed.setdefault(str(name), (coordinate, entry))
            if known is not coordinate:
                _check_same(str(name), known, owner, coordinate, entry)
        along.append({str(n) for n, c in part.coords.items() if dim in c.dims})
        missing = [d for d in parts[0].dims if d != dim and (d in part.coords) != (d in parts[0].coords)]
        if missing:
            raise AccessError(
                f"Only one of {where(entries[0])} and {where(entry)} has the coordinate {missing[0]!r}: they are not one "
                "dataset. Open each by itself"
            )
    common = set.intersection(*along)
    varying = [part.drop_vars([n for n in part.coords if n not in common]) for part in parts]
    if dim is not None and dim in common and len({p[dim].dtype.kind for p in parts}) == 1:
        check_calendars(parts, dim, entries)
    joined = xr.concat(
        varying,
        dim,
        coords="minimal",
        compat="override",
        join="override",
        combine_attrs="drop_conflicts",
        data_vars="all",
    )
    return joined.assign_coords({name: coordinate.variable for name, (coordinate, _) in fixed.items()})


def _check_same(name: str, known: xr.DataArray, owner: Placed, other: xr.DataArray, entry: Placed) -> None:
    for key in _COORDINATE_MEANING:
        one, two = known.attrs.get(key), other.attrs.get(key)
        if one is not None and two is not None and one != two:
            raise _difference(f"{key} of the coordinate {name!r}", where(owner), one, where(entry), two)
    if known.dims != other.dims or not same_coordinate(known, other):
        raise AccessError(
            f"The coordinate {name!r} of {where(entry)} differs from that of {where(owner)}: they are not one dataset. Open "
            "each by itself, and regrid or select one to match the other"
        )
