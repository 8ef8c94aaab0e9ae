"""Opening what a notebook asks for: one series, or the runs of an ensemble, from the nearest Regions that hold them.

Belongs here: from a request to lazy arrays. Does not belong here: the interface (``interactive_project``), which runs and
entries match (catalog).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import xarray as xr

from xdask_pipelines.access.native_grids.area_entries import areas_of_run
from xdask_pipelines.access.native_grids.attached_areas import with_areas
from xdask_pipelines.assets.replicas import from_cheapest
from xdask_pipelines.assets.source import opened_field, opened_run, run_key
from xdask_pipelines.catalog import Catalog, Entry
from xdask_pipelines.catalog.resolve import Replicas, nearest
from xdask_pipelines.catalog.runs import Segment, find_runs
from xdask_pipelines.catalog.times import Time, range_of
from xdask_pipelines.errors import CatalogError
from xdask_pipelines.topology import Topology


def opened_series(
    topology: Topology,
    catalog: Catalog,
    dataset: str,
    time: Time | None,
    times: Sequence[str] | None,
    each: Mapping[str, Sequence[str]] | None,
    with_parent: bool,
    facets: Mapping[str, str],
) -> xr.DataArray | xr.Dataset:
    """Open one series; parameters as of ``Project.open``."""
    if with_parent:
        if times is not None or each is not None:
            raise CatalogError("with_parent takes time, a period or a range; leave out times and each")
        runs = find_runs(catalog, dataset=dataset, by=("dataset",), time=time, with_parent=True, **facets)
        (segments,) = runs.values()
        return _opened(topology, catalog, segments)
    near = from_cheapest(topology, topology.client.region)
    replicas = catalog.replicas(dataset=dataset, time=time, times=times, each=each, **facets)
    held_by_all = set.intersection(*({entry.region for entry in replicas} for _, replicas in replicas))
    entries = nearest(replicas, [region for region in near if region in held_by_all] or near)
    periods: list[Time] = [time] if time is not None else list(times or ())
    opened = opened_field(entries, [range_of(period) for period in periods])
    areas = areas_of_run(catalog, [Segment(tuple(held for _, held in replicas))])
    return with_areas(opened, areas, _nearest_to(topology, entries[0].region))


def opened_runs(
    topology: Topology,
    catalog: Catalog,
    dataset: str,
    by: Sequence[str],
    time: Time | None,
    with_parent: bool,
    facets: Mapping[str, str | Sequence[str]],
) -> dict[Any, xr.DataArray | xr.Dataset]:
    """Open all runs that match; parameters as of ``Project.ensemble``."""
    runs = find_runs(catalog, dataset=dataset, by=by, time=time, with_parent=with_parent, **facets)
    return {run_key(by, key): _opened(topology, catalog, segments) for key, segments in runs.items()}


def _opened(topology: Topology, catalog: Catalog, segments: Sequence[Segment]) -> xr.DataArray | xr.Dataset:
    """Open the segments of a run, each entry from the Region from which results are cheapest to send."""
    chosen = _nearest_to(topology, topology.client.region)
    opened = opened_run(segments, chosen, holes_are_checked=False)
    return with_areas(opened, areas_of_run(catalog, segments), chosen)


def _nearest_to(topology: Topology, region: str) -> Callable[[Replicas], Entry]:
    """Return the choice of the replica from which results are cheapest to send to a Region."""
    near = from_cheapest(topology, region)
    return lambda replicas: nearest([(str(replicas[0]), replicas)], near)[0]
