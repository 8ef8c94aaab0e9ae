"""Bytes of what a task cuts from a block: a slice of it, or points.

Belongs here: reading what Dask's own tasks cut. Does not belong here: sizes of whole blocks (sizes).

Rechunks, choices of points and of steps, and overlaps cut blocks to pieces that no array stands for.
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
#: Shape and dtype of the block that a key stands for, if that is known.
Block = tuple[tuple[int, ...], np.dtype[Any]]


def cut_bytes(spec: GraphNode, block_of: Callable[[Key], Block | None]) -> int | None:
    """Bytes of the result of a task that cuts a block, possibly fused with others before it; None for all other tasks."""
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
        index = index[1]  # the first is a number that keeps the second from being taken for a task
    known = block_of(block.key) if isinstance(index, tuple) else None
    if known is None:
        return None
    shape, dtype = known
    length = _length(shape, index)
    return None if length is None else length * dtype.itemsize


def _length(shape: Sequence[int], index: Sequence[Any]) -> int | None:
    """How many elements an index takes of an array of this shape, as NumPy defines it; None for what is not understood.

    Slices take their lengths. All numbers and lists together take as many as they have when broadcast against each other.
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
