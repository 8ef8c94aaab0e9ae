"""Ranges of partitions in batches: what of a range is up to date, and which runs the rest needs.

Belongs here: comparing stored partitions with what a run would give, and dividing the others into runs. Does not belong
here: running a batch (project), what a version is made of (assets.analysis_definition).
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

import dagster as dg

from xdask_pipelines.assets.analysis_definition import Analysis
from xdask_pipelines.checks import NAMES
from xdask_pipelines.errors import CatalogError
from xdask_pipelines.resources.results import Results


def unfinished(
    made: Analysis, results: Results, history: dg.DagsterInstance, values: Mapping[str, Any], keys: Sequence[str]
) -> list[str]:
    """Return the partitions that have no checked result of today's code, config and inputs.

    Parameters
    ----------
    made
        A partitioned analysis.
    results
        Stored results, and the catalog of the inputs.
    history
        Dagster's history, for the checks of the runs that stored the results. A result that was stored by a run that ended
        before its checks counts as unfinished.
    values
        Config values.
    keys
        Partition keys.

    Returns
    -------
    Some of the keys, in their order. A partition whose inputs are missing is one of them: its run explains what is missing.
    """
    if not results.partitions(made.name):
        return list(keys)
    config = made.config(values)
    kept = {entry.part: entry for entry in results.find(made.name, results.partitions(made.name))}
    run_ids = {str(kept[key].attributes["run_id"]) for key in keys if key in kept}
    checked = {run_id for run_id in run_ids if _was_checked(history, made.name, run_id)}
    upstream = {name: results.versions(name) for name in made.upstream}

    def is_finished(key: str) -> bool:
        entry = kept.get(key)
        if entry is None or entry.attributes["run_id"] not in checked:
            return False
        try:
            found = made.found(results.catalog, config, key)
        except CatalogError:
            return False
        return bool(entry.attributes["data_version"] == made.version(config, found, upstream, key))

    return [key for key in keys if not is_finished(key)]


def without_data(made: Analysis, results: Results, values: Mapping[str, Any], keys: Sequence[str]) -> dict[str, str]:
    """Return the partitions whose data the catalog does not have exactly once, with the reason.

    Parameters
    ----------
    made, results, values, keys
        As of `unfinished`.
    """
    config, reasons = made.config(values), {}
    for key in keys:
        try:
            made.found(results.catalog, config, key)
        except CatalogError as error:
            reasons[key] = str(error)
    return reasons


def _was_checked(history: dg.DagsterInstance, asset: str, run_id: str) -> bool:
    """Return whether a run evaluated all checks of an asset; the results that they refused were withdrawn then."""
    records = history.get_records_for_run(run_id, of_type=dg.DagsterEventType.ASSET_CHECK_EVALUATION).records
    events = [record.event_log_entry.dagster_event for record in records]
    evaluations = [event.asset_check_evaluation_data for event in events if event]
    done = {each.check_name for each in evaluations if each.asset_key == dg.AssetKey(asset)}
    return done >= set(NAMES)


def batches(keys: Sequence[str], chosen: Collection[str], size: int | None = None) -> Iterator[list[str]]:
    """Divide partitions into consecutive ranges: a run takes one range, and must not repeat what is up to date.

    Parameters
    ----------
    keys
        All partition keys, in their order.
    chosen
        Those to divide.
    size
        Most partitions of one range; None for any number.

    Yields
    ------
    Keys of one range.

    Examples
    --------
    >>> list(batches(["a", "b", "c", "d", "e"], {"a", "c", "d", "e"}, size=2))
    [['a'], ['c', 'd'], ['e']]
    """
    batch: list[str] = []
    for key in keys:
        if batch and (key not in chosen or len(batch) == size):
            yield batch
            batch = []
        if key in chosen:
            batch.append(key)
    if batch:
        yield batch
