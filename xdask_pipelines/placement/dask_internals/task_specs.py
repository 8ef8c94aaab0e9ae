"""Specifications of Dask's tasks, and fused tasks.

Belongs here: all uses of `dask._task_spec`. Does not belong here: Regions in keys (homes).
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

#: Attributes of a task, in the order of `state_of`.
_SLOTS: tuple[str, ...] = tuple(Task.get_all_slots())


def tasks_of(graph: Any) -> dict[Key, GraphNode]:
    """Return the tasks of a graph, by key."""
    return dict(convert_legacy_graph(ensure_dict(graph)))


def needed_tasks(tasks: dict[Key, GraphNode], wanted: set[Key]) -> dict[Key, GraphNode]:
    """Return the tasks that results need."""
    return dict(cull(tasks, wanted))


def fuse(tasks: Sequence[GraphNode], key: Key) -> GraphNode:
    """Fuse several tasks into one, which has the key of the last."""
    return GraphNode.fuse(*tasks, key=key)


def is_fused(task: Any) -> bool:
    """Return whether a task was fused from several."""
    return isinstance(task, Task) and task.func is _execute_subgraph


def fused_in(task: Any) -> tuple[Mapping[Key, GraphNode], Key] | None:
    """Return the tasks inside a fused task by key, and the key of the last; None if the task is not fused."""
    return (task.args[0], task.args[1]) if is_fused(task) else None


def may_be_fused(task: GraphNode) -> bool:
    """Return whether a task may be fused. P2P shuffles need their barrier and output tasks as they are."""
    return not task.block_fusion


def state_of(task: Task) -> tuple[Any, ...]:
    """Return all attributes of a task, for pickling."""
    return tuple([getattr(task, slot) for slot in _SLOTS])


def with_state(kind: type[T], state: Sequence[Any]) -> T:
    """Create a task of a class with these attributes."""
    task = kind.__new__(kind)
    for slot, value in zip(_SLOTS, state, strict=True):
        setattr(task, slot, value)
    return task
