"""Nannies that do something before a signal ends them.

Belongs here: when that is. Does not belong here: what is done (drain_on_signal).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from distributed import Nanny

#: How ``dask worker`` names its reason when it closes nannies upon SIGINT or SIGTERM.
_SIGNAL = "signal-"


def before_signals_end(nanny: Nanny, prepare: Callable[[], Awaitable[None]]) -> None:
    """Await something before a signal to ``dask worker`` closes a nanny."""
    close = nanny.close

    async def close_prepared(timeout: float = 5, reason: str = "nanny-close") -> Any:
        if reason.startswith(_SIGNAL):
            await prepare()
        return await close(timeout=timeout, reason=reason)

    nanny.close = close_prepared  # type: ignore[method-assign]


def ask_scheduler(nanny: Nanny, question: str, **values: Any) -> Awaitable[Any]:
    """Ask a nanny's scheduler what `scheduler_requests.answer` lets it answer."""
    asked: Awaitable[Any] = getattr(nanny.scheduler, f"xdask_{question}")(**values)
    return asked
