"""A project on this machine: its topology, its Dagster home, and running assets in this process.

Belongs here: what the command line shares. Does not belong here: words for people (cli), assembly (build).
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dagster as dg

from xdask_pipelines.build import build_definitions
from xdask_pipelines.checks import NAMES
from xdask_pipelines.errors import XdaskError
from xdask_pipelines.resources.pools import Pools
from xdask_pipelines.resources.var import writable
from xdask_pipelines.topology import Topology

_SETTINGS = Path(__file__).parent.parent / "dagster.yaml"
_QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}


@dataclass(frozen=True)
class Done:
    """One finished run: its id, and the metadata of each asset's latest materialization in it."""

    run_id: str
    metadata: Mapping[str, Mapping[str, Any]]
    warnings: tuple[str, ...]


def dagster_home(topology: Topology) -> Path:
    """Folder of Dagster's history, with this project's settings in it.

    Raises
    ------
    XdaskError
        If ``var/`` cannot be written.
    """
    home = writable(topology, "dagster")
    own = topology.root / "dagster.yaml"
    settings = (own if own.exists() else _SETTINGS).read_bytes()
    copy = home / "dagster.yaml"
    if not copy.exists() or copy.read_bytes() != settings:  # others may be reading it: never half of it
        partial = copy.with_suffix(f".{os.getpid()}")
        partial.write_bytes(settings)
        partial.replace(copy)
    return home


@contextmanager
def instance(topology: Topology) -> Iterator[dg.DagsterInstance]:
    """Dagster's history of this project."""
    home = dagster_home(topology)
    os.environ["DAGSTER_HOME"] = str(home)
    with dg.DagsterInstance.from_config(str(home)) as found:
        yield found


def run_assets(
    topology: Topology,
    pools: Pools,
    history: dg.DagsterInstance,
    names: Iterable[str],
    *,
    configs: Mapping[str, Mapping[str, Any]] | None = None,
    partitions: Sequence[str] = (),
) -> Done:
    """Materialize assets in this process, as one run in the project's history.

    Parameters
    ----------
    names
        Assets; their checks run too.
    configs
        Config values by asset.
    partitions
        Keys of consecutive partitions, for partitioned assets.

    Raises
    ------
    XdaskError
        If the run fails, with what happened and what to do.
    """
    definitions = build_definitions(topology, {"pools": pools})
    chosen = list(names)
    known = {key.to_python_identifier() for key in definitions.resolve_all_asset_keys()}
    if unknown := sorted(set(chosen) - known):
        raise XdaskError(f"There is no asset {', '.join(unknown)}. There are {', '.join(sorted(known))}.")
    job = definitions.resolve_implicit_global_asset_job_def()
    config = {name: {"config": dict(values)} for name, values in (configs or {}).items() if name in chosen}
    tags = {}
    if partitions:
        tags = {
            "dagster/asset_partition_range_start": partitions[0],
            "dagster/asset_partition_range_end": partitions[-1],
        }
    result = job.execute_in_process(
        instance=history,
        asset_selection=[dg.AssetKey(name) for name in chosen],
        run_config={**_QUIET, "ops": config},
        tags=tags,
        raise_on_error=False,
    )
    if not result.success:
        raise XdaskError(_what_failed(result))
    metadata: dict[str, Mapping[str, Any]] = {}
    for event in result.get_asset_materialization_events():
        made = event.step_materialization_data.materialization
        metadata[made.asset_key.to_python_identifier()] = {k: v.value for k, v in made.metadata.items()}
    failed = [e for e in result.get_asset_check_evaluations() if not e.passed]
    warnings = tuple(f"{e.asset_key.to_python_identifier()}: {e.description or e.check_name}" for e in failed)
    return Done(result.run_id, metadata, warnings)


def passed_checks(history: dg.DagsterInstance, name: str) -> bool:
    """Whether the latest result of an asset passed all blocking checks; one that was never checked did not."""
    keys = [dg.AssetCheckKey(dg.AssetKey(name), check) for check in NAMES]
    latest = history.event_log_storage.get_latest_asset_check_execution_by_key(keys)
    events = [latest[k].event if k in latest else None for k in keys]
    evaluations = [event.asset_check_evaluation if event else None for event in events]
    return all(e is not None and (e.passed or e.severity == dg.AssetCheckSeverity.WARN) for e in evaluations)


def _what_failed(result: dg.ExecuteInProcessResult) -> str:
    """What a person needs to know: failed checks in their own words, else each failed step's message."""
    lines = [
        f"{e.asset_key.to_python_identifier()}: {e.description}"
        for e in result.get_asset_check_evaluations()
        if not e.passed and e.severity == dg.AssetCheckSeverity.ERROR
    ]
    for event in result.filter_events(lambda e: e.is_step_failure) if not lines else ():
        data = event.step_failure_data
        said = data.user_failure_data.description if data.user_failure_data else None
        error = data.error.cause if data.error and data.error.cause else data.error
        lines.append(f"{event.step_key}: {said or (error.message.strip() if error else 'failed')}")
    return "\n".join(lines) or f"Run {result.run_id} failed; see its log in the UI."
