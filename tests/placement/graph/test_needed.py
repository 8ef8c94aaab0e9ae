"""What results need of a graph, and what is cut from blocks, told before any task runs."""

from __future__ import annotations

import dask.array as da
import numpy as np
import pytest
from dask._task_spec import Task, TaskRef
from dask.array.core import _vindex_slice_and_transpose
from dask.core import flatten
from dask.highlevelgraph import HighLevelGraph

from tests.support.places import EAST, SETTINGS, WEST, array
from xdask_pipelines.placement import plan
from xdask_pipelines.placement.graph.cut_blocks import cut_bytes
from xdask_pipelines.placement.graph.needed import Needed


def blocks(lazy: da.Array, name: str, shape: tuple[int, ...]) -> list[bool] | None:
    found = Needed(lazy.__dask_graph__(), flatten(lazy.__dask_keys__())).blocks(name, shape)
    return None if found is None else found.ravel().tolist()


def test_only_the_blocks_of_the_result_are_needed() -> None:
    x = array(EAST, (8, 6), (2, 3))
    assert blocks((x * 2)[3:4], x.name, (4, 2)) == [False, False, True, True, False, False, False, False]
    assert blocks(x.sum(), x.name, (4, 2)) is None
    assert blocks(x.T[:3], x.name, (4, 2)) == [True, False] * 4
    assert blocks((x + x[:, :1])[:, 5:], x.name, (4, 2)) is None
    assert blocks((x - x.mean(axis=1)[:, None])[:1, :1], x.name, (4, 2)) == [True, True] + [False] * 6
    assert blocks(x.cumsum(axis=0)[-1, :2], x.name, (4, 2)) == [True, False] * 4
    assert blocks(da.concatenate([x, x + 1])[8:9], x.name, (4, 2)) == [True, True] + [False] * 6


def foreign(x: da.Array, y: da.Array) -> da.Array:
    """A join whose layer has keys that say nothing of its name, and a layer of blocks that uses it."""
    pieces = {("of-someone", k, i): (np.negative, (n, i)) for k, n in enumerate((x.name, y.name)) for i in range(2)}
    joined = {("odd", "x", i): (np.add, ("of-someone", 0, i), ("of-someone", 1, i)) for i in range(2)}
    graph = HighLevelGraph.from_collections("join", {**pieces, **joined}, dependencies=[x, y])
    out = {("out", i): ("odd", "x", i) for i in range(2)}
    whole = HighLevelGraph({**graph.layers, "out": out}, {**graph.dependencies, "out": {"join"}})
    return da.Array(whole, "out", chunks=((2, 2),), dtype=float)


def test_a_layer_whose_keys_do_not_bear_its_name_is_needed_whole() -> None:
    x, y = array(EAST, (4,), 2), array(WEST, (4,), 2)
    lazy = foreign(x, y)
    assert blocks(lazy, x.name, (2,)) is None
    expected = lazy.compute(scheduler="sync", optimize_graph=False)
    np.testing.assert_allclose(expected, -(x + y).compute(scheduler="sync"))
    assert sum(plan(lazy, settings=SETTINGS).tasks_by_region.values()) >= 2


def test_pieces_of_a_layer_with_irregular_keys_are_planned() -> None:
    x, y = array(EAST, (4,), 2), array(WEST, (4,), 2)
    tasks = {("p", 0): (np.negative, (x.name, 0)), ("p", 1): (np.negative, (y.name, 0))}
    tasks |= {("j", 0): (np.add, ("p", 0), ("p", 1)), ("j", 0, 0): (np.add, ("p", 0), 1.0), ("j", 1): ("p", 1)}
    graph = HighLevelGraph.from_collections("j", tasks, dependencies=[x, y])
    lazy = da.Array(graph, "j", chunks=((2, 2),), dtype=float)
    assert plan(lazy, settings=SETTINGS).tasks_by_region.keys() == {EAST, WEST}


@pytest.mark.parametrize(
    "index",
    [
        (slice(1, 4), slice(None, None, -2)),
        (slice(-2, None), 3),
        (slice(None), [0, 2, 2, 5]),
        ([1, 2], slice(1, 3)),
        ([0, 4, 4], [1, 2, 3]),
        (np.array([[0], [1]]), np.array([1, 2])),
        (slice(3, 3), slice(None)),
        (2,),
    ],
)
def test_bytes_of_a_piece_are_those_that_numpy_cuts(index: tuple[object, ...]) -> None:
    block = np.zeros((5, 7), "f4")
    task = Task("cut", da.chunk.getitem, TaskRef("block"), index)
    assert cut_bytes(task, lambda key: (block.shape, block.dtype)) == block[index].nbytes


def test_bytes_of_points_and_of_what_is_no_piece() -> None:
    points = Task("cut", _vindex_slice_and_transpose, TaskRef("block"), ([0, 1, 1], slice(None), (2, 3, 4)), 0)
    assert cut_bytes(points, lambda key: ((5, 7, 9), np.dtype("f8"))) == 3 * 7 * 8
    assert cut_bytes(Task("sum", np.sum, TaskRef("block"), 0), lambda key: ((5,), np.dtype("f8"))) is None
    assert cut_bytes(points, lambda key: None) is None


def test_pieces_take_no_memory_while_they_are_measured() -> None:
    """One block of 8 TB."""
    task = Task("cut", da.chunk.getitem, TaskRef("block"), ([0, 1] * 500, slice(None)))
    assert cut_bytes(task, lambda key: ((10**3, 10**9), np.dtype("f8"))) == 8 * 10**12
