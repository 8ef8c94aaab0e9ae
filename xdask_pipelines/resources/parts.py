"""Partitions of a result: joined for one store and for a reader, and taken apart again.

A store has its partitions along the dimension ``partition``. For analyses that follow, those whose keys are periods, such
as months, lie along time, and others along what they are: scenarios along ``experiment_id``.

Belongs here: dates of partitions, joining them, and finding one of them. Does not belong here: stores and entries
(results), periods in the catalog (catalog.times).
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from itertools import pairwise
from typing import Any

import cftime
import numpy as np
import xarray as xr

from xdask_pipelines.catalog import Entry
from xdask_pipelines.catalog.times import carried, time_key, time_range
from xdask_pipelines.climate.axes import PARTITION, is_time
from xdask_pipelines.errors import CatalogError

Part = xr.DataArray | xr.Dataset
TIME = "time"
#: Attribute of coordinates that have the keys of partitions.
_IS_KEY = "xdask_partition_key"
_BOUNDS = (f"{TIME}_lower", f"{TIME}_upper")


def calendars_of(inputs: Iterable[Any]) -> set[str]:
    """Return the calendars of the times of some xarray objects, or of mappings of them."""
    found: set[str] = set()
    for each in inputs:
        if isinstance(each, Mapping) and not isinstance(each, xr.Dataset):
            found |= calendars_of(each.values())
        elif isinstance(each, xr.DataArray | xr.Dataset):
            found |= {c.dt.calendar for c in each.coords.values() if is_time(c) and c.size and _has_dates(c)}
    return found


def dated(part: Part, key: str, calendars: Collection[str]) -> Part:
    """Give the result of a period its time, as scalar coordinates: the start of the period, and its bounds.

    Parameters
    ----------
    part
        The result of one partition.
    key
        Its key, such as ``2011-01``.
    calendars
        Of its inputs. If they have several, no single time is true, and the part stays as it is.

    Returns
    -------
    The part; unchanged if it has times already, or its key is no period.
    """
    period = _period(key)
    if period is None or len(calendars) > 1 or any(is_time(c) for c in part.coords.values()):
        return part
    (calendar,) = calendars or {"standard"}
    start, end = (_date(edge, calendar) for edge in (period[0], carried(period[1], calendar)))
    attrs = {"standard_name": "time", "axis": "T"}
    times = {
        name: xr.Variable((), np.array(date, dtype=object), attrs if name == TIME else {})
        for name, date in zip((TIME, *_BOUNDS), (start, start, end), strict=True)
    }
    return part.assign_coords(times)


def named(part: Part, key: str, facet: str) -> Part:
    """Give the result of a partition that is no period its key, as a scalar coordinate; others stay as they are.

    Parameters
    ----------
    part, key
        As for `dated`.
    facet
        What the key is: the name of the coordinate.
    """
    if not key or _period(key) or facet in part.coords or facet in part.dims:
        return part
    return part.assign_coords({facet: xr.Variable((), np.array(key), {_IS_KEY: 1})})


def stacked(parts: Mapping[str, xr.Dataset]) -> xr.Dataset:
    """Join the partitions of one run for its store; those with steps of time along time, others along ``partition``."""
    if list(parts) == [""]:
        return parts[""]
    datasets = list(parts.values())
    if dim := _steps_of_periods(parts):
        return joined(datasets, dim)
    return joined(datasets, PARTITION).assign_coords(
        {PARTITION: (PARTITION, np.arange(len(datasets)), {"keys": json.dumps(list(parts))})}
    )


def joined(datasets: Sequence[xr.Dataset], dim: str) -> xr.Dataset:
    """Join partitions of one result; coordinates that are single numbers, texts or times are of each partition."""
    if len(datasets) == 1 and dim in datasets[0].dims:
        return datasets[0]
    single = [n for n, c in datasets[0].coords.items() if c.ndim == 0 and (c.dtype.kind in "iufU" or is_time(c))]
    shared = [name for name in single if all(name in dataset.coords for dataset in datasets)]
    # Attributes that differ between parts, such as their hours, are dropped, because they are not valid for the others.
    return xr.concat(datasets, dim, coords=shared, compat="override", join="exact", combine_attrs="drop_conflicts")


def steps_in_store(parts: Mapping[str, xr.Dataset]) -> tuple[str, dict[str, tuple[int, int]]]:
    """Return the dimension along which `stacked` joins, and the first and the end of the steps of each partition."""
    dim = _steps_of_periods(parts) or PARTITION
    sizes = [dataset.sizes.get(dim, 1) for dataset in parts.values()]
    edges = pairwise([0, *np.cumsum(sizes).tolist()])
    return dim, dict(zip(parts, edges, strict=True))


def joined_along(entry: Entry) -> str | None:
    """Return the dimension along which the store of an entry has partitions; None if these have steps of time."""
    dims = {dim for variable in (entry.header or {})["variables"].values() for dim in variable["dims"]}
    return PARTITION if PARTITION in dims else None


def own_time(part: Part) -> str | None:
    """Return the time dimension of a result, if it has one."""
    return next((str(dim) for dim in part.dims if dim in part.coords and is_time(part[dim])), None)


def own_steps(entry: Entry) -> dict[str, slice]:
    """Return where the part of an entry lies in its store, by dimension."""
    variables = [v for v in (entry.header or {})["variables"].values() if "origin" in v]
    return {
        dim: slice(start, start + size)
        for v in variables
        for dim, start, size in zip(v["dims"], v["origin"], v["shape"], strict=True)
    }


def only(part: Part) -> Part:
    """Return a result of one partition in the form in which the analysis returned it."""
    return part.isel({PARTITION: 0}, drop=True) if PARTITION in part.dims else part


def parts_for(key: str, there: Sequence[str]) -> list[str]:
    """Return the partitions of an upstream result that a partition of an analysis is made of.

    Examples
    --------
    >>> parts_for("2011-02", ["2011-01", "2011-02"])
    ['2011-02']
    >>> parts_for("2011", ["2010-12", "2011-01", "2011-02"])
    ['2011-01', '2011-02']
    >>> parts_for("A1B", ["2011-01", "2011-02"])
    ['2011-01', '2011-02']
    """
    if key in there:
        return [key]
    whole = _period(key)
    periods = {part: period for part in there if (period := _period(part))}
    inside = [part for part, (start, end) in periods.items() if whole and whole[0] <= start and end <= whole[1]]
    return inside or list(there)


def along_keys(result: Part) -> Part:
    """Return partitions that are periods along time, and others along the coordinate of their keys."""
    if PARTITION not in result.dims:
        return result
    own = [
        str(name)
        for name, c in result.coords.items()
        if c.dims == (PARTITION,) and (name == TIME or _IS_KEY in c.attrs)
    ]
    return result.swap_dims({PARTITION: own[0]}).drop_vars(PARTITION) if own else result


def chosen(result: Part, keys: Sequence[str], wanted: Collection[str]) -> Part:
    """Return some partitions of an opened result.

    Parameters
    ----------
    result
        As `Results.open` returns it for ``keys``.
    keys
        Its partitions, in order.
    wanted
        Those that are wanted.
    """
    if PARTITION in result.dims:
        return result.isel({PARTITION: [i for i, key in enumerate(keys) if key in wanted]})
    dim = own_time(result)
    if dim is None or set(keys) <= set(wanted):
        return result
    periods = [period for key in wanted if (period := _period(key))]
    times = [_key(date) for date in result[dim].values]
    return result.isel({dim: [any(a <= t < b for a, b in periods) for t in times]})


def _steps_of_periods(parts: Mapping[str, xr.Dataset]) -> str | None:
    """Return the dimension of the steps of time that partitions have, if all steps lie in the periods of their keys."""
    dims = set()
    for key, dataset in parts.items():
        period = _period(key)
        dim = own_time(dataset)
        if period is None or dim is None or not all(period[0] <= _key(t) < period[1] for t in dataset[dim].values):
            return None
        dims.add(dim)
    return dims.pop() if len(dims) == 1 else None


def _period(key: str) -> tuple[int, int] | None:
    try:
        return time_range(key)
    except CatalogError:
        return None


def _has_dates(coordinate: xr.DataArray) -> bool:
    return coordinate.dtype.kind == "M" or isinstance(coordinate.values.flat[0], cftime.datetime)


def _date(key: int, calendar: str) -> cftime.datetime:
    rest, second = divmod(key, 100)
    rest, minute = divmod(rest, 100)
    rest, hour = divmod(rest, 100)
    rest, day = divmod(rest, 100)
    year, month = divmod(rest, 100)
    return cftime.datetime(year, month, day, hour, minute, second, calendar=calendar)


def _key(date: Any) -> int:
    """Return the time key of a date of cftime or NumPy."""
    if isinstance(date, np.datetime64):
        date = date.astype("datetime64[s]").item()
    return time_key(date.year, date.month, date.day, date.hour, date.minute, date.second)
