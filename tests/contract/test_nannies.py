"""Nannies that prepare for a signal, workers with another address for others, and cores that a process may use."""

from __future__ import annotations

import asyncio
import os
from contextlib import AsyncExitStack
from typing import Any

from distributed import Client, Nanny, Scheduler, Status, Worker

from xdask_pipelines.placement.dask_internals import cores, ending, scheduler_requests, worker_hooks

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
                    got.append(await ending.ask_scheduler(nanny, "double", n=3))

                ending.before_signals_end(nanny, prepare)
                await nanny.close(timeout=10, reason=reason)
                assert got == expected

    asyncio.run(asyncio.wait_for(main(), 60))


def test_a_signal_ends_a_nanny_whose_worker_waits_for_a_scheduler() -> None:
    async def main() -> None:
        async with Scheduler(port=0, **LOCAL) as scheduler:

            async def answer_nobody(**registration: Any) -> None:
                await asyncio.Event().wait()

            scheduler.handlers["register-worker"] = answer_nobody
            nanny = Nanny(scheduler.address, nthreads=1, host="127.0.0.1")

            async def prepare() -> None:
                raise AssertionError("no worker has joined")

            ending.before_signals_end(nanny, prepare)
            starting = asyncio.ensure_future(nanny.start())
            while nanny.process is None or nanny.process.process is None or nanny.process.process.pid is None:
                await asyncio.sleep(0.01)
            worker = nanny.process
            await nanny.close(timeout=10, reason="signal-15")
            assert nanny.status is Status.closed
            assert worker.status is Status.stopped
            await asyncio.sleep(0.2)
            assert not starting.done(), "its start is not reported as a failure"
            starting.cancel()

    asyncio.run(asyncio.wait_for(main(), 60))


def test_leave_workers() -> None:
    """A signal ends only the scheduler: it sends workers no message, and the connections break."""

    async def main() -> None:
        for reason, told in (("signal-15", False), ("shutdown", True)):
            scheduler = await Scheduler(port=0, **LOCAL)
            ending.leave_workers(scheduler)
            worker = await Worker(scheduler.address, nthreads=1, **LOCAL)
            worker_hooks.leave_nanny_running(worker)
            reasons: list[str] = []
            close = worker.close

            async def note(
                *args: Any, reason: str = "", close: Any = close, reasons: list[str] = reasons, **options: Any
            ) -> Any:
                reasons.append(reason)
                return await close(*args, reason=reason, **options)

            worker.close = worker.stream_handlers["close"] = note  # type: ignore[method-assign]
            await scheduler.close(reason=reason)
            await worker.finished()
            assert ("scheduler-close" in reasons) == told, reasons

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
