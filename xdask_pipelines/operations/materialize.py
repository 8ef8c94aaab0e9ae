"""Materializing one asset from the command line, a range of partitions in batches.

Belongs here: the runs of a request, and their report. Does not belong here: running (project), dividing a range
(partition_batches), printing (cli).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote

import dagster as dg

from xdask_pipelines.assets.analysis import analysis_of
from xdask_pipelines.build import assemble
from xdask_pipelines.errors import RunFailed, XdaskError
from xdask_pipelines.operations.partition_batches import batches, unfinished, without_data
from xdask_pipelines.operations.project import Done, check_request, instance, partition_range, run_assets
from xdask_pipelines.operations.ui import PORT, running_ui
from xdask_pipelines.partitions import partitions_of_a_run
from xdask_pipelines.placement import Evidence
from xdask_pipelines.placement.client.compute import Progress
from xdask_pipelines.resources.pools.pools_of_topology import extra_workers, pools_of
from xdask_pipelines.resources.pools.standing_pools import Pools, Tell
from xdask_pipelines.system.ports import LOOPBACK
from xdask_pipelines.topology import Topology

#: Partitions that an error names.
_MOST_NAMED = 12
#: Metadata that are only for the UI: the summary and the picture as Markdown, and a table.
_SHOWN_ELSEWHERE = ("result", "map", "plot", "sources", "picture_file")


def materialize(
    topology: Topology,
    asset: str,
    partitions: Sequence[str] = (),
    config: Mapping[str, Any] | None = None,
    watch: Progress | None = None,
    note: Tell | None = None,
    extra: Mapping[str, int] | None = None,
    again: bool = False,
) -> dict[str, Any]:
    """Materialize one asset on running pools.

    A range of partitions is computed in batches, each of which is one run: it is stored, catalogued and checked before the
    next one begins. Partitions with a checked result of today's code, config and inputs are not computed again, so a range
    that was interrupted goes on with the batch that was under way. Partitions without data, and batches that fail, do not
    stop the others.

    Parameters
    ----------
    topology
        The project.
    asset
        Name of the asset.
    partitions
        Partition keys, first and last. A single partition is always computed.
    config
        Config values.
    watch
        Called with progress.
    note
        Called with a line for what delays the run, and for each batch.
    extra
        Further instances by Region, for this run alone.
    again
        Whether all partitions of a range are computed, those that are up to date too.

    Returns
    -------
    ``run_id``, ``asset``, ``warnings``; ``checks``, the state of each; ``metadata`` of the materialization without its
    picture and its table of sources; ``picture``, the PNG file, or None; ``page`` of the asset in the UI, and ``ui_is_up``.
    Of several batches, ``run_id`` and ``metadata`` are those of the last one, ``evidence`` is of all of them together, and a
    check has passed that passed in all. ``runs`` are the ids of all runs, ``computed`` and ``reused`` the numbers of
    partitions; without any run, ``run_id`` is empty.

    Raises
    ------
    RunFailed
        If a run fails, or partitions have no data; with the messages of all, after the others are done.
    XdaskError
        As in `run_assets`.
    """
    pools = pools_of(topology, watch, note)
    tell = note or (lambda line: None)
    try:
        with instance(topology) as history, extra_workers(pools, extra or {}, tell):
            keys, ranges, left_out = _ranges(topology, pools, history, asset, config or {}, partitions, again=again)
            done = _run_ranges(topology, pools, history, asset, config, ranges, left_out, tell)
    finally:
        pools.close()
    computed = sum(map(len, ranges))
    last = done[-1] if done else None
    metadata = dict(last.metadata.get(asset, {})) if last else {}
    if len(done) > 1:
        metadata["evidence"] = Evidence.total(
            Evidence.from_dict(each.metadata[asset]["evidence"]) for each in done
        ).as_dict()
    ui, picture = running_ui(topology), metadata.get("picture_file")
    return {
        "run_id": last.run_id if last else "",
        "runs": [each.run_id for each in done],
        "computed": computed,
        "reused": len(keys) - computed,
        "asset": asset,
        "warnings": [line for each in done for line in each.warnings],
        "checks": _together([each.checks.get(asset, {}) for each in done]),
        "metadata": {k: v for k, v in metadata.items() if k not in _SHOWN_ELSEWHERE},
        "picture": str(picture) if picture else None,
        "page": f"http://{LOOPBACK}:{ui.port if ui else PORT}/assets/{quote(asset)}",
        "ui_is_up": ui is not None,
    }


def _ranges(
    topology: Topology,
    pools: Pools,
    history: dg.DagsterInstance,
    asset: str,
    config: Mapping[str, Any],
    partitions: Sequence[str],
    *,
    again: bool,
) -> tuple[list[str], list[list[str]], str]:
    """Return the partitions of a request, those of each run, and what is left out, as an error; else an empty text.

    Other assets have one run without partitions.
    """
    assembly = assemble(topology, {"pools": pools})
    assembly.refuse_unknown([asset])
    check_request(assembly.definitions, asset, config, partitions)
    keys = partition_range(assembly.definitions, asset, partitions)
    made = analysis_of(assembly.definitions.resolve_assets_def(dg.AssetKey.from_user_string(asset)))
    if len(keys) < 2 or made is None:  # other assets may need their whole range at once
        return keys, [keys], ""
    results = (assembly.definitions.resources or {})["results"].results
    left = keys if again else unfinished(made, results, history, config, keys)
    lacking = without_data(made, results, config, left)
    if len(lacking) == len(left):  # a run says so
        lacking = {}
    ranges = batches(keys, set(left) - lacking.keys(), partitions_of_a_run(pools.settings()))
    return keys, list(ranges), _left_out(asset, lacking)


def _left_out(asset: str, lacking: Mapping[str, str]) -> str:
    """Return the error about partitions without data; empty without any."""
    if not lacking:
        return ""
    first, names = next(iter(lacking)), list(lacking)
    listed = ", ".join(names[:_MOST_NAMED]) + (f", … ({len(names):,} in all)" if len(names) > _MOST_NAMED else "")
    return (
        f"{asset}: partitions without data were left out: {listed}. Of {first}: {lacking[first]} Get the data, run "
        "`xdask sync`, then the same command again: it goes on with these."
    )


def _run_ranges(
    topology: Topology,
    pools: Pools,
    history: dg.DagsterInstance,
    asset: str,
    config: Mapping[str, Any] | None,
    ranges: Sequence[Sequence[str]],
    left_out: str,
    tell: Tell,
) -> list[Done]:
    """Run one range after the other, and raise the errors of those that failed at the end, after what was left out."""
    done: list[Done] = []
    failed = [left_out] if left_out else []
    for number, keys in enumerate(ranges, 1):
        if len(ranges) > 1:
            tell(f"batch {number} of {len(ranges)}: {asset} from {keys[0]} to {keys[-1]}")
        try:
            done.append(
                run_assets(
                    *(topology, pools, history, [asset]), configs={asset: config} if config else {}, partitions=keys
                )
            )
        except RunFailed as error:
            failed.append(str(error))
        except XdaskError as error:  # such as pools that are gone: the other ranges would fail, too
            if not failed:
                raise
            raise RunFailed(_lines([*failed, str(error)])) from error
    if failed:
        raise RunFailed(_lines(failed))
    return done


def _lines(messages: Sequence[str]) -> str:
    return "\n".join(dict.fromkeys(messages))


def _together(states: Sequence[Mapping[str, str]]) -> dict[str, str]:
    """Return the state of each check over all runs: passed only if it passed in every run."""
    found: dict[str, str] = {}
    for each in states:
        for name, state in each.items():
            found[name] = state if found.get(name, "passed") == "passed" else found[name]
    return found
