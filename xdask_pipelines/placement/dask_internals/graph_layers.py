"""Layers of Dask's graphs before they become tasks.

Belongs here: what layers say of themselves that Dask does not document. Does not belong here: their homes, sizes and users
(graph), tasks (task_specs).
"""

from __future__ import annotations

import copy
from collections.abc import Collection, Mapping, Sequence
from functools import partial
from typing import Any, Literal

from dask._task_spec import Task
from dask.array.reductions import mean_chunk, moment_chunk
from dask.base import collections_to_expr, unpack_collections
from dask.blockwise import Blockwise, BlockwiseDepDict, blockwise, blockwise_token, optimize_blockwise
from dask.core import flatten
from dask.highlevelgraph import HighLevelGraph, Layer, MaterializedLayer
from dask.sizeof import sizeof
from dask.typing import Key
from distributed.shuffle._rechunk import P2PRechunkLayer

__all__ = ["Blockwise", "HighLevelGraph", "Layer", "MaterializedLayer", "blockwise", "flatten"]


# ---- graphs -----------------------------------------------------------------------------------------------------------


def submitted(lazy: Sequence[Any]) -> Mapping[Key, Any]:
    """The graph that a client would submit of collections, optimised as Dask's configuration says."""
    graph: Mapping[Key, Any] = collections_to_expr(lazy).optimize().__dask_graph__()
    return graph


def unpack(x: Any) -> tuple[list[Any], Any]:
    """Collections inside a container of any kind, and a function that puts values into their places."""
    collections, repack = unpack_collections(x)
    return list(collections), repack


def in_order(graph: HighLevelGraph) -> list[str]:
    """Names of layers, each after those that it needs."""
    return list(graph._toposort_layers())


def fuse_blocks(graph: HighLevelGraph, keys: Sequence[Key]) -> HighLevelGraph:
    """The same graph, with blockwise layers fused that have the same annotations."""
    fused: HighLevelGraph = optimize_blockwise(graph, keys=keys)
    return fused


# ---- layers -----------------------------------------------------------------------------------------------------------


def block_inputs(values: Mapping[tuple[int, ...], Any], numblocks: Sequence[int]) -> BlockwiseDepDict:
    """A value for each block, as an input of a blockwise layer."""
    return BlockwiseDepDict(dict(values), numblocks=tuple(numblocks))


def annotated(layer: Layer, annotations: Mapping[str, Any]) -> Layer:
    """A copy of a layer with more annotations."""
    copied = copy.copy(layer)
    copied.annotations = {**(layer.annotations or {}), **annotations}
    return copied


def is_shuffle(layer: Layer) -> bool:
    """Whether a layer is a P2P rechunk, each block of which may need each block of its input."""
    return isinstance(layer, P2PRechunkLayer)


def stated_array(layer: Layer) -> Mapping[str, Any]:
    """What a layer notes of its array: ``chunks``, ``dtype``; nothing for what is no array."""
    return layer.collection_annotations or {}


def keywords(layer: Layer) -> Mapping[str, Any]:
    """Keyword arguments of the function of a blockwise layer; nothing for others."""
    return getattr(layer.task, "kwargs", {}) if isinstance(layer, Blockwise) else {}


def function_of(layer: Layer) -> tuple[Any, dict[str, Any]]:
    """Function of a blockwise layer without what `partial` adds, and these keywords; ``(None, {})`` for others."""
    task = getattr(layer, "task", None)
    function: Any = task.func if isinstance(layer, Blockwise) and isinstance(task, Task) else None
    given: dict[str, Any] = {}
    while isinstance(function, partial):
        function, given = function.func, {**function.keywords, **given}
    return function, given


def reduction_step(function: Any) -> Literal["mean", "moment"] | None:
    """Of which of Dask's reductions a function is the first step, if its blocks are dictionaries of arrays."""
    return "mean" if function is mean_chunk else "moment" if function is moment_chunk else None


def apply_function(layer: Blockwise, values: Collection[Any]) -> Any:
    """What the function of a blockwise layer returns for values of its arguments."""
    return layer.task({blockwise_token(i): value for i, value in enumerate(values)})


def size_in_memory(value: Any) -> int:
    """Bytes of a value, as workers count them."""
    return int(sizeof(value))
