"""What the wall says of tasks is what Dask does with them."""

from __future__ import annotations

import operator
import pickle

import dask
import dask.array as da
import numpy as np

from xdask_pipelines.placement.dask_internals.graph_layers import submitted
from xdask_pipelines.placement.dask_internals.task_specs import (
    DataNode,
    GraphNode,
    List,
    Task,
    TaskRef,
    fuse,
    fused_in,
    is_fused,
    may_be_fused,
    needed_tasks,
    state_of,
    tasks_of,
    with_state,
)

ADD = Task("add", operator.add, TaskRef("one"), 2)
NEGATE = Task("negate", operator.neg, TaskRef("add"))


def test_tasks_of_a_graph_in_either_way_of_writing() -> None:
    for graph in ({"one": 1, "add": ADD}, {"one": 1, "add": (operator.add, "one", 2)}):
        tasks = tasks_of(graph)
        assert all(isinstance(task, GraphNode) for task in tasks.values())
        assert tasks["add"].dependencies == {"one"}
        assert isinstance(tasks["one"], DataNode)
        assert tasks["one"].value == 1
        assert dask.get(tasks, "add") == 3


def test_needed_tasks_are_those_of_the_results() -> None:
    tasks = tasks_of({"one": 1, "add": ADD, "negate": NEGATE, "other": 7})
    assert needed_tasks(tasks, {"add"}).keys() == {"one", "add"}


def test_fuse_keeps_the_last_key_and_the_inputs_of_the_first() -> None:
    fused = fuse([ADD, NEGATE], "negate")
    assert (fused.key, fused.dependencies) == ("negate", {"one"})
    assert dask.get({"one": 1, "negate": fused}, "negate") == -3


def test_is_fused_and_fused_in_look_inside_at_any_depth() -> None:
    fused = fuse([ADD, NEGATE], "negate")
    assert not is_fused(ADD)
    assert fused_in(ADD) is None
    assert is_fused(fused)
    inner, last = fused_in(fused)  # type: ignore[misc]
    assert set(inner) == {"add", "negate"}
    assert last == "negate"


def test_fused_in_blockwise_tasks() -> None:
    tasks = tasks_of(submitted([((da.ones(4, chunks=2) + 1) * 2).persist(scheduler="sync") * 3 + 1]))
    assert any(is_fused(task) for task in tasks.values())


def test_may_be_fused_is_false_for_the_barrier_of_a_shuffle() -> None:
    assert may_be_fused(ADD)
    with dask.config.set({"array.rechunk.method": "p2p"}):
        tasks = tasks_of(dict(da.ones((4, 4), chunks=(1, 4)).rechunk((4, 1)).__dask_graph__()))
    barriers = [task for key, task in tasks.items() if str(key).startswith("shuffle-barrier")]
    assert barriers
    assert not any(map(may_be_fused, barriers))


def test_state_of_and_with_state_make_the_same_task() -> None:
    task = with_state(Task, pickle.loads(pickle.dumps(state_of(ADD))))
    assert (task.key, task.func, task.args, task.kwargs) == (ADD.key, ADD.func, ADD.args, ADD.kwargs)
    assert task.dependencies == ADD.dependencies


def test_list_holds_references() -> None:
    task = Task("sum", sum, List(TaskRef("one"), 2))
    assert task.dependencies == {"one"}
    assert dask.get({"one": 1, "sum": task}, "sum") == np.int64(3)
