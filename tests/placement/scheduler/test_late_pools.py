"""Pools that are missing when work begins: waited for where they are scaled up, started again without touching others."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from threading import Thread
from time import sleep
from typing import Any

import dask.array as da
import numpy as np
import pytest
from distributed import Client

from tests.support.places import EAST, WEST, eventually, workers_of
from xdask_pipelines.errors import EmptyPool
from xdask_pipelines.placement import compute, pin
from xdask_pipelines.placement.client.scheduler_rpc import SchedulerRPC
from xdask_pipelines.placement.local.cluster import Pool, join, start
from xdask_pipelines.placement.settings import Settings
from xdask_pipelines.resources.pools.local_pools import LocalPools
from xdask_pipelines.topology import Topology

REGIONS = """\
client: {region: eu-west-2, cidr: 10.0.0.0/16}
workers:
  - region: us-east-1
    cidr: 10.1.0.0/16
  - region: us-west-2
    cidr: 10.2.0.0/16
"""


def difference(blocks: int = 4, seconds: float = 0.0) -> da.Array:
    def make(block_id: Any = None) -> np.ndarray:
        from time import sleep

        sleep(seconds)
        return np.ones(1)

    made = da.map_blocks(make, chunks=((1,) * blocks,), dtype=float, meta=np.empty(0))
    return pin(made, EAST).sum() - pin(made * 2, WEST).sum()


def test_where_pools_are_scaled_up_work_waits_for_a_late_one_and_says_so_if_it_never_comes(tmp_path: Path) -> None:
    settings = Settings(owner=os.getpid(), empty_pool_seconds=1.0, scale_up_seconds=60.0)
    west, east = Pool(WEST), Pool(EAST)
    running = start([west], tmp_path / "run", settings)
    try:
        with Client(running.address) as client:
            answers: list[Any] = []
            run = Thread(target=lambda: answers.append(compute(client, difference())), daemon=True)
            run.start()
            assert eventually(lambda: SchedulerRPC(client).backlog().get(EAST, {}).get("no_worker") == 4)
            sleep(2.5)  # longer than without a scale-up
            assert not answers
            join(running, [east], tmp_path / "run", beside=[west])
            run.join(timeout=60)
            (((value,), evidence),) = answers
            assert value == -4
            assert evidence.misplaced_tasks == 0
            assert evidence.tasks_by_region[EAST] >= 4
            assert client.run_on_scheduler(_patience) == 60

            client.run_on_scheduler(_be_patient, 1.0)
            with pytest.raises(EmptyPool, match=r"waited 1 s for one. It should have been scaled up.*xdask pools up"):
                compute(client, pin(da.ones(2), "sa-east-1"))
    finally:
        running.stop()


def test_work_waits_for_another_instance_while_all_that_are_there_leave(tmp_path: Path) -> None:
    settings = Settings(owner=os.getpid(), empty_pool_seconds=1.0, scale_up_seconds=60.0)
    first, second = Pool(EAST), Pool(EAST, name="second")
    running = start([first], tmp_path / "run", settings)
    try:
        with Client(running.address) as client:
            client.run_on_scheduler(_refuse_soon, 1.0)
            SchedulerRPC(client).drain(EAST, 1)  # on AWS it is stopped at the next look of the controller
            answers: list[Any] = []
            work = pin(da.ones(4), EAST).sum()
            run = Thread(target=lambda: answers.append(compute(client, work)), daemon=True)
            run.start()
            assert eventually(lambda: SchedulerRPC(client).backlog().get(EAST, {}).get("no_worker", 0) > 0)
            sleep(2.5)  # longer than a task whose restrictions no worker meets
            assert not answers
            assert run.is_alive()
            join(running, [second], tmp_path / "run", beside=[first])
            run.join(timeout=60)
            assert answers[0][0] == (4.0,)
    finally:
        running.stop()


def _refuse_soon(seconds: float, dask_scheduler: Any = None) -> None:
    dask_scheduler.plugins["xdask-placement"].unsatisfiable.seconds = seconds


def _patience(dask_scheduler: Any = None) -> float:
    return float(dask_scheduler.plugins["xdask-placement"].empty_pools.seconds)


def _be_patient(seconds: float, dask_scheduler: Any = None) -> None:
    dask_scheduler.plugins["xdask-placement"].empty_pools.seconds = seconds


def test_pools_up_starts_only_what_is_missing_while_others_compute(tmp_path: Path) -> None:
    (tmp_path / "regions.yaml").write_text(REGIONS)
    pools = LocalPools(Topology.load(tmp_path / "regions.yaml"))
    try:
        before = pools.up()
        assert before.up
        old = pools._running()
        assert old is not None
        client = pools.client()
        (worker,) = client.run(os.getpid, workers=workers_of(client, EAST)).values()
        for pid in (old.pids[EAST], worker):
            os.kill(pid, signal.SIGKILL)
        assert eventually(lambda: not workers_of(client, EAST))
        assert [
            p
            for p in pools.status().problems
            if "pool of us-east-1 has no worker" in p and "does not affect the others" in p
        ]

        # Somebody computes in both Regions meanwhile: WEST goes on, EAST is waited for, however slow the machine is.
        client.run_on_scheduler(_be_patient, 120.0)
        answers: list[Any] = []
        run = Thread(target=lambda: answers.append(pools.compute(difference(40, 0.1))), daemon=True)
        run.start()
        said: list[str] = []
        after = pools.up(said.append)
        run.join(timeout=60)
        (((value,), evidence),) = answers
        assert value == -40
        assert evidence.misplaced_tasks == 0
        assert after.up
        assert after.address == before.address
        new = pools._running()
        assert new is not None
        assert {r for r in old.pids if new.pids[r] != old.pids[r]} == {EAST}
        assert any(f"scheduler at {before.address} keeps running, and the pool of us-west-2" in line for line in said)
        assert "starting again: the pool of us-east-1" in said
    finally:
        pools.close()
        assert pools.down()
