"""Plugins that clients register: they can neither replace ours nor restart workers while other clients compute.

Belongs here: which plugins a scheduler accepts from a client, and removing plugins that fail. Does not belong here: our
own plugins, which files may be uploaded (uploads).

Dask lets each client register plugins on the scheduler, on workers and on nannies. The last plugin of a name replaces
the others, and each worker that joins later gets all of them.
"""

from __future__ import annotations

from collections.abc import Collection
from contextlib import suppress
from typing import Any

from distributed import NannyPlugin, Scheduler
from distributed.diagnostics.plugin import InstallPlugin, SchedulerUploadFile, UploadFile

from xdask_pipelines.errors import PlacementError
from xdask_pipelines.placement.dask_internals.scheduler_requests import AsyncHandler, handle, handle_nanny_plugins
from xdask_pipelines.placement.dask_internals.wire import loads
from xdask_pipelines.placement.protection.shared_use import (
    refuse_while_others_compute,
    refuse_while_others_hold_results,
)
from xdask_pipelines.placement.protection.uploads import Uploads
from xdask_pipelines.placement.scheduler.result_delivery import Deliver


def control_plugins(scheduler: Scheduler) -> None:
    """Check the plugins that clients register with a scheduler.

    Our own plugins, those of the scheduler and those of its workers, can be neither replaced nor removed. A plugin that
    restarts workers or installs packages is refused while other clients compute. A plugin that fails on one worker is
    removed from all.
    """
    uploads = Uploads(scheduler)
    on_workers = _checking_uploads(scheduler.register_worker_plugin, uploads)
    on_nannies = _without_restart(scheduler, scheduler.register_nanny_plugin)
    handle_nanny_plugins(scheduler, on_nannies)
    unregister_on_workers, unregister_on_nannies = (
        scheduler.unregister_worker_plugin,
        scheduler.unregister_nanny_plugin,
    )
    names = {*scheduler.plugins, Deliver.name}
    for request, answer in {
        "register_scheduler_plugin": _checking_scheduler(scheduler, uploads),
        "unregister_scheduler_plugin": _without_comm(scheduler.unregister_scheduler_plugin),
        "register_worker_plugin": _on_all_or_none(on_workers, unregister_on_workers),
        "unregister_worker_plugin": unregister_on_workers,
        "register_nanny_plugin": _on_all_or_none(on_nannies, unregister_on_nannies),
        "unregister_nanny_plugin": unregister_on_nannies,
    }.items():
        handle(scheduler, request, _unless_reserved(answer, names))


def _unless_reserved(answer: AsyncHandler, names: Collection[str]) -> AsyncHandler:
    async def checked(comm: Any = None, *, name: str, **options: Any) -> Any:
        if name in names:
            raise PlacementError(
                f"A client cannot register or remove a plugin named {name!r}, because the pools need their own plugin of "
                "that name. Give your plugin another `name`."
            )
        return await answer(comm, name=name, **options)

    return checked


def _without_comm(answer: AsyncHandler) -> AsyncHandler:
    async def handled(comm: Any, **options: Any) -> Any:
        return await answer(**options)

    return handled


def _checking_scheduler(scheduler: Scheduler, uploads: Uploads) -> AsyncHandler:
    async def register_scheduler_plugin(comm: Any, *, plugin: Any, name: str, idempotent: bool) -> None:
        plugin = loads(plugin) if isinstance(plugin, bytes) else plugin
        if isinstance(plugin, InstallPlugin):
            refuse_while_others_compute(
                scheduler,
                f"The plugin {type(plugin).__name__} would change packages while other clients compute",
                "Wait, or ask the operator to install the packages in the pools' environment and to restart the pools.",
            )
        if isinstance(plugin, SchedulerUploadFile):
            uploads.check(plugin.filename, plugin.data)
        await scheduler.register_scheduler_plugin(plugin, name, idempotent=idempotent)

    return register_scheduler_plugin


def _checking_uploads(register: AsyncHandler, uploads: Uploads) -> AsyncHandler:
    async def register_worker_plugin(comm: Any, plugin: bytes, name: str, *, idempotent: bool) -> Any:
        loaded = _loaded(plugin)
        if isinstance(loaded, UploadFile):
            uploads.check(loaded.filename, loaded.data)
        return await register(comm, plugin=plugin, name=name, idempotent=idempotent)

    return register_worker_plugin


def _without_restart(scheduler: Scheduler, register: AsyncHandler) -> AsyncHandler:
    async def register_nanny_plugin(comm: Any, plugin: bytes, name: str, idempotent: bool) -> Any:
        loaded = _loaded(plugin)
        if not isinstance(loaded, NannyPlugin) or getattr(loaded, "restart", False):
            refuse_while_others_hold_results(
                scheduler,
                f"The plugin {name!r} may restart workers that other clients use",
                "Register it with `restart = False` if only new workers need it, or wait. To set environment variables, set "
                "them in your tasks; to send a module, use `cloudpickle.register_pickle_by_value`.",
            )
        return await register(comm, plugin=plugin, name=name, idempotent=idempotent)

    return register_nanny_plugin


def _loaded(plugin: bytes) -> Any:
    """Return the unpickled plugin; None if it cannot be unpickled here, because its module may exist only on workers."""
    try:
        return loads(plugin)
    except Exception:
        return None


def _on_all_or_none(register: AsyncHandler, unregister: AsyncHandler) -> AsyncHandler:
    """Return a function that registers a plugin on all workers, or on none if it fails on one.

    Dask keeps a plugin that failed, and sends it to workers that join later. A plugin that cannot be unpickled ends
    each of these workers, so that the pool would never recover.
    """

    async def registered(comm: Any, *, name: str, **options: Any) -> Any:
        failed = True
        try:
            answers = await register(comm, name=name, **options)
            failed = any(answer.get("status") != "OK" for answer in answers.values())
        finally:
            if failed:
                with suppress(Exception):  # the client gets the first error
                    await unregister(None, name=name)
        return answers

    return registered
