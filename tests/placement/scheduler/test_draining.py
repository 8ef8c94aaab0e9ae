"""Results stay in their pool, whoever moves them; and what waits for each pool is counted. On real processes."""

from __future__ import annotations

import gc
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from threading import Thread
from time import monotonic, sleep
from typing import Any

import dask.array as da
import numpy as np
import pytest
from distributed import Client, Scheduler, futures_of, wait

from tests.support.places import EAST, WEST, eventually, workers_of
from xdask_pipelines.placement import PlacementError, compute, drain, pin
from xdask_pipelines.placement.client.scheduler_rpc import SchedulerRPC
from xdask_pipelines.placement.local.cluster import Pool, start
from xdask_pipelines.placement.settings import Settings
from xdask_pipelines.system.processes import is_alive

COUNTED = "ran"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("draining")


@pytest.fixture(scope="module")
def client(folder: Path) -> Iterator[Client]:
    """Three worker processes in EAST, one in WEST."""
    running = start([Pool(EAST, processes=3), Pool(WEST)], folder / "run", Settings(owner=os.getpid()))
    try:
        with Client(running.address) as client:
            yield client
    finally:
        running.stop()


def note(folder: Path, block: np.ndarray, seconds: float = 0.0, block_id: Any = None) -> np.ndarray:
    """Leave a mark for each time that it runs."""
    sleep(seconds)
    with (folder / COUNTED).open("a") as out:
        out.write(f"{block_id}\n")
    return block + block_id[0]


def noted(folder: Path, region: str, blocks: int, seconds: float = 0.0) -> da.Array:
    (folder / COUNTED).unlink(missing_ok=True)
    ones = da.ones(1_000 * blocks, chunks=1_000)
    return pin(ones, region).map_blocks(lambda b, block_id=None: note(folder, b, seconds, block_id), meta=np.empty(0))


def count(folder: Path) -> int:
    return len((folder / COUNTED).read_text().splitlines())


def strayed(client: Client, region: str, held: Any) -> list[Any]:
    """Keys of which a copy is outside of a pool."""
    home = set(workers_of(client, region))
    return [key for key, where in client.who_has(futures_of(held)).items() if not where or not set(where) <= home]


def received(client: Client) -> dict[str, list[Any]]:
    """Peers that each worker took data from."""
    return client.run(lambda dask_worker: [e["who"] for e in dask_worker.transfer_incoming_log])  # type: ignore[no-any-return]


def crossings(client: Client) -> dict[str, int]:
    """Transfers from the other Region, by worker that lives; those of WEST all do."""
    west = set(workers_of(client, WEST))
    return {me: sum((peer in west) != (me in west) for peer in peers) for me, peers in received(client).items()}


def test_what_waits_for_each_pool_is_counted_while_tasks_run_and_wait(client: Client, folder: Path) -> None:
    idle = SchedulerRPC(client).backlog()
    assert {r: pool["workers"] for r, pool in idle.items()} == {EAST: 3, WEST: 1}
    held = noted(folder, EAST, 40, seconds=0.2).persist()
    elsewhere = pin(da.ones(4, chunks=1), "sa-east-1").persist()
    assert eventually(lambda: SchedulerRPC(client).backlog().get("sa-east-1", {}).get("no_worker") == 4)
    assert eventually(lambda: SchedulerRPC(client).backlog()[EAST]["held_bytes"] > 0)
    seen = SchedulerRPC(client).backlog()
    assert seen["sa-east-1"]["workers"] == 0
    assert seen["sa-east-1"]["seconds"] > 0
    assert seen[EAST]["running"] == seen[EAST]["threads"] == 3
    assert 20 < seen[EAST]["processing"] < 40
    assert seen[EAST]["queued"] == 0
    assert 2 < seen[EAST]["seconds"] < 10
    assert seen[EAST]["memory_bytes"] > 2**27
    measured = {"cpu_percent", "used_bytes", "disk_percent"}  # of the machine: other processes change them
    assert {k: v for k, v in seen[WEST].items() if k not in measured} == {
        k: v for k, v in idle[WEST].items() if k not in measured
    }
    del held, elsewhere
    assert eventually(
        lambda: not any(p["processing"] + p["no_worker"] for p in SchedulerRPC(client).backlog().values())
    )


def test_stealing_heeds_pools(client: Client, folder: Path) -> None:
    """All the work on one worker of EAST; the other two take of it, the idle one of WEST does not."""
    big = noted(folder, EAST, 1).persist()
    wait(big)
    lazy = da.stack([big[:10] + i for i in range(60)]).map_blocks(_slowly, dtype=float)
    values, evidence = compute(client, lazy)
    assert values[0].shape == (60, 10)
    assert evidence.misplaced_tasks == 0
    assert evidence.tasks_by_region.keys() == {EAST}
    assert len(client.run_on_scheduler(_thieves)) >= 1
    assert not set(client.run_on_scheduler(_thieves)) & set(workers_of(client, WEST))


def _slowly(block: np.ndarray) -> np.ndarray:
    sleep(0.05)
    return block


def _thieves(victim: str | None = None, dask_scheduler: Scheduler | None = None) -> list[str]:
    """Addresses of workers that took tasks of one worker, or of any."""
    events = dask_scheduler.get_events("stealing")  # type: ignore[union-attr]
    return [entry[4] for _, entry in events if entry[0] == "confirm" and victim in (None, entry[3])]


def test_no_way_that_dask_has_to_move_results_leaves_the_pool(client: Client, folder: Path) -> None:
    held = noted(folder, EAST, 12).persist()
    wait(held)
    before = crossings(client)
    client.replicate(held)
    copies = [len(where) for where in client.who_has(futures_of(held)).values()]
    assert max(copies) == 3
    client.replicate(held, n=2, workers=workers_of(client, EAST)[:2] + workers_of(client, WEST))
    client.rebalance(held)
    client.rebalance()
    client.amm.run_once()
    assert eventually(lambda: all(len(w) == 1 for w in client.who_has(futures_of(held)).values()))
    assert not strayed(client, EAST, held)
    assert crossings(client) == before
    answer = client.sync(client.scheduler.rebalance, keys=["none"])  # type: ignore[union-attr]
    assert answer == {"status": "partial-fail", "keys": ("none",)}
    assert count(folder) == 12


def test_of_two_copies_the_one_at_home_is_kept(client: Client, folder: Path) -> None:
    """A task of WEST needed results of EAST; Dask alone drops a copy where most memory is used, which is in EAST."""
    held, fat = noted(folder, EAST, 12).persist(), (pin(da.ones(18_000_000, chunks=3_000_000), EAST) + 1).persist()
    west = (pin(da.ones((10, 12_000), chunks=(10, 1_000)), WEST) + 1).persist()
    wait([held, fat, west])
    client.amm.stop()
    try:
        both = (west - held).persist()
        wait(both)
        assert len(strayed(client, EAST, held)) == 12
    finally:
        client.amm.start()
    assert eventually(lambda: not strayed(client, EAST, held))
    assert not strayed(client, WEST, both)
    assert count(folder) == 12


def test_a_drain_is_given_up_when_the_rest_of_the_pool_dies(client: Client, folder: Path) -> None:
    held = noted(folder, EAST, 9, seconds=1.0).persist()
    assert eventually(lambda: SchedulerRPC(client).backlog()[EAST]["running"] == 3)
    leaving, *others = workers_of(client, EAST)
    pids = client.run(os.getpid, workers=others)
    errors: list[str] = []

    def try_to_drain() -> None:
        try:
            drain(client, EAST, [leaving])
        except PlacementError as error:
            errors.append(str(error))

    attempt = Thread(target=try_to_drain, daemon=True)
    attempt.start()
    sleep(0.2)
    for pid in pids.values():
        os.kill(pid, signal.SIGKILL)
    attempt.join(timeout=20)
    assert len(errors) == 1
    assert f"has no other worker that can take over the tasks and results of {leaving}" in errors[0]
    assert compute(client, held.sum())[0] == (sum(1_000 * (1 + i) for i in range(9)),)
    assert eventually(lambda: len(workers_of(client, EAST)) == 3)
    assert leaving in workers_of(client, EAST)


def test_drained_workers_hand_everything_to_their_own_pool(client: Client, folder: Path) -> None:
    """One of three by `drain` while tasks run and wait, one by Dask's own way, the last refused."""
    elsewhere = (pin(da.ones(8, chunks=2), WEST) + 1).persist()
    held = noted(folder, EAST, 24, seconds=0.1).persist()
    assert eventually(lambda: (folder / COUNTED).exists() and count(folder) >= 6)
    before = crossings(client)
    pids = client.run(os.getpid)

    (gone,) = drain(client, EAST)
    assert not wait(held).not_done
    assert gone not in workers_of(client, EAST)
    assert len(workers_of(client, EAST)) == 2
    assert count(folder) == 24, "something was computed again"
    assert set(client.run_on_scheduler(_thieves, gone)) == set(workers_of(client, EAST)), "its tasks were spread"
    assert not strayed(client, EAST, held)
    assert eventually(lambda: not is_alive(pids[gone]))

    second, third = workers_of(client, EAST)
    client.retire_workers([second])
    assert eventually(lambda: workers_of(client, EAST) == [third])
    assert not strayed(client, EAST, held)

    with pytest.raises(PlacementError, match=rf"last worker.* of the pool pool-{EAST} .*\d+ results.*add a worker"):
        drain(client, EAST, [third])
    with pytest.raises(PlacementError, match=rf"would leave pool-{EAST} without a worker"):
        client.retire_workers([third])
    assert workers_of(client, EAST) == [third]
    assert not strayed(client, EAST, held)
    assert {a: n for a, n in crossings(client).items() if n != before[a]} == {}
    assert compute(client, held.sum())[0] == (sum(1_000 * (1 + i) for i in range(24)),)
    assert compute(client, elsewhere.sum())[0] == (16,)
    assert count(folder) == 24, "something was computed again"

    with pytest.raises(PlacementError, match=r"1 running worker.*fewer than 2"):
        drain(client, EAST, 2)
    with pytest.raises(PlacementError, match=r"no running worker at tcp://127.0.0.1:1\b"):
        drain(client, EAST, ["tcp://127.0.0.1:1"])

    # Once nobody needs what it holds, the last one goes too, and no nanny brings any of them back.
    del held
    gc.collect()
    assert eventually(lambda: not SchedulerRPC(client).backlog()[EAST]["held_bytes"])
    assert drain(client, EAST) == [third]
    ended = monotonic()
    assert eventually(lambda: not is_alive(pids[third]))
    sleep(max(0.0, 2 - (monotonic() - ended)))
    assert not workers_of(client, EAST)
