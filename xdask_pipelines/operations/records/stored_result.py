"""Finding a stored result by the name of its asset or by the address of its store.

Belongs here: from what a person writes to one catalog entry. Does not belong here: what is done with it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from xdask_pipelines.assets.analysis import analyses_of
from xdask_pipelines.assets.analysis_definition import Analysis
from xdask_pipelines.build import Assembly, assemble
from xdask_pipelines.catalog import Entry
from xdask_pipelines.catalog.entry import version_order
from xdask_pipelines.errors import XdaskError
from xdask_pipelines.placement.worker.guard import RESULTS_PREFIX
from xdask_pipelines.resources.provenance import Provenance
from xdask_pipelines.resources.results import LAYOUT, Results
from xdask_pipelines.topology import Topology

_ADDRESS = re.compile(rf"([^:#]+):({RESULTS_PREFIX}[^#]+)(?:#(.*))?")


@dataclass(frozen=True)
class Stored:
    """A stored result.

    Attributes
    ----------
    assembly
        What the project defines now.
    results
        The project's store of results.
    entry
        The result.
    made
        Its analysis, as it is now; None if the project does not define it any more.
    """

    assembly: Assembly
    results: Results
    entry: Entry
    made: Analysis | None


def stored_result(
    topology: Topology, name: str, partition: str = "", overrides: dict[str, Any] | None = None
) -> Stored:
    """Find one stored result.

    Parameters
    ----------
    topology
        The project.
    name
        Name of an asset, for its current result; or the address of a store, such as
        ``us-east-1:results/warming/20260301T….zarr``, as ``xdask run`` prints it, with ``#`` and a partition.
    partition
        Partition of a partitioned asset; empty for the one that was computed last.
    overrides
        Resources of the project to use instead of its own, by name.

    Raises
    ------
    XdaskError
        If the asset does not exist or is no analysis, or the partition does not exist.
    MissingEntries
        If there is no such result.
    """
    assembly = assemble(topology, overrides)
    results: Results = (assembly.definitions.resources or {})["results"].results
    analyses = analyses_of(assembly.definitions.resolve_all_asset_specs())
    if match := _ADDRESS.fullmatch(name):
        region, key, part = match.groups("")
        entry = _at(results, name, region, key, part or partition)
        return Stored(assembly, results, entry, analyses.get(entry.dataset))
    assembly.refuse_unknown([name])
    if name not in analyses:
        listed = ", ".join(sorted(analyses))
        raise XdaskError(f"{name} is not an analysis, so it has no stored result. Available: {listed}.")
    parts = results.partitions(name)
    if partition and not analyses[name].partitioned:
        raise XdaskError(f"{name} has no partitions; leave out {partition}.")
    found = results.find(name, [partition] if partition else parts or [""])
    newest = max(found, key=lambda entry: (version_order(entry.version), entry.part))
    return Stored(assembly, results, newest, analyses[name])


def _at(results: Results, address: str, region: str, key: str, wanted: str) -> Entry:
    """Return the result at an address."""
    there = results.catalog.search(layout=LAYOUT, region=region, key=key, superseded=True)
    found = [entry for entry in there if Provenance.is_in(entry) and (entry.part == wanted or not wanted)]
    if len(found) == 1:
        return found[0]
    if found or there:
        parts = ", ".join(entry.part for entry in there)
        raise XdaskError(f"{address} holds the partitions {parts}. Choose one: {region}:{key}#{there[0].part}.")
    raise XdaskError(
        f"The catalog has no result {address}. Name an asset, or the store that `xdask run ASSET` prints; a result "
        "that checks refused is withdrawn."
    )
