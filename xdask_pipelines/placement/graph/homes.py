"""Provenance: which Region a task belongs to, told by key names through every level of fusion.

Belongs here: naming a home, finding homes in keys and nested task specs. Does not belong here: deciding where a task
runs (placement_rules).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from functools import lru_cache
from typing import Any

from dask.base import is_dask_collection
from dask.typing import Key

from xdask_pipelines.errors import PlacementError
from xdask_pipelines.placement.dask_internals.task_specs import Alias, GraphNode, Task, fused_in
from xdask_pipelines.placement.graph.task_codec import Fused

Homes = frozenset[str]
NOWHERE: Homes = frozenset()

_SHARED: dict[Homes, Homes] = {NOWHERE: NOWHERE}

PIN = "pin"
#: Two signs: keys of users' own, such as an address of e-mail, have one.
_MARK = re.compile(r"([a-z_]+)@@([a-z0-9_]+)-")
#: Keys of `dask.graph_manipulation.checkpoint`: what waits for them (`bind`, `wait_on`) takes no data from them.
_CHECKPOINT = re.compile(r"checkpoint(_map)?-[0-9a-f]{32}")
_REGION = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")


def layer_name(kind: str, region: str, token: str) -> str:
    """Name of a layer whose tasks belong in ``region``.

    Hyphens of the Region become underscores: Dask cuts a key's prefix at a hyphen that precedes a digit, and
    ``us-east-1`` and ``us-east-2`` would share one prefix, one group and one duration estimate.

    Raises
    ------
    PlacementError
        If the Region's name could not be read back from a key.
    """
    if not _REGION.fullmatch(region):
        raise PlacementError(
            f"Region name {region!r} cannot be part of a task's name: use lower-case letters, digits and single "
            "hyphens, as AWS does."
        )
    return f"{kind}@@{region.replace('-', '_')}-{token}"


@lru_cache(maxsize=65_536)
def _parse(name: str) -> tuple[str, str] | None:
    found = _MARK.match(name)
    return (found.group(1), found.group(2).replace("_", "-")) if found else None


def mark_of(key: Key) -> tuple[str, str] | None:
    """``(kind, region)`` that a key's name states, or None."""
    name = key[0] if isinstance(key, tuple) and key else key
    return _parse(name) if isinstance(name, str) and "@@" in name else None


def is_checkpoint(key: Key) -> bool:
    """Whether users of a task take no data from it, but wait for it to end."""
    name = key[0] if isinstance(key, tuple) and key else key
    return isinstance(name, str) and name[:10] == "checkpoint" and bool(_CHECKPOINT.match(name))


def carried(key: Key, homes: Homes) -> Homes:
    """Homes of the data that users of a task get from it."""
    return NOWHERE if is_checkpoint(key) else homes


def nested(spec: Any) -> Iterator[tuple[Key, GraphNode]]:
    """A task's spec and all that is nested in it, at any depth, with the keys they have there.

    Blockwise fusion inside linear fusion nests subgraphs: one level of looking missed sums and single-chunk means.
    """
    stack: list[tuple[Key | None, Any]] = [(None, spec)]
    while stack:
        name, node = stack.pop()
        if not isinstance(node, GraphNode) or (name is None and isinstance(node, Alias) and node is not spec):
            continue  # an argument that refers to another task is no work of this one
        yield (name if name is not None else node.key), node
        if isinstance(node, Task):
            if inner := fused_in(node):
                stack.extend(inner[0].items())
            stack.extend((None, a) for a in (*node.args, *node.kwargs.values()))


def marks(key: Key, spec: Any) -> tuple[Homes, Homes]:
    """Homes stated by one task: those of the reads inside it, and those it is pinned to.

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
    # A fused task keeps the key of its last link, so that its own key says as much as the nested ones.
    for kind, region in ([own] if own else []) + [m for k, _ in nested(spec) if (m := mark_of(k))]:
        (pins if kind == PIN else reads).add(region)
    return _shared(reads), _shared(pins)


def _shared(regions: Iterable[str]) -> Homes:
    """One set for each combination of Regions: there are as many tasks as chunks, and few combinations."""
    return _SHARED.setdefault(found := frozenset(regions), found)


def combine(reads: Homes, pins: Homes, inherited: Iterable[Homes]) -> Homes:
    """Homes among a task's ancestors, itself included.

    A pin starts afresh: what is pinned has its data there, whatever it was made from.
    """
    if pins:
        return _shared(pins | reads) if reads else pins
    distinct = {reads, *inherited} - {NOWHERE}
    if len(distinct) < 2:
        return distinct.pop() if distinct else NOWHERE
    return _shared(reads.union(*distinct))


def homes_of(*xs: Any) -> Homes:
    """Regions that lazy objects read in or are pinned to, told from the layers of their graphs."""
    found = set()
    for x in xs:
        graph = x.__dask_graph__() if is_dask_collection(x) else None
        names = getattr(graph, "layers", graph) or ()
        found |= {mark[1] for name in names if (mark := mark_of(name))}
    return frozenset(found)


def describe_mixture(key: Key, homes: Iterable[str]) -> str:
    """The message for a task that reads in two Regions at once."""
    return (
        f"Task {str(key)!r} mixes data of {' and '.join(sorted(homes))} inside one task, so that no Region is its "
        "home. Such a task is made by fusing a graph before placement saw it. Import xdask_pipelines.placement before "
        "you build arrays, compute with xdask_pipelines.placement.compute, and do not call dask.optimize with another "
        "optimizer."
    )
