"""Specifications of Dask's tasks, and what is fused in them.

Belongs here: all that knows `dask._task_spec`. Does not belong here: what a task's key says of its Region (homes).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from dask._task_spec import (
    Alias,
    DataNode,
    GraphNode,
    List,
    Task,
    TaskRef,
    _execute_subgraph,
    convert_legacy_graph,
    cull,
)
from dask.typing import Key
from dask.utils import ensure_dict

__all__ = ["Alias", "DataNode", "GraphNode", "List", "Task", "TaskRef"]

T = TypeVar("T", bound=Task)

#: Attributes that make up a task, in the order of `state_of`.
_SLOTS: tuple[str, ...] = tuple(Task.get_all_slots())


def tasks_of(graph: Any) -> dict[Key, GraphNode]:
    """Tasks of a graph of any kind, by key."""
    return dict(convert_legacy_graph(ensure_dict(graph)))


def needed_tasks(tasks: dict[Key, GraphNode], wanted: set[Key]) -> dict[Key, GraphNode]:
    """Those tasks that results need."""
    return dict(cull(tasks, wanted))


def fuse(tasks: Sequence[GraphNode], key: Key) -> GraphNode:
    """One task of several, which has the key of the last."""
    return GraphNode.fuse(*tasks, key=key)


def is_fused(task: Any) -> bool:
    """Whether a task is made of several."""
    return isinstance(task, Task) and task.func is _execute_subgraph


def fused_in(task: Any) -> tuple[Mapping[Key, GraphNode], Key] | None:
    """Tasks that a task is made of, by key, and the key of the last; None if it is one."""
    return (task.args[0], task.args[1]) if is_fused(task) else None


def may_be_fused(task: GraphNode) -> bool:
    """Whether a task may become part of another: P2P shuffles look for their barrier and for what gathers their output."""
    return not task.block_fusion


def state_of(task: Task) -> tuple[Any, ...]:
    """All attributes of a task, to be pickled."""
    return tuple([getattr(task, slot) for slot in _SLOTS])


def with_state(kind: type[T], state: Sequence[Any]) -> T:
    """A task of a kind with these attributes."""
    task = kind.__new__(kind)
    for slot, value in zip(_SLOTS, state, strict=True):
        setattr(task, slot, value)
    return task
