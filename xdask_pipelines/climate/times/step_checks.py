"""Checks of the steps of a field before they are averaged: no faults, no gaps.

Belongs here: refusing fields, with advice. Does not belong here: finding faults (time_faults), gaps (time_axis).
"""

from __future__ import annotations

import xarray as xr

from xdask_pipelines.climate.axes import origin
from xdask_pipelines.climate.times.periods import EXCERPT
from xdask_pipelines.climate.times.time_axis import TimeAxis
from xdask_pipelines.climate.times.time_faults import fault_of
from xdask_pipelines.errors import ClimateError


def sound_axis(field: xr.DataArray, time: str) -> TimeAxis:
    """Return the time axis of a field, or raise ``ClimateError`` if it has a fault."""
    axis = TimeAxis.of(field[time])
    if fault := fault_of(axis):
        drop = f"field.drop_vars(['{time}_lower', '{time}_upper'])"
        remedy = (
            f"drop the bounds if the times are right ({drop})" if "bounds" in fault else "select valid steps with isel"
        )
        raise ClimateError(f"{time!r}{origin(field)} {fault}. Use another file, or {remedy}")
    return axis


def refuse_gaps(field: xr.DataArray, time: str, axis: TimeAxis) -> None:
    """Raise ``ClimateError`` if steps are missing, unless the data are knowingly incomplete."""
    if axis.holes and not field.attrs.get(EXCERPT):
        raise ClimateError(
            f"{time!r}{origin(field)} lacks {axis.missing()}. Select a period without gaps; or, if the data are "
            "knowingly incomplete, declare the dataset `excerpt: true` in regions.yaml (this sets "
            f"field.attrs[{EXCERPT!r}])"
        )
