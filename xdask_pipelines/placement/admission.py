"""Which workers join a scheduler, and which are refused by name.

Belongs here: which workers may join. Does not belong here: requests of clients (shared_use, client_plugins), who may
connect (certificates), where tasks run (plugin).
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from time import time
from typing import Any

from distributed import Scheduler

from xdask_pipelines.placement.guard import ADMITTED

logger = logging.getLogger("xdask.placement")


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
