"""Sizes of the pieces that tasks cut from blocks: slices or points.

Belongs here: interpreting the indices in Dask's own tasks. Does not belong here: sizes of whole blocks (sizes).

Rechunks, selections and overlaps cut blocks into pieces whose chunks no array describes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import repeat
from math import prod
from types import BuiltinFunctionType, FunctionType
from typing import Any

import numpy as np
from dask.typing import Key

from xdask_pipelines.placement.dask_internals.task_specs import DataNode, GraphNode, Task, TaskRef, fused_in

_CUTS = frozenset({"getitem", "_getitem", "_vindex_slice_and_transpose"})
_MODULES = ("operator", "_operator", "dask.array.")
#: Shape and dtype of a block.
Block = tuple[tuple[int, ...], np.dtype[Any]]


def cut_bytes(spec: GraphNode, block_of: Callable[[Key], Block | None]) -> int | None:
    """Return the bytes that a task cuts from a block, possibly fused with earlier tasks; None for all other tasks."""
    constants: dict[Key, Any] = {}
    task: Any = spec
    while fused := fused_in(task):
        inner, last = fused
        constants |= {key: node.value for key, node in inner.items() if isinstance(node, DataNode)}
        task = inner.get(last)
    if (
        not isinstance(task, Task)
        or len(task.args) < 2
        or not isinstance(task.func, (FunctionType, BuiltinFunctionType))
    ):
        return None  # callable objects have no name
    name, (block, index) = task.func.__name__, task.args[:2]
    if name not in _CUTS or not str(task.func.__module__).startswith(_MODULES) or not isinstance(block, TaskRef):
        return None
    if isinstance(index, TaskRef):
        index = constants.get(index.key)
    if name == "_getitem" and isinstance(index, tuple) and len(index) == 2:
        index = index[1]  # the first item is a number; it keeps Dask from taking the index for a task
    known = block_of(block.key) if isinstance(index, tuple) else None
    if known is None:
        return None
    shape, dtype = known
    length = _length(shape, index)
    return None if length is None else length * dtype.itemsize


def _length(shape: Sequence[int], index: Sequence[Any]) -> int | None:
    """Return how many elements an index selects from an array of this shape, as in NumPy; None if it is not understood.

    A slice selects its length. All numbers and lists together select as many elements as their broadcast has.
    """
    if len(index) > len(shape):
        return None
    taken, points = 1, list[tuple[int, ...]]()
    for length, one in zip(shape, (*index, *repeat(slice(None), len(shape) - len(index))), strict=True):
        if isinstance(one, slice):
            taken *= len(range(*one.indices(length)))
            continue
        chosen = np.asarray(one)
        if chosen.dtype.kind not in "iu" and chosen.size:
            return None
        points.append(chosen.shape)
    try:
        return taken * prod(np.broadcast_shapes(*points))
    except ValueError:
        return None
