"""Small results go ahead to the scheduler; larger ones, and those that nobody gathers, do not."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path
from threading import Thread
from time import sleep
from typing import Any

import dask
import dask.array as da
import numpy as np
import pytest
from distributed import Scheduler, Worker, wait

from tests.support.places import EAST, WEST, Cluster, array, eventually
from tests.support.recorder import HOSTILE, is_others
from xdask_pipelines.placement import PlacementError, compute, pin
from xdask_pipelines.placement.client.compute import keep
from xdask_pipelines.placement.scheduler import result_delivery as deliveries


def _kept(dask_scheduler: Scheduler | None = None) -> tuple[int, int]:
    """Results that are here, and that are expected, of all but the hostile client."""
    assert dask_scheduler is not None
    found = dask_scheduler.plugins["xdask-placement"].ledger.deliveries
    here = [key for key in found._here if is_others(dask_scheduler, key)]
    return len(here), len([client for client, _ in found._expected if HOSTILE not in client])


def ones(region: str, nbytes: int, token: str, blocks: int = 1) -> da.Array:
    one = nbytes // 8 // blocks
    return pin(da.ones(one * blocks, chunks=one, name=f"ones-{token}"), region) + 1


@pytest.mark.parametrize(
    ("nbytes", "blocks", "asked"),
    [(deliveries.MAX_BYTES, 1, 0), (deliveries.MAX_BYTES + 8, 1, 1), (8000, 8, 0), (9000, 9, 1)],
)
def test_only_few_and_small_results_go_ahead(cluster: Cluster, nbytes: int, blocks: int, asked: int) -> None:
    client, before = cluster.client, cluster.recorder.times_asked()
    (got,), evidence = compute(client, ones(EAST, nbytes, f"sized-{nbytes}", blocks))
    np.testing.assert_array_equal(got, np.full(nbytes // 8, 2.0))
    assert evidence.bytes_across == {f"{EAST}->eu-west-2": nbytes}
    assert cluster.recorder.times_asked() - before == asked
    assert client.run_on_scheduler(_kept) == (0, 0)


def test_a_refused_submission_leaves_nothing_that_is_expected(cluster: Cluster) -> None:
    with pytest.raises(PlacementError, match="tasks"):
        compute(cluster.client, array(EAST, (40,), 1, 71).sum(), max_tasks=3)
    assert cluster.client.run_on_scheduler(_kept) == (0, 0)


def test_some_results_go_ahead_and_others_are_asked_for(cluster: Cluster) -> None:
    before = cluster.recorder.times_asked()
    lazy = ones(EAST, 800, "little"), ones(WEST, 2 * deliveries.MAX_BYTES, "much")
    (little, much), evidence = compute(cluster.client, *lazy)
    assert (little.sum(), much.sum()) == (200, deliveries.MAX_BYTES / 2)
    assert evidence.bytes_across == {f"{EAST}->eu-west-2": 800, f"{WEST}->eu-west-2": 2 * deliveries.MAX_BYTES}
    assert cluster.recorder.times_asked() - before == 1


@pytest.mark.parametrize("kind", [tuple, list, lambda arrays: {"a": arrays[0], "b": (arrays[1],)}])
def test_collections_of_arrays_go_ahead_as_arrays_do(cluster: Cluster, kind: Any) -> None:
    @dask.delayed(pure=False)
    def several() -> Any:
        return kind([np.arange(5.0), np.ones((2, 3))])

    before = cluster.recorder.times_asked()
    (got,), _ = compute(cluster.client, several())
    wanted = kind([np.arange(5.0), np.ones((2, 3))])
    assert type(got) is type(wanted)
    np.testing.assert_equal(got, wanted)
    assert cluster.recorder.times_asked() == before, "nobody asked the worker"
    assert cluster.client.run_on_scheduler(_kept) == (0, 0)


def test_what_is_kept_on_workers_does_not_go_ahead(cluster: Cluster) -> None:
    held = ones(EAST, 800, "held").persist()
    wait(held)
    assert cluster.client.run_on_scheduler(_kept) == (0, 0)
    before = cluster.recorder.times_asked()
    (got,), evidence = compute(cluster.client, held)
    assert got.sum() == 200
    assert cluster.recorder.times_asked() - before == 1
    assert evidence.bytes_across == {f"{EAST}->eu-west-2": 800}


def _delay_graphs(seconds: float, dask_scheduler: Scheduler | None = None) -> None:
    """Let graphs take longer on their way than questions do; 0 undoes it."""
    handlers = dask_scheduler.stream_handlers  # type: ignore[union-attr]
    quick = getattr(handlers["update-graph"], "quick", handlers["update-graph"])

    async def slow(**said: Any) -> None:
        await asyncio.sleep(seconds)
        await quick(**said)

    slow.quick = quick  # type: ignore[attr-defined]
    handlers["update-graph"] = slow if seconds else quick


@pytest.fixture
def delay_graphs(cluster: Cluster) -> Iterator[Callable[[float], None]]:
    yield lambda seconds: cluster.client.run_on_scheduler(_delay_graphs, seconds)
    cluster.client.run_on_scheduler(_delay_graphs, 0.0)


@pytest.mark.parametrize("is_held", [True, False], ids=["held", "its graph is on its way too"])
def test_what_is_kept_on_workers_is_counted_though_its_graph_comes_late(
    cluster: Cluster, delay_graphs: Callable[[float], None], is_held: bool
) -> None:
    delay_graphs(0.5)
    (held,) = keep(cluster.client, [ones(EAST, 800, f"late-{is_held}")])
    if is_held:
        wait(held)
    delay_graphs(1.5)
    (got,), evidence = compute(cluster.client, held)
    assert got.sum() == 200
    assert (evidence.reused_tasks, evidence.tasks_by_region) == (1, {}), "it is not the evidence of persisting"
    assert evidence.bytes_across == {f"{EAST}->eu-west-2": 800}


def test_a_result_that_was_made_again_is_the_new_one(cluster: Cluster) -> None:
    for value in (1.0, 2.0):
        (got,), _ = compute(cluster.client, pin(da.full(5, value, name="again"), EAST))
        assert got.sum() == 5 * value
    assert cluster.client.run_on_scheduler(_kept) == (0, 0)


def test_what_fails_leaves_nothing_behind(cluster: Cluster) -> None:
    def fail(block: Any) -> Any:
        raise RuntimeError("no")

    with pytest.raises(RuntimeError):
        compute(cluster.client, ones(EAST, 800, "good"), ones(WEST, 800, "bad").map_blocks(fail, dtype=float))
    assert eventually(lambda: cluster.client.run_on_scheduler(_kept) == (0, 0))


@pytest.mark.parametrize("beside", [False, True])
def test_results_that_nothing_can_pickle_are_told_as_such(cluster: Cluster, beside: bool) -> None:
    @dask.delayed(pure=False)
    def stuck() -> Any:
        numbers = (i for i in range(3))
        return (np.ones(3), numbers) if beside else numbers

    with pytest.raises(TypeError, match="generator"):
        compute(cluster.client, stuck())
    (got,), _ = compute(cluster.client, ones(EAST, 800, "after"))  # the worker's stream is sound
    assert got.sum() == 200


def test_workers_say_seldom_that_they_live(cluster: Cluster) -> None:
    def interval(dask_worker: Worker | None = None) -> float:
        return float(dask_worker.periodic_callbacks["heartbeat"].callback_time)  # type: ignore[union-attr]

    assert set(cluster.client.run(interval).values()) == {5000.0}


def test_what_another_region_waits_for_is_there_before_it_can_run(cluster: Cluster, tmp_path: Path) -> None:
    flag = tmp_path / "go"

    def make(block_id: Any = None) -> np.ndarray:
        while not flag.exists():
            sleep(0.02)
        return np.ones((400, 10))

    slow = pin(da.map_blocks(make, chunks=((400,), (10,)), dtype=float, meta=np.empty((0, 0))), EAST)
    quick = array(WEST, (10,), seed=61)
    lazy = slow * quick

    def early(dask_scheduler: Scheduler | None = None) -> set[str]:
        tasks = dask_scheduler.tasks.values()  # type: ignore[union-attr]
        return {
            resource
            for ts in tasks
            if "us_west_2" in str(ts.key)
            for ws in ts.who_has or ()
            for resource in ws.resources
        }

    answers: list[Any] = []
    run = Thread(target=lambda: answers.append(compute(cluster.client, lazy)))
    run.start()
    try:
        assert eventually(lambda: f"pool-{EAST}" in cluster.client.run_on_scheduler(early), 20)
    finally:
        flag.touch()
        run.join(timeout=30)
    (((got,), evidence),) = answers
    np.testing.assert_array_equal(got, np.ones((400, 10)) * quick.compute(scheduler="sync"))
    assert evidence.bytes_across[f"{WEST}->{EAST}"] == 80
