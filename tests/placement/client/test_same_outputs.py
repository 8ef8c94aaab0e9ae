"""Threads that compute the same outputs with one client take turns, and each gets its own evidence or error."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Event
from time import sleep

import dask.array as da
import numpy as np

from tests.support.places import EAST, Cluster, eventually
from xdask_pipelines.errors import LostComputation
from xdask_pipelines.placement import compute, local_regions, pin
from xdask_pipelines.placement.client.connect import connect
from xdask_pipelines.placement.client.same_outputs import alone_with


def slow(block: np.ndarray, begun: Path | None = None) -> np.ndarray:
    if begun:
        begun.touch()
    sleep(0.3 if begun is None else 5)
    return block


def test_each_thread_gets_the_evidence_of_its_own_computation(cluster: Cluster) -> None:
    same = pin(da.ones(8, chunks=4, name="ones-same"), EAST).map_blocks(slow, dtype=float).sum()
    with ThreadPoolExecutor(4) as threads:
        done = [threads.submit(compute, cluster.client, same) for _ in range(4)]
        answers = [future.result(60) for future in done]
    assert [value for (value,), _ in answers] == [8.0] * 4
    assert [evidence.bytes_across for _, evidence in answers] == [{f"{EAST}->eu-west-2": 32}] * 4  # of a NumPy scalar
    assert all(evidence.tasks_by_region.keys() <= {EAST} for _, evidence in answers)


def test_outputs_that_are_not_all_the_same_do_not_wait() -> None:
    begun = Event()

    def in_turn() -> None:
        begun.set()
        with alone_with("client", ["b", "a"]):
            pass

    with ThreadPoolExecutor(1) as threads:
        with alone_with("client", ["a"]), alone_with("other", ["a", "b"]), alone_with("client", ["a", "b"]):
            waiting = threads.submit(in_turn)
            assert begun.wait(10)
            sleep(0.1)
            assert not waiting.done()
        waiting.result(10)


def test_all_threads_report_a_scheduler_that_is_gone(tmp_path: Path) -> None:
    begun = tmp_path / "begun"
    with ThreadPoolExecutor(2) as threads:
        with local_regions([EAST]) as first:
            client = connect(first.scheduler.address, timeout=5)
            same = pin(da.ones(2, chunks=2), EAST).map_blocks(slow, begun=begun, dtype=float)
            lost = [threads.submit(compute, client, same) for _ in range(2)]
            assert eventually(begun.exists)
        for future in lost:
            assert isinstance(future.exception(60), LostComputation)
        client.close()
