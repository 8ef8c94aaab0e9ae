"""A scheduler and a worker of Dask's own in this process, without any of ours."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import dask
import distributed.client
import pytest
from distributed import Client, Scheduler, Worker

Body = Callable[[Client, Scheduler, Worker, Worker], Awaitable[None]]


@pytest.fixture(autouse=True)
def no_default_client() -> Iterator[None]:
    """Leave no default client behind: an actor that arrives in this process may make one, which xarray's locks would ask."""
    before = dask.config.get("scheduler", None)
    yield
    dask.config.set(scheduler=before)
    distributed.client._global_clients.clear()


@pytest.fixture
def on_dask() -> Callable[[Body], None]:
    """Run a coroutine function with a client, a scheduler and two workers, in this process and one event loop."""

    async def main(body: Body) -> None:
        local: dict[str, Any] = {"host": "127.0.0.1", "dashboard_address": "127.0.0.1:0"}
        async with (
            Scheduler(port=0, **local) as scheduler,
            Worker(scheduler.address, nthreads=1, name="a", resources={"A": 1}, **local) as a,
            Worker(scheduler.address, nthreads=1, name="b", resources={"B": 1}, **local) as b,
            Client(scheduler.address, asynchronous=True, set_as_default=False) as client,
        ):
            await asyncio.wait_for(body(client, scheduler, a, b), 30)

    return lambda body: asyncio.run(main(body))
