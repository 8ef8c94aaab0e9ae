"""Spreading tasks over workers: what the wall changes of it, on Dask's own scheduler."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from distributed import Client, Scheduler, Worker

from tests.contract.patience import until
from tests.contract.test_scheduler_side import GATES, _wait_for, increase
from xdask_pipelines.placement.dask_internals.balancing import choose_among, steal_within
from xdask_pipelines.placement.dask_internals.scheduling import close_gracefully

LOCAL: dict[str, Any] = {"host": "127.0.0.1", "dashboard_address": "127.0.0.1:0"}


def on_workers(resources: list[str], body: Callable[[Client, Scheduler, list[Worker]], Awaitable[None]]) -> None:
    """Run a coroutine function with a worker for each resource, in this process."""

    async def main() -> None:
        async with Scheduler(port=0, **LOCAL) as scheduler:
            workers = [Worker(scheduler.address, nthreads=1, resources={name: 1}, **LOCAL) for name in resources]
            await asyncio.gather(*workers)
            try:
                async with Client(scheduler.address, asynchronous=True, set_as_default=False) as client:
                    await asyncio.wait_for(body(client, scheduler, workers), 30)
            finally:
                await asyncio.gather(*(worker.close() for worker in workers))

    asyncio.run(main())


def test_steal_within_leaves_tasks_in_their_group() -> None:
    """Of two idle workers, only the one of the busy worker's group takes tasks, though the tasks may run on both."""

    async def body(client: Client, scheduler: Scheduler, workers: list[Worker]) -> None:
        steal_within(scheduler, lambda ws: "A" in ws.resources)
        busy, mate, other = workers
        gate = client.submit(_wait_for, "busy", key="busy", workers=[busy.address])
        await until(lambda: any(ts.state == "executing" for ts in busy.state.tasks.values()))
        tasks = client.map(
            increase, range(20), workers=[busy.address], allow_other_workers=True, key=[f"t-{i}" for i in range(20)]
        )
        await until(lambda: any(key.startswith("t-") for key in mate.state.tasks) or bool(mate.data))
        GATES["busy"].set()
        await client.gather([gate, *tasks])
        stolen = [entry for _, entry in scheduler.get_events("stealing") if entry[0] == "confirm"]
        assert {entry[4] for entry in stolen} == {mate.address}
        assert not other.data

    on_workers(["A", "A", "B"], body)


def test_choose_among_spreads_tasks_and_finds_inputs() -> None:
    async def body(client: Client, scheduler: Scheduler, workers: list[Worker]) -> None:
        choose_among(scheduler, 2)
        compared: list[str] = []
        objective = scheduler.worker_objective

        def counting(ts: Any, ws: Any) -> Any:
            compared.append(ws.address)
            return objective(ts, ws)

        scheduler.worker_objective = counting  # type: ignore[method-assign]
        first = client.map(increase, range(5), resources={"A": 0}, key=[f"first-{i}" for i in range(5)])
        await client.gather(first)
        assert len(compared) == 10, "two for each task"
        members = {worker.address for worker in workers[:5]}
        assert {ws.address for f in first for ws in scheduler.tasks[f.key].who_has} == members
        second = client.submit(increase, first[0], resources={"A": 0}, key="second")
        await second
        assert scheduler.tasks["second"].who_has == scheduler.tasks["first-0"].who_has
        for worker in workers[:4]:
            close_gracefully(scheduler, scheduler.workers[worker.address])
        third = client.map(increase, range(3), resources={"A": 0}, key=[f"third-{i}" for i in range(3)])
        await client.gather(third)
        assert {ws.address for f in third for ws in scheduler.tasks[f.key].who_has} == {workers[4].address}

    on_workers(["A"] * 5 + ["B"], body)
