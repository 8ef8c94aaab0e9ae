"""Nobody who computes on the same pools can hurt another: what they bring is placed, or refused by name."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from threading import Thread
from time import monotonic, sleep
from typing import Any

import dask.array as da
import numpy as np
import pytest
from distributed import Client, Scheduler, SchedulerPlugin, WorkerPlugin, wait

from tests.support.places import CENTRAL, EAST, WEST, Cluster, array, eventually, until, workers, workers_of
from tests.support.recorder import HOSTILE, is_others
from xdask_pipelines.placement import PlacementError, compute, pin
from xdask_pipelines.placement.local.cluster import Pool, join, start
from xdask_pipelines.placement.settings import Settings


def all_workers(client: Client) -> dict[str, Any]:
    return {a: w["id"] for a, w in workers(client).items()}


# ---- keywords -------------------------------------------------------------------------------------------------------


def slow(region: str, blocks: int = 30, seconds: float = 0.1, seed: int = 0) -> da.Array:
    def make(block_id: Any = None) -> np.ndarray:
        from time import sleep

        sleep(seconds)
        return np.full(4, float(block_id[0] + seed))

    made = da.map_blocks(make, chunks=((4,) * blocks,), dtype=float, meta=np.empty(0))
    return pin(made, region)


def test_allow_other_workers_lets_no_task_leave_its_pool_and_no_worker_dies(
    cluster: Cluster, neighbour: Client
) -> None:
    before = all_workers(cluster.client)
    with cluster.recorder.recording() as recording:
        # Enough work to be stolen, by workers of other pools too, had they been allowed.
        future = neighbour.compute(
            slow(EAST, seed=3).sum(), workers=workers_of(neighbour, EAST), allow_other_workers=True
        )
        _, evidence = compute(cluster.client, slow(WEST, 5, seed=4).sum())
        assert float(future.result(timeout=60)) > 0
    assert set(evidence.tasks_by_region) == {WEST}
    assert set(recording.ran) == {EAST, WEST}
    assert all_workers(cluster.client) == before


def test_what_no_worker_meets_is_refused_by_name_and_stops_nobody_else(cluster: Cluster, neighbour: Client) -> None:
    nowhere = ["tcp://127.0.0.1:1"]
    started = monotonic()
    lazy, other = (array(EAST, (8,), (2,), seed).sum() for seed in (5, 15))
    attempts = {
        f"belongs in {EAST}, but no worker there meets workers=.*{WEST}": neighbour.compute(
            lazy, workers=workers_of(neighbour, WEST)
        ),
        f"belongs in {EAST}, but no worker there meets resources=.*GPU": neighbour.compute(other, resources={"GPU": 1}),
        "may run in any Region, but no worker there meets workers=tcp://127": neighbour.submit(
            lambda: 1, workers=nowhere, pure=False
        ),
    }
    compute(cluster.client, array(EAST, (8,), (2,), seed=6).sum())
    for message, future in attempts.items():
        with pytest.raises(PlacementError, match=message):
            future.result(timeout=30)
    assert monotonic() - started < 15


def test_data_that_a_neighbour_s_keywords_hold_up_is_read_for_those_who_bring_none(
    cluster: Cluster, neighbour: Client
) -> None:
    lazy = array(EAST, (8,), (2,), seed=9)
    stuck = neighbour.compute(lazy.sum(), workers=workers_of(neighbour, WEST))
    assert eventually(lambda: cluster.client.run_on_scheduler(_unrunnable) > 0)
    (got,), evidence = compute(cluster.client, lazy.max())
    assert got == lazy.max().compute(scheduler="sync")
    assert set(evidence.tasks_by_region) == {EAST}
    with pytest.raises(PlacementError, match="no worker there meets"):
        stuck.result(timeout=30)


def _unrunnable(dask_scheduler: Scheduler | None = None) -> int:
    assert dask_scheduler is not None
    return sum(is_others(dask_scheduler, ts.key) for ts in dask_scheduler.unrunnable)


# ---- plugins --------------------------------------------------------------------------------------------------------


class OfOurName(SchedulerPlugin):
    name = "xdask-placement"


class OfOurNameOnWorkers(WorkerPlugin):
    name = "xdask-deliver"


@pytest.mark.parametrize(
    "attempt",
    [
        lambda client: client.register_plugin(OfOurName()),
        lambda client: client.register_plugin(OfOurNameOnWorkers()),
        lambda client: client.register_plugin(OfOurNameOnWorkers(), name="shuffle"),
        lambda client: client.unregister_scheduler_plugin("xdask-placement"),
        lambda client: client.unregister_worker_plugin("xdask-deliver"),
    ],
)
def test_no_client_replaces_or_removes_a_plugin_that_all_need(
    cluster: Cluster, neighbour: Client, attempt: Callable[[Client], Any]
) -> None:
    with pytest.raises(PlacementError, match="A client cannot register or remove a plugin"):
        attempt(neighbour)
    _, evidence = compute(cluster.client, array(EAST, (8,), (2,), seed=16).sum())
    assert set(evidence.tasks_by_region) == {EAST}


def test_a_plugin_of_a_client_s_own_comes_and_goes(neighbour: Client) -> None:
    neighbour.register_plugin(OfOurName(), name="a-neighbour-s-own")
    neighbour.unregister_scheduler_plugin("a-neighbour-s-own")
    neighbour.register_plugin(OfOurNameOnWorkers(), name="a-neighbour-s-own")
    neighbour.unregister_worker_plugin("a-neighbour-s-own")


# ---- many small computations ------------------------------------------------------------------------------------------


def _limit(finished: int | None = None, dask_scheduler: Scheduler | None = None) -> tuple[int, int]:
    computations = dask_scheduler.plugins["xdask-placement"].ledger.computations  # type: ignore[union-attr]
    before, computations.limit = computations.limit, finished or computations.limit
    return before, sum(HOSTILE not in c.client for c in computations)


@pytest.mark.parametrize("whose", ["a neighbour's", "its own client's"])
def test_a_loop_of_submissions_pushes_no_running_computation_out(
    cluster: Cluster, neighbour: Client, tmp_path: Path, whose: str
) -> None:
    client, flag = cluster.client, tmp_path / "go"
    before, _ = client.run_on_scheduler(_limit, 50)
    try:
        answers: list[Any] = []
        run = Thread(target=lambda: answers.append(compute(client, until(flag, EAST).sum())))
        run.start()
        assert eventually(lambda: client.run_on_scheduler(_limit)[1] == 1)
        looping = client if whose.startswith("its own") else neighbour
        held = [looping.submit(lambda i=i: i, key=f"loop-{i}", workers=workers_of(client, WEST)) for i in range(120)]
        wait(held, timeout=60)
        assert client.run_on_scheduler(_limit)[1] == 51  # fifty that ended, and the one that runs
        flag.touch()
        run.join(timeout=60)
        ((_, evidence),) = answers
        assert set(evidence.tasks_by_region) == {EAST}
    finally:
        flag.touch()
        client.run_on_scheduler(_limit, before)


# ---- what would hurt all -------------------------------------------------------------------------------------------


class Replaced(SchedulerPlugin):
    name = "xdask-placement"


def test_nobody_replaces_or_removes_placement_nor_restarts_what_others_use(
    cluster: Cluster, neighbour: Client, tmp_path: Path
) -> None:
    flag = tmp_path / "go"
    answers: list[Any] = []
    run = Thread(target=lambda: answers.append(compute(cluster.client, until(flag, EAST).sum())))
    run.start()
    try:
        assert eventually(lambda: cluster.client.run_on_scheduler(_processing) > 0)
        attempts: list[Callable[[], Any]] = [
            lambda: neighbour.register_plugin(Replaced()),
            lambda: neighbour.unregister_scheduler_plugin("xdask-placement"),
            neighbour.restart,
            lambda: neighbour.restart_workers(workers_of(neighbour, EAST)),
            lambda: neighbour.sync(neighbour.scheduler.terminate),  # what `Client.shutdown` asks
        ]
        for attempt in attempts:
            with pytest.raises(
                PlacementError, match=r"cannot register or remove|would destroy the work of other clients"
            ):
                attempt()
    finally:
        flag.touch()
        run.join(timeout=60)
    assert len(answers) == 1
    neighbour.register_plugin(Harmless())
    neighbour.unregister_scheduler_plugin("harmless")


class Harmless(SchedulerPlugin):
    name = "harmless"


def _processing(dask_scheduler: Scheduler | None = None) -> int:
    return sum(len(ws.processing) for ws in dask_scheduler.workers.values())  # type: ignore[union-attr]


# ---- P2P shuffles into pools that come late ---------------------------------------------------------------------------


def test_a_shuffle_waits_for_a_pool_that_has_no_worker_yet(tmp_path: Path) -> None:
    settings = Settings(owner=os.getpid(), empty_pool_seconds=1.0, scale_up_seconds=60.0)
    west, east, central = Pool(WEST), Pool(EAST, 2), Pool(CENTRAL)
    running = start([west, central], tmp_path / "run", settings)
    try:
        with Client(running.address) as client:
            a, b = array(EAST, (60, 40), (10, 40), 1), array(WEST, (20, 40), (10, 40), 2)
            lazy = da.concatenate([b, a]).rechunk((80, 5), method="p2p") * 2
            answers: list[Any] = []
            run = Thread(target=lambda: answers.append(compute(client, lazy)), daemon=True)
            run.start()
            sleep(2)
            assert not answers
            join(running, [east], tmp_path / "run", beside=[west, central])
            run.join(timeout=60)
            (((got,), evidence),) = answers
            np.testing.assert_array_equal(got, da.concatenate([b, a]).compute(scheduler="sync") * 2)
            assert CENTRAL not in evidence.tasks_by_region
            assert evidence.misplaced_tasks == 0
            assert eventually(lambda: not client.run_on_scheduler(lambda dask_scheduler: len(dask_scheduler.tasks)))
    finally:
        running.stop()
