"""Bytes of what a task cuts from a block: a slice of it, or points.

Belongs here: reading what Dask's own tasks cut. Does not belong here: sizes of whole blocks (sizes).

Rechunks, choices of points and of steps, and overlaps cut blocks to pieces that no array stands for.
"""

from __future__ import annotations

from collections.abc import Callable
from types import BuiltinFunctionType, FunctionType
from typing import Any

import numpy as np
from dask._task_spec import DataNode, GraphNode, Task, TaskRef, _execute_subgraph
from dask.typing import Key

_CUTS = frozenset({"getitem", "_getitem", "_vindex_slice_and_transpose"})
_MODULES = ("operator", "_operator", "dask.array.")
#: Shape and dtype of the block that a key stands for, if that is known.
Block = tuple[tuple[int, ...], np.dtype[Any]]


def cut_bytes(spec: GraphNode, block_of: Callable[[Key], Block | None]) -> int | None:
    """Bytes of the result of a task that cuts a block, possibly fused with others before it; None for all other tasks."""
    constants: dict[Key, Any] = {}
    task: Any = spec
    while isinstance(task, Task) and task.func is _execute_subgraph:
        inner, last = task.args[:2]
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
    try:
        return int(np.broadcast_to(np.zeros((), dtype), shape)[_plain(index)].nbytes)  # takes the memory of one element
    except (IndexError, TypeError, ValueError):
        return None


def _plain(index: tuple[Any, ...]) -> tuple[Any, ...]:
    """An index as NumPy takes it: points are sometimes tuples of numbers."""
    return tuple(list(i) if isinstance(i, tuple) else i for i in index)
