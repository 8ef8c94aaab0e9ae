"""The mean over time of a selection, computed and as lines of Python.

Belongs here: which mean a field has, and the text that computes it. Does not belong here: means (climate), selections.

Steps of an excerpt do not tell their lengths: the sample's ERA5 has every seventh or eighth hour of a week. Its mean is that
of the main job, which counts each step of a month once. Pictures of excerpts say what they are.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Literal

import xarray as xr

from xdask_pipelines.climate import mean_of_partials, month_partial, time_weighted_mean
from xdask_pipelines.climate.axes import is_time
from xdask_pipelines.climate.times.periods import EXCERPT
from xdask_pipelines.notebook.facet_titles import KINDS

Reduction = Literal["none", "weighted", "excerpt"]
_TEXT: Mapping[Reduction, str] = {
    "none": "{}",
    "weighted": "time_weighted_mean({})",
    "excerpt": "mean_of_partials(month_partial({}))",
}
_FUNCTIONS: Mapping[Reduction, Collection[str]] = {
    "none": (),
    "weighted": ("time_weighted_mean",),
    "excerpt": ("mean_of_partials", "month_partial"),
}


def has_time(field: xr.DataArray) -> bool:
    """Return whether a field has a time coordinate."""
    return any(is_time(coordinate) for coordinate in field.coords.values())


def reduction_of(field: xr.DataArray) -> Reduction:
    """Return how a field is reduced: not at all without time, an excerpt by counting its steps, else by their lengths."""
    if not has_time(field):
        return "none"
    return (
        "excerpt" if EXCERPT in field.attrs and not any(str(n).endswith("_lower") for n in field.coords) else "weighted"
    )


def mean_over_time(field: xr.DataArray) -> xr.DataArray:
    """Return the mean over time, by the field's reduction.

    Raises
    ------
    ClimateError
        If lengths of steps are unknown, or an excerpt has steps of several months.
    """
    reduction = reduction_of(field)
    if reduction == "none":
        return field
    return time_weighted_mean(field) if reduction == "weighted" else mean_of_partials(month_partial(field))


def import_lines(reductions: Mapping[str, Reduction], others: Iterable[str] = ()) -> list[str]:
    """Return the imports of `result_lines`, and of ``others`` from `xdask_pipelines.climate`."""
    both = len(reductions) > 1
    names = {name for reduction in reductions.values() for name in _FUNCTIONS[reduction]} | set(others)
    names |= {"difference", "regrid"} if both else set()
    lines = [f"from xdask_pipelines.climate import {', '.join(sorted(names))}"] if names else []
    return lines + (["from xdask_pipelines.climate.axes import horizontal_names"] if both else [])


def result_lines(reductions: Mapping[str, Reduction]) -> list[str]:
    """Return the lines that compute a result from ``historical`` and ``projection``, as `Selection.result` does.

    Parameters
    ----------
    reductions
        By kind; the names of the kinds are those of the fields.
    """
    means = {kind: _TEXT[reductions[kind]].format(kind) for kind in KINDS if kind in reductions}
    if len(means) == 1:
        return [f"result = {next(iter(means.values()))}"]
    return [
        "lat, lon = horizontal_names(projection)",
        f"historic = regrid({means['historical']}, projection[lat], projection[lon])",
        f"result = difference({means['projection']}, historic)",
    ]
