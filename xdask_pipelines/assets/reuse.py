"""Reuse: which analyses would give something new, and which results still hold.

Belongs here: comparing the versions that a run would give with those that are kept. Does not belong here: running.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from xdask_pipelines.assets.analysis import Analysis, analysis_named
from xdask_pipelines.catalog import Catalog
from xdask_pipelines.catalog.times import time_text
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
        for key in _months(made, catalog) if made.partitioned else [""]:
            upstream = {name: versions[name] for name in made.upstream}
            wanted = made.version(config, made.replicas(catalog, config, key), upstream, key)
            (reuse if kept.get(key) == wanted else run).append(key)
            versions[made.name][key] = wanted
        answer.append(Due(made.name, tuple(run), tuple(reuse)))
    return answer


def source_months(asset: str, catalog: Catalog) -> list[str]:
    """Months of a partitioned asset for which there is source data; none for other assets."""
    made = analysis_named(asset)
    return _months(made, catalog) if made and made.partitioned else []


def _months(made: Analysis, catalog: Catalog) -> list[str]:
    """Months for which there is source data."""
    found: set[str] = set()
    for source in made.sources.values():
        facets = {} if callable(source.facets) else dict(source.facets)
        entries = catalog.search(dataset=source.dataset, time=None, superseded=False, limit=None, **facets)
        found |= {time_text(e.time_start)[:7] for e in entries if e.time_start is not None}
    return sorted(found)
