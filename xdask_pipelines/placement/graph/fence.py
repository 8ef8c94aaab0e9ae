"""The fence: graph optimisation that never fuses tasks of different home Regions.

Belongs here: the function for Dask's ``array_optimize``, which is set on the client and runs on the scheduler. Does not
belong here: restricting tasks to workers (scheduler plugin).

Every layer gets a label: the homes among its ancestors. Dask's Blockwise fusion never fuses layers whose annotations
differ. Labels on leaves alone send too much across: the difference of wind speed in the east and the west sent 15.4 MB,
and with labels on every layer 7.7 MB, the minimum.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from dask.typing import Key

from xdask_pipelines.errors import PlacementError
from xdask_pipelines.placement.dask_internals.graph_layers import (
    HighLevelGraph,
    annotated,
    flatten,
    fuse_blocks,
    in_order,
)
from xdask_pipelines.placement.dask_internals.task_specs import (
    Alias,
    DataNode,
    GraphNode,
    fuse,
    may_be_fused,
    needed_tasks,
    tasks_of,
)
from xdask_pipelines.placement.graph.assignment import Assignment, assign
from xdask_pipelines.placement.graph.homes import (
    NOWHERE,
    PIN,
    Homes,
    carried,
    combine,
    describe_mixture,
    mark_of,
    marks,
)
from xdask_pipelines.placement.graph.layer_homes import Held
from xdask_pipelines.placement.graph.placement_rules import topological
from xdask_pipelines.placement.graph.task_codec import compact
from xdask_pipelines.placement.settings import Settings

MAX_TASKS = 40_000
#: A constant up to this size is copied into each of its users, because a round trip over a WAN costs more than the
#: bytes.
INLINE_BYTES = 1_024
_LABEL = "xdask_home"

Graph = dict[Key, GraphNode]
Marks = tuple[Homes, Homes]


def fenced(graph: Any, keys: Any, *, max_tasks: int = MAX_TASKS, settings: Settings | None = None, **_: Any) -> Graph:
    """Optimise an array graph without ever mixing homes inside a task.

    Parameters
    ----------
    graph
        A high-level or a plain graph.
    keys
        Output keys, possibly nested.
    max_tasks
        Maximum number of tasks in one submission.
    settings
        Client Region and prices; None takes those of this process, the scheduler.

    Raises
    ------
    PlacementError
        If a task mixes reads of two Regions, or there are more than ``max_tasks``. Optimisation runs inside the
        scheduler's submission, so that the computation fails before any task has run.
    """
    ordered = list(dict.fromkeys(flatten(keys if isinstance(keys, (list, set)) else [keys])))
    wanted = set(ordered)
    if not isinstance(graph, HighLevelGraph):
        graph = HighLevelGraph.from_collections(str(id(graph)), graph, dependencies=())
    known = settings or Settings.from_environment()
    # A pool in the client's Region only saves a round trip: no task shall wait for its first worker.
    if known.client_pool and not _staffed(known.client_region):
        known = known.without_client_pool()
    chosen = assign(graph, wanted, known, _held)
    labels = chosen.labels() if chosen else _home_labels(graph)
    layered = fuse_blocks(_labelled(graph, labels), ordered).cull(wanted)
    # Layers that are written task by task keep tasks that are not needed, such as the Q of a QR of which only R is
    # used.
    tasks: Graph = needed_tasks(tasks_of(layered), wanted)
    tasks, users = _inline_constants(tasks, wanted)
    order = topological({key: task.dependencies for key, task in tasks.items()}, users)
    homes, own = _homes(order, tasks)
    regions = _regions(order, users, chosen) if chosen else {}
    tasks = _fuse_chains(order, tasks, users, homes, own, regions, wanted)
    if len(tasks) > max_tasks:
        raise too_many_tasks(len(tasks), max_tasks)
    return tasks


#: ``_held(key)``: Region that holds the result of an earlier computation. Only the scheduler's plugin knows it.
_held: Held = lambda key: None  # noqa: E731


#: ``_staffed(region)``: whether a pool has a worker now. Without a scheduler, all pools in the settings count as
#: staffed.
_staffed: Callable[[str], bool] = lambda region: True  # noqa: E731


def know_the_pools(held: Held, staffed: Callable[[str], bool]) -> None:
    """Set how graphs in this process find results of earlier computations and pools that have workers."""
    global _held, _staffed
    _held, _staffed = held, staffed


def too_many_tasks(count: int, limit: int) -> PlacementError:
    """Return the error for a submission with too many tasks, which proposes how to split it."""
    return PlacementError(
        f"This computation has {count:,} tasks, but the scheduler accepts at most {limit:,} at once. Split it, for example "
        f"into {-(-count // limit)} or more partitions of an asset (a month or a year each), or use larger chunks."
    )


def _home_labels(graph: HighLevelGraph) -> dict[str, str]:
    """Return the homes among each layer's ancestors as its label; a layer without homes takes the label of its users."""
    order = in_order(graph)
    homes: dict[str, Homes] = {}
    for name in order:
        mark = mark_of(name)
        own = frozenset([mark[1]]) if mark else NOWHERE
        pinned = own if mark and mark[0] == PIN else NOWHERE
        inherited = [carried(p, homes[p]) for p in graph.dependencies.get(name, ()) if p in homes]
        homes[name] = combine(NOWHERE if pinned else own, pinned, inherited)
    users: dict[str, set[str]] = defaultdict(set)
    for name, parents in graph.dependencies.items():
        for parent in parents:
            users[parent].add(name)
    for name in reversed(order):
        if not homes[name] and users[name]:
            labels = {homes[u] for u in users[name]}
            homes[name] = labels.pop() if len(labels) == 1 else NOWHERE
    return {name: "+".join(sorted(found)) or "-" for name, found in homes.items()}


def _labelled(graph: HighLevelGraph, labels: Mapping[str, str]) -> HighLevelGraph:
    """Annotate each layer with its label: Dask does not fuse layers whose annotations differ."""
    layers = {name: annotated(layer, {_LABEL: labels[name]}) for name, layer in graph.layers.items()}
    return HighLevelGraph(layers, graph.dependencies)


def _users(tasks: Mapping[Key, GraphNode]) -> dict[Key, list[Key]]:
    users: dict[Key, list[Key]] = {key: [] for key in tasks}
    for key, task in tasks.items():
        for dependency in task.dependencies:
            if dependency in users:
                users[dependency].append(key)
    return users


def _inline_constants(tasks: Graph, wanted: set[Key]) -> tuple[Graph, dict[Key, list[Key]]]:
    """Copy constants into their users, so that they do not add a level to the graph or hide a linear chain."""
    users = _users(tasks)
    inlined: dict[Key, list[GraphNode]] = defaultdict(list)
    gone: set[Key] = set()
    for key, task in tasks.items():
        if key in wanted or not users[key] or not isinstance(task, DataNode):
            continue
        if any(isinstance(tasks[u], Alias) or not may_be_fused(tasks[u]) for u in users[key]):
            continue
        if len(users[key]) == 1 or _size_bytes(task.value) <= INLINE_BYTES:
            gone.add(key)
            for user in users[key]:
                inlined[user].append(task)
    if not gone:
        return tasks, users
    result: Graph = {}
    for key, task in tasks.items():
        if key not in gone:
            result[key] = fuse([task, *inlined[key]], key) if key in inlined else task
    return result, _users(result)


def _size_bytes(value: Any) -> int:
    return int(value.nbytes) if isinstance(value, (np.ndarray, np.generic)) else 64


def _homes(order: Iterable[Key], tasks: Graph) -> tuple[dict[Key, Homes], dict[Key, Marks]]:
    """Return the homes among each task's ancestors, and the marks of each task itself."""
    homes: dict[Key, Homes] = {}
    own: dict[Key, Marks] = {}
    for key in order:
        reads, pins = marks(key, tasks[key])
        if len(reads | pins) > 1:
            raise PlacementError(describe_mixture(key, reads | pins))
        homes[key] = combine(reads, pins, (_inherited(d, homes) for d in tasks[key].dependencies))
        own[key] = (reads, pins)
    return homes, own


def _regions(order: Sequence[Key], users: Mapping[Key, Sequence[Key]], chosen: Assignment) -> dict[Key, str]:
    """Return the chosen Regions of tasks that differ from the homes of their data.

    Helper tasks inside a layer, which the assignment does not cover, run where their users run.
    """
    regions: dict[Key, str] = {}
    for key in reversed(order):
        if region := chosen.region(key):
            regions[key] = region
        elif users[key] and not chosen.covers(key):
            where = {regions.get(user) for user in users[key]}
            if len(where) == 1 and (region := where.pop()):
                regions[key] = region
    return regions


def _inherited(key: Key, homes: Mapping[Key, Homes]) -> Homes:
    if key in homes:
        return carried(key, homes[key])
    region = _held(key)
    return frozenset([region]) if region else NOWHERE


def _fuse_chains(
    order: Iterable[Key],
    tasks: Graph,
    users: dict[Key, list[Key]],
    homes: Mapping[Key, Homes],
    own: Mapping[Key, Marks],
    regions: Mapping[Key, str],
    wanted: set[Key],
) -> Graph:
    """Fuse tasks that must run one after the other in one place; a fused task keeps the key of the last one.

    Three cases are fused: a task whose only input has no other user; a task that needs a result and another result that
    was derived from it for this task alone (``x - x.mean()``); and consecutive joins in one Region: ``(a + b) + c``
    over three Regions costs two WAN latencies if all three inputs meet in one task, and four if they do not.
    """
    chains: dict[Key, list[Key]] = {}
    needed: dict[Key, frozenset[Key]] = {}
    last: dict[Key, Key] = {}

    def end(key: Key) -> Key:
        while key in last:
            last[key] = last.get(last[key], last[key])
            key = last[key]
        return key

    def place(key: Key) -> Homes | str:
        return regions.get(key) or homes.get(key, NOWHERE)

    for key in order:
        task = tasks[key]
        links, needs = [key], frozenset(task.dependencies)
        while may_be_fused(task):
            # Several inputs that do not depend on each other are not fused: they may run in parallel.
            before = [d for d in needs if len(needs) == 1 or (needed.get(d) and needed[d] <= needs - {d})]
            joined = [d for d in needs if d in regions] if key in regions else []
            below = before[0] if len(before) == 1 else joined[0] if len(joined) == 1 else None
            if (
                below not in chains
                or below in wanted
                or place(below) != place(key)
                or not may_be_fused(tasks[below])
                or any(end(user) != key for user in users[below])
            ):
                break
            last[below] = key
            needs = needs - {below} | needed[below]
            chains[below].extend(links)
            links = chains.pop(below)
        chains[key], needed[key] = links, needs
    return {
        key: _fused(key, [tasks[k] for k in links], [own[k] for k in links], regions.get(key))
        for key, links in chains.items()
    }


def _fused(key: Key, links: list[GraphNode], own: list[Marks], region: str | None) -> GraphNode:
    if len(links) == 1:
        return compact(links[0], own[0], region)
    reads, pins = (combine(NOWHERE, NOWHERE, kind) for kind in zip(*own, strict=True))
    return compact(fuse(links, key), (reads, pins), region)
