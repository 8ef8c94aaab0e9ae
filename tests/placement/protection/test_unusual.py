"""Ways of handing work over that are seldom used: each is placed and counted, or refused by name."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path
from threading import Thread
from typing import Any

import dask
import dask.array as da
import numpy as np
import pytest
import xarray as xr
from dask.graph_manipulation import bind
from distributed import Client, Scheduler, futures_of, wait

from tests.support.places import CLIENT_REGION, EAST, WEST, Cluster, array, eventually, workers, workers_of
from xdask_pipelines.placement import PlacementError, compute, local_regions, pin, plan
from xdask_pipelines.placement.settings import Settings


def between_workers(moved: Any) -> dict[str, int]:
    return {pair: n for pair, n in moved.items() if CLIENT_REGION not in pair and n}


# ---- what is handed over --------------------------------------------------------------------------------------------


def test_lazy_coordinates_are_pinned_with_their_data(cluster: Cluster) -> None:
    def lazy(offset: float) -> da.Array:
        return da.map_blocks(lambda: np.full((4, 5), offset), chunks=((4,), (5,)), dtype=float, meta=np.empty((0, 0)))

    field = xr.DataArray(
        lazy(1.0), dims=("y", "x"), coords={"lat": (("y", "x"), lazy(2.0), {"units": "degrees_north"})}
    )
    both = [pin(field, WEST), pin(field.to_dataset(name="t"), WEST)]
    with cluster.recorder.recording() as recording:
        (one, several), evidence = compute(cluster.client, *both)
    assert set(recording.ran) == set(evidence.tasks_by_region) == {WEST}
    assert evidence.neutral_tasks == 0
    for got in (one, several["t"]):
        assert (float(got.mean()), float(got["lat"].mean())) == (1.0, 2.0)
        assert got["lat"].attrs == {"units": "degrees_north"}


def test_a_tree_of_datasets_is_pinned_and_computed_at_home(cluster: Cluster) -> None:
    east, west = (xr.Dataset({"t": ("x", array(r, (6,), 3, s))}, {"x": range(6)}) for r, s in ((EAST, 41), (WEST, 42)))
    tree = xr.DataTree.from_dict({"/": east, "/far": west * 2}, name="top")
    expected = tree.compute(scheduler="sync") if hasattr(tree, "compute") else tree
    (got,), evidence = compute(cluster.client, tree)
    assert got.name == "top"
    assert isinstance(got["far/t"].data, np.ndarray)
    np.testing.assert_array_equal(got["far/t"], 2 * array(WEST, (6,), 3, 42).compute(scheduler="sync"))
    np.testing.assert_array_equal(got["t"], expected["t"].values)
    assert set(evidence.tasks_by_region) == {EAST, WEST}
    assert plan(tree).tasks_by_region.keys() == {EAST, WEST}
    (moved,), evidence = compute(
        cluster.client, pin(xr.DataTree.from_dict({"/a": xr.Dataset({"n": ("x", [1, 2])})}), WEST)
    )
    assert moved["a/n"].values.tolist() == [1, 2]
    assert set(evidence.tasks_by_region) == {WEST}


def test_lazy_objects_in_containers_are_computed(cluster: Cluster) -> None:
    a, b = array(EAST, (4,), 2, 43), array(WEST, (4,), 2, 44)
    untouched = [1, "x"]
    (pair, same, named), evidence = compute(cluster.client, [a.sum(), 3], untouched, {"b": b.sum()})
    assert pair == [a.compute(scheduler="sync").sum(), 3]
    assert same is untouched
    assert named == {"b": b.compute(scheduler="sync").sum()}
    assert set(evidence.tasks_by_region) == {EAST, WEST}


def test_waiting_for_another_collection_is_no_use_of_its_data(cluster: Cluster) -> None:
    first, second = array(EAST, (400, 50), (100, 50), 45), array(WEST, (8, 5), (4, 5), 46)
    with cluster.recorder.recording() as recording:
        (got,), evidence = compute(cluster.client, bind(second, first).sum())
    assert got == second.compute(scheduler="sync").sum()
    assert recording.regions_of("sum") == {WEST}
    assert evidence.misplaced_tasks == 0
    assert sum(between_workers(evidence.bytes_across).values()) < 1_000  # nothing of the first but that it ended


def test_a_function_of_futures_runs_where_the_larger_one_is(cluster: Cluster) -> None:
    small, large = (array(r, s, -1, 47).persist() for r, s in ((EAST, (50,)), (WEST, (4_000, 10))))
    wait([small, large])
    with cluster.recorder.recording() as recording:
        future = cluster.client.submit(
            lambda x, y: float(x.sum() + y.sum()), *futures_of(small), *futures_of(large), key="meeting"
        )
        assert future.result() > 0
    assert recording.regions_of("meeting") == {WEST}
    assert between_workers(recording.moved) == {f"{EAST}->{WEST}": 400}


def test_a_key_of_a_user_s_own_is_no_region(cluster: Cluster) -> None:
    assert cluster.client.submit(lambda: 7, key="mail@example-1").result(timeout=5) == 7


def test_an_asynchronous_client_is_refused_by_name(cluster: Cluster) -> None:
    async def attempt() -> None:
        async with Client(cluster.client.scheduler.address, asynchronous=True) as client:  # type: ignore[union-attr]
            compute(client, array(EAST, (2,)))

    with pytest.raises(PlacementError, match=r"asynchronous.*asyncio\.to_thread"):
        asyncio.run(attempt())


# ---- work that tasks submit -----------------------------------------------------------------------------------------


def _nested(n: int) -> float:
    from distributed import worker_client

    far = pin(da.ones((n, 10), chunks=(n // 2, 10)) * 1, WEST)
    with worker_client() as client:
        return float(client.compute(far.sum()).result()) + float(client.submit(lambda: 1.0, pure=False).result())


def test_what_a_task_submits_is_in_the_evidence_of_its_computation(cluster: Cluster) -> None:
    lazy = array(EAST, (4,), 2, 48).map_blocks(lambda block, n: block * 0 + _nested(n), n=8, dtype=float)
    (got,), evidence = compute(cluster.client, lazy)
    assert (got == 81).all()
    assert evidence.tasks_by_region[WEST] >= 3
    assert evidence.neutral_tasks >= 1
    assert evidence.bytes_across[f"{WEST}->{EAST}"] >= 2 * 8  # the sum, which each of two tasks asked for


def _parent(i: int) -> float:
    from distributed import worker_client

    child = pin(da.map_blocks(lambda: np.full(1, float(i)), chunks=((1,),), dtype=float, meta=np.empty(0)), EAST)
    with worker_client() as client:
        return float(client.compute(child).result()[0])


def test_what_a_task_submits_comes_before_tasks_that_have_not_begun(cluster: Cluster) -> None:
    """Else all such tasks would be open at once, each in a thread of its own."""

    def opened(dask_scheduler: Scheduler | None = None) -> int:
        return sum(len(ws.long_running) for ws in dask_scheduler.workers.values())  # type: ignore[union-attr]

    compute(cluster.client, array(EAST, (300,), 1, 50).sum())  # the turns of the east are ahead of others
    east = workers_of(cluster.client, EAST)
    most = 0
    futures = cluster.client.map(_parent, range(60), workers=east)
    while not all(f.done() for f in futures):
        most = max(most, cluster.client.run_on_scheduler(opened))
    assert cluster.client.gather(futures) == list(range(60))
    assert most < 50


# ---- workers and functions that are not ours --------------------------------------------------------------------------


def test_a_worker_without_our_preload_is_refused_by_name(cluster: Cluster) -> None:
    address = cluster.client.scheduler.address  # type: ignore[union-attr]
    before = len(workers(cluster.client))
    command = [sys.executable, "-m", "dask", "worker", address, "--host", "127.0.0.1", "--no-dashboard", "--no-nanny"]
    ended = subprocess.run([*command, "--death-timeout", "20"], capture_output=True, text=True, timeout=60)
    assert "was started without the preload module" in ended.stdout + ended.stderr
    assert "xdask_pipelines.placement.preload" in ended.stdout + ended.stderr
    assert len(workers(cluster.client)) == before


def test_a_worker_without_a_pool_gets_no_task_of_a_region_though_it_holds_the_largest_input(tmp_path: Path) -> None:
    with local_regions([EAST, WEST], settings=Settings(client_region=CLIENT_REGION, empty_pool_seconds=4.0)) as client:
        address = client.scheduler.address  # type: ignore[union-attr]
        command = [sys.executable, "-m", "dask", "worker", address, "--host", "127.0.0.1", "--no-dashboard"]
        command += ["--no-nanny", "--name", "extra", "--preload", "xdask_pipelines.placement.preload"]
        with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
            try:
                assert eventually(lambda: "extra" in str(workers(client)), 30)
                (large,) = client.scatter([np.ones(50_000)], workers=["extra"])
                east, west = (array(r, (10,), -1, 49) for r in (EAST, WEST))
                joined = dask.delayed(lambda a, b, c: float(a.sum() + b.sum() + c.sum()))
                (got,), evidence = compute(client, joined(east, west, large))
                assert got > 50_000
                assert CLIENT_REGION not in evidence.tasks_by_region
            finally:
                process.terminate()


def test_a_read_by_client_run_is_refused_and_refuses_nobody_else(cluster: Cluster) -> None:
    path = cluster.data[EAST] / "bystander.txt"
    path.write_text("x")

    def read(name: str) -> str:
        return Path(name).read_text()

    def make(block_id: Any = None) -> np.ndarray:
        from time import sleep

        sleep(0.3)
        return np.ones(2)

    lazy = pin(da.map_blocks(make, chunks=((2,) * 6,), dtype=float, meta=np.empty(0)), EAST).sum()
    future = cluster.client.compute(lazy)
    answers: list[Any] = []
    run = Thread(target=lambda: answers.append(compute(cluster.client, lazy + 1)))
    run.start()
    with pytest.raises(PlacementError, match=r"opened .*bystander\.txt without placement"):
        cluster.client.run(read, str(path))
    run.join(timeout=30)
    assert answers[0][0] == (13.0,)
    assert future.result() == 12
