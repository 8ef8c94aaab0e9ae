"""Workers outlive tasks that raise exits, and come back when their connection breaks."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from time import sleep
from typing import Any

import dask.array as da
import numpy as np
import pytest
from distributed import Client, Scheduler

from tests.support.places import EAST, eventually, worker_ids
from xdask_pipelines.placement import compute, local_regions, pin
from xdask_pipelines.placement.settings import Settings


@pytest.fixture(scope="module")
def one_worker() -> Iterator[Client]:
    patient = Settings(empty_pool_seconds=60.0)  # a busy machine starts workers slowly
    with local_regions([EAST], settings=patient) as client:
        yield client


def lazy(make: Callable[..., Any], blocks: int = 1) -> da.Array:
    return pin(da.map_blocks(make, chunks=((2,) * blocks,), dtype=float, meta=np.empty(0)), EAST)


def slowly(block_id: Any = None) -> np.ndarray:
    sleep(0.2)
    return np.ones(2)


def exiting(kind: type[BaseException]) -> None:
    """Leave as `sys.exit` does."""
    raise kind("done")


async def exiting_in_the_loop() -> None:
    """Leave as `sys.exit` does, in the thread of the worker itself."""
    raise SystemExit


class Exiting:
    """An actor that leaves."""

    def leave(self) -> None:
        """Leave."""
        raise SystemExit


def test_an_exit_in_a_task_fails_the_task_and_no_worker(one_worker: Client) -> None:
    before = worker_ids(one_worker)
    for kind in (SystemExit, KeyboardInterrupt, GeneratorExit):
        with pytest.raises(RuntimeError, match=rf"raised {kind.__name__}\('done'\), which would end a process"):
            one_worker.submit(exiting, kind).result(timeout=30)
    with pytest.raises(RuntimeError, match="which would end a process"):
        one_worker.submit(exiting_in_the_loop).result(timeout=30)
    actor: Any = one_worker.submit(Exiting, actor=True).result(timeout=30)
    with pytest.raises(RuntimeError, match="which would end a process"):
        actor.leave().result(timeout=30)
    for attempt in (one_worker.run, one_worker.run_on_scheduler):
        for function in (partial(exiting, SystemExit), exiting_in_the_loop):
            with pytest.raises(RuntimeError, match="which would end a process"):
                attempt(function)
    assert compute(one_worker, lazy(slowly).sum())[0] == (2,)
    assert worker_ids(one_worker) == before


def _abort(dask_scheduler: Scheduler | None = None) -> None:
    for comm in dask_scheduler.stream_comms.values():  # type: ignore[union-attr]
        comm.abort()


def test_a_worker_comes_back_after_its_connection_broke(one_worker: Client) -> None:
    before = worker_ids(one_worker)
    one_worker.run_on_scheduler(_abort)
    assert eventually(lambda: bool(ids := worker_ids(one_worker)) and ids != before, 30)
    assert compute(one_worker, lazy(slowly).sum())[0] == (2,)
