"""Clients that share a pool take turns: a flood of one does not make the others wait."""

from __future__ import annotations

from time import sleep
from typing import Any

import dask.array as da
import numpy as np
import pytest
from distributed import Client, Scheduler, futures_of

from tests.support.places import EAST, WEST, Cluster, eventually
from xdask_pipelines.placement import compute, pin
from xdask_pipelines.placement.scheduler.fair_share import FairShare

FLOOD = 6_000


def test_a_client_that_comes_in_begins_where_the_pool_is() -> None:
    turns = FairShare()
    assert turns.first(EAST, 0) == 1
    turns.ran(EAST, 500)
    turns.ran(EAST, 499)
    assert turns.first(EAST, 0) == 501
    assert turns.first(WEST, 0) == 1  # pools count by themselves


def test_a_clients_own_submissions_follow_one_another_and_an_idle_client_saves_nothing_up() -> None:
    turns = FairShare()
    assert turns.first(EAST, 20_000) == 20_001
    turns.ran(EAST, 30_000)
    assert turns.first(EAST, 20_000) == 30_001


def test_tasks_of_no_pool_wait_for_no_pool() -> None:
    turns = FairShare()
    assert turns.first(None, 0) == 1
    turns.ran(None, 7)
    turns.ran(EAST, 9)
    turns.ran(WEST, 5)
    assert turns.first(None, 0) == 6


def make(block_id: Any = None) -> np.ndarray:
    """At the top, so that it is pickled by reference: by value thousands of times takes the scheduler seconds."""
    sleep(0.002)
    return np.ones(1)


def tiny(token: str, region: str, blocks: int) -> da.Array:
    made = da.map_blocks(make, chunks=((1,) * blocks,), dtype=float, meta=np.empty(0), name=f"{token}-{region}")
    return pin(made, region)


def _left(client: str, dask_scheduler: Scheduler | None = None) -> int:
    """Tasks that a client wants and that have not run."""
    wanted = dask_scheduler.clients[client].wants_what  # type: ignore[union-attr]
    return sum(ts.state != "memory" for ts in wanted)


def _turn(key: Any, dask_scheduler: Scheduler | None = None) -> float:
    return dask_scheduler.tasks[key].priority[1]  # type: ignore[union-attr,index,return-value]


def _let_a_minute_pass(dask_scheduler: Scheduler | None = None) -> None:
    """Dask gives what is submitted within a minute the same generation."""
    dask_scheduler._last_time -= 61  # type: ignore[union-attr]


@pytest.mark.alone  # taking in so many tasks keeps the scheduler's only thread for seconds, when it answers nobody
def test_a_flood_of_one_client_does_not_make_another_wait(cluster: Cluster) -> None:
    client = cluster.client
    flood = tiny("flood", EAST, FLOOD).persist()
    assert eventually(lambda: client.run_on_scheduler(_left, client.id) > 0)
    with Client(client.scheduler.address, set_as_default=False) as other:  # type: ignore[union-attr]
        client.run_on_scheduler(_let_a_minute_pass)
        before = client.run_on_scheduler(_left, client.id)
        (total,), evidence = compute(other, tiny("small", EAST, 40).sum() - tiny("small", WEST, 30).sum())
        ran = before - client.run_on_scheduler(_left, client.id)
    assert total == 10
    assert evidence.misplaced_tasks == 0
    assert evidence.tasks_by_region[EAST] >= 40
    assert evidence.tasks_by_region[WEST] >= 30
    assert ran < FLOOD // 4, "the second client waited for the flood of the first"

    # What the flood's own client submits later comes later.
    later = tiny("later", EAST, 2).persist()
    key = later.__dask_keys__()[0]
    assert eventually(lambda: key in client.run_on_scheduler(_keys, client.id))
    assert client.run_on_scheduler(_turn, key) > FLOOD
    del flood, later


def test_a_priority_lets_work_overtake_ones_own_and_nobody_else_s(cluster: Cluster) -> None:
    client, many = cluster.client, 400
    flood = tiny("first", EAST, many).persist()
    assert eventually(lambda: client.run_on_scheduler(_left, client.id) > 0)
    urgent = [client.persist(tiny(f"urgent-{priority}", EAST, many), priority=priority) for priority in (1, 1_000)]
    last = urgent[-1].__dask_keys__()[-1]
    assert eventually(lambda: last in client.run_on_scheduler(_keys, client.id))
    turns = [client.run_on_scheduler(_turn, lazy.__dask_keys__()[-1]) for lazy in (flood, *urgent)]
    assert turns[1] < turns[0] + many / 2  # beside what was submitted before
    assert turns[2] == turns[1] + many  # but not two rows of them
    with Client(client.scheduler.address, set_as_default=False) as other:  # type: ignore[union-attr]
        (total,), _ = compute(other, tiny("neighbour", EAST, 40).sum())
    assert total == 40
    assert sum(not f.done() for f in futures_of(urgent[0])) > many // 2, "the second client waited for the priority"


def test_a_priority_below_zero_lets_all_others_go_first(cluster: Cluster) -> None:
    client = cluster.client
    polite = client.persist(tiny("polite", EAST, 600), priority=-1)
    with Client(client.scheduler.address, set_as_default=False) as other:  # type: ignore[union-attr]
        compute(other, tiny("hasty", EAST, 100).sum())
    assert sum(not f.done() for f in futures_of(polite)) > 300


def _keys(client: str, dask_scheduler: Scheduler | None = None) -> set[Any]:
    return {ts.key for ts in dask_scheduler.clients[client].wants_what if ts.priority}  # type: ignore[union-attr]
