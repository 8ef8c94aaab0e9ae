"""Nannies that prepare for a signal, workers with another address for others, and cores that a process may use."""

from __future__ import annotations

import asyncio
import os
from contextlib import AsyncExitStack
from typing import Any

from distributed import Client, Nanny, Scheduler, Worker

from xdask_pipelines.placement.dask_internals import cores, nanny_hooks, scheduler_requests, worker_hooks

LOCAL: dict[str, Any] = {"host": "127.0.0.1", "dashboard_address": "127.0.0.1:0"}


def test_before_signals_end_and_ask_scheduler() -> None:
    """Nothing is prepared where no signal is the reason; the scheduler still answers when one is."""

    async def main() -> None:
        async with Scheduler(port=0, **LOCAL) as scheduler:
            scheduler_requests.answer(scheduler, "double", lambda n: 2 * n)
            for reason, expected in (("nanny-close", []), ("signal-15", [6])):
                got: list[int] = []
                nanny = await Nanny(scheduler.address, nthreads=1, host="127.0.0.1")

                async def prepare(nanny: Nanny = nanny, got: list[int] = got) -> None:
                    got.append(await nanny_hooks.ask_scheduler(nanny, "double", n=3))

                nanny_hooks.before_signals_end(nanny, prepare)
                await nanny.close(timeout=10, reason=reason)
                assert got == expected

    asyncio.run(asyncio.wait_for(main(), 60))


async def forward(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(65_536):
        writer.write(data)
        await writer.drain()
    writer.close()


def test_contact_by_another_address() -> None:
    """A worker behind a gateway, which forwards its port, joins and gives results under the gateway's address."""
    gateway, inside = "127.0.0.3", "127.0.0.2"
    through: list[str] = []

    async def serve(port: int) -> asyncio.Server:
        async def connect(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            through.append("connected")
            there = await asyncio.open_connection(inside, port)
            await asyncio.gather(forward(reader, there[1]), forward(there[0], writer))

        return await asyncio.start_server(connect, gateway, port)

    async def main() -> None:
        async with Scheduler(port=0, **LOCAL) as scheduler, AsyncExitStack() as stack:
            hidden = Worker(scheduler.address, nthreads=1, name="hidden", **{**LOCAL, "host": inside})
            start = hidden.preloads.start

            async def set_up() -> None:
                await start()
                stack.callback((await serve(int(hidden.listen_address.rpartition(":")[2]))).close)
                worker_hooks.contact_by(hidden, gateway)

            hidden.preloads.start = set_up
            async with hidden, Worker(scheduler.address, nthreads=1, name="other", **LOCAL):
                assert scheduler.workers[hidden.address].name == "hidden"
                assert hidden.address.startswith(f"tcp://{gateway}:")
                async with Client(scheduler.address, asynchronous=True, set_as_default=False) as client:
                    held = client.submit(int, 7, workers=["hidden"])
                    assert await client.submit(lambda x: x + 1, held, workers=["other"]) == 8
                assert through

    asyncio.run(asyncio.wait_for(main(), 60))


def test_usable_cores() -> None:
    assert 1 <= cores.usable_cores() <= (os.cpu_count() or 1)
