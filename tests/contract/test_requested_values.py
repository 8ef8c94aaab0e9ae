"""What the wall says of requested values is what Dask asks a scheduler for."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import dask
import dask.array as da
import dask.bag as db
import numpy as np
import pytest
import xarray as xr
from dask.multiprocessing import get as processes
from dask.threaded import get as threads
from distributed import Client, wait

from xdask_pipelines.placement.dask_internals.connections import current_client
from xdask_pipelines.placement.dask_internals.requested_values import (
    RequestedValue,
    client_behind,
    clients_of,
    optimizers_of,
    requested_values,
    usual_scheduler,
    writes_to_stores,
)

BLOCKS = da.arange(24, chunks=7).reshape(4, 6).rechunk((2, 3))


class Asked:
    """A scheduler that keeps what it is asked for, and computes from the parts."""

    def __call__(self, expr: Any, keys: Any, **options: Any) -> Any:
        self.expr, self.keys = expr, keys
        self.values = requested_values(expr, keys)
        return dask.compute(*self.values, scheduler="synchronous") if self.values else threads(expr, keys)


def asked(compute: Callable[[], Any]) -> tuple[Asked, Any]:
    scheduler = Asked()
    with dask.config.set(scheduler=scheduler):
        return scheduler, compute()


def test_requested_values_are_the_blocks_and_how_they_are_put_together() -> None:
    scheduler, values = asked(BLOCKS.compute)
    (one,) = scheduler.values
    assert one.__dask_keys__() == BLOCKS.__dask_keys__()
    assert not any(str(name).startswith("finalize") for name in one.__dask_graph__().layers)
    assert np.array_equal(values, np.arange(24).reshape(4, 6))


@pytest.mark.parametrize("optimize_graph", [True, False])
def test_requested_values_of_several_collections_share_a_graph(optimize_graph: bool) -> None:
    def compute() -> Any:
        return dask.compute(
            BLOCKS.sum(), {"a": BLOCKS + 1}, dask.delayed(sum)([1, BLOCKS.max()]), optimize_graph=optimize_graph
        )

    _, (total, inside, delayed) = asked(compute)
    assert (total, inside["a"].sum(), delayed) == (276, 300, 24)
    dataset = xr.Dataset({"a": (("x", "y"), BLOCKS), "b": (("x", "y"), BLOCKS * 2)})
    scheduler, loaded = asked(dataset.compute)
    assert len(scheduler.values) == 2
    assert int(loaded.b.sum()) == 552
    _, (again,) = asked(lambda: dask.compute(dataset))  # put together by xarray
    assert again.equals(loaded)


def test_requested_values_of_arrays_are_optimised_as_configured_when_they_are_computed() -> None:
    scheduler, _ = asked(BLOCKS.compute)
    seen = []
    with dask.config.set(array_optimize=lambda graph, keys, **_: seen.append(keys) or graph):
        dask.compute(*scheduler.values, scheduler="synchronous")
    assert seen


def test_requested_values_can_be_persisted() -> None:
    value = asked(BLOCKS.compute)[0].values[0]
    (kept,) = dask.persist(value, scheduler="synchronous")
    assert isinstance(kept, RequestedValue)
    assert np.array_equal(dask.compute(kept, scheduler="synchronous")[0], np.arange(24).reshape(4, 6))


def test_writes_to_stores_is_what_store_asks_for() -> None:
    target = np.zeros((4, 6))
    scheduler, _ = asked(lambda: da.store(BLOCKS, target))
    assert any(map(writes_to_stores, scheduler.values))
    scheduler, _ = asked(BLOCKS.compute)
    assert not any(map(writes_to_stores, scheduler.values))


def test_clients_of_persisted_collections_are_named_and_client_behind_is_the_current_one(
    no_default_client_before: None,
) -> None:
    with Client(
        n_workers=1, threads_per_worker=1, processes=False, dashboard_address=None, set_as_default=False
    ) as client:
        assert clients_of(client.persist(BLOCKS) + 1) == {client.id}
        assert clients_of(xr.DataArray(client.persist(BLOCKS)).mean()) == {client.id}
        assert clients_of(BLOCKS) == set()
        with client.as_current():
            assert client_behind(None) is client
        assert client_behind(None) is None
        assert client_behind("threads") is None


def test_current_client_is_that_of_its_thread_alone(no_default_client_before: None) -> None:
    before = dask.config.get("scheduler", None)
    with Client(
        n_workers=1, threads_per_worker=1, processes=False, dashboard_address=None, set_as_default=False
    ) as client:
        with current_client(client), ThreadPoolExecutor(1) as other:
            assert client_behind(None) is client
            assert other.submit(client_behind, None).result() is None
            assert wait(client.submit(int, "7")).done
            assert dask.config.get("scheduler", None) is before
        assert client_behind(None) is None


def test_usual_scheduler_is_what_dask_chooses(no_default_client_before: None) -> None:
    bag = db.from_sequence([1, 2])
    for collections in ([BLOCKS], [bag], [dask.delayed(1)]):
        scheduler, _ = asked(lambda: dask.compute(*collections))  # noqa: B023
        assert usual_scheduler(None, optimizers_of(scheduler.expr)) is dask.base.get_scheduler(collections=collections)
    assert usual_scheduler(None, [db.Bag.__dask_optimize__]) is processes
    assert usual_scheduler("synchronous") is dask.base.get_scheduler(scheduler="synchronous")
    with pytest.raises(ValueError, match="differing default schedulers"):
        usual_scheduler(None, [da.Array.__dask_optimize__, db.Bag.__dask_optimize__])


def test_optimizers_of_an_expression_are_those_of_its_collections() -> None:
    scheduler, _ = asked(BLOCKS.compute)
    assert optimizers_of(scheduler.expr) == [da.Array.__dask_optimize__]
    assert optimizers_of(object()) == [None]
