"""Layers of Dask's graphs before they become tasks.

Belongs here: undocumented properties of layers. Does not belong here: their homes, sizes and users (graph), tasks
(task_specs).
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from functools import partial
from typing import Any, Literal

from dask._task_spec import Task
from dask.array import Array
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


class _Optimised:
    """A collection of arrays with an optimizer of its own. All else is that of the collection."""

    def __init__(self, collection: Any, optimizer: Callable[..., Any]) -> None:
        self._collection, self.__dask_optimize__ = collection, optimizer

    def __getattr__(self, name: str) -> Any:
        return getattr(self._collection, name)


def with_optimizer(collections: Iterable[Any], optimizer: Callable[..., Any]) -> list[Any]:
    """Return collections that a client optimises with a function, if they are of arrays; others stay the same.

    Dask's configuration has an optimizer too, but it is one for the whole process: with two threads that set and restore
    it, one of them would submit with that of the other, or leave it behind.
    """
    configured = Array.__dask_optimize__
    return [_Optimised(x, optimizer) if getattr(x, "__dask_optimize__", None) is configured else x for x in collections]


def submitted(lazy: Sequence[Any]) -> Mapping[Key, Any]:
    """Return the graph that a client would submit for collections, optimised."""
    graph: Mapping[Key, Any] = collections_to_expr(lazy).optimize().__dask_graph__()
    return graph


def unpack(x: Any) -> tuple[list[Any], Any]:
    """Return the collections inside a container, and a function that puts values into their places."""
    collections, repack = unpack_collections(x)
    return list(collections), repack


def in_order(graph: HighLevelGraph) -> list[str]:
    """Return the names of layers, each after those that it needs."""
    return list(graph._toposort_layers())


def fuse_blocks(graph: HighLevelGraph, keys: Sequence[Key]) -> HighLevelGraph:
    """Fuse the blockwise layers of a graph that have the same annotations."""
    fused: HighLevelGraph = optimize_blockwise(graph, keys=keys)
    return fused


# ---- layers -----------------------------------------------------------------------------------------------------------


def block_inputs(values: Mapping[tuple[int, ...], Any], numblocks: Sequence[int]) -> BlockwiseDepDict:
    """Return values, one for each block, as an input of a blockwise layer."""
    return BlockwiseDepDict(dict(values), numblocks=tuple(numblocks))


def inputs_of(layer: Layer) -> Mapping[tuple[int, ...], Any] | None:
    """Return the values of `block_inputs` of a blockwise layer without other inputs; None for other layers."""
    if not isinstance(layer, Blockwise):
        return None
    inputs = list(layer.io_deps.values())
    if len(inputs) != 1 or len(layer.indices) != 1 or not isinstance(inputs[0], BlockwiseDepDict):
        return None
    mapping: Mapping[tuple[int, ...], Any] = inputs[0].mapping
    return mapping


def annotated(layer: Layer, annotations: Mapping[str, Any]) -> Layer:
    """Return a copy of a layer with further annotations."""
    copied = copy.copy(layer)
    copied.annotations = {**(layer.annotations or {}), **annotations}
    return copied


def is_shuffle(layer: Layer) -> bool:
    """Return whether a layer is a P2P rechunk, in which every block may need every input block."""
    return isinstance(layer, P2PRechunkLayer)


def stated_array(layer: Layer) -> Mapping[str, Any]:
    """Return the properties of a layer's array (``chunks``, ``dtype``); empty if the layer is not an array."""
    return layer.collection_annotations or {}


def keywords(layer: Layer) -> Mapping[str, Any]:
    """Return the keyword arguments of a blockwise layer's function; empty for other layers."""
    return getattr(layer.task, "kwargs", {}) if isinstance(layer, Blockwise) else {}


def function_of(layer: Layer) -> tuple[Any, dict[str, Any]]:
    """Return a blockwise layer's function without `partial`, and its keywords; ``(None, {})`` for other layers."""
    task = getattr(layer, "task", None)
    function: Any = task.func if isinstance(layer, Blockwise) and isinstance(task, Task) else None
    given: dict[str, Any] = {}
    while isinstance(function, partial):
        function, given = function.func, {**function.keywords, **given}
    return function, given


def reduction_step(function: Any) -> Literal["mean", "moment"] | None:
    """Return the Dask reduction of which a function is the first step, if its blocks are dictionaries of arrays."""
    return "mean" if function is mean_chunk else "moment" if function is moment_chunk else None


def apply_function(layer: Blockwise, values: Collection[Any]) -> Any:
    """Call the function of a blockwise layer with values for its arguments."""
    return layer.task({blockwise_token(i): value for i, value in enumerate(values)})


def size_in_memory(value: Any) -> int:
    """Return the bytes of a value, as workers count them."""
    return int(sizeof(value))
