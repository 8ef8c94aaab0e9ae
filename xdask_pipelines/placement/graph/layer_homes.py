"""Homes of the blocks of each layer of a graph, before any task exists.

Belongs here: propagating homes through layers, block by block if the blocks of a layer differ (a concatenation of
Regions). Does not belong here: choosing Regions (assignment), homes of tasks (homes).

Homes are bit masks: bit `i` stands for the Region `i`. Single tasks are inspected only in layers that mix Regions and
are not blockwise; everything else is arithmetic on small arrays.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from dask.typing import Key
from distributed import Future

from xdask_pipelines.placement.dask_internals.graph_layers import Blockwise, HighLevelGraph, Layer, in_order, is_shuffle
from xdask_pipelines.placement.graph.homes import PIN, is_checkpoint, mark_of
from xdask_pipelines.placement.graph.needed import dependencies, is_block_of

#: One mask for all blocks of a layer, or one for each block: an array with the shape of the layer's blocks.
Masks = int | np.ndarray
#: ``held(key)``: Region that holds the result of an earlier computation; None if it is unknown.
Held = Callable[[Key], str | None]


class LayerHomes:
    """Homes of the blocks of a graph's layers.

    Parameters
    ----------
    graph
        The graph before optimisation.
    regions
        Regions in the order of their bits.
    held
        Returns the Region that holds the result of an earlier computation, by key.

    Attributes
    ----------
    masks
        Masks of the blocks of each layer.
    mixing
        Keys that each task needs, for the layers whose tasks were inspected.
    tasks
        Masks of the tasks of these layers.
    """

    def __init__(self, graph: HighLevelGraph, regions: Sequence[str], held: Held) -> None:
        self.masks: dict[str, Masks] = {}
        self.mixing: dict[str, dict[Key, list[Key]]] = {}
        self.tasks: dict[str, dict[Key, int]] = {}
        self._bit = {region: 1 << i for i, region in enumerate(regions)}
        self._held = held
        for name in in_order(graph):
            self.masks[name] = self._of_layer(name, graph.layers[name], graph.dependencies.get(name, ()))

    def of_block(self, key: Key) -> int:
        """Return the mask of one block; 0 if the key is not a block of a layer."""
        name, index = (key[0], key[1:]) if isinstance(key, tuple) else (key, ())
        masks = self.masks.get(name, 0)  # type: ignore[arg-type]
        if isinstance(masks, np.ndarray):
            return int(masks[index]) if len(index) == masks.ndim else union(masks)  # type: ignore[index]
        return masks

    def _of_layer(self, name: str, layer: Layer, before: Any) -> Masks:
        mark = mark_of(name)
        own = self._bit[mark[1]] if mark else 0
        if mark and mark[0] == PIN:
            return own
        inherited = {d: 0 if is_checkpoint(d) else self.masks[d] for d in before if d in self.masks}
        if isinstance(layer, Blockwise):
            return own | _blockwise(layer, inherited)
        distinct = {union(m) if isinstance(m, int) else -1 for m in inherited.values()} - {0}
        if is_shuffle(layer) or (len(distinct) < 2 and -1 not in distinct and inherited):
            together = own
            for masks in inherited.values():
                together |= union(masks)
            return together
        return self._task_by_task(name, layer, own)

    def _task_by_task(self, name: str, layer: Layer, own: int) -> Masks:
        task_masks: dict[Key, int] = {}
        needs: dict[Key, list[Key]] = {}
        for key, task in layer.items():
            if isinstance(task, Future):
                task_masks[key] = self._bit.get(self._held(key) or "", 0)
            else:
                needs[key] = list(dependencies(task, layer, self.masks))
        for key in needs:
            self._resolve(key, needs, task_masks, own)
        self.mixing[name], self.tasks[name] = needs, task_masks
        blocks = {k[1:]: m for k, m in task_masks.items() if isinstance(k, tuple) and is_block_of(k, name)}
        return _as_array(blocks, task_masks, name)

    def _resolve(self, key: Key, needs: Mapping[Key, list[Key]], task_masks: dict[Key, int], own: int) -> None:
        """Find the masks of a task and of the tasks of the same layer that it needs."""
        stack = [key]
        while stack:
            needed = needs[stack[-1]] if stack[-1] not in task_masks else ()
            missing = [d for d in needed if d in needs and d not in task_masks]
            if missing:
                stack += missing
                continue
            key = stack.pop()
            if key in task_masks:
                continue
            mask = own
            for d in needed:
                mask |= task_masks[d] if d in task_masks else 0 if is_checkpoint(d) else self.of_block(d)
            task_masks[key] = mask


def union(masks: Masks) -> int:
    """Return the homes of all blocks together."""
    return masks if isinstance(masks, int) else int(np.bitwise_or.reduce(masks, axis=None))


def _blockwise(layer: Blockwise, inherited: Mapping[str, Masks]) -> Masks:
    """Return the homes of a blockwise layer: each block has the homes of its input blocks."""
    out = tuple(layer.output_indices)
    everywhere, parts = 0, []
    for name, masks in inherited.items():
        if isinstance(masks, int):
            everywhere |= masks
            continue
        uses = [index for argument, index in layer.indices if argument == name]
        indices = [index for index in uses if index is not None and len(set(index)) == len(index) == masks.ndim]
        if not indices or len(indices) < len(uses):
            everywhere |= union(masks)
            continue
        for index in indices:
            contracted = tuple(axis for axis, symbol in enumerate(index) if symbol not in out)
            left = [symbol for symbol in index if symbol in out]
            part = np.bitwise_or.reduce(masks, axis=contracted) if contracted else masks
            part = part.transpose([left.index(symbol) for symbol in out if symbol in left])
            parts.append(np.expand_dims(part, tuple(axis for axis, symbol in enumerate(out) if symbol not in left)))
    if not parts:
        return everywhere
    together = np.array(everywhere)
    for part in parts:
        together = together | part
    return _alike(np.array(np.broadcast_to(together, [layer.dims[symbol] for symbol in out])))


def _as_array(blocks: Mapping[tuple[Any, ...], int], task_masks: Mapping[Key, int], name: str) -> Masks:
    """Return masks block by block; one mask of all tasks if the keys are not those of an array."""
    if name in task_masks:
        return task_masks[name]
    indices = np.array(list(blocks) if len({len(index) for index in blocks}) == 1 else [], dtype=object)
    try:
        whole = indices.astype(np.int64)
    except (TypeError, ValueError):
        whole = indices
    if whole.ndim != 2 or whole.dtype != np.int64 or not whole.shape[1]:  # of the last kind is one number
        return int(np.bitwise_or.reduce(list(task_masks.values()) or [0]))
    masks = np.zeros(whole.max(axis=0) + 1, np.int64)
    masks[tuple(whole.T)] = list(blocks.values())
    return _alike(masks)


def _alike(masks: np.ndarray) -> Masks:
    first = int(masks.flat[0]) if masks.size else 0
    return first if (masks == first).all() else masks
