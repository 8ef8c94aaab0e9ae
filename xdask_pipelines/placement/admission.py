"""What a scheduler that several people share lets in, and what it refuses because others would pay for it.

Belongs here: workers without the guard, restarts while others compute. Does not belong here: plugins (reserved_plugins), who
may connect (certificates), where tasks run (plugin).
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from time import time
from typing import Any

from distributed import Scheduler

from xdask_pipelines.errors import PlacementError
from xdask_pipelines.placement.guard import ADMITTED

logger = logging.getLogger("xdask.placement")

_ENDED = frozenset({"memory", "erred", "released", "forgotten"})


def control_admission(scheduler: Scheduler, remedy: str) -> None:
    """Refuse what would hurt other users of a scheduler.

    Parameters
    ----------
    scheduler
        The scheduler.
    remedy
        Command that starts the pools, for messages.
    """
    scheduler.handlers["register-worker"] = _admitting(scheduler, remedy)
    for name in ("restart", "restart_workers", "terminate"):
        scheduler.handlers[name] = _unshared(scheduler, scheduler.handlers[name], name)


def _admitting(scheduler: Scheduler, remedy: str) -> Callable[..., Any]:
    """Let a worker join if it runs with our preload: another would read unguarded, and report nothing."""

    async def register(comm: Any, **about: Any) -> None:
        if (about.get("extra") or {}).get(ADMITTED):
            await scheduler.add_worker(comm, **about)
            return
        message = (
            f"This scheduler places tasks, and the worker at {about['address']} was started without the preload module that "
            f"guards and reports its reads. Start it with `{remedy}`, or give it `--preload "
            "xdask_pipelines.placement.preload`."
        )
        logger.warning("a worker was refused: %s", message)
        await comm.write({"status": "error", "message": message, "time": time()})

    return register


def _unshared(scheduler: Scheduler, handle: Callable[..., Any], name: str) -> Callable[..., Any]:
    """Restart or end a scheduler, unless several clients are connected and tasks run."""

    async def handled(**options: Any) -> Any:
        clients = [client for key, client in scheduler.clients.items() if key != "fire-and-forget"]
        running = {ts.key for client in clients for ts in client.wants_what if ts.state not in _ENDED}
        if len(clients) > 1 and running:
            raise PlacementError(
                f"{name!r} would lose the work of others: {len(clients)} clients are connected, and {len(running)} of their "
                "results are being computed. Cancel your own futures instead, or wait; an operator stops the pools with "
                "`xdask pools down`."
            )
        return await handle(**options)

    return handled
