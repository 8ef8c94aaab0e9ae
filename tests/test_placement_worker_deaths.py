"""A task that ends its worker fails by itself: what others had waiting there goes on."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from threading import Thread
from time import sleep
from typing import Any

import dask.array as da
import numpy as np
import pytest
from distributed import Client
from distributed.scheduler import KilledWorker
from places import EAST, eventually

from xdask_pipelines.placement import compute, local_regions, pin


@pytest.fixture(scope="module")
def one_worker() -> Iterator[Client]:
    with local_regions([EAST]) as client:
        yield client


def lazy(make: Callable[..., Any], blocks: int = 1) -> da.Array:
    return pin(da.map_blocks(make, chunks=((2,) * blocks,), dtype=float, meta=np.empty(0)), EAST)


def slowly(block_id: Any = None) -> np.ndarray:
    sleep(0.2)
    return np.ones(2)


def ending(block_id: Any = None) -> None:
    os._exit(1)


def test_a_task_that_ends_its_worker_again_and_again_fails_nobody_else_s(one_worker: Client) -> None:
    answers: list[Any] = []

    def run() -> None:
        answers.append(compute(one_worker, lazy(slowly, 60).sum()))

    mine = Thread(target=run)
    mine.start()
    assert eventually(lambda: sum(map(len, one_worker.processing().values())) > 20)
    with Client(one_worker.scheduler.address, set_as_default=False) as neighbour:  # type: ignore[union-attr]
        assert isinstance(neighbour.compute(lazy(ending)).exception(timeout=90), KilledWorker)
    mine.join(timeout=60)
    ((got,), evidence) = answers[0]
    assert got == 120
    assert evidence.misplaced_tasks == 0
