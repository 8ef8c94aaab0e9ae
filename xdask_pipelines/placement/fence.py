"""The fence: graph optimisation that never fuses tasks of different homes.

Belongs here: what runs as Dask's ``array_optimize`` (set on the client, run on the scheduler). Does not belong here:
assigning workers, which is the scheduler plugin's.

A fence on leaves alone ships too much: wind speed east minus wind speed west moved 15.4 MB, with every layer labelled
7.7 MB, the smallest cut. Labels are the sets of homes among a layer's ancestors; Blockwise fusion respects annotations
that differ.
"""

from __future__ import annotations

import copy
from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from dask._task_spec import Alias, DataNode, GraphNode, Task, TaskRef, convert_legacy_graph
from dask.blockwise import optimize_blockwise
from dask.core import flatten
from dask.highlevelgraph import HighLevelGraph
from dask.typing import Key
from dask.utils import ensure_dict

from xdask_pipelines.errors import PlacementError
from xdask_pipelines.placement.compact import compact
from xdask_pipelines.placement.decide import topological
from xdask_pipelines.placement.homes import (
    NOWHERE,
    PIN,
    Homes,
    carried,
    combine,
    describe_mixture,
    layer_name,
    mark_of,
    marks,
)
from xdask_pipelines.placement.joins import one_join
from xdask_pipelines.placement.sizes import Sizes
from xdask_pipelines.placement.smaller_side import Size, moved

MAX_TASKS = 40_000
#: A constant up to this size is copied into each of its users: a round trip over a WAN costs more than these bytes.
INLINE_BYTES = 1_024
_LABEL = "xdask_home"

Graph = dict[Key, GraphNode]
Marks = tuple[Homes, Homes]


def fenced(graph: Any, keys: Any, *, max_tasks: int = MAX_TASKS, **_: Any) -> Graph:
    """Optimise an array graph without ever mixing homes inside a task.

    Parameters
    ----------
    graph
        High-level or plain graph.
    keys
        Output keys, possibly nested.
    max_tasks
        Most tasks accepted in one submission.

    Raises
    ------
    PlacementError
        If a task mixes reads of two Regions, or there are more than ``max_tasks``. Optimisation runs inside the
        scheduler's submission, so that the computation fails before any task has run.
    """
    wanted = list(flatten(keys if isinstance(keys, (list, set)) else [keys]))
    if not isinstance(graph, HighLevelGraph):
        graph = HighLevelGraph.from_collections(str(id(graph)), graph, dependencies=())
    layered = optimize_blockwise(_labelled(graph), keys=wanted).cull(set(wanted))
    tasks: Graph = convert_legacy_graph(ensure_dict(layered))
    tasks, users = _inline_constants(tasks, set(wanted))
    needs = {key: task.dependencies for key, task in tasks.items()}
    order = topological(needs, users)
    homes, own = _homes(order, tasks)
    size = Sizes([graph]).of_key
    if away := moved(order, needs, users, homes, {*(k for k, m in own.items() if any(m)), *wanted}, size):
        tasks |= {key: _pinned(tasks[key], region) for key, region in away.items()}
        homes, own = _homes(order, tasks)
    tasks = _fuse_chains(order, tasks, users, homes, own, set(wanted), size)
    if len(tasks) > max_tasks:
        raise too_many_tasks(len(tasks), max_tasks)
    return tasks


def too_many_tasks(count: int, limit: int) -> PlacementError:
    """The error that refuses a submission, with the split to use."""
    return PlacementError(
        f"This computation has {count:,} tasks; at most {limit:,} go to the scheduler at once. Split it, for example "
        f"into {-(-count // limit)} or more partitions of an asset (a month or a year each), or use larger chunks."
    )


def _labelled(graph: HighLevelGraph) -> HighLevelGraph:
    """Annotate each layer with the homes among its ancestors; homeless layers take their users' label."""
    order = graph._toposort_layers()
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
    layers = {}
    for name, layer in graph.layers.items():
        layers[name] = copy.copy(layer)
        layers[name].annotations = {**(layer.annotations or {}), _LABEL: "+".join(sorted(homes[name])) or "-"}
    return HighLevelGraph(layers, graph.dependencies)


def _users(tasks: Mapping[Key, GraphNode]) -> dict[Key, list[Key]]:
    users: dict[Key, list[Key]] = {key: [] for key in tasks}
    for key, task in tasks.items():
        for dependency in task.dependencies:
            if dependency in users:
                users[dependency].append(key)
    return users


def _inline_constants(tasks: Graph, wanted: set[Key]) -> tuple[Graph, dict[Key, list[Key]]]:
    """Put constants into their users, so that they neither cost a level of the graph nor hide a linear chain."""
    users = _users(tasks)
    inlined: dict[Key, list[GraphNode]] = defaultdict(list)
    gone: set[Key] = set()
    for key, task in tasks.items():
        if key in wanted or not users[key] or not isinstance(task, DataNode):
            continue
        if any(tasks[u].block_fusion or isinstance(tasks[u], Alias) for u in users[key]):
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
            result[key] = GraphNode.fuse(task, *inlined[key], key=key) if key in inlined else task
    return result, _users(result)


def _size_bytes(value: Any) -> int:
    return int(value.nbytes) if isinstance(value, (np.ndarray, np.generic)) else 64


def _homes(order: Iterable[Key], tasks: Graph) -> tuple[dict[Key, Homes], dict[Key, Marks]]:
    """Homes among each task's ancestors, and the marks of each task itself."""
    homes: dict[Key, Homes] = {}
    own: dict[Key, Marks] = {}
    for key in order:
        reads, pins = marks(key, tasks[key])
        if len(reads | pins) > 1:
            raise PlacementError(describe_mixture(key, reads | pins))
        homes[key] = combine(reads, pins, (carried(d, homes.get(d, NOWHERE)) for d in tasks[key].dependencies))
        own[key] = (reads, pins)
    return homes, own


def _pinned(task: GraphNode, region: str) -> GraphNode:
    """The same task, pinned to a Region."""
    mark = layer_name(PIN, region, "moved")
    return GraphNode.fuse(task, Task(mark, _same, TaskRef(task.key)), key=task.key)


def _same(x: Any) -> Any:
    return x


def _fuse_chains(
    order: Iterable[Key],
    tasks: Graph,
    users: dict[Key, list[Key]],
    homes: Mapping[Key, Homes],
    own: Mapping[Key, Marks],
    wanted: set[Key],
    size: Size,
) -> Graph:
    """Fuse what must run one after the other anyway and has one set of homes; what is fused keeps the last task's key.

    That is a task whose only input is made for it alone, and one that needs both a task and what is made of that task for
    it alone (``x - x.mean()``). And joins over Regions, one after the other, where they are no dearer as one.
    """
    chains: dict[Key, list[Key]] = {}
    needed: dict[Key, frozenset[Key]] = {}
    last: dict[Key, Key] = {}

    def end(key: Key) -> Key:
        while key in last:
            last[key] = last.get(last[key], last[key])
            key = last[key]
        return key

    for key in order:
        task = tasks[key]
        links, needs = [key], frozenset(task.dependencies)
        while not task.block_fusion:
            # Of several inputs that are made of others none: they may run side by side.
            before = [d for d in needs if len(needs) == 1 or (needed.get(d) and needed[d] <= needs - {d})]
            joined = [d for d in needs if len(homes.get(d, NOWHERE)) > 1] if len(homes[key]) > 1 else []
            below = before[0] if len(before) == 1 else joined[0] if len(joined) == 1 else None
            if (
                below not in chains
                or below in wanted
                or tasks[below].block_fusion
                or any(end(user) != key for user in users[below])
            ):
                break
            alike = below in before and homes[below] == homes[key]
            if not alike and (below not in joined or not one_join(needed[below], below, needs - {below}, homes, size)):
                break
            last[below] = key
            needs = needs - {below} | needed[below]
            chains[below].extend(links)
            links = chains.pop(below)
        chains[key], needed[key] = links, needs
    return {key: _fused(key, [tasks[k] for k in links], [own[k] for k in links]) for key, links in chains.items()}


def _fused(key: Key, links: list[GraphNode], own: list[Marks]) -> GraphNode:
    if len(links) == 1:
        return compact(links[0], own[0])
    reads, pins = (combine(NOWHERE, NOWHERE, kind) for kind in zip(*own, strict=True))
    return compact(GraphNode.fuse(*links, key=key), (reads, pins))
