"""Every shape of graph is placed: tasks that read run at home, whatever Dask makes of them, and evidence says so."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import dask
import dask.array as da
import numpy as np
import pytest
import xarray as xr
from dask._task_spec import Task, TaskRef

from tests.support.places import CENTRAL, EAST, SETTINGS, WEST, Cluster
from xdask_pipelines.placement import Evidence, Plan, compute, pin, plan
from xdask_pipelines.placement.graph.fence import fenced

RNG = np.random.default_rng(3)
# Multiples of 1/32, so that sums in any order are equal.
VALUES = {region: RNG.integers(0, 320, (24, 12)) / 32 for region in (EAST, WEST, CENTRAL)}


def block(values: np.ndarray, block_info: Any = None) -> np.ndarray:
    """Stands for a read: makes a chunk from nothing but its place."""
    (y0, y1), (x0, x1) = block_info[None]["array-location"]
    return values[y0:y1, x0:x1]


def leaf(region: str, chunks: tuple[int, ...] = (4, 12)) -> da.Array:
    values = VALUES[region]
    made = da.map_blocks(
        block, values, chunks=da.core.normalize_chunks(chunks, values.shape), dtype=float, meta=np.empty((0, 0))
    )
    return pin(made, region)


def labelled(array: da.Array) -> xr.DataArray:
    coords = {"time": np.arange(24), "x": np.arange(12.0)}
    return xr.DataArray(array, dims=("time", "x"), coords=coords, name="t")


def late_sum(e: da.Array, w: da.Array) -> da.Array:
    return (e - w).sum()


SHAPES: dict[str, Callable[[da.Array, da.Array], Any]] = {
    "leaves": lambda e, w: [e, w],
    "sums": lambda e, w: [e.sum(), w.sum()],
    "sum_along_chunks": lambda e, w: e.sum(axis=0),
    "sum_along_whole_axis": lambda e, w: e.sum(axis=1),
    "mean": lambda e, w: e.mean(axis=0),
    "single_chunk_mean": lambda e, w: e.rechunk(-1).mean(),
    "std": lambda e, w: [e.std(), w.std(axis=0)],
    "argmax": lambda e, w: e.argmax(axis=0),
    "cumsum": lambda e, w: e.cumsum(axis=0),
    "singular_values": lambda e, w: [da.linalg.svd(x)[1] for x in (e, da.concatenate([w, w]))],
    "nested_fused": lambda e, w: ((e * 2 + 1) ** 2)[::2, 1:].T[1:3].sum(axis=1),
    "difference": lambda e, w: e - w,
    "sum_of_difference": late_sum,
    "difference_of_means": lambda e, w: e.mean(axis=0) - w.mean(axis=0),
    "stack": lambda e, w: da.stack([e, w]),
    "mean_of_stack": lambda e, w: da.stack([e, w]).mean(axis=0),
    "concatenate": lambda e, w: da.concatenate([e, w], axis=0),
    "concatenated_sum": lambda e, w: da.concatenate([e, w], axis=1).sum(axis=1),
    "where": lambda e, w: da.where(e > 5, e, w),
    "where_one_region": lambda e, w: da.where(e > 5, e, 0),
    "coarsen": lambda e, w: da.coarsen(np.mean, e, {0: 2}),
    "rechunk": lambda e, w: e.rechunk((6, 3)).sum(axis=0),
    "rechunk_across": lambda e, w: (e - w).rechunk((24, 4)),
    "overlap": lambda e, w: e.map_overlap(lambda b: b * 2, depth=1, boundary="reflect"),
    "map_blocks": lambda e, w: da.map_blocks(np.subtract, e, w),
    "getitem": lambda e, w: e[3, ::2],
    "fancy": lambda e, w: e[np.array([1, 20, 3])],
    "tensordot": lambda e, w: da.tensordot(e, w, axes=((0,), (0,))),
    "broadcast": lambda e, w: e - w.mean(axis=0, keepdims=True),
    "reshape": lambda e, w: e.reshape(-1)[::7],
    "percentile": lambda e, w: da.median(e.rechunk((24, 4)), axis=0),
    "histogram": lambda e, w: da.histogram(e, bins=4, range=(0, 10))[0],
    "apply_along_axis": lambda e, w: da.apply_along_axis(np.ptp, 1, e),
    "to_delayed": lambda e, w: dask.delayed(sum)([d.sum() for d in e.to_delayed().ravel()]),
    "delayed_across": lambda e, w: dask.delayed(np.add)(e.sum(), w.sum()),
    "from_delayed": lambda e, w: da.from_delayed(dask.delayed(np.sqrt)(e[0, 0]), (), float),
    "optimized_before": lambda e, w: dask.optimize((e - w).sum())[0],
    "numpy_operand": lambda e, w: e + np.arange(12.0),
    "masked": lambda e, w: da.ma.filled(da.ma.masked_greater(e, 5.0), 0.0),
    "unknown_chunks": lambda e, w: e[e > 5].sum(),
    "svd_like": lambda e, w: da.linalg.norm(e),
    "pinned_across": lambda e, w: pin(e - w, CENTRAL).sum(),
    "xarray_mean": lambda e, w: labelled(e).mean("time"),
    "xarray_rolling": lambda e, w: labelled(e).rolling(time=3).mean(),
    "xarray_groupby": lambda e, w: labelled(e).groupby(labelled(e).time % 4).mean(),
    "xarray_coarsen": lambda e, w: labelled(e).coarsen(time=3).max(),
    "xarray_where": lambda e, w: labelled(e).where(labelled(w) > 5),
    "xarray_interp": lambda e, w: labelled(e).interp(x=[0.5, 3.25]),
    "xarray_concat": lambda e, w: xr.concat([labelled(e), labelled(w)], "region").mean("region"),
    "xarray_dataset": lambda e, w: xr.Dataset({"e": labelled(e), "w": labelled(w), "d": labelled(e) - labelled(w)}),
    "xarray_weighted": lambda e, w: labelled(e).weighted(labelled(w)).mean("time"),
    "xarray_map_blocks": lambda e, w: xr.map_blocks(lambda x: x * 2, labelled(e)),
}


def computed(cluster: Cluster, x: Any) -> tuple[Any, Evidence]:
    many = isinstance(x, list)
    results, evidence = compute(cluster.client, *(x if many else [x]))
    return (list(results) if many else results[0]), evidence


def assert_equal(got: Any, expected: Any) -> None:
    if isinstance(expected, (xr.DataArray, xr.Dataset)):
        xr.testing.assert_allclose(got, expected, rtol=1e-12)
    else:
        for a, b in zip(got, expected, strict=True) if isinstance(expected, list) else [(got, expected)]:
            np.testing.assert_allclose(a, b, rtol=1e-12)


def plainly(x: Any) -> Any:
    return list(dask.compute(*x, scheduler="sync")) if isinstance(x, list) else x.compute(scheduler="sync")


def assert_told_truly(evidence: Evidence, recording: Any) -> None:
    """Evidence counts what the recorder saw: tasks of each Region, and bytes of each pair."""
    assert evidence.misplaced_tasks == 0
    assert sum(evidence.tasks_by_region.values()) + evidence.neutral_tasks == sum(recording.tasks.values())
    for region, count in evidence.tasks_by_region.items():
        assert count <= recording.tasks[region] <= count + evidence.neutral_tasks
    pairs = {*evidence.bytes_across, *recording.moved}
    assert {p: recording.moved.get(p, 0) for p in pairs} == {p: evidence.bytes_across.get(p, 0) for p in pairs}


def assert_foretold(foretold: Plan, evidence: Evidence) -> None:
    """The plan counts the same tasks, and nearly the same bytes unless it says itself that they are guesses."""
    assert sum(foretold.tasks_by_region.values()) == sum(evidence.tasks_by_region.values())
    assert foretold.neutral_tasks == evidence.neutral_tasks
    if not any("sizes of" in w for w in foretold.warnings):
        said, was = sum(foretold.bytes_across.values()), sum(evidence.bytes_across.values())
        assert 0.8 * was - 500 <= said <= 1.2 * was + 500  # scalars weigh what Python makes them weigh


@pytest.mark.parametrize("name", SHAPES)
def test_every_task_with_a_home_runs_there_as_the_plan_foretold(cluster: Cluster, name: str) -> None:
    e, w = leaf(EAST), leaf(WEST)
    lazy = SHAPES[name](e, w)
    foretold = plan(*(lazy if isinstance(lazy, list) else [lazy]), settings=SETTINGS)
    with cluster.recorder.recording() as recording:
        got, evidence = computed(cluster, lazy)
    assert_equal(got, plainly(lazy))
    assert evidence.neutral_tasks <= 2, recording.ran
    assert evidence.tasks_by_region
    assert_told_truly(evidence, recording)
    assert_foretold(foretold, evidence)
    for region in (EAST, WEST):
        assert recording.regions_of(f"pin@@{region.replace('-', '_')}") <= {region}


def fenced_tasks(x: da.Array) -> int:
    return len(fenced(x.__dask_graph__(), x.__dask_keys__()))


def test_what_must_run_one_after_the_other_is_one_task() -> None:
    x = leaf(EAST, (24, 12))
    for _ in range(50):  # each step needs the field before it, and its mean
        x = 0.5 * x - x.mean()
    assert fenced_tasks(x) == 1
    np.testing.assert_array_equal(x.compute(scheduler="sync"), chained(VALUES[EAST]))


def chained(x: np.ndarray) -> np.ndarray:
    for _ in range(50):
        x = 0.5 * x - x.mean()
    return x


def test_what_may_run_side_by_side_is_not_fused() -> None:
    assert fenced_tasks(leaf(EAST).sum()) > 6  # six reads, each with its own sum, before they are summed
    one, two = (Task(k, np.square, TaskRef("x")) for k in ("one", "two"))
    graph = {"x": Task("x", np.ones, 3), "one": one, "two": two, "sum": Task("sum", np.add, one.ref(), two.ref())}
    assert set(fenced(graph, ["sum"])) == {"x", "one", "two", "sum"}
    graph["sum"] = Task("sum", np.add, TaskRef("x"), one.ref())
    del graph["two"]
    assert set(fenced(graph, ["sum"])) == {"sum"}


def test_joins_one_after_the_other_are_one_task_where_that_is_no_dearer(cluster: Cluster) -> None:
    one, two, three = (leaf(r, (24, 12)) for r in (EAST, WEST, CENTRAL))
    lazy = (one + two) / 2 + three
    foretold = plan(lazy, settings=SETTINGS)
    (result,), evidence = compute(cluster.client, lazy)
    np.testing.assert_array_equal(result, (VALUES[EAST] + VALUES[WEST]) / 2 + VALUES[CENTRAL])
    assert sum(evidence.tasks_by_region.values()) == sum(foretold.tasks_by_region.values()) == 4
    moved = {pair: n for pair, n in evidence.bytes_across.items() if "eu-west-2" not in pair}
    assert sum(moved.values()) == 2 * one.nbytes
    assert evidence.bytes_across == foretold.bytes_across
    assert fenced_tasks((one + two) * three.mean()) == 4


def test_joins_that_would_ship_more_as_one_stay_apart() -> None:
    one, two, three = (leaf(r, (24, 12)) for r in (EAST, WEST, CENTRAL))
    # What crosses to the third is a number, and not a field.
    assert fenced_tasks((one + two).sum() + three) == 5
    many = (leaf(EAST) + leaf(WEST)).sum()  # six pairs of blocks meet side by side, and not in one task
    assert fenced_tasks(many) > 6


def test_what_grows_is_made_where_it_is_needed(cluster: Cluster) -> None:
    """A climatology that is made finer for an anomaly elsewhere crosses while it is small."""
    wide = np.repeat(VALUES[EAST], 100, axis=1)
    east = pin(da.from_array(wide, chunks=(4, 1200), inline_array=True), EAST)
    climatology = leaf(WEST).mean(axis=0)
    fine = da.map_blocks(np.repeat, climatology, 100, chunks=(1200,), dtype=float)
    lazy = ((east - fine) ** 2).mean(axis=0)
    foretold = plan(lazy, settings=SETTINGS)
    (result,), evidence = compute(cluster.client, lazy)
    expected = ((wide - np.repeat(VALUES[WEST].mean(axis=0), 100)) ** 2).mean(axis=0)
    np.testing.assert_allclose(result, expected, rtol=1e-14)
    between = {p: n for p, n in evidence.bytes_across.items() if "eu-west-2" not in p}
    assert between == {f"{WEST}->{EAST}": 12 * 8}
    assert between == {p: n for p, n in foretold.bytes_across.items() if "eu-west-2" not in p}


def test_what_grows_stays_if_the_other_side_is_smaller_or_others_need_it(cluster: Cluster) -> None:
    climatology = leaf(WEST).mean(axis=0)
    fine = da.map_blocks(np.repeat, climatology, 100, chunks=(1200,), dtype=float)
    tiny = leaf(EAST).sum()
    (_, _), evidence = compute(cluster.client, fine + tiny, fine.sum())
    assert f"{WEST}->{EAST}" not in evidence.bytes_across


def test_of_two_sides_that_both_grow_the_smaller_one_crosses(cluster: Cluster) -> None:
    def fine(x: da.Array) -> da.Array:
        return da.map_blocks(np.repeat, x, 1200 // x.size, chunks=(1200,), dtype=float)

    lazy = (fine(leaf(WEST).mean(axis=0)) - fine(leaf(EAST, (24, 12)).mean(axis=1))).max()
    _, evidence = compute(cluster.client, lazy)
    assert {p: n for p, n in evidence.bytes_across.items() if "eu-west-2" not in p} == {f"{WEST}->{EAST}": 12 * 8}
