"""Pools that record what each computation did: its graph, and the time, the Region and the result's size of each task.

Belongs here: recording, from Dask's task stream. Does not belong here: simulating other pools (replay).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from time import perf_counter, time
from typing import Any

from dask.typing import Key

from xdask_pipelines.errors import PlacementError
from xdask_pipelines.placement import Evidence
from xdask_pipelines.placement.client.containers import unpack
from xdask_pipelines.placement.dask_internals.graph_layers import flatten
from xdask_pipelines.placement.prediction.forecast import Step
from xdask_pipelines.placement.prediction.plan import optimised
from xdask_pipelines.resources.pools.local_pools import LocalPools
from xdask_pipelines.resources.pools.standing_pools import Tell
from xdask_pipelines.topology import Topology
from xdask_pipelines.topology.names import POOL_PREFIX


def prefix(key: Key) -> str:
    """Return what a task does: the first part of its key without the token."""
    name = str(key[0]) if isinstance(key, tuple) else str(key)
    return name.rpartition("-")[0] or name


@dataclass(frozen=True)
class Phase:
    """One computation on the pools.

    Attributes
    ----------
    steps
        Measured tasks by key, in an order in which each is after its inputs.
    wanted
        Keys of the results.
    seconds
        On the wall, from submission until the results are on the client.
    lead
        Those of them before the first task began: the graph is built, sent and optimised.
    """

    steps: Mapping[Key, Step]
    wanted: frozenset[Key]
    seconds: float
    lead: float

    def thread_seconds(self) -> dict[str, tuple[int, float]]:
        """Return the number of tasks and their time on threads, by prefix."""
        found: dict[str, tuple[int, float]] = {}
        for key, step in self.steps.items():
            count, seconds = found.get(prefix(key), (0, 0.0))
            found[prefix(key)] = (count + 1, seconds + step.thread_seconds)
        return found


class RecordingPools(LocalPools):
    """Local pools that keep a `Phase` of each computation in ``phases``."""

    def __init__(self, topology: Topology) -> None:
        super().__init__(topology)
        self.phases: list[Phase] = []

    def compute(self, *xs: Any, tell: Tell | None = None) -> tuple[tuple[Any, ...], Evidence]:
        """Compute as local pools do, and record it.

        Raises
        ------
        PlacementError
            As `LocalPools.compute`, and if a task of the graph is not in Dask's task stream: a record with gaps would
            simulate too short a run.
        """
        client, lazy = self.client(), unpack(xs)[0]
        client.get_task_stream(start=time())  # the stream begins with the first request
        began, start = time(), perf_counter()
        values, evidence = super().compute(*xs, tell=tell)
        seconds = perf_counter() - start
        if not lazy:
            return values, evidence
        ran = {record["key"]: record for record in client.get_task_stream(start=began)}
        scheduler: Any = client.scheduler
        workers = client.sync(scheduler.identity, n_workers=-1)["workers"]  # scheduler_info may return another answer
        regions = {
            address: name.removeprefix(POOL_PREFIX)
            for address, worker in workers.items()
            for name in worker["resources"]
            if name.startswith(POOL_PREFIX)
        }
        tasks = optimised(lazy, self.settings())
        if missing := [key for key in tasks if key not in ran]:
            raise PlacementError(
                f"{len(missing)} of {len(tasks)} tasks are not in the task stream, such as {missing[0]!r}."
            )
        steps = {
            key: Step(
                regions[record["worker"]],
                [d for d in tasks[key].dependencies if d in tasks],
                record["nbytes"],
                seconds=sum(s["stop"] - s["start"] for s in record["startstops"] if s["action"] == "compute"),
            )
            for key, record in ran.items()
            if key in tasks
        }
        wanted = frozenset(key for x in lazy for key in flatten(x.__dask_keys__()))
        first = min(s["start"] for key in steps for s in ran[key]["startstops"])
        self.phases.append(Phase(steps, wanted, seconds, first - began))
        return values, evidence
