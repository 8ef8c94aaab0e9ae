"""Plugins that a client may neither replace nor remove, for nothing would be placed after that, for anybody.

Belongs here: the names that are taken. Does not belong here: what these plugins do.

Dask lets each client register plugins on the scheduler and on workers, and the last one of a name replaces the others.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any

from distributed import Scheduler

from xdask_pipelines.errors import PlacementError
from xdask_pipelines.placement.deliveries import Deliver

_HANDLERS = tuple(f"{do}_{where}_plugin" for do in ("register", "unregister") for where in ("scheduler", "worker"))


def reserve_plugins(scheduler: Scheduler) -> None:
    """Keep clients from replacing or removing the plugins that a scheduler has now, and those of its workers."""
    names = {*scheduler.plugins, Deliver.name}
    for handler in _HANDLERS:
        scheduler.handlers[handler] = _unless_reserved(scheduler.handlers[handler], names)


def _unless_reserved(handle: Callable[..., Any], names: Collection[str]) -> Callable[..., Any]:
    async def checked(comm: Any = None, *, name: str, **options: Any) -> Any:
        if name in names:
            raise PlacementError(
                f"A plugin named {name!r} cannot be registered or removed by a client: the pools need theirs of that name. "
                "Give your plugin another `name`."
            )
        if handle.__name__.endswith("worker_plugin"):
            options["comm"] = comm
        return await handle(name=name, **options)

    return checked
