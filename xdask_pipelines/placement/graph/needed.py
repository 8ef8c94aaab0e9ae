"""The blocks of each layer that results need, found before the tasks of most layers exist.

Belongs here: following dependencies from results back through layers. Does not belong here: culling a graph (Dask does
that after fusion), homes (layer_homes).

The assignment must not count blocks that are never computed: of the difference of two running sums, perhaps only the
last time step is wanted. Dask's own culling of an unfused graph takes longer than the whole assignment.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import Any

import numpy as np
from dask.typing import Key

from xdask_pipelines.placement.dask_internals.graph_layers import (
    Blockwise,
    HighLevelGraph,
    Layer,
    MaterializedLayer,
    in_order,
)
from xdask_pipelines.placement.dask_internals.task_specs import GraphNode


class Needed:
    """Blocks and tasks that results need.

    Parameters
    ----------
    graph
        The graph before optimisation.
    wanted
        Keys of the results.
    """

    def __init__(self, graph: HighLevelGraph, wanted: Iterable[Key]) -> None:
        self._graph = graph
        #: Layers whose keys do not contain the layer's name: all their blocks count as needed.
        self._whole = {name for name, layer in graph.layers.items() if not _names_its_blocks(name, layer)}
        self._arrays: dict[str, np.ndarray] = {}
        self._tasks: defaultdict[str, set[Key]] = defaultdict(set)
        for key in wanted:
            self._tasks[layer_of(key)].add(key)
        for name in reversed(in_order(graph)):
            layer, before = graph.layers[name], graph.dependencies.get(name, ())
            if isinstance(layer, Blockwise):
                self._through_blockwise(name, layer, before)
            elif isinstance(layer, MaterializedLayer) and name not in self._whole:
                self._through_tasks(name, layer)
            else:
                self._whole |= set(before)

    def blocks(self, name: str, shape: Sequence[int]) -> np.ndarray | None:
        """Return whether each block of a layer is needed, in the given shape; None if all blocks are."""
        if name in self._whole:
            return None
        needed = self._arrays.get(name)
        if needed is None:
            needed = np.zeros(shape, bool)
            for key in self._tasks.get(name, ()):
                if is_block_of(key, name):
                    index = key[1:] if isinstance(key, tuple) else ()
                    if len(index) != len(shape):
                        return None
                    needed[index] = True  # type: ignore[index]
        return None if needed.shape != tuple(shape) or needed.all() else needed

    def tasks(self, name: str) -> Collection[Key]:
        """Return the needed tasks of a layer that is not blockwise."""
        known = isinstance(self._graph.layers[name], MaterializedLayer) and name not in self._whole
        return self._tasks[name] if known else self._graph.layers[name]

    def _through_blockwise(self, name: str, layer: Blockwise, before: Collection[str]) -> None:
        out = tuple(layer.output_indices)
        shape = [layer.dims[symbol] for symbol in out]
        want = self._arrays.setdefault(name, np.zeros(shape, bool))
        if name in self._whole:
            want[...] = True
        for key in self._tasks.pop(name, ()):
            want[key[1:] if isinstance(key, tuple) else ()] = True  # type: ignore[index]
        if not want.any():
            return
        inputs = [(str(argument), tuple(index)) for argument, index in layer.indices if index is not None]
        self._whole |= set(before) - {argument for argument, _ in inputs}
        for argument, index in inputs:
            if argument in before:
                self._add(argument, _projected(want, out, index, layer.numblocks[argument]))

    def _add(self, name: str, want: np.ndarray) -> None:
        if isinstance(self._graph.layers[name], Blockwise):
            self._arrays[name] = self._arrays[name] | want if name in self._arrays else want.copy()
        elif name not in self._whole:
            self._tasks[name].update((name, *index) for index in np.argwhere(want).tolist())

    def _through_tasks(self, name: str, layer: MaterializedLayer) -> None:
        seen = self._tasks[name]
        stack = [key for key in seen if key in layer]
        while stack:
            for key in dependencies(layer.mapping[stack.pop()], layer, self._graph.layers):
                if key in layer:
                    if key not in seen:
                        seen.add(key)
                        stack.append(key)
                else:
                    self._tasks[layer_of(key)].add(key)


def layer_of(key: Key) -> str:
    """Return the layer name in a block's key."""
    return str(key[0] if isinstance(key, tuple) and key else key)


def is_block_of(key: Key, name: str) -> bool:
    """Return whether a key is a block of the named layer, and not a helper task of that layer."""
    if not isinstance(key, tuple):
        return key == name
    return key[0] == name and not any(isinstance(index, str) for index in key[1:])


def dependencies(task: Any, layer: Layer, layers: Collection[str]) -> Iterator[Key]:
    """Iterate over the keys in one task of a layer; the task may have Dask's legacy format."""
    if isinstance(task, GraphNode):
        yield from (d for d in task.dependencies if d in layer or _name(d) in layers)
        return
    stack = [task]
    while stack:
        one = stack.pop()
        if isinstance(one, GraphNode):
            yield from dependencies(one, layer, layers)
        elif isinstance(one, (tuple, str)) and (_name(one) in layers or _is_in(one, layer)):
            yield one
        elif isinstance(one, (list, tuple)):
            stack += one
        elif isinstance(one, dict):
            stack += one.values()


def _names_its_blocks(name: str, layer: Layer) -> bool:
    return not isinstance(layer, MaterializedLayer) or any(is_block_of(key, name) for key in layer.mapping)


def _name(key: Any) -> Any:
    """Return the part of a key that may be the name of a layer."""
    first = key[0] if isinstance(key, tuple) and key else key
    return first if isinstance(first, str) else None


def _is_in(key: Any, layer: Layer) -> bool:
    try:
        return key in layer
    except TypeError:  # a task in Dask's legacy format, which contains lists
        return False


def _projected(want: np.ndarray, out: Sequence[Any], index: Sequence[Any], blocks: Sequence[int]) -> np.ndarray:
    """Return the blocks of an input that the wanted blocks of a blockwise layer need."""
    if want.all():
        return np.ones(blocks, bool)
    if len(set(index)) < len(index):  # a diagonal
        return np.ones(blocks, bool)
    rest = np.asarray(want.any(axis=tuple(axis for axis, symbol in enumerate(out) if symbol not in index)))
    left = [symbol for symbol in out if symbol in index]
    rest = rest.transpose([left.index(symbol) for symbol in index if symbol in left])
    rest = np.expand_dims(rest, tuple(axis for axis, symbol in enumerate(index) if symbol not in left))
    single = tuple(axis for axis, count in enumerate(blocks) if count == 1)
    return np.array(np.broadcast_to(rest.any(axis=single, keepdims=True), blocks))
