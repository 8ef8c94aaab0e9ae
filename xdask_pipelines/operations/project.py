"""A project on this machine: its Dagster home, and running assets in this process.

Belongs here: common operations of the commands. Does not belong here: output (cli), assembling definitions (build).
"""

from __future__ import annotations

import inspect
import json
import os
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

import dagster as dg
from dagster._core.storage.tags import REPOSITORY_LABEL_TAG
from dagster_shared.error import SerializableErrorInfo

from xdask_pipelines.assets.analysis import analysis_of
from xdask_pipelines.assets.config_values import typed_config
from xdask_pipelines.build import assemble
from xdask_pipelines.checks import NAMES
from xdask_pipelines.errors import RunFailed, XdaskError
from xdask_pipelines.resources.aws.dagster_settings import prepared_home
from xdask_pipelines.resources.pools.standing_pools import Pools
from xdask_pipelines.resources.var import writable
from xdask_pipelines.system.files import write_atomically
from xdask_pipelines.system.safe_text import from_markdown
from xdask_pipelines.topology import Topology

_SETTINGS = files("xdask_pipelines.templates") / "dagster.yaml"
#: Name of the code location in workspace.yaml, by which the UI finds the runs of a job.
_IN_UI = "__repository__@xdask_pipelines"
_QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}


@dataclass(frozen=True)
class Done:
    """One finished run.

    Attributes
    ----------
    run_id
        Its id.
    metadata
        Metadata of each asset's latest materialization in the run.
    warnings
        Warnings of checks.
    checks
        By asset and check, ``passed`` or ``warning``; a check that fails makes the run fail.
    """

    run_id: str
    metadata: Mapping[str, Mapping[str, Any]]
    warnings: tuple[str, ...]
    checks: Mapping[str, Mapping[str, str]]


def dagster_home(topology: Topology) -> Path:
    """Folder of Dagster's history, with this project's settings in it; in a container on AWS, that of the container.

    Raises
    ------
    XdaskError
        If ``var/`` cannot be written.
    """
    if (prepared := prepared_home(topology)) is not None:
        return prepared
    home = writable(topology, "dagster")
    own = topology.root / "dagster.yaml"
    settings = (own if own.exists() else _SETTINGS).read_bytes()
    copy = home / "dagster.yaml"
    if not copy.exists() or copy.read_bytes() != settings:  # atomically, because other processes may be reading it
        write_atomically(copy, settings)
    return home


@contextmanager
def instance(topology: Topology) -> Iterator[dg.DagsterInstance]:
    """Open Dagster's history of this project."""
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
    job_name: str = "",
) -> Done:
    """Materialize assets in this process, as one run in the project's history.

    Parameters
    ----------
    names
        Assets; their checks run too.
    configs
        Config values by asset.
    partitions
        Partition keys, first and last, for partitioned assets; all between them are materialized too.
    job_name
        Job of the code location for the run; empty for Dagster's implicit job of any assets.

    Raises
    ------
    RunFailed
        If a step or a check of the run fails, with what happened and what to do.
    XdaskError
        If the request is not valid, or the pools cannot be reached. No run is recorded then.
    """
    assembly = assemble(topology, {"pools": pools})
    definitions, chosen = assembly.definitions, list(names)
    assembly.refuse_unknown(chosen)
    config, keys = {}, list[str]()
    for name in chosen:
        values = check_request(definitions, name, (configs or {}).get(name, {}), partitions)
        keys = keys or partition_range(definitions, name, partitions)
        if name in (configs or {}):
            config[definitions.resolve_assets_def(_key(name)).op.name] = {"config": values}
    pools.client()  # the request is valid: connect before Dagster records a run
    job = definitions.resolve_job_def(job_name) if job_name else definitions.resolve_implicit_global_asset_job_def()
    tags = {REPOSITORY_LABEL_TAG: _IN_UI} if job_name else {}
    if keys:
        tags |= {"dagster/asset_partition_range_start": keys[0], "dagster/asset_partition_range_end": keys[-1]}
    try:
        result = job.execute_in_process(
            instance=history,
            asset_selection=[_key(name) for name in chosen],
            run_config={**_QUIET, "ops": config},
            tags=tags,
            raise_on_error=False,
        )
    except dg.DagsterInvalidConfigError as error:  # for an asset whose config is a schema
        raise XdaskError(f"{', '.join(chosen)}: {'; '.join(e.message for e in error.errors)}") from error
    if not result.success:
        raise RunFailed(_what_failed(result))
    metadata: dict[str, Mapping[str, Any]] = {}
    for event in result.get_asset_materialization_events():
        made = event.step_materialization_data.materialization
        metadata[made.asset_key.to_user_string()] = {k: v.value for k, v in made.metadata.items()}
    evaluations = result.get_asset_check_evaluations()
    failed = [e for e in evaluations if not e.passed]
    warnings = tuple(f"{e.asset_key.to_user_string()}: {from_markdown(e.description or e.check_name)}" for e in failed)
    checks = defaultdict[str, dict[str, str]](dict)
    for e in evaluations:
        checks[e.asset_key.to_user_string()][e.check_name] = "passed" if e.passed else "warning"
    return Done(result.run_id, metadata, warnings, checks)


def _key(name: str) -> dg.AssetKey:
    return dg.AssetKey.from_user_string(name)


def check_request(
    definitions: dg.Definitions, name: str, config: Mapping[str, Any], partitions: Sequence[str]
) -> Mapping[str, Any]:
    """Refuse partitions and config values that an asset does not have; the error lists the available ones.

    Returns
    -------
    The config values in Dagster's form.

    Raises
    ------
    XdaskError
        If a key is unknown or missing, a value does not fit its type, or a partition does not exist.
    """
    values = _config_values(definitions, name, config)
    partition_range(definitions, name, partitions)
    return values


def _config_values(definitions: dg.Definitions, name: str, config: Mapping[str, Any]) -> Mapping[str, Any]:
    asset = definitions.resolve_assets_def(_key(name))
    if made := analysis_of(asset):
        typed = made.config(config)
    else:
        op = asset.op
        function = getattr(op.compute_fn, "decorated_fn", None)  # not there for assets made of graphs
        hints = inspect.get_annotations(function, eval_str=True).values() if function else ()
        kind = next((h for h in hints if inspect.isclass(h) and issubclass(h, dg.Config)), None)
        if kind is None and getattr(op.config_schema.config_type, "fields", None):  # a schema without a class
            return {key: _from_json(value) for key, value in config.items()}
        typed = typed_config(name, kind, config)
    if typed is None:
        return {}
    as_dagster: Mapping[str, Any] = dg.RunConfig(ops={"it": typed}).to_config_dict()  # type: ignore[no-untyped-call]
    return dict(as_dagster["ops"]["it"]["config"])


def _from_json(value: Any) -> Any:
    try:
        return json.loads(value)
    except (TypeError, ValueError):  # not text, or text that is not JSON
        return value


def partition_range(definitions: dg.Definitions, name: str, partitions: Sequence[str]) -> list[str]:
    """Return the keys of an asset's partitions from the first to the last given one; empty without partitions.

    Raises
    ------
    XdaskError
        If no partition is given or one does not exist, the last is before the first, or the asset has no partitions.
    """
    there_are = definitions.resolve_assets_def(_key(name)).partitions_def
    if there_are is None:
        if partitions:
            raise XdaskError(f"{name} has no partitions; leave out {_listed(partitions)}.")
        return []
    keys = list(there_are.get_partition_keys())
    listed = f"It has {keys[0]} to {keys[-1]}" if keys else "It has none yet: run `xdask sync`"
    if not partitions:
        raise XdaskError(f"{name} is partitioned. {listed}; choose one with --partition.")
    if unknown := [key for key in partitions if key not in keys]:
        raise XdaskError(f"{name} has no partition {_listed(unknown)}. {listed}.")
    first, last = keys.index(partitions[0]), keys.index(partitions[-1])
    if last < first:
        raise XdaskError(
            f"--partition {partitions[0]} {partitions[-1]} ends before it starts; write --partition {partitions[-1]} "
            f"{partitions[0]}."
        )
    return keys[first : last + 1]


def _listed(keys: Sequence[str]) -> str:
    return ", ".join(dict.fromkeys(keys))


def passed_checks(history: dg.DagsterInstance, name: str) -> bool:
    """Return whether the latest result of an asset passed all blocking checks; False if it was never checked."""
    keys = [dg.AssetCheckKey(dg.AssetKey(name), check) for check in NAMES]
    latest = history.event_log_storage.get_latest_asset_check_execution_by_key(keys)
    events = [latest[k].event if k in latest else None for k in keys]
    evaluations = [event.asset_check_evaluation if event else None for event in events]
    return all(e is not None and (e.passed or e.severity == dg.AssetCheckSeverity.WARN) for e in evaluations)


def _with_place(error: SerializableErrorInfo) -> str:
    """Return an error's message with the last line of the user's own code."""
    ours = str(Path(__file__).parents[1])
    places = [re.match(r'\s*File "([^"]+)", line (\d+)', frame) for frame in error.stack]
    own = [m for m in places if m and not m[1].startswith(ours) and "site-packages" not in m[1]]
    return error.message.strip() + (f" ({own[-1][1]}, line {own[-1][2]})" if own else "")


def _what_failed(result: dg.ExecuteInProcessResult) -> str:
    """Return the messages of failed checks, or else of failed steps."""
    lines = [
        f"{e.asset_key.to_user_string()}: {from_markdown(e.description or e.check_name)}"
        for e in result.get_asset_check_evaluations()
        if not e.passed and e.severity == dg.AssetCheckSeverity.ERROR
    ]
    for event in result.filter_events(lambda e: e.is_step_failure) if not lines else ():
        data = event.step_failure_data
        said = data.user_failure_data.description if data.user_failure_data else None
        error = data.error.cause if data.error and data.error.cause else data.error
        lines.append(f"{event.step_key}: {said or (_with_place(error) if error else 'failed')}")
    return "\n".join(lines) or f"Run {result.run_id} failed; see its log in the UI."
