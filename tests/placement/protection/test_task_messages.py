"""A task with an object that cannot travel, or that raises what ends processes, fails by name; pools keep their workers."""

from __future__ import annotations

import os
import sys
from asyncio import CancelledError
from collections.abc import Callable
from threading import Lock
from typing import Any

import dask
import numpy as np
import pytest
from distributed import Client

from tests.support.places import WEST, Cluster, array, worker_ids
from xdask_pipelines.placement import PlacementError, compute
from xdask_pipelines.placement.worker.guard import ROOT_VARIABLE


class ALockOnArrival:
    """Unpickles to what cannot be pickled again."""

    def __reduce__(self) -> Any:
        return Lock, ()


class BreaksOnWorkers:
    """Can be unpickled and pickled anywhere but on a worker."""

    def __reduce__(self) -> Any:
        return _unless_on_a_worker, ()


def _unless_on_a_worker() -> BreaksOnWorkers:
    if ROOT_VARIABLE in os.environ:
        raise ModuleNotFoundError("a module that workers do not have")
    return BreaksOnWorkers()


@pytest.mark.parametrize(
    ("argument", "deed"), [(ALockOnArrival, "pickled on the scheduler"), (BreaksOnWorkers, "unpickled on its worker")]
)
def test_a_task_that_cannot_travel_fails_alone(
    cluster: Cluster, neighbour: Client, argument: Callable[[], Any], deed: str
) -> None:
    message = f"cannot be {deed}: .*Create the object inside the task"
    with pytest.raises(PlacementError, match=message):
        neighbour.submit(_first, 1, argument(), pure=False).result(timeout=15)
    lazy = dask.delayed(_first)(array(WEST, (4,), 2, 93).sum(), argument())
    with pytest.raises(PlacementError, match=message):
        compute(neighbour, lazy)
    with dask.annotate(own=argument()):
        annotated = neighbour.submit(int, 7, pure=False)
        if argument is ALockOnArrival:
            with pytest.raises(PlacementError, match="which workers can read"):
                annotated.result(timeout=15)
        else:  # nothing stands in for annotations that a worker cannot read, and the task runs
            assert annotated.result(timeout=15) == 7
    assert compute(cluster.client, array(WEST, (8,), (2,), seed=94).sum())[1].misplaced_tasks == 0
    assert worker_ids(cluster.client) == cluster.first_workers


def _first(x: Any, *_: Any) -> Any:
    return x


def _exit() -> None:
    sys.exit(3)


def _interrupt() -> None:
    raise KeyboardInterrupt


def _cancel() -> None:
    raise CancelledError


def _end_generator() -> None:
    raise GeneratorExit


@pytest.mark.parametrize("end", [_exit, _interrupt, _cancel, _end_generator])
def test_what_would_end_a_worker_ends_its_task_alone(
    cluster: Cluster, neighbour: Client, end: Callable[[], None]
) -> None:
    with pytest.raises(RuntimeError, match=r"raised .*, which would end a process"):
        neighbour.submit(end, pure=False).result(timeout=15)
    with pytest.raises(RuntimeError, match="which would end a process"):
        compute(neighbour, array(WEST, (4,), 2, 95).map_blocks(lambda block: end(), dtype=float, meta=np.empty(0)))
    assert compute(cluster.client, array(WEST, (8,), (2,), seed=96).sum())[1].misplaced_tasks == 0
    assert worker_ids(cluster.client) == cluster.first_workers


def _fail_by_itself() -> None:
    error = ValueError("its own cause")
    raise error from error


def test_an_error_that_is_its_own_cause_occupies_no_thread(cluster: Cluster, neighbour: Client) -> None:
    with pytest.raises(ValueError, match="its own cause"):
        neighbour.submit(_fail_by_itself, pure=False).result(timeout=15)


def _recurse(depth: int = 0) -> int:
    return _recurse(depth + 1)


def test_an_endless_recursion_fails_by_its_own_error(cluster: Cluster, neighbour: Client) -> None:
    with pytest.raises(RecursionError):
        neighbour.submit(_recurse, pure=False).result(timeout=15)
    with pytest.raises(RecursionError):
        compute(neighbour, dask.delayed(_recurse)(array(WEST, (4,), 2, 97).sum()))
