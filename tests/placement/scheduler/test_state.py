"""Computations that share tasks get true reports each, and what the scheduler remembers of them goes when they go."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from threading import Thread
from time import sleep
from typing import Any

import dask.array as da
import numpy as np
import pytest
from distributed import Client, Scheduler, wait

from tests.support.places import EAST, WEST, Cluster, eventually
from tests.support.recorder import is_others
from xdask_pipelines.errors import LostComputation, PlacementError
from xdask_pipelines.placement import compute, pin

BLOCKS = 8


def slow_array(token: str, region: str = EAST, seconds: float = 0.25) -> da.Array:
    """Blocks that take a while, with keys that are the same in every process."""

    def make(block_id: Any = None) -> np.ndarray:
        from time import sleep

        sleep(seconds)
        return np.full(10, float(block_id[0]))

    made = da.map_blocks(make, chunks=((10,) * BLOCKS,), dtype=float, meta=np.empty(0), name=f"slow-{token}")
    return pin(made, region)


def _state(dask_scheduler: Scheduler | None = None) -> dict[str, int]:
    """What the scheduler remembers, of all but the hostile client."""
    assert dask_scheduler is not None
    plugin = dask_scheduler.plugins["xdask-placement"]
    computations = plugin.ledger.computations

    def count(keys: Iterable[Any]) -> int:
        return sum(is_others(dask_scheduler, key) for key in keys)

    return {
        "tasks": count(dask_scheduler.tasks),
        "decided": count(plugin._decided),
        "computations": sum(count(c.outputs) > 0 for c in computations),
        "keys": count(computations._by_key),
        "wanted": sum(count(ts.key for ts in c.wants_what) for c in dask_scheduler.clients.values()),
    }


def nothing_left(client: Client) -> bool:
    return not any(client.run_on_scheduler(_state).values())


def test_nothing_is_left_on_the_scheduler_after_fifty_computations(cluster: Cluster) -> None:
    client = cluster.client
    assert eventually(lambda: nothing_left(client)), client.run_on_scheduler(_state)
    a, b = (pin(da.ones((8, 4), chunks=(2, 4)), region) for region in (EAST, WEST))
    for i in range(30):
        compute(client, (a * i - b).sum())
    for i in range(20):
        (a * i + b).sum().compute()
    assert eventually(lambda: nothing_left(client)), client.run_on_scheduler(_state)


def test_nothing_is_left_after_a_failure(cluster: Cluster) -> None:
    client = cluster.client

    def fail(block: np.ndarray) -> np.ndarray:
        raise ValueError("wrong")

    failing = pin(da.ones(4, chunks=2), EAST).map_blocks(fail, meta=np.empty(0))
    for attempt in (lambda: compute(client, failing), lambda: failing.compute()):
        try:
            attempt()
        except ValueError:
            continue
        raise AssertionError("the error was lost")
    assert eventually(lambda: nothing_left(client)), client.run_on_scheduler(_state)


def _limit(limit: int, dask_scheduler: Scheduler | None = None) -> None:
    dask_scheduler.plugins["xdask-placement"].ledger.computations.limit = limit  # type: ignore[union-attr]


def test_computations_that_nobody_asks_for_are_bounded(cluster: Cluster) -> None:
    client = cluster.client
    client.run_on_scheduler(_limit, 5)
    try:
        held = [(pin(da.ones(4, chunks=2), EAST) + i).persist() for i in range(12)]
        wait(held)
        assert client.run_on_scheduler(_state)["computations"] == 5
        del held
    finally:
        client.run_on_scheduler(_limit, 1_000)
    assert eventually(lambda: nothing_left(client)), client.run_on_scheduler(_state)


_OTHER = """
import json, signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell that runs the tests in the background ignores it
from distributed import Client
from tests.placement.scheduler.test_state import slow_array
from xdask_pipelines.placement import compute
address, token, factor = sys.argv[1:]
with Client(address) as client:
    print("ready", flush=True)
    sys.stdin.readline()
    (result,), evidence = compute(client, slow_array(token).sum() * int(factor))
    print(json.dumps({"result": result, **evidence.as_dict()}), flush=True)
"""


class Other:
    """Another process that computes the same array with its own client, when told to."""

    def __init__(self, cluster: Cluster, token: str, factor: int) -> None:
        environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])}
        address = cluster.client.scheduler.address  # type: ignore[union-attr]
        self.process = subprocess.Popen(
            [sys.executable, "-c", _OTHER, address, token, str(factor)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=environment,
        )

    def ready(self) -> Other:
        assert self.process.stdout is not None
        assert self.process.stdout.readline() == "ready\n"
        return self

    def go(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write("\n")
        self.process.stdin.flush()

    def answer(self) -> dict[str, Any]:
        out, err = self.process.communicate(timeout=60)
        assert self.process.returncode == 0, err
        return dict(json.loads(out))


def test_clients_that_share_tasks_each_get_a_true_report_though_one_is_interrupted(cluster: Cluster) -> None:
    others = [Other(cluster, "shared", factor) for factor in (1, 3)]
    interrupted, second = (other.ready() for other in others)
    with cluster.recorder.recording() as recording:
        for other in others:
            other.go()
            sleep(0.1)  # in this order: what runs is credited to the first who needs it and still lives
        sleep(0.4)
        interrupted.process.send_signal(signal.SIGINT)
        (mine,), evidence = compute(cluster.client, slow_array("shared").sum() * 5)
        answer = second.answer()
    interrupted.process.communicate(timeout=30)
    assert interrupted.process.returncode != 0
    assert mine == 5 * 280
    assert answer["result"] == 3 * 280
    blocks = [k for k in recording.ran[EAST] if str(k[0]).startswith("sum") and len(k) > 1]
    assert len(blocks) == len(set(blocks)) == BLOCKS  # each ran once, whoever asked
    needed = BLOCKS + 1  # and the last sum with each client's own product
    for report in (evidence.as_dict(), answer):
        assert report["misplaced_tasks"] == 0
        assert report["tasks_by_region"].keys() == {EAST}
        assert report["tasks_by_region"][EAST] + report["reused_tasks"] == needed, report
    assert eventually(lambda: nothing_left(cluster.client)), cluster.client.run_on_scheduler(_state)


def test_a_client_that_dies_leaves_nothing(cluster: Cluster) -> None:
    other = Other(cluster, "orphan", 1).ready()
    other.go()
    assert eventually(lambda: cluster.client.run_on_scheduler(_state)["computations"] == 1)
    other.process.kill()
    other.process.communicate(timeout=30)
    assert eventually(lambda: nothing_left(cluster.client)), cluster.client.run_on_scheduler(_state)


def test_an_interrupt_cancels_what_was_submitted(cluster: Cluster) -> None:
    class Stop(Exception):
        pass

    def stop(state: Any) -> None:
        raise Stop

    try:
        compute(cluster.client, slow_array("stopped"), progress=stop)
    except Stop:
        pass
    else:
        raise AssertionError("nothing was interrupted")
    assert eventually(lambda: nothing_left(cluster.client)), cluster.client.run_on_scheduler(_state)


def running(client: Client) -> Callable[[], bool]:
    """Whether something runs, of which more waits: the middle of a computation."""
    return lambda: any(client.processing().values()) and client.run_on_scheduler(_state)["tasks"] > 2


def test_a_client_that_is_closed_in_mid_run_ends_its_computation(cluster: Cluster) -> None:
    address = cluster.client.scheduler.address  # type: ignore[union-attr]
    with Client(address, set_as_default=False) as client:
        closing = Thread(target=lambda: eventually(running(cluster.client)) and client.close())
        closing.start()
        with pytest.raises(LostComputation, match="run again"):
            compute(client, slow_array("closed", seconds=1.0).sum())
        closing.join()
    assert eventually(lambda: nothing_left(cluster.client), 10.0), cluster.client.run_on_scheduler(_state)


_INTERRUPTED = """
import signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)
from distributed import Client
from tests.placement.scheduler.test_state import slow_array
from xdask_pipelines.placement import compute
with Client(sys.argv[1]) as client:
    try:
        compute(client, slow_array("interrupted", seconds=1.0).sum())
    except KeyboardInterrupt:
        print("interrupted", client.status, flush=True)
    sys.stdin.readline()
"""


def test_a_notebook_that_interrupts_a_computation_and_lives_on_leaves_nothing(cluster: Cluster) -> None:
    address = cluster.client.scheduler.address  # type: ignore[union-attr]
    command = [sys.executable, "-c", _INTERRUPTED, address]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True) as notebook:
        assert eventually(running(cluster.client), 30.0)
        notebook.send_signal(signal.SIGINT)
        assert notebook.stdout is not None
        assert notebook.stdout.readline() == "interrupted running\n"
        assert eventually(lambda: nothing_left(cluster.client), 10.0), cluster.client.run_on_scheduler(_state)
        notebook.communicate("\n", timeout=30)


@pytest.mark.alone
def test_a_restart_by_someone_else_is_a_lost_computation_that_runs_again(cluster: Cluster) -> None:
    def restart(state: Any) -> None:
        cluster.client.run_on_scheduler(_drop_everything)

    lazy = slow_array("dropped").sum()
    try:
        compute(cluster.client, lazy, progress=restart)
    except PlacementError as error:
        assert "run again" in str(error)  # noqa: PT017
    else:
        raise AssertionError("the loss went unnoticed")
    assert compute(cluster.client, lazy)[0] == (280.0,)


async def _drop_everything(dask_scheduler: Scheduler | None = None) -> None:
    """What a restart does to tasks and clients, without the seconds that restarting workers takes."""
    for name in list(dask_scheduler.client_comms):  # type: ignore[union-attr]
        client = dask_scheduler.clients[name]  # type: ignore[union-attr]
        keys = [ts.key for ts in client.wants_what]
        dask_scheduler.client_releases_keys(keys, name, stimulus_id="test")  # type: ignore[union-attr]
        dask_scheduler.client_comms[name].send(  # type: ignore[union-attr]
            {"op": "cancelled-keys", "keys": keys, "reason": "scheduler-restart"}
        )
