"""Workers that freeze and workers that want too much memory, each tried with real processes."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from threading import Timer
from time import monotonic, sleep
from typing import Any

import dask.array as da
import numpy as np
import pytest
from distributed import Client

from tests.support.places import CENTRAL, EAST, WEST, workers_of
from xdask_pipelines.placement import PlacementError, compute, pin
from xdask_pipelines.placement.local.cluster import Pool, start
from xdask_pipelines.placement.protection.worker_liveness import give_up_frozen
from xdask_pipelines.placement.settings import WORKER_TTL_SECONDS, Settings
from xdask_pipelines.system.processes import is_alive

pytestmark = pytest.mark.damage

LIMIT = 700 * 2**20
TOO_MUCH = 900 * 2**20


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    pools = [Pool(EAST, processes=2), Pool(WEST), Pool(CENTRAL, memory_limit=str(LIMIT))]
    running = start(pools, tmp_path_factory.mktemp("sick") / "run", Settings(owner=os.getpid()))
    try:
        with Client(running.address) as client:
            yield client
    finally:
        running.stop()


def pids(client: Client, region: str) -> list[int]:
    found = workers_of(client, region)
    return sorted(client.run(os.getpid, workers=found).values()) if found else []


def slow(region: str, token: str, blocks: int = 24, seconds: float = 0.25) -> da.Array:
    def make(block_id: Any = None) -> np.ndarray:
        from time import sleep

        sleep(seconds)
        return np.full(10, float(block_id[0]))

    made = da.map_blocks(make, chunks=((10,) * blocks,), dtype=float, meta=np.empty(0), name=f"sick-{token}")
    return pin(made, region)


def once(region: str, after: int, action: Callable[[], None]) -> Callable[[Any], None]:
    acted: list[bool] = []

    def listen(state: Any) -> None:
        if not acted and state.get(region, (0, 0))[0] >= after:
            acted.append(True)
            action()

    return listen


def eventually(check: Callable[[], Any], seconds: float = 60.0) -> Any:
    deadline = monotonic() + seconds
    while not (found := check()) and monotonic() < deadline:
        sleep(0.1)
    return found


def test_a_network_that_pauses_for_ten_seconds_costs_nothing(client: Client) -> None:
    """To all others, a process that is stopped for 10 s looks like one whose network pauses."""
    assert client.run_on_scheduler(lambda dask_scheduler: dask_scheduler.worker_ttl) == WORKER_TTL_SECONDS
    before = pids(client, WEST)

    def pause() -> None:
        os.kill(before[0], signal.SIGSTOP)
        Timer(10, os.kill, (before[0], signal.SIGCONT)).start()

    (got,), evidence = compute(client, slow(WEST, "pause").sum(), progress=once(WEST, 3, pause))
    assert got == 2760
    assert evidence.seconds > 10
    assert evidence.tasks_by_region == {WEST: 24 + 1}
    assert pids(client, WEST) == before


def test_a_frozen_worker_is_replaced_and_its_work_is_done_in_its_own_pool(client: Client) -> None:
    client.run_on_scheduler(lambda dask_scheduler: give_up_frozen(dask_scheduler, 5.0))
    try:
        for region, others in ((EAST, 1), (WEST, 0)):  # where another worker can take over, and where none can
            before = pids(client, region)
            freeze = once(region, 4, lambda pid=before[0]: os.kill(pid, signal.SIGSTOP))  # type: ignore[misc]
            (got,), evidence = compute(client, slow(region, f"freeze-{region}").sum(), progress=freeze)
            assert got == 2760
            assert evidence.misplaced_tasks == 0
            assert evidence.tasks_by_region.keys() == {region}
            assert evidence.tasks_by_region[region] >= 24 + 1
            assert not evidence.bytes_across or all("client" in pair for pair in evidence.bytes_across)
            assert not is_alive(before[0])
            assert eventually(lambda r=region, n=others + 1: len(pids(client, r)) == n)  # type: ignore[misc]
            assert pids(client, region) != before
    finally:
        client.run_on_scheduler(lambda dask_scheduler: give_up_frozen(dask_scheduler, WORKER_TTL_SECONDS))


def greedy(folder: Path, times: int) -> da.Array:
    """A task that wants more memory than there is the first times that it runs."""

    def make(block_id: Any = None) -> np.ndarray:
        from time import sleep

        count = len(list(folder.iterdir()))
        (folder / str(count)).touch()
        if count < times:
            hoard = np.ones(TOO_MUCH, dtype="u1")
            sleep(10)
            del hoard
        return np.ones(1)

    return pin(
        da.map_blocks(make, chunks=((1,),), dtype=float, meta=np.empty(0), name=f"greedy-{folder.name}"), CENTRAL
    )


def test_a_task_that_once_wants_too_much_memory_runs_again_in_its_pool(client: Client, tmp_path: Path) -> None:
    before = pids(client, CENTRAL)
    (got,), evidence = compute(client, greedy(tmp_path, times=1).sum() - slow(WEST, "beside", 4).sum())
    assert got == 1 - 60
    assert len(list(tmp_path.iterdir())) == 2
    assert evidence.misplaced_tasks == 0
    assert not is_alive(before[0])
    assert pids(client, CENTRAL) != before


def test_a_task_that_always_wants_too_much_memory_is_named_with_what_to_do(client: Client, tmp_path: Path) -> None:
    client.run_on_scheduler(lambda dask_scheduler: setattr(dask_scheduler, "allowed_failures", 1))
    try:
        with pytest.raises(PlacementError, match=r"Every worker that ran task .* died, .*memory.*smaller chunks"):
            compute(client, greedy(tmp_path, times=99))
    finally:
        client.run_on_scheduler(lambda dask_scheduler: setattr(dask_scheduler, "allowed_failures", 3))
    assert len(list(tmp_path.iterdir())) == 2
    assert eventually(lambda: pids(client, CENTRAL))
    assert compute(client, slow(CENTRAL, "after", 2).sum())[0] == (10,)
