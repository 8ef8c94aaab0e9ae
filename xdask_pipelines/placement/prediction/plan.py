"""The plan of a computation before it runs: tasks, bytes read and bytes across, by Region.

Belongs here: the prediction, by the same rules that the scheduler uses. Does not belong here: the rules
(placement_rules), sizes of blocks (sizes), time (forecast), warnings (warnings), drawing (picture).
"""

from __future__ import annotations

import sys
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from functools import partial
from typing import Any, Literal

from dask.typing import Key

from xdask_pipelines.errors import PlacementError
from xdask_pipelines.placement.client.containers import unpack
from xdask_pipelines.placement.dask_internals.graph_layers import flatten, submitted, with_optimizer
from xdask_pipelines.placement.dask_internals.task_specs import GraphNode, tasks_of
from xdask_pipelines.placement.footprint import footprint
from xdask_pipelines.placement.graph.fence import fenced
from xdask_pipelines.placement.graph.homes import PIN, describe_mixture, mark_of, marks, nested
from xdask_pipelines.placement.graph.placement_rules import Home, TaskNode, cheapest, decide, is_barrier, topological
from xdask_pipelines.placement.graph.sizes import Sizes, estimated, stored_bytes
from xdask_pipelines.placement.prediction.forecast import Step, forecast
from xdask_pipelines.placement.prediction.warnings import of_graph, of_run
from xdask_pipelines.placement.query_planning import refuse_query_planning
from xdask_pipelines.placement.settings import Settings
from xdask_pipelines.system.markup import block, items, picture
from xdask_pipelines.system.units import counted, format_bytes


@dataclass(frozen=True, repr=False)
class Plan:
    """Prediction of `Evidence`.

    Attributes
    ----------
    tasks_by_region
        Tasks that will run in each Region.
    assigned_tasks_by_region
        Those of them whose Region was chosen to minimise transfers: they need data of several Regions, or run outside
        the home of their data.
    late_tasks_by_region
        Those of them that are bound when their inputs are in memory, because sizes are unknown before. The plan counts
        them in the Region that is cheapest by guessed sizes.
    neutral_tasks
        Tasks without a home.
    reading_tasks_by_region, bytes_read_by_region
        Tasks that read, and stored (compressed) bytes that they will read.
    bytes_across
        Bytes in memory that will cross, by ``"src->dst"``; results go to the client's Region.
    seconds
        Time from submission until the results are on the client, from a simulated run (see `forecast`).
    cost_usd
        Estimate at list prices: ``compute`` (busy threads) and ``egress``.
    warnings
        Problems to check before running.
    """

    tasks_by_region: Mapping[str, int]
    assigned_tasks_by_region: Mapping[str, int]
    late_tasks_by_region: Mapping[str, int]
    neutral_tasks: int
    reading_tasks_by_region: Mapping[str, int]
    bytes_read_by_region: Mapping[str, int]
    bytes_across: Mapping[str, int]
    seconds: float
    cost_usd: Mapping[str, float]
    warnings: tuple[str, ...]
    client_region: str
    region_names: Mapping[str, str]

    def as_dict(self) -> dict[str, Any]:
        """Return plain numbers and dictionaries that can be written as JSON."""
        values = {f.name: getattr(self, f.name) for f in fields(self)}
        return {
            name: dict(sorted(value.items()))
            if isinstance(value, Mapping)
            else list(value)
            if name == "warnings"
            else value
            for name, value in values.items()
        }

    def __repr__(self) -> str:
        return f"<Plan: {self._in_words()}>"

    def _in_words(self) -> str:
        tasks = ", ".join(f"{region} {n:,}" for region, n in sorted(self.tasks_by_region.items())) or "0"
        warned = f"; {counted(len(self.warnings), 'warning')}" if self.warnings else ""
        return (
            f"tasks {tasks}; {format_bytes(sum(self.bytes_read_by_region.values()))} read at home, "
            f"{format_bytes(sum(self.bytes_across.values()))} across Regions; about {self.seconds:.1f} s and "
            f"{sum(self.cost_usd.values()):.2g} USD{warned}"
        )

    def _repr_html_(self) -> str:
        drawing = picture(self.picture("svg"), "svg+xml", self._in_words())
        return block(f"Plan: {self._in_words()}", drawing, items([f"Warning: {line}" for line in self.warnings]))

    def picture(self, form: Literal["png", "svg"] = "png") -> bytes:
        """Draw the plan: Regions as boxes with their tasks and reads, and transfers as arrows."""
        from xdask_pipelines.placement.prediction.picture import picture as drawn  # workers and schedulers never draw

        return drawn(
            self.client_region,
            self.tasks_by_region,
            self.reading_tasks_by_region,
            self.bytes_read_by_region,
            self.bytes_across,
            self.assigned_tasks_by_region,
            f"about {self.seconds:.1f} s and {sum(self.cost_usd.values()):.2g} USD" if self.tasks_by_region else "",
            form,
            self.region_names,
        )


def plan(*xs: Any, settings: Settings | None = None) -> Plan:
    """Predict where tasks of lazy objects would run, what they would read, and what would cross Regions.

    No task runs and no scheduler is contacted, so results that other computations hold are not considered.

    Parameters
    ----------
    *xs
        As for `compute`.
    settings
        Client Region and prices of the scheduler that will run them; None takes those of this process.

    Returns
    -------
    The plan.

    Raises
    ------
    PlacementError
        If a task mixes reads of two Regions, as `compute` would.

    Examples
    --------
    >>> import dask.array as da
    >>> from xdask_pipelines.placement import pin
    >>> east, west = pin(da.ones((100, 100)), "us-east-1"), pin(da.zeros((100, 100)), "us-west-2")
    >>> sum(plan((east.mean(axis=0) - west.mean(axis=0)).sum()).bytes_across.values())  # one row crosses, then the sum
    832
    """
    refuse_query_planning()
    known = settings or Settings()
    lazy, _ = unpack(xs)
    wanted = {key for x in lazy for key in flatten(x.__dask_keys__())}
    tasks = optimised(lazy, known) if lazy else {}
    users: dict[Key, list[Key]] = defaultdict(list)
    for key, task in tasks.items():
        for d in task.dependencies:
            users[d].append(key)
    order = topological({key: task.dependencies for key, task in tasks.items()}, users)
    homes = decide({key: _node(key, tasks[key], users) for key in order}, wanted)
    sizes = Sizes([x.__dask_graph__() for x in lazy])
    nbytes, guessed = estimated(order, tasks, sizes, users)
    moved = _Moves(tasks, homes, nbytes, known).run(order, wanted)
    read = {key: stored for key in order if (stored := stored_bytes(tasks[key])) is not None}
    by_region: Counter[str] = Counter()
    reading: Counter[str] = Counter()
    for key, stored in read.items():
        region = moved.region[key] or known.client_region
        reading[region] += 1
        by_region[region] += stored
    neutral = [key for key in order if moved.region[key] is None]
    steps = {
        key: Step(
            moved.region[key],
            tasks[key].dependencies,
            nbytes[key],
            read.get(key, 0),
            _worked(tasks[key], sizes, nbytes, users),
        )
        for key in order
    }
    expected = forecast(steps, order, wanted, known)
    untold = [key for key in guessed if not _tells_little(key)]
    spent = footprint(known, expected.worker_seconds, by_region, moved.across)
    return Plan(
        tasks_by_region=dict(Counter(r for r in moved.region.values() if r)),
        assigned_tasks_by_region=dict(Counter(r for key in order if (r := getattr(tasks[key], "region", None)))),
        late_tasks_by_region=dict(Counter(r for key in order if homes[key].late and (r := moved.region[key]))),
        neutral_tasks=len(neutral),
        reading_tasks_by_region=dict(reading),
        bytes_read_by_region=dict(by_region),
        bytes_across=dict(moved.across),
        seconds=expected.seconds,
        cost_usd=spent["cost_usd"],
        warnings=(
            *of_graph(len(order), untold, sum(nbytes[k] for k in neutral), moved.across, known),
            *of_run(expected, steps, known),
        ),
        client_region=known.client_region,
        region_names=dict(known.region_names),
    )


def optimised(lazy: Sequence[Any], settings: Settings) -> dict[Key, GraphNode]:
    """Return the tasks to which the scheduler would optimise Dask collections, by key."""
    optimizer = partial(fenced, max_tasks=sys.maxsize, settings=settings)
    return tasks_of(submitted(with_optimizer(lazy, optimizer)))


def _node(key: Key, spec: GraphNode, users: Mapping[Key, Sequence[Key]]) -> TaskNode:
    reads, pins = marks(key, spec)
    if len(reads | pins) > 1:
        raise PlacementError(describe_mixture(key, reads | pins))
    return TaskNode(reads, pins, spec.dependencies, users.get(key, ()), getattr(spec, "region", None))


class _Moves:
    """The transfers of a run: each task is bound as the scheduler would bind it, and its inputs are sent there."""

    def __init__(
        self, tasks: Mapping[Key, GraphNode], homes: Mapping[Key, Home], nbytes: Mapping[Key, int], settings: Settings
    ) -> None:
        self.tasks, self.homes, self.nbytes, self.settings = tasks, homes, nbytes, settings
        self.region: dict[Key, str | None] = {}
        self.across: Counter[str] = Counter()
        self._held: dict[Key, set[str]] = {}

    def run(self, order: Sequence[Key], wanted: set[Key]) -> _Moves:
        for key in order:
            inputs = [d for d in self.tasks[key].dependencies if d in self._held]
            region = self.homes[key].region
            if self.homes[key].late:
                region = cheapest(
                    ((self.nbytes[d], self._held[d]) for d in inputs), self.settings.price, self.homes[key].homes
                )
            self.region[key] = region
            self._held[key] = {region} if region else set()
            for d in inputs if region else ():
                self._bring(d, str(region), shuffled=is_barrier(key))
        for key in wanted & self._held.keys():
            self._bring(key, self.settings.client_region)
        return self

    def _bring(self, key: Key, dst: str, *, shuffled: bool = False) -> None:
        held = self._held[key]
        if held and dst not in held:
            src = min(held, key=lambda r: (self.settings.price(r, dst), r))
            self.across[f"{src}->{dst}"] += self.nbytes[key]
            if not shuffled:
                held.add(dst)


def _tells_little(key: Key) -> bool:
    """Return whether a task writes or describes data: its result is small and not an array."""
    mark = mark_of(key)
    return mark is not None and mark[0] not in (PIN, "read")


def _worked(spec: GraphNode, sizes: Sizes, nbytes: Mapping[Key, int], users: Mapping[Key, Sequence[Key]]) -> int:
    """Return the bytes that a task processes: its share of its inputs, and the result of each step fused into it."""
    inner = sum(sizes.of_key(name) or 0 for name, _ in nested(spec))
    return inner + sum(nbytes.get(d, 0) // max(1, len(users[d])) for d in spec.dependencies)
