"""Pools of this machine grow with their backlog and shrink without losing what they hold."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from time import sleep

import dask.array as da
import numpy as np
import pytest

from tests.support.places import EAST, eventually
from xdask_pipelines.placement import compute, pin
from xdask_pipelines.placement.client.scheduler_rpc import SchedulerRPC
from xdask_pipelines.resources.pools.local_pools import LocalPools
from xdask_pipelines.resources.pools.pool_backends import LocalBackend
from xdask_pipelines.resources.pools.pool_controller import PoolController, scale
from xdask_pipelines.topology import Topology

REGIONS = """
client: {region: eu-west-2}
workers:
  - region: us-east-1
    pool: {min_workers: 1, max_workers: 2}
    datasets: [{name: era5, layout: era5-pds, mount: era5}]
"""


@pytest.fixture
def pools(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalPools]:
    folder = tmp_path_factory.mktemp("scaled")
    (folder / "regions.yaml").write_text(REGIONS)
    (folder / "data" / EAST / "era5").mkdir(parents=True)
    found = LocalPools(Topology.load(folder / "regions.yaml"))
    found.up()
    yield found
    found.close()
    found.down()


def names(pools: LocalPools) -> list[str]:
    return sorted(SchedulerRPC(pools.client()).instances())


def waiting(pools: LocalPools) -> dict[str, float]:
    return SchedulerRPC(pools.client()).backlog()[EAST]


def test_a_pool_grows_and_shrinks_as_asked_and_keeps_what_it_holds(pools: LocalPools, tmp_path: Path) -> None:
    marks = tmp_path / "marks"

    def mark(block: np.ndarray) -> np.ndarray:
        if block.size:
            sleep(0.05)
            with marks.open("a") as file:
                file.write("one\n")
        return block

    backend = LocalBackend(pools, print)
    scale(backend, EAST, 2)
    assert names(pools) == [EAST, f"{EAST}-2"]
    held = pin(da.ones((40, 8), chunks=(1, 8)), EAST).map_blocks(mark, dtype=float)
    held = pools.client().persist(held)
    assert eventually(lambda: in_memory(pools) == 40, 30)
    scale(backend, EAST, 1)
    assert len(names(pools)) == 1
    (total,), evidence = compute(pools.client(), held.sum())
    assert total == 320
    assert evidence.misplaced_tasks == 0
    assert len(marks.read_text().splitlines()) == 40, "what the instance held was computed again"
    assert pools.status().up


def test_the_controller_starts_what_the_backlog_needs_and_ends_it_after_the_cool_down(pools: LocalPools) -> None:
    def second(block: np.ndarray) -> np.ndarray:
        if block.size:
            sleep(1)
        return block

    now, lines = [0.0], list[str]()
    controller = PoolController(pools, LocalBackend(pools, lines.append), lines.append, clock=lambda: now[0])
    assert controller.step() == []
    work = pin(da.ones((2_000, 2), chunks=(1, 2)), EAST).map_blocks(second, dtype=float)
    work = pools.client().persist(work)
    assert eventually(lambda: waiting(pools)["seconds"] > 1_000, 30)
    controller.step()
    assert f"{EAST}: 2 instances instead of 1" in lines
    assert len(names(pools)) == 2
    del work
    assert eventually(lambda: waiting(pools)["processing"] == 0, 30)
    controller.step()
    assert len(names(pools)) == 2, "it shrinks only after the cool-down"
    now[0] += 700
    assert eventually(lambda: controller.step() == [] and len(names(pools)) == 1, 30)


def in_memory(pools: LocalPools) -> int:
    return sum(map(len, pools.client().has_what().values()))
