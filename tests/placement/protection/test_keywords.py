"""Keywords that are none are refused by name before anything is made of them, and cost nobody else anything."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import dask
import numpy as np
import pytest
from distributed import Client, Future, Scheduler

from tests.support.places import EAST, Cluster, array, eventually, until, worker_ids
from tests.support.recorder import is_others


def _annotated(client: Client, **annotations: Any) -> Future:
    with dask.annotate(**annotations):
        lazy = array(EAST, (4,), 2, 71).sum()
    return client.compute(lazy, optimize_graph=False)


def _submitted(client: Client, **keywords: Any) -> Future:
    return client.submit(int, 7, pure=False, **keywords)


def _submitted_within(client: Client, **annotations: Any) -> Future:
    with dask.annotate(**annotations):
        return client.submit(int, 7, pure=False)


def _computed(client: Client, **keywords: Any) -> Future:
    return client.compute(array(EAST, (4,), 2, 72).sum(), **keywords)


def _many_tasks(dask_scheduler: Scheduler | None = None) -> list[str]:
    assert dask_scheduler is not None
    return [str(key) for key in dask_scheduler.tasks if is_others(dask_scheduler, key)]


@pytest.mark.parametrize(
    ("name", "attempt"),
    [
        ("resources='GPU'", partial(_computed, resources="GPU")),
        ("resources=", partial(_submitted, resources={3: 1})),
        ("resources=", partial(_computed, resources={("a",): 1})),
        ("resources=", partial(_submitted, resources={"GPU": "one"})),
        ("resources=", partial(_submitted, resources={"GPU": -1})),
        ("priority='high'", partial(_computed, priority="high")),
        ("priority=inf", partial(_submitted, priority=float("inf"))),
        ("priority=nan", partial(_annotated, priority=float("nan"))),
        ("retries='3'", partial(_computed, retries="3")),
        ("fifo_timeout='soon'", partial(_submitted, fifo_timeout="soon")),
        ("workers=", partial(_annotated, workers=lambda key: 1.5)),
        ("workers=.*raised ZeroDivisionError", partial(_submitted_within, workers=lambda key: 1 / 0)),
        ("note=", partial(_annotated, note=2**70)),
    ],
)
def test_a_keyword_that_is_none_is_refused_by_name_and_leaves_nothing(
    cluster: Cluster, neighbour: Client, name: str, attempt: Callable[[Client], Future]
) -> None:
    future = attempt(neighbour)
    message = str(future.exception(timeout=30))
    assert message.startswith("The submission is refused: `")
    assert all(part in message for part in name.split(".*"))
    del future
    assert eventually(lambda: not cluster.client.run_on_scheduler(_many_tasks), 10)
    assert worker_ids(cluster.client) == cluster.first_workers


def test_numbers_of_numpy_are_numbers(cluster: Cluster, neighbour: Client) -> None:
    keywords = {"priority": np.int64(2), "retries": np.int64(1)}
    assert _submitted(neighbour, **keywords).result(timeout=30) == 7
    with dask.annotate(priority=lambda key: np.float32(1), retries=lambda key: 2, note={"by": "me"}):
        assert _submitted(neighbour).result(timeout=30) == 7


def test_a_refused_submission_does_not_fail_the_tasks_that_another_client_shares_with_it(
    cluster: Cluster, neighbour: Client, tmp_path: Path
) -> None:
    flag = tmp_path / "go"
    lazy = until(flag, EAST).sum()
    mine = cluster.client.compute(lazy)
    assert eventually(lambda: any(cluster.client.processing().values()))
    assert "resources='GPU'" in str(neighbour.compute(lazy, resources="GPU").exception(timeout=30))
    flag.touch()
    assert mine.result(timeout=30) == 2
