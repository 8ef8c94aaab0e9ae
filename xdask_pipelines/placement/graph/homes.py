"""Homes: the Regions to which a task belongs, read from its key and from the keys of all tasks fused into it.

Belongs here: writing a home into a key, and reading homes from keys and nested task specs. Does not belong here:
deciding where a task runs (placement_rules).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from functools import lru_cache
from typing import Any

from dask.base import is_dask_collection
from dask.typing import Key

from xdask_pipelines.errors import PlacementError
from xdask_pipelines.placement.dask_internals.graph_layers import MaterializedLayer
from xdask_pipelines.placement.dask_internals.task_specs import Alias, GraphNode, Task, fused_in
from xdask_pipelines.placement.graph.task_codec import Fused

Homes = frozenset[str]
NOWHERE: Homes = frozenset()

_SHARED: dict[Homes, Homes] = {NOWHERE: NOWHERE}

PIN = "pin"
#: The mark has two `@` signs, because keys of users, such as an e-mail address, may have one.
_MARK = re.compile(r"([a-z_]+)@@([a-z0-9_]+)-")
#: Keys of `dask.graph_manipulation.checkpoint`: tasks that wait for them (`bind`, `wait_on`) take no data from them.
_CHECKPOINT = re.compile(r"checkpoint(_map)?-[0-9a-f]{32}")
_REGION = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")


def layer_name(kind: str, region: str, token: str) -> str:
    """Return the name of a layer whose tasks belong in ``region``.

    Hyphens of the Region become underscores: Dask ends a key's prefix at a hyphen that precedes a digit, so that
    ``us-east-1`` and ``us-east-2`` would share one prefix, one task group and one duration estimate.

    Raises
    ------
    PlacementError
        If the Region's name cannot be read back from a key.
    """
    if not _REGION.fullmatch(region):
        raise PlacementError(
            f"The Region name {region!r} cannot be part of a task's name. Use lower-case letters, digits and single "
            "hyphens, as AWS does."
        )
    return f"{kind}@@{region.replace('-', '_')}-{token}"


@lru_cache(maxsize=65_536)
def _parse(name: str) -> tuple[str, str] | None:
    match = _MARK.match(name)
    return (match.group(1), match.group(2).replace("_", "-")) if match else None


def mark_of(key: Key) -> tuple[str, str] | None:
    """Return ``(kind, region)`` from the name in a key, or None."""
    name = key[0] if isinstance(key, tuple) and key else key
    return _parse(name) if isinstance(name, str) and "@@" in name else None


def is_checkpoint(key: Key) -> bool:
    """Return whether the users of a task take no data from it, but only wait for its end."""
    name = key[0] if isinstance(key, tuple) and key else key
    return isinstance(name, str) and name[:10] == "checkpoint" and bool(_CHECKPOINT.match(name))


def carried(key: Key, homes: Homes) -> Homes:
    """Return the homes of the data that a task passes to its users."""
    return NOWHERE if is_checkpoint(key) else homes


def nested(spec: Any) -> Iterator[tuple[Key, GraphNode]]:
    """Iterate over a task's spec and all nested specs, at any depth, with their keys.

    Blockwise fusion inside linear fusion nests subgraphs: looking one level deep missed sums and single-chunk means.
    """
    stack: list[tuple[Key | None, Any]] = [(None, spec)]
    while stack:
        name, node = stack.pop()
        if not isinstance(node, GraphNode) or (name is None and isinstance(node, Alias) and node is not spec):
            continue  # an argument that refers to another task is not part of this one
        yield (name if name is not None else node.key), node
        if isinstance(node, Task):
            if inner := fused_in(node):
                stack.extend(inner[0].items())
            stack.extend((None, a) for a in (*node.args, *node.kwargs.values()))


def marks(key: Key, spec: Any) -> tuple[Homes, Homes]:
    """Return the homes that one task states: those of the reads inside it, and those to which it is pinned.

    Parameters
    ----------
    key
        The task's key.
    spec
        Its run specification (None for data that was scattered).

    Returns
    -------
    (read_homes, pinned_homes)
    """
    if isinstance(spec, Fused) and spec.marks is not None:
        return spec.marks
    reads: set[str] = set()
    pins: set[str] = set()
    own = mark_of(key)
    # A fused task keeps the key of its last task, so its own key is a mark like the nested ones.
    for kind, region in ([own] if own else []) + [m for k, _ in nested(spec) if (m := mark_of(k))]:
        (pins if kind == PIN else reads).add(region)
    return _shared(reads), _shared(pins)


def _shared(regions: Iterable[str]) -> Homes:
    """Return one shared set for each combination of Regions: a graph has many tasks and few combinations."""
    return _SHARED.setdefault(combination := frozenset(regions), combination)


def combine(reads: Homes, pins: Homes, inherited: Iterable[Homes]) -> Homes:
    """Return the homes among a task's ancestors and of the task itself.

    A pin replaces inherited homes: pinned data are in its Region, whatever they were computed from.
    """
    if pins:
        return _shared(pins | reads) if reads else pins
    distinct = {reads, *inherited} - {NOWHERE}
    if len(distinct) < 2:
        return distinct.pop() if distinct else NOWHERE
    return _shared(reads.union(*distinct))


def homes_of(*xs: Any) -> Homes:
    """Return the Regions in which lazy objects read or to which they are pinned, from the layers of their graphs."""
    return frozenset(mark[1] for name in marked_layers(*xs) if (mark := mark_of(name)))


def marked_layers(*xs: Any) -> set[str]:
    """Return the names of the layers in the graphs of lazy objects that read in a Region or pin to one."""
    names: set[str] = set()
    for x in xs:
        graph = x.__dask_graph__() if is_dask_collection(x) else None
        keys = getattr(graph, "layers", graph) or ()
        names |= {str(key[0] if isinstance(key, tuple) else key) for key in keys if mark_of(key)}
    return names


def has_placed_tasks(x: Any) -> bool:
    """Return whether a graph has tasks with homes inside a layer of another name, as delayed values of arrays do."""
    graph = x.__dask_graph__() if is_dask_collection(x) else None
    layers = getattr(graph, "layers", {"": MaterializedLayer(graph or {})}).values()
    tables = [layer.mapping for layer in layers if isinstance(layer, MaterializedLayer)]
    return any(
        mark_of(key) or (isinstance(task, Fused) and task.marks is not None and any(task.marks))
        for table in tables
        for key, task in table.items()
    )


def describe_mixture(key: Key, homes: Iterable[str]) -> str:
    """Return the error message for a task that mixes data of two Regions."""
    return (
        f"Task {str(key)!r} mixes data of {' and '.join(sorted(homes))}, so that it has no home Region. The graph was "
        "fused before placement could process it. Import xdask_pipelines.placement before you build arrays, compute with "
        "xdask_pipelines.placement.compute, and do not call dask.optimize with another optimizer."
    )
