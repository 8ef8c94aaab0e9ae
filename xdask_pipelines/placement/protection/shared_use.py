"""Requests of one client that would destroy work of other clients: they are refused while others compute.

Belongs here: restarts, shutdowns, retirement of workers and forced cancellation. Does not belong here: plugins
(client_plugins), which workers may join (admission), how an operator drains workers (draining).

Dask does not pass on which client sends a request. A request is therefore checked as soon as several clients are
connected.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from functools import partial
from typing import Any

from dask.typing import Key
from distributed import Scheduler

from xdask_pipelines.errors import PlacementError
from xdask_pipelines.placement.dask_internals.scheduler_requests import handle, handle_cancel, handler
from xdask_pipelines.placement.dask_internals.task_states import WorkerState
from xdask_pipelines.placement.scheduler.backlog import pool_of
from xdask_pipelines.system.units import counted
from xdask_pipelines.topology.names import pool_name

_SHOWN = 3
_ENDED = frozenset({"memory", "erred", "released", "forgotten"})


def protect_shared_work(scheduler: Scheduler) -> None:
    """Make a scheduler refuse requests that would destroy work of other clients."""
    for name, after in {
        "restart": "",
        "restart_workers": "",
        "terminate": " A client that requested a shutdown accepts no more work. To continue, close it and connect again.",
    }.items():
        handle(scheduler, name, _unshared(scheduler, handler(scheduler, name), name, after))
    handle(scheduler, "retire_workers", _retiring(scheduler))
    handle_cancel(scheduler, partial(_cancelling, scheduler))


def refuse_while_others_compute(scheduler: Scheduler, action: str, instead: str) -> None:
    """Raise `PlacementError` if several clients are connected and results of any of them are being computed.

    Parameters
    ----------
    scheduler
        The scheduler.
    action
        The request and its effect: a clause.
    instead
        What to do instead: a sentence.
    """
    clients = [scheduler.clients[key] for key in scheduler.client_comms if key in scheduler.clients]
    running = {ts.key for client in clients for ts in client.wants_what if ts.state not in _ENDED}
    if len(clients) > 1 and running:
        raise PlacementError(
            f"{action}: {len(clients)} clients are connected, and {counted(len(running), 'result')} of theirs are being "
            f"computed. {instead}"
        )


def refuse_while_others_hold_results(scheduler: Scheduler, action: str, instead: str) -> None:
    """Raise `PlacementError` if several clients are connected and any of them computes or holds results.

    Parameters
    ----------
    scheduler, action, instead
        As in `refuse_while_others_compute`.
    """
    refuse_while_others_compute(scheduler, action, instead)
    held = {
        name: number
        for name, client in scheduler.clients.items()
        if (number := sum(ts.state == "memory" for ts in client.wants_what))
    }
    if held and len(scheduler.client_comms) > 1:
        holders = ", ".join(f"{name} ({number})" for name, number in sorted(held.items())[:_SHOWN])
        more = f" and {len(held) - _SHOWN} more" if len(held) > _SHOWN else ""
        raise PlacementError(
            f"{action}: {len(scheduler.client_comms)} clients are connected, and results are held by {holders}{more}. "
            f"Release your own results first (those of `client.id`). {instead}"
        )


def _unshared(scheduler: Scheduler, answer: Callable[..., Any], name: str, after: str) -> Callable[..., Any]:
    """Return a handler that restarts or ends a scheduler, unless other clients compute or hold results."""

    async def handled(**options: Any) -> Any:
        refuse_while_others_hold_results(
            scheduler,
            f"{name!r} would destroy the work of other clients",
            f"Cancel your own futures instead, or wait. An operator can stop the pools with `xdask pools down`.{after}",
        )
        return await answer(**options)

    return handled


def _retiring(scheduler: Scheduler) -> Callable[..., Any]:
    """Return a handler for `Scheduler.retire_workers` that keeps workers of other clients, and one worker of each pool."""

    async def retire(
        workers: Collection[str] | None = None,
        names: Collection[Any] | None = None,
        close_workers: bool = False,
        remove: bool = True,
        stimulus_id: str | None = None,
        **choice: Any,
    ) -> dict[str, Any]:
        if names is not None and workers is not None:
            raise TypeError("names and workers are mutually exclusive")
        if names is not None:
            wanted = {str(name) for name in names}
            workers = [ws.address for ws in scheduler.workers.values() if str(ws.name) in wanted]
        elif workers is None:
            workers = scheduler.workers_to_close(**choice)
        leaving = {ws for address in workers if (ws := scheduler.workers.get(address))}
        pools = sorted({region for ws in leaving if (region := pool_of(ws))})
        if pools:
            refuse_while_others_compute(
                scheduler,
                f"'retire_workers' would take {len(leaving)} workers of {_listed(pools)} from others",
                "The workers are shared, so leave them running. An operator can remove them without loss with "
                "`xdask_pipelines.placement.drain`.",
            )
        for region in pools:
            _refuse_to_empty(scheduler, region, leaving)
        addresses = [ws.address for ws in leaving]
        return await scheduler.retire_workers(
            workers=addresses, close_workers=close_workers, remove=remove, stimulus_id=stimulus_id
        )

    return retire


def _refuse_to_empty(scheduler: Scheduler, region: str, leaving: Collection[WorkerState]) -> None:
    if any(pool_of(ws) == region and ws not in leaving for ws in scheduler.running):
        return
    raise PlacementError(
        f"'retire_workers' would leave {pool_name(region)} without a worker, so that no client could compute with data of "
        f"{region}. Retire fewer workers. An operator can empty a pool with `xdask_pipelines.placement.drain`, and stop it "
        "with `xdask pools down`."
    )


def _cancelling(scheduler: Scheduler, stimulus_cancel: Callable[..., None]) -> Callable[..., None]:
    """Return `Scheduler.stimulus_cancel` without ``force``, which would also cancel the keys for other clients.

    Dask (2026.8.0) asserts that a client wants each task that depends on a cancelled one. If that is an intermediate
    task (`client.cancel` of a persisted array that a running sum needs), the assertion ends the client's connection and
    all of its work.
    """

    def cancel(keys: Iterable[Key], client: str, force: bool, reason: str, msg: str) -> None:
        wanted = [key for key in keys if (ts := scheduler.tasks.get(key)) and ts.who_wants]
        stimulus_cancel(wanted, client, force=False, reason=reason, msg=msg)

    return cancel


def _listed(regions: Iterable[str]) -> str:
    return " and ".join(pool_name(region) for region in regions)
