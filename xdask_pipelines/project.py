"""A project on this machine: its topology, its Dagster home, and running assets in this process.

Belongs here: what the command line shares. Does not belong here: words for people (cli), assembly (build).
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dagster as dg
from dagster_shared.error import SerializableErrorInfo

from xdask_pipelines.assets.analysis import analysis_named
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
    known = {key.to_user_string() for key in definitions.resolve_all_asset_keys()}
    if unknown := sorted(set(chosen) - known):
        raise XdaskError(f"There is no asset {', '.join(unknown)}. There are {', '.join(sorted(known))}.")
    for name in chosen:
        check_request(definitions, name, (configs or {}).get(name, {}), partitions)
    job = definitions.resolve_implicit_global_asset_job_def()
    config = {
        definitions.resolve_assets_def(_key(name)).op.name: {"config": dict(values)}
        for name, values in (configs or {}).items()
        if name in chosen
    }
    tags = {}
    if partitions:
        tags = {
            "dagster/asset_partition_range_start": partitions[0],
            "dagster/asset_partition_range_end": partitions[-1],
        }
    result = job.execute_in_process(
        instance=history,
        asset_selection=[_key(name) for name in chosen],
        run_config={**_QUIET, "ops": config},
        tags=tags,
        raise_on_error=False,
    )
    if not result.success:
        raise XdaskError(_what_failed(result))
    metadata: dict[str, Mapping[str, Any]] = {}
    for event in result.get_asset_materialization_events():
        made = event.step_materialization_data.materialization
        metadata[made.asset_key.to_user_string()] = {k: v.value for k, v in made.metadata.items()}
    failed = [e for e in result.get_asset_check_evaluations() if not e.passed]
    warnings = tuple(f"{e.asset_key.to_user_string()}: {e.description or e.check_name}" for e in failed)
    return Done(result.run_id, metadata, warnings)


def _key(name: str) -> dg.AssetKey:
    return dg.AssetKey.from_user_string(name)


def check_request(definitions: dg.Definitions, name: str, config: Mapping[str, Any], partitions: Sequence[str]) -> None:
    """Refuse partitions and config values that an asset does not have, naming those that it has."""
    if made := analysis_named(name):
        made.config(config)
    there_are = definitions.resolve_assets_def(_key(name)).partitions_def
    if there_are is None:
        if partitions:
            raise XdaskError(f"{name} has no partitions; leave out {', '.join(partitions)}.")
        return
    keys = list(there_are.get_partition_keys())
    listed = f"It has {keys[0]} to {keys[-1]}" if keys else "It has none yet: run `xdask sync`"
    if not partitions:
        raise XdaskError(f"{name} is made partition by partition. {listed}; name one with --partition.")
    if unknown := [key for key in partitions if key not in keys]:
        raise XdaskError(f"{name} has no partition {', '.join(unknown)}. {listed}.")


def passed_checks(history: dg.DagsterInstance, name: str) -> bool:
    """Whether the latest result of an asset passed all blocking checks; one that was never checked did not."""
    keys = [dg.AssetCheckKey(dg.AssetKey(name), check) for check in NAMES]
    latest = history.event_log_storage.get_latest_asset_check_execution_by_key(keys)
    events = [latest[k].event if k in latest else None for k in keys]
    evaluations = [event.asset_check_evaluation if event else None for event in events]
    return all(e is not None and (e.passed or e.severity == dg.AssetCheckSeverity.WARN) for e in evaluations)


def _with_place(error: SerializableErrorInfo) -> str:
    """An error's message, with the last line of code below it that is neither ours nor a library's."""
    ours = str(Path(__file__).parent)
    places = [re.match(r'\s*File "([^"]+)", line (\d+)', frame) for frame in error.stack]
    own = [m for m in places if m and not m[1].startswith(ours) and "site-packages" not in m[1]]
    return error.message.strip() + (f" ({own[-1][1]}, line {own[-1][2]})" if own else "")


def _what_failed(result: dg.ExecuteInProcessResult) -> str:
    """What a person needs to know: failed checks in their own words, else each failed step's message."""
    lines = [
        f"{e.asset_key.to_user_string()}: {e.description}"
        for e in result.get_asset_check_evaluations()
        if not e.passed and e.severity == dg.AssetCheckSeverity.ERROR
    ]
    for event in result.filter_events(lambda e: e.is_step_failure) if not lines else ():
        data = event.step_failure_data
        said = data.user_failure_data.description if data.user_failure_data else None
        error = data.error.cause if data.error and data.error.cause else data.error
        lines.append(f"{event.step_key}: {said or (_with_place(error) if error else 'failed')}")
    return "\n".join(lines) or f"Run {result.run_id} failed; see its log in the UI."
