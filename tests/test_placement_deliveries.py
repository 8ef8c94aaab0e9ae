"""Small results go ahead to the scheduler; larger ones, and those that nobody gathers, do not."""

from __future__ import annotations

import asyncio
from typing import Any

import dask
import dask.array as da
import numpy as np
import pytest
from distributed import Scheduler, Worker, wait
from places import EAST, WEST, Cluster, eventually
from recorder import HOSTILE, is_others

from xdask_pipelines.placement import compute, deliveries, pin


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


def test_some_results_go_ahead_and_others_are_asked_for(cluster: Cluster) -> None:
    before = cluster.recorder.times_asked()
    lazy = ones(EAST, 800, "little"), ones(WEST, 2 * deliveries.MAX_BYTES, "much")
    (little, much), evidence = compute(cluster.client, *lazy)
    assert (little.sum(), much.sum()) == (200, deliveries.MAX_BYTES / 2)
    assert evidence.bytes_across == {f"{EAST}->eu-west-2": 800, f"{WEST}->eu-west-2": 2 * deliveries.MAX_BYTES}
    assert cluster.recorder.times_asked() - before == 1


def test_what_is_kept_on_workers_does_not_go_ahead(cluster: Cluster) -> None:
    held = ones(EAST, 800, "held").persist()
    wait(held)
    assert cluster.client.run_on_scheduler(_kept) == (0, 0)
    before = cluster.recorder.times_asked()
    (got,), evidence = compute(cluster.client, held)
    assert got.sum() == 200
    assert cluster.recorder.times_asked() - before == 1
    assert evidence.bytes_across == {f"{EAST}->eu-west-2": 800}


def _slow_graphs(seconds: float, dask_scheduler: Scheduler | None = None) -> None:
    """Let graphs take longer on their way than questions do; 0 undoes it."""
    handlers = dask_scheduler.stream_handlers  # type: ignore[union-attr]
    quick = getattr(handlers["update-graph"], "quick", handlers["update-graph"])

    async def slow(**said: Any) -> None:
        await asyncio.sleep(seconds)
        await quick(**said)

    slow.quick = quick  # type: ignore[attr-defined]
    handlers["update-graph"] = slow if seconds else quick


def test_what_is_kept_on_workers_is_counted_though_its_graph_comes_late(cluster: Cluster) -> None:
    held = ones(EAST, 800, "late").persist()
    wait(held)
    cluster.client.run_on_scheduler(_slow_graphs, 1.0)
    try:
        (got,), evidence = compute(cluster.client, held)
    finally:
        cluster.client.run_on_scheduler(_slow_graphs, 0.0)
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


def test_results_that_nothing_can_pickle_are_told_as_such(cluster: Cluster) -> None:
    @dask.delayed
    def stuck() -> Any:
        return (i for i in range(3))

    with pytest.raises(TypeError, match="generator"):
        compute(cluster.client, stuck())
    (got,), _ = compute(cluster.client, ones(EAST, 800, "after"))  # the worker's stream is sound
    assert got.sum() == 200


def test_workers_say_seldom_that_they_live(cluster: Cluster) -> None:
    def interval(dask_worker: Worker | None = None) -> float:
        return float(dask_worker.periodic_callbacks["heartbeat"].callback_time)  # type: ignore[union-attr]

    assert set(cluster.client.run(interval).values()) == {5000.0}
