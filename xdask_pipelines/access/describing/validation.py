"""Validation of headers before they are catalogued: a valid header can be opened without errors.

Belongs here: checking content for contradictions, and against the path. Does not belong here: reading content
(describing), the consequences of missing steps (completeness).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import numpy as np

from xdask_pipelines.access.coordinates import unpack
from xdask_pipelines.access.decoding import decode_dataset, decode_values
from xdask_pipelines.access.describing.coverage import (
    grid_warnings,
    is_inside,
    seconds_of,
    time_axes,
    time_gaps,
    time_keys,
)
from xdask_pipelines.access.describing.raw import Unusable, attributes
from xdask_pipelines.catalog.times import period_text
from xdask_pipelines.climate import with_bounds
from xdask_pipelines.climate.times.time_axis import TimeAxis
from xdask_pipelines.climate.times.time_faults import bounds_elsewhere, fault_of

#: The variable, according to the path, of a file with weights for regridding, which has all of the following.
_WEIGHTS = "weights"
_WEIGHTS_VARIABLES = ({"remap_matrix", "src_address", "dst_address"}, {"S", "row", "col"})


@dataclass(frozen=True)
class Claim:
    """The content of a file according to its path.

    Attributes
    ----------
    names
        Possible names in the file of the variable in its path; empty if the path has no variable.
    period
        Half-open range of time keys in the path.
    timeless
        Whether the data have no time according to the path.
    step_seconds
        Length of a step if the layout defines it.
    """

    names: tuple[str, ...] = ()
    period: tuple[int, int] | None = None
    timeless: bool = False
    step_seconds: float | None = None


def validated(header: dict[str, Any], claim: Claim) -> dict[str, Any]:
    """Return the header with derived properties: the variable of the path, time range, gaps and steps.

    Raises
    ------
    Unusable
        If the header is invalid, or contradicts the path.
    """
    _check_packing(header)
    _check_decodes(header)
    _check_dimensions(header)
    derived: dict[str, Any] = {}
    if claim.names and not (_WEIGHTS in claim.names and _has_weights(header)):
        derived["variable"] = _named_variable(header, claim.names)
    axes = time_axes(header)
    warnings = grid_warnings(header["coords"])
    for name, axis in axes.items():
        fault = fault_of(axis)
        if fault and bounds_elsewhere(axis):
            warnings.append(
                f"its time axis {name!r} {fault}; its times are used, and means that need bounds are refused"
            )
            axes[name] = replace(axis, bounds=None)
        elif fault:
            raise Unusable(f"has an invalid time axis: {name!r} {fault}", "write valid times or bounds")
    dims = {dim for v in header["variables"].values() for dim in v["dims"]}
    used = [name for name in axes if header["coords"][name]["dims"] and set(header["coords"][name]["dims"]) <= dims]
    chosen = next(iter([*used, *(n for n in axes if n not in used)]), None)
    if claim.timeless:
        derived["timeless"] = [n for n in axes if header["coords"][n]["dims"] == [n] and axes[n].size == 1]
    if chosen is not None and not claim.timeless:
        derived["time"] = {"name": chosen, "dim": next(iter(header["coords"][chosen]["dims"]), "")}
        axis = axes[chosen].with_step(claim.step_seconds)
        if claim.step_seconds is not None:
            derived["step_seconds"] = claim.step_seconds
        if claim.period is not None:
            derived["path_names_time"] = True
            _check_period(chosen, axis, claim.period)
        derived["time_range"] = list(time_keys(axis))
        if gaps := time_gaps(axis):
            derived["time_gaps"] = gaps
        if steps := _steps(axis, claim.period):
            derived["steps"] = steps
    return header | derived | ({"warnings": warnings} if warnings else {})


def _check_packing(header: Mapping[str, Any]) -> None:
    """Check that packing and fill values of data are valid numbers."""
    for name, variable in header["variables"].items():
        for key in ("scale_factor", "add_offset", "_FillValue", "missing_value"):
            value = variable["attrs"].get(key)
            numbers = value if isinstance(value, list) else [] if value is None else [value]
            if any(isinstance(number, str) for number in numbers):
                raise Unusable(f"has a variable {name!r} whose {key} is text: {value!r}", "write it as a number")
            if key in ("scale_factor", "add_offset") and any(
                isinstance(n, dict) or (key[0] == "s" and n == 0) for n in numbers
            ):
                shown = value["float"] if isinstance(value, dict) else value
                raise Unusable(f"has a variable {name!r} whose {key} is {shown}", "write one that can be undone")


def _check_decodes(header: Mapping[str, Any]) -> None:
    """Decode coordinates, the ends of each axis, and one value of each variable, as opening and reading will do."""
    coords = {
        n: [c["dims"], c["dtype"], [min(s, 2) for s in c["shape"]], c["attrs"]] for n, c in header["coords"].items()
    }
    variables = {
        n: [v["dims"], v["dtype"], [min(s, 2) for s in v["shape"]], v["attrs"]] for n, v in header["variables"].items()
    }
    _decode_signature(json.dumps([header["attrs"], coords, variables], sort_keys=True, allow_nan=False))


@lru_cache(4096)
def _decode_signature(signature: str) -> None:
    """Decode values of these dtypes and attributes. The result is cached for a series of files: 1 ms for the first."""
    attrs, coords, variables = json.loads(signature)
    header = {"attrs": attrs, "coords": {n: {"dims": dims, "attrs": a} for n, (dims, _, _, a) in coords.items()}}
    values = {name: np.zeros(shape, str if dtype == "text" else dtype) for name, (_, dtype, shape, _) in coords.items()}
    try:
        coordinates = decode_dataset(header, values).load()
    except Exception as error:  # from xarray, cftime or numpy, depending on their versions
        raise _undecodable(coords, error) from error
    for name, (dims, dtype, shape, attrs) in variables.items():
        try:
            stored = decode_values(np.zeros(shape, dtype), name, tuple(dims), attributes(attrs))
            with_bounds(coordinates.assign({name: (dims, stored)}), name)
        except Exception as error:
            raise Unusable(
                f"has a variable {name!r} that cannot be opened with its coordinates ({_reason(error)})",
                "correct its attributes and dimensions",
            ) from error


def _undecodable(coords: Mapping[str, Any], error: Exception) -> Unusable:
    for name, (dims, dtype, shape, attrs) in coords.items():
        header = {"attrs": {}, "coords": {name: {"dims": dims, "attrs": attrs}}}
        try:
            decode_dataset(header, {name: np.zeros(shape, str if dtype == "text" else dtype)}).load()
        except Exception:
            units, calendar = attrs.get("units", ""), attrs.get("calendar", "standard")
            if str(units).startswith(("month", "year")):
                return Unusable(
                    f"has times {name!r} in {units!r}, which have no fixed length in the calendar {calendar!r}",
                    "write them in days",
                )
            if "since" in str(units):
                return Unusable(
                    f"has times {name!r} that cannot be decoded from units {units!r} and calendar {calendar!r}",
                    "write units and calendar of CF, such as 'days since 2001-01-01' and '360_day'",
                )
            return Unusable(
                f"has a coordinate {name!r} that cannot be decoded ({_reason(error)})", "correct its attributes"
            )
    return Unusable(f"has coordinates that cannot be decoded together ({_reason(error)})", "correct their attributes")


def _reason(error: Exception) -> str:
    return f"{type(error).__name__}: {(str(error).strip().splitlines() or ['no reason given'])[0]}"


def _check_dimensions(header: Mapping[str, Any]) -> None:
    """Check that coordinates of dimensions are finite, and that sizes of dimensions agree."""
    sizes: dict[str, int] = {}
    for kind in ("coords", "variables"):
        for name, variable in header[kind].items():
            for dim, size in zip(variable["dims"], variable["shape"], strict=True):
                if sizes.setdefault(dim, size) != size:
                    raise Unusable(f"has a dimension {dim!r} of {sizes[dim]} and, in {name!r}, of {size}")
            if len(set(variable["dims"])) != len(variable["dims"]):
                raise Unusable(f"has a variable {name!r} with the dimension {variable['dims'][0]!r} twice")
    data = {name: v for name, v in header["variables"].items() if not v.get("coordinate")}
    if all(0 in v["shape"] for v in data.values()):
        name, first = next(iter(data.items()))
        empty = first["dims"][first["shape"].index(0)]
        raise Unusable(f"holds no value: {name!r} has the dimension {empty!r} of size 0", "write data into it")
    for name, coordinate in header["coords"].items():
        if coordinate["dims"] != [name]:
            continue
        values = unpack(coordinate)
        if values.dtype.kind == "f" and not np.isfinite(values).all():
            raise Unusable(
                f"has a missing value in its coordinate {name!r} at index {int(np.argmin(np.isfinite(values)))}",
                "write the coordinate whole",
            )


def _named_variable(header: Mapping[str, Any], names: tuple[str, ...]) -> str:
    data = [str(name) for name, v in header["variables"].items() if not v.get("coordinate")]
    for name in data:
        if name in names or header["variables"][name]["attrs"].get("GRIB_shortName") in names:
            return name
    remedy = "correct the path or the variable"
    if _has_weights(header):
        remedy = f"give its dataset `variable: {_WEIGHTS}` in regions.yaml, as it has weights for regridding"
    raise Unusable(f"has {', '.join(data)}, but its path says {names[0]}", remedy)


def _has_weights(header: Mapping[str, Any]) -> bool:
    """Return whether a file has weights for regridding, of SCRIP (CDO) or ESMF: only together its variables are of use."""
    return any(names <= header["variables"].keys() for names in _WEIGHTS_VARIABLES)


def _check_period(name: str, axis: TimeAxis, period: tuple[int, int]) -> None:
    for step in (0, axis.size - 1):
        if not is_inside(axis, step, period):
            first, last = axis.date(axis.seconds[0]), axis.date(axis.seconds[-1])
            raise Unusable(
                f"has {name} from {first} to {last}, but its path says {period_text(*period, axis.origin.calendar)}",
                "correct the path; or, if its times are ends of steps, add bounds to the time",
            )


def _steps(axis: TimeAxis, period: tuple[int, int] | None) -> dict[str, Any] | None:
    """Return existing and expected steps: in the period of the path, else between first and last."""
    kind, length = axis.step
    if axis.intervals is None or not length:
        return None
    if period is None:
        expected = axis.size + sum(axis.count(a, b) for a, b in axis.holes)
    else:
        expected = axis.count(*(seconds_of(axis, key) for key in period))
    units = {"month": "months", "year": "years"}
    unit = units.get(kind) or {3600: "h", 86400: "days"}.get(round(length), f"steps of {length / 3600:g} h")
    return {"found": axis.size, "expected": max(expected, axis.size), "unit": unit}
