"""Catalogued data that an analysis reads: which, in what form, and what of them its version depends on.

Belongs here: asking the catalog for one input. Does not belong here: where it is read (replicas), calling functions.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any

import xarray as xr

from xdask_pipelines.access import open_entries
from xdask_pipelines.access.completeness import steps_of
from xdask_pipelines.access.native_grids.area_entries import FoundAreas, areas_of_run
from xdask_pipelines.access.native_grids.attached_areas import with_areas
from xdask_pipelines.access.time_selection import within
from xdask_pipelines.catalog import Catalog, Entry
from xdask_pipelines.catalog.resolve import Replicas
from xdask_pipelines.catalog.runs import RUN, Segment, find_runs
from xdask_pipelines.catalog.times import Time, range_of
from xdask_pipelines.climate import same_coordinate, with_bounds
from xdask_pipelines.climate.analyses import Member
from xdask_pipelines.climate.axes import origin, time_name
from xdask_pipelines.climate.times.periods import EXCERPT
from xdask_pipelines.errors import AccessError

Facets = Mapping[str, Any] | Callable[[Any], Mapping[str, Any]]
#: How a run is named where a source opens several: a `Member`, the value of one facet, or the values of several.
RunKey = Member | str | tuple[str, ...]


@dataclass(frozen=True)
class Found:
    """The entries of one source in the catalog: those of each run, each in every Region that holds it.

    Attributes
    ----------
    runs
        Segments by run; the one run of a source that opens no ensemble has the key ``""``.
    areas
        By run, the areas of the cells of a curvilinear or unstructured grid, or why there are none.
    """

    runs: Mapping[RunKey, tuple[Segment, ...]]
    areas: Mapping[RunKey, FoundAreas] = field(default_factory=dict)

    @property
    def groups(self) -> list[Replicas]:
        """Return the replicas of each entry, in order; the last are those of areas."""
        parts = [replicas for segments in self.runs.values() for segment in segments for replicas in segment.parts]
        return [*parts, *self.area_groups]

    @property
    def area_groups(self) -> list[Replicas]:
        """Return the replicas of each entry with areas."""
        return list(dict.fromkeys(found.replicas for found in self.areas.values() if found.replicas))


@dataclass(frozen=True)
class Source:
    """Catalogued data that an analysis reads.

    Parameters
    ----------
    dataset
        Name in ``regions.yaml``.
    facets
        Required values, exactly; or a function of the asset's config that returns them. With ``each``, a value may be a
        list.
    time
        One period or a range of two, both included, as in `project.open`, or a function of the config; several files are
        joined along time. None takes the one entry that matches.
    each
        Facets that distinguish runs, such as ``("source_id", "member_id")``: the function gets a mapping with one array
        for each run that matches, from any Region, calendar and grid. None opens one run.
    with_parent
        Whether a scenario begins with the run that it starts from (``historical``), or a function of the config.
    partition
        How a partition key is used: as the period ``"time"``, or as the value of the facet with this name.
    grid
        True if only the grid is used: the asset then depends on the grid alone, not on the values.

    Examples
    --------
    >>> Source("cmip6", {"variable_id": "tas", "experiment_id": "ssp245", "table_id": "Amon"},
    ...        time=("1995", "2014"), each=("source_id", "member_id"), with_parent=True).each
    ('source_id', 'member_id')
    """

    dataset: str
    facets: Facets = field(default_factory=dict)
    time: Time | Callable[[Any], Time | None] | None = None
    each: tuple[str, ...] | None = None
    with_parent: bool | Callable[[Any], bool] = False
    partition: str = "time"
    grid: bool = False

    def resolve(self, catalog: Catalog, config: Any, partition: str) -> Found:
        """Return the entries of exactly what is asked for.

        Raises
        ------
        MissingEntries, AmbiguousEntries
            If the catalog does not have it exactly once.
        """
        runs = self._runs(catalog, config, partition)
        areas = {} if self.grid else {key: areas_of_run(catalog, segments) for key, segments in runs.items()}
        return Found(runs, {key: found for key, found in areas.items() if found is not None})

    def _runs(self, catalog: Catalog, config: Any, partition: str) -> dict[RunKey, tuple[Segment, ...]]:
        wanted = {**self._facets(config), **self._partition_facet(partition)}
        time = self._time(config, partition)
        with_parent = self.with_parent(config) if callable(self.with_parent) else self.with_parent
        if self.each is not None or with_parent:
            by = ("dataset",) if self.each is None else self.each
            found = find_runs(catalog, dataset=self.dataset, by=by, time=time, with_parent=with_parent, **wanted)
            return {"" if self.each is None else run_key(by, key): segments for key, segments in found.items()}
        if partition and self.partition == "time":
            parts = catalog.replicas(dataset=self.dataset, times=[partition], each=None, **wanted)
        else:
            parts = catalog.replicas(dataset=self.dataset, time=time, each=None, **wanted)
        period = range_of(time) if time is not None else None
        return {"": (Segment(tuple(replicas for _, replicas in parts), period),)}

    def open(self, found: Found, chosen: Callable[[Replicas], Entry]) -> Any:
        """Open the entries lazily and placed, cut to what is asked for.

        Steps that a file lacks are counted by the check ``complete`` of the result, which withdraws one partition and not
        all of a run.

        Parameters
        ----------
        found
            From `resolve`.
        chosen
            From the replicas of an entry to the one that is read.

        Returns
        -------
        A DataArray (a Dataset for several variables); with ``each`` a dict of them by run.
        """
        opened = {
            key: with_areas(opened_run(segments, chosen), found.areas.get(key), chosen)
            for key, segments in found.runs.items()
        }
        return opened if self.each is not None else opened[""]

    def version(self, found: Found) -> str:
        """Return a digest of the entries used; of all replicas, so that it does not depend on which is read."""
        if areas := {str(key): each.version for key, each in found.areas.items() if each.replicas}:
            return digest([self.version(Found(found.runs)), areas])
        versions = [self.version_of(replicas) for replicas in found.groups]
        if list(found.runs) == [""]:
            return versions[0] if len(versions) == 1 else digest(versions)
        names = {str(key): [len(segment.parts) for segment in segments] for key, segments in found.runs.items()}
        return digest([names, versions])

    def version_of(self, replicas: Replicas) -> str:
        """Return a digest of one entry and its replicas."""
        found = sorted({self._digest_of(entry) for entry in replicas})
        return found[0] if len(found) == 1 else digest(found)

    def fixed_facets(self) -> Mapping[str, Any] | None:
        """Return the facets; None if a run's config chooses them."""
        return None if callable(self.facets) else self.facets

    def _facets(self, config: Any) -> dict[str, Any]:
        return dict(self.facets(config) if callable(self.facets) else self.facets)

    def _partition_facet(self, partition: str) -> dict[str, str]:
        return {self.partition: partition} if partition and self.partition != "time" else {}

    def _time(self, config: Any, partition: str) -> Time | None:
        if partition and self.partition == "time":
            return partition
        return self.time(config) if callable(self.time) else self.time

    def _digest_of(self, entry: Entry) -> str:
        if not self.grid:
            fixes = (entry.header or {}).get("fixes")
            return digest([entry.etag, fixes]) if fixes else entry.etag
        coords = (entry.header or {}).get("coords", {})
        return digest({n: c["data"] for n, c in coords.items() if _is_horizontal(n, c)})


def run_key(by: Sequence[str], key: tuple[str, ...]) -> RunKey:
    """Return how a run is named in a mapping: a `Member` by model and member, a text by one facet, else a tuple."""
    if tuple(by) == RUN:
        return Member(*key)
    return key[0] if len(key) == 1 else key


def _is_horizontal(name: str, coordinate: Mapping[str, Any]) -> bool:
    """Whether a coordinate in a header, or bounds by their name, says where cells lie."""
    attrs = coordinate["attrs"]
    by_attributes = attrs.get("standard_name") in ("latitude", "longitude") or attrs.get("axis") in ("X", "Y")
    return by_attributes or str(attrs.get("units", "")).startswith("degree") or name.startswith(("lat", "lon"))


def opened_run(
    segments: Sequence[Segment], chosen: Callable[[Replicas], Entry], *, holes_are_checked: bool = True
) -> xr.DataArray | xr.Dataset:
    """Open the segments of one run, in order of time; they may lie in several Regions."""
    fields = []
    for segment in segments:
        entries = [chosen(replicas) for replicas in segment.parts]
        for _, group in groupby(entries, key=lambda entry: entry.region):
            together = list(group)
            periods = [segment.period] if segment.period else []
            if segment.period and len(together) < len(entries):  # another Region holds the rest of the period
                start, end = together[0].time_start, together[-1].time_end
                periods = [(max(segment.period[0], start or 0), min(segment.period[1], end or segment.period[1]))]
            fields.append(opened_field(together, periods, holes_are_checked=holes_are_checked))
    if len(fields) == 1:
        return fields[0]
    arrays = [each for each in fields if isinstance(each, xr.DataArray)]
    if len(arrays) < len(fields):
        raise AccessError("Parts of a run with several variables cannot be joined. Choose one variable.")
    return joined_in_time(arrays)


def joined_in_time(fields: Sequence[xr.DataArray]) -> xr.DataArray:
    """Join consecutive parts of one run along time; coordinates and units must agree except for rounding.

    Raises
    ------
    AccessError
        If units, calendars or coordinates differ.
    """
    first = fields[0]
    time = time_name(first)
    for other in fields[1:]:
        for name, values in (
            ("units", [f.attrs.get("units") for f in (first, other)]),
            ("calendar", [f[time].dt.calendar for f in (first, other)]),
        ):
            if values[0] != values[1]:
                raise AccessError(
                    f"Two parts of one run cannot be joined: {name} is {values[0]!r} in one{origin(first)} and "
                    f"{values[1]!r} in the next{origin(other)}."
                )
        for dim in first.dims:
            if dim != time and dim in first.coords and not same_coordinate(first[dim].values, other[dim].values):
                raise AccessError(f"Two parts of one run differ in {dim!r}{origin(other)}, so they cannot be joined.")
    joined = xr.concat(
        list(fields), time, coords="minimal", compat="override", join="override", combine_attrs="override"
    )
    for key, joint in (("attribution", " "), ("license", "; "), (EXCERPT, "; ")):
        if owed := dict.fromkeys(str(each.attrs[key]) for each in fields if each.attrs.get(key)):
            joined.attrs[key] = joint.join(owed)
    return joined


def opened_field(
    entries: Sequence[Entry], periods: Sequence[tuple[int, int]] = (), *, holes_are_checked: bool = False
) -> xr.DataArray | xr.Dataset:
    """Open entries as analyses and notebooks get them: joined, cut to whole periods, with their bounds and attribution.

    Parameters
    ----------
    entries
        Of one Region.
    periods
        Half-open ranges of time keys; none: all that there is.
    holes_are_checked
        As `within` takes it.

    Returns
    -------
    DataArray if there is one variable, else Dataset. Attributes: ``license`` and ``attribution``; ``excerpt`` if the data
    are knowingly incomplete, or their holes are counted elsewhere: functions of `climate` then let holes pass.
    """
    opened = within(open_entries(entries), entries, periods, holes_are_checked=holes_are_checked)
    if timeless := [name for name in (entries[0].header or {}).get("timeless", ()) if name in opened.dims]:
        opened = opened.isel(dict.fromkeys(timeless, 0), drop=True)
    said = {k: opened.attrs[k] for k in ("license", "attribution") if k in opened.attrs}
    if fixes := dict.fromkeys(name for entry in entries for name in (entry.header or {}).get("fixes", ())):
        said["fixes"] = ", ".join(fixes)
    counted = [str(steps) for entry in entries if (steps := steps_of(entry)) and not steps.complete]
    if any(entry.excerpt for entry in entries) or (counted and holes_are_checked):
        said[EXCERPT] = "; ".join(dict.fromkeys(counted)) or "excerpt"
    names = [str(n) for n in opened.data_vars]
    if len(names) != 1:
        return opened.assign_attrs(said)
    bounds = {str(c.attrs.get("bounds", c.encoding.get("bounds"))) for c in opened.coords.values()}
    lazy = [name for name in bounds if name in opened.coords and opened[name].chunks is not None]
    return with_bounds(opened.drop_vars(lazy), names[0]).assign_attrs(said)  # an array cannot carry vertices of cells


def digest(value: Any) -> str:
    """Digest of a JSON-ready value, whatever the order of its keys."""
    return hashlib.blake2b(json.dumps(value, sort_keys=True, default=str).encode(), digest_size=16).hexdigest()
