"""What several workers of a pool need from another Region crosses once."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from threading import Timer
from typing import Any

import dask.array as da
import numpy as np
import pytest
from distributed import Client

from tests.support.places import CLIENT_REGION, EAST, SETTINGS, WEST, eventually, worker_ids
from xdask_pipelines.placement import compute, local_regions, pin, plan

TO_EAST, TO_CLIENT = f"{WEST}->{EAST}", f"{EAST}->{CLIENT_REGION}"


@pytest.fixture(scope="module")
def client() -> Iterator[Client]:
    with local_regions([EAST, WEST], processes=3, settings=SETTINGS) as client:
        yield client


def hourly(region: str, steps: int, seed: int) -> da.Array:
    def made(block_info: Any = None) -> np.ndarray:
        location = block_info[None]["chunk-location"][0]
        return np.random.default_rng([seed, location]).random(block_info[None]["chunk-shape"])

    chunks = ((steps,) * 12, (50,), (60,))
    return pin(da.map_blocks(made, chunks=chunks, dtype=float, meta=np.empty((0, 0, 0))), region)


def test_a_climatology_crosses_once_to_a_pool_of_several_processes(client: Client) -> None:
    lazy = ((hourly(EAST, 4, 1) - hourly(WEST, 1, 2).mean(0)) ** 2).mean(0)
    (values,), evidence = compute(client, lazy)
    np.testing.assert_allclose(values, lazy.compute(scheduler="sync"), rtol=1e-12)
    assert evidence.bytes_across == plan(lazy, settings=SETTINGS).bytes_across == {TO_EAST: 24_000, TO_CLIENT: 24_000}


def test_each_month_crosses_once_though_many_blocks_need_it(client: Client) -> None:
    months = hourly(WEST, 1, 3)
    hours = hourly(EAST, 12, 4)
    lazy = (hours[:, None] * months[None]).max((0, 1))
    (values,), evidence = compute(client, lazy)
    np.testing.assert_allclose(values, lazy.compute(scheduler="sync"), rtol=1e-12)
    assert evidence.bytes_across == plan(lazy, settings=SETTINGS).bytes_across
    assert evidence.bytes_across[TO_EAST] == months.nbytes


def test_what_a_second_computation_needs_again_does_not_cross_again(client: Client) -> None:
    with client.as_current():
        (mean,) = client.persist([hourly(WEST, 1, 5).mean(0)])
    crossed = []
    for seed in (6, 7):
        lazy = (hourly(EAST, 2, seed) - mean).max(0)
        (values,), evidence = compute(client, lazy)
        fresh = (hourly(EAST, 2, seed) - hourly(WEST, 1, 5).mean(0)).max(0)
        np.testing.assert_allclose(values, fresh.compute(scheduler="sync"), rtol=1e-12)
        crossed.append(evidence.bytes_across.get(TO_EAST, 0))
    assert crossed[0] == 24_000
    assert crossed[1] <= 24_000


def test_nobody_waits_for_a_worker_that_dropped_what_it_once_had(client: Client) -> None:
    with client.as_current():
        (mean,) = client.persist([hourly(WEST, 1, 10).mean(0)])
    kept = []
    for i in range(6):
        with client.as_current():  # fills workers, so that other ones are chosen
            kept.append(client.persist([pin(da.from_array(np.full((50, 60), 1.0 + i)), EAST) + 1]))
        lazy = pin(da.from_array(np.full((50, 60), 20.0 + i)), EAST) - mean
        (values,), _ = compute(client, lazy)
        fresh = 20.0 + i - hourly(WEST, 1, 10).mean(0).compute(scheduler="sync")
        np.testing.assert_allclose(values, fresh, rtol=1e-12)
        client.amm.run_once()  # type: ignore[no-untyped-call]

    def missed(dask_worker: Any) -> list[str]:
        return [str(entry) for entry in dask_worker.state.log if "missing-dep" in map(str, entry)]

    assert not any(client.run(missed).values())


@pytest.mark.parametrize("delay", [0.0, 0.05, 0.15, 0.4])
def test_workers_may_die_while_others_wait_for_what_they_get(client: Client, delay: float) -> None:
    lazy = ((hourly(EAST, 40, 8) - hourly(WEST, 1, 9).mean(0)) ** 2).mean(0)
    pids = client.run(lambda dask_worker: (f"pool-{EAST}" in dask_worker.state.total_resources, os.getpid()))
    in_east = [pid for own, pid in pids.values() if own]
    assert len(in_east) == 3
    before = worker_ids(client)
    kill = Timer(delay, lambda: [os.kill(pid, signal.SIGKILL) for pid in in_east[:2]])
    kill.start()
    (values,), evidence = compute(client, lazy)
    kill.join()
    np.testing.assert_allclose(values, lazy.compute(scheduler="sync"), rtol=1e-12)
    assert set(evidence.tasks_by_region) == {EAST, WEST}
    assert eventually(lambda: len(worker_ids(client) - before) == 2 and len(worker_ids(client)) == 6)
