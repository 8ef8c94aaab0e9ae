"""Nannies and schedulers that a signal ends.

Belongs here: when that is, and whom Dask would end with them. Does not belong here: what is done before (drain_on_signal).
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from distributed import Nanny, Scheduler, Status

#: How ``dask worker`` and ``dask scheduler`` name their reason upon SIGINT or SIGTERM.
_SIGNAL = "signal-"


def before_signals_end(nanny: Nanny, prepare: Callable[[], Awaitable[None]]) -> None:
    """Await something before a signal to ``dask worker`` closes a nanny whose worker has joined.

    Dask (2026.8.0) waits without limit for a worker that has not joined, because its scheduler is away: it is killed. Its
    nanny, if this was the first start, would report that as a failure.
    """
    close, instantiate = nanny.close, nanny.instantiate
    ends = False

    async def instantiate_until_end() -> Status:
        status = await instantiate()
        if ends:
            await asyncio.Event().wait()  # until this process has ended
        return status

    async def close_prepared(timeout: float = 5, reason: str = "nanny-close") -> Any:
        if not reason.startswith(_SIGNAL):
            return await close(timeout=timeout, reason=reason)
        nonlocal ends
        ends = True
        if nanny.process is not None and nanny.process.status is Status.running:
            await prepare()
        closing = asyncio.ensure_future(close(timeout=timeout, reason=reason))
        await asyncio.sleep(0)  # a nanny that is closing does not restart its worker
        if (worker := nanny.process) is not None and worker.status is Status.starting and worker.process is not None:
            await worker.process.kill()
        return await closing

    nanny.close, nanny.instantiate = close_prepared, instantiate_until_end  # type: ignore[method-assign]


def leave_workers(scheduler: Scheduler) -> None:
    """Let a scheduler that a signal ends break its connections to workers; Dask would end workers and nannies."""
    close = scheduler.close

    async def close_alone(timeout: float | None = None, reason: str = "unknown") -> None:
        if reason.startswith(_SIGNAL):
            for stream in scheduler.stream_comms.values():
                stream.abort()
        await close(timeout=timeout, reason=reason)

    scheduler.close = close_alone  # type: ignore[method-assign]


def ask_scheduler(nanny: Nanny, question: str, **values: Any) -> Awaitable[Any]:
    """Ask a nanny's scheduler what `scheduler_requests.answer` lets it answer."""
    asked: Awaitable[Any] = getattr(nanny.scheduler, f"xdask_{question}")(**values)
    return asked
