"""Reuse: which analyses would give something new, and which results still hold.

Belongs here: comparing the versions that a run would give with those that are kept. Does not belong here: running.
"""

import hashlib
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from xdask_pipelines.assets.analysis_definition import Analysis
from xdask_pipelines.assets.source import Source
from xdask_pipelines.catalog import Catalog, Entry
from xdask_pipelines.catalog.times import time_range
from xdask_pipelines.resources.results import Results


@dataclass(frozen=True)
class Due:
    """What one analysis has to do: partition keys to run and to reuse (``""`` without partitions)."""

    name: str
    run: tuple[str, ...]
    reuse: tuple[str, ...]


def due(
    analyses: Sequence[Analysis],
    catalog: Catalog,
    results: Results,
    configs: Mapping[str, Mapping[str, Any]],
    sound: Callable[[str], bool] = lambda name: True,
) -> list[Due]:
    """What has to run so that every result is what its code, config and inputs say.

    Parameters
    ----------
    analyses
        In topological order.
    catalog, results
        What there is.
    configs
        Values of each analysis's config, by name.
    sound
        Whether an asset's latest result passed its blocking checks; what did not is run again.

    Raises
    ------
    MissingEntries, AmbiguousEntries
        If the catalog does not hold exactly what an analysis reads.
    """
    versions: dict[str, dict[str, str]] = {}
    answer = []
    for made in analyses:
        config = made.config(configs.get(made.name))
        kept = results.versions(made.name) if sound(made.name) else {}
        versions[made.name] = {p: v for p, v in kept.items() if p} if made.partitioned else {}
        run: list[str] = []
        reuse: list[str] = []
        for key in _asked(made, analyses, configs, source_months(made, catalog)) if made.partitioned else [""]:
            upstream = {name: versions[name] for name in made.upstream}
            wanted = made.version(config, made.found(catalog, config, key), upstream, key)
            (reuse if kept.get(key) == wanted else run).append(key)
            versions[made.name][key] = wanted
        answer.append(Due(made.name, tuple(run), tuple(reuse)))
    return answer


def _asked(
    made: Analysis, analyses: Sequence[Analysis], configs: Mapping[str, Mapping[str, Any]], months: list[str]
) -> list[str]:
    """Return the months that the analyses that follow ask for: all, if none follows."""
    ranges = [
        other.months_of(made.name, other.config(configs.get(other.name)))
        for other in analyses
        if made.name in other.upstream
    ]
    return [month for month in months if not ranges or any(month in asked for asked in ranges)]


def source_months(made: Analysis, catalog: Catalog) -> list[str]:
    """List the partitions of an analysis for which there is source data; none without partitions."""
    return list(covered(made, catalog, made.partitions_def.get_partition_keys())) if made.partitions_def else []


def covered(made: Analysis, catalog: Catalog, keys: Sequence[str]) -> dict[str, str]:
    """Partition keys that entries of every source cover whole, with a digest of these entries' versions.

    Sources whose facets a run's config chooses say nothing of a partition before the run.
    """
    fixed = [
        (source, facets)
        for source in made.sources.values()
        if source.each is None and (facets := source.fixed_facets()) is not None
    ]
    versions: dict[str, list[str]] = {key: [] for key in keys} if fixed else {}
    for source, facets in fixed:
        entries = catalog.search(
            dataset=source.dataset, time=None, superseded=False, limit=None, bbox=None, **dict(facets)
        )
        found = _by_period(source, entries, versions) if source.partition == "time" else _by_facet(source, entries)
        versions = {key: [*so_far, *found[key]] for key, so_far in versions.items() if found.get(key)}
    return {
        key: hashlib.blake2b("\n".join(found).encode(), digest_size=8).hexdigest() for key, found in versions.items()
    }


def _by_period(source: Source, entries: Sequence[Entry], keys: Iterable[str]) -> dict[str, list[str]]:
    """Versions of the entries that cover each period whole."""
    timed = [(e.time_start, e.time_end, e) for e in entries if e.time_start is not None and e.time_end is not None]
    timed.sort(key=lambda found: (found[0], found[2].id))
    starts = [start for start, _, _ in timed]
    longest = max((end - start for start, end, _ in timed), default=0)
    versions = {}
    for key in keys:
        start, end = time_range(key)
        near = timed[bisect_left(starts, end - longest) : bisect_right(starts, start)]
        versions[key] = [source.version_of((entry,)) for _, its_end, entry in near if its_end >= end]
    return versions


def _by_facet(source: Source, entries: Sequence[Entry]) -> dict[str, list[str]]:
    """Versions of the entries of each value of the facet that is the partition."""
    versions: dict[str, list[str]] = {}
    for entry in sorted(entries, key=lambda each: each.id):
        versions.setdefault(entry.terms().get(source.partition, ""), []).append(source.version_of((entry,)))
    return versions
