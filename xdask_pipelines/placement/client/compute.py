"""Computing with evidence: a result whose placement is not proved is refused.

Belongs here: submitting a graph, waiting for it, and checking its report. Does not belong here: placing tasks
(scheduler).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import CancelledError
from functools import partial
from time import perf_counter, sleep
from typing import Any

import cloudpickle
from distributed import Client, Future, futures_of, wait

from xdask_pipelines.errors import LostComputation, PlacementError
from xdask_pipelines.placement.client.containers import unpack
from xdask_pipelines.placement.client.same_outputs import alone_with
from xdask_pipelines.placement.client.scheduler_rpc import RegionProgress, SchedulerRPC
from xdask_pipelines.placement.dask_internals.connections import current_client
from xdask_pipelines.placement.dask_internals.graph_layers import flatten, with_optimizer
from xdask_pipelines.placement.dask_internals.scheduling import KilledWorker
from xdask_pipelines.placement.evidence import Evidence
from xdask_pipelines.placement.graph.fence import MAX_TASKS, fenced, too_many_tasks
from xdask_pipelines.placement.query_planning import refuse_query_planning
from xdask_pipelines.system.version import VERSION

#: Called with the progress of each Region.
Progress = Callable[[Mapping[str, RegionProgress]], None]
Report = Mapping[str, Any]
_POLL_SECONDS = 0.5
#: States of futures that never get a result: their graph was refused, a task failed, or their work was lost.
_FAILED = ("error", "cancelled", "lost")
#: Timeout for a graph to arrive on the scheduler, and the interval of checks.
_GRAPH_SECONDS, _PAUSE_SECONDS = 60.0, 0.01


def compute(
    client: Client, *xs: Any, progress: Progress | None = None, max_tasks: int = MAX_TASKS
) -> tuple[tuple[Any, ...], Evidence]:
    """Compute Dask collections in the home Regions of their data, and return evidence of it.

    Parameters
    ----------
    client
        A client that is connected to a scheduler started by `local_regions` or ``xdask pools up``.
    *xs
        Dask arrays, xarray objects, delayed values, and containers of them; anything else passes through unchanged.
    progress
        Called about twice a second with the tasks done and planned, and the bytes read, in each Region.
    max_tasks
        Maximum number of tasks in one submission.

    Returns
    -------
    results
        One value for each ``x``, in memory.
    evidence
        Tasks, bytes read and bytes across, by Region.

    Raises
    ------
    PlacementError
        If the scheduler does not place tasks, the client is asynchronous, a task ran or would run outside its home
        Region, or code opened data without placement.
    EmptyPool
        If a pool has no worker.
    LostComputation
        If the scheduler or the work was lost. Run the computation again.

    Errors that a task itself raises are passed on unchanged.

    Examples
    --------
    >>> import dask.array as da
    >>> from xdask_pipelines.placement import local_regions, pin
    >>> x = da.ones((1000, 1000), chunks=500)
    >>> with local_regions(["us-east-1", "us-west-2"]) as client:
    ...     (mean,), evidence = compute(client, pin(x, "us-east-1").mean())
    >>> float(mean), sorted(evidence.tasks_by_region)
    (1.0, ['us-east-1'])
    """
    check_scheduler(client)
    started = perf_counter()
    lazy, assemble = unpack(xs)
    if not lazy:
        return xs, Evidence()
    outputs = _outputs(lazy, max_tasks)
    with current_client(client), alone_with(client.id, outputs):
        values, report = _run(client, with_optimizer(lazy, _optimizer(max_tasks)), outputs, progress)
    evidence = _accepted(report, perf_counter() - started)
    return assemble([_assemble(x, values) for x in lazy]), evidence


def keep(client: Client, collections: list[Any]) -> list[Any]:
    """Compute Dask collections in the home Regions of their data, and keep the results on the workers there.

    Parameters
    ----------
    client
        As for `compute`.
    collections
        Dask collections.

    Returns
    -------
    Collections of the same kinds that refer to the results. It returns as soon as the scheduler has the graph. There is no
    evidence until something that is computed from them arrives, by `compute`.

    Raises
    ------
    PlacementError
        If the scheduler does not place tasks.
    LostComputation
        If the scheduler was lost. Run the computation again.
    """
    check_scheduler(client)
    outputs = _outputs(collections, MAX_TASKS)
    with current_client(client), alone_with(client.id, outputs):
        try:
            before = SchedulerRPC(client).newest(outputs)
            kept: list[Any] = client.persist(with_optimizer(collections, _optimizer(MAX_TASKS)))
            # A computation of the same keys that follows at once must not be taken for this one.
            _until_begun(client, futures_of(kept), outputs, before)
        except OSError as error:
            raise _explained(client, [], outputs, error) from error
    return kept


def _outputs(lazy: list[Any], max_tasks: int) -> list[Any]:
    """Return the keys of all results."""
    outputs = sorted({key for x in lazy for key in flatten(x.__dask_keys__())}, key=str)
    if len(outputs) > max_tasks:  # Dask needs 70 s to report that 40,001 results failed
        raise too_many_tasks(len(outputs), max_tasks)
    return outputs


def _run(
    client: Client, lazy: list[Any], outputs: list[Any], progress: Progress | None
) -> tuple[dict[Any, Any], Report | None]:
    """Submit the collections, wait for them, and return values by key and the report."""
    futures: list[Future[Any]] = []
    scheduler = SchedulerRPC(client)
    try:
        scheduler.expect(outputs)
        known = any(key in client.futures for key in outputs)
        before = scheduler.newest(outputs) if known else None
        futures = list({f.key: f for f in futures_of(client.persist(lazy))}.values())
        _wait(client, futures, outputs, progress)
        if known:
            _until_begun(client, futures, outputs, before)
        values = dict(zip([f.key for f in futures], client.gather(futures), strict=True))
        return values, scheduler.report(outputs, delivered=True)
    except BaseException as error:
        if (own := _explained(client, futures, outputs, error)) is not error:
            raise own from error
        raise
    finally:
        # Releasing ends work that no one else wants. A future that lives on in a traceback would pass its state to the
        # next run.
        for future in futures:
            future.release()


def _explained(client: Client, futures: list[Future[Any]], outputs: list[Any], error: BaseException) -> BaseException:
    """Return an error with the reason why a computation failed or was interrupted; the same error if a task raised it."""
    erred = any(f.status == "error" for f in futures)
    lost = client.status != "running" or (isinstance(error, (CancelledError, OSError)) and not erred)
    report = None if lost else SchedulerRPC(client).report(outputs, delivered=False)
    if lost:
        return LostComputation(
            "The computation was lost: the scheduler was restarted, has ended, or dropped this client. No result was "
            "kept. Check the pools with `xdask pools status`, start them if they are down (`xdask pools up`), and run again."
        )
    if isinstance(error, KilledWorker):
        return PlacementError(
            f"Every worker that ran task {error.task!r} died, the last one at {error.last_worker.address}. The most "
            "frequent cause is lack of memory. Check the pool's log, and use smaller chunks or machines with more memory."
        )
    if report and report["problems"] and not isinstance(error, PlacementError):
        return _refused(report)
    return error


def _optimizer(max_tasks: int) -> Callable[..., Any]:
    """Return the optimiser that is sent with a graph, and that decides how the graph is pickled.

    Distributed pickles a graph by reference unless its bytes contain ``__main__``. Only then does it use cloudpickle,
    which sends modules registered with ``register_pickle_by_value`` by value. A user's own module that workers do not
    have needs this, so the word is added as an option.
    """
    options: dict[str, Any] = {} if max_tasks == MAX_TASKS else {"max_tasks": max_tasks}
    if cloudpickle.list_registry_pickle_by_value():
        options["pickled_as"] = "__main__"
    return partial(fenced, **options) if options else fenced


def check_scheduler(client: Client) -> dict[str, Any]:
    """Check that the scheduler places tasks, and runs the same version as this process.

    Returns
    -------
    ``{"version", "client_region", "pools": {region: workers}}``

    Raises
    ------
    PlacementError
        If the scheduler does not place tasks or runs another version, or Dask's array query planning is on.
    """
    refuse_query_planning()
    if client.asynchronous:
        raise PlacementError(
            "The client is asynchronous, but placement needs a synchronous one. Create the client without "
            "`asynchronous=True`, and compute in a thread if necessary (`await asyncio.to_thread(compute, client, x)`)."
        )
    if client.status != "running" or client.scheduler is None:
        raise LostComputation(
            "The client is not connected: it was closed, or its scheduler has ended. Start the pools if they are down "
            "(`xdask pools up`), connect again, and run again."
        )
    address = client.scheduler.address
    try:
        answer = SchedulerRPC(client).version()
    except OSError as error:
        raise LostComputation(
            f"The scheduler at {address} does not answer. Check the pools with `xdask pools status`, start them if they "
            "are down (`xdask pools up`), and run again."
        ) from error
    if answer is None:  # Dask's answer to an unknown request
        raise PlacementError(
            f"The scheduler at {address} does not place tasks, because it runs without the placement plugin. Start "
            "scheduler and pools with `xdask pools up`, or pass `--preload xdask_pipelines.placement.preload` to both."
        )
    if answer["version"] != VERSION:
        raise PlacementError(
            f"The scheduler at {address} runs xdask_pipelines {answer['version']}, but this process runs {VERSION}. "
            "Restart the pools (`xdask pools down`, `xdask pools up`), or use the same image for both."
        )
    return answer


def _wait(client: Client, futures: list[Future[Any]], outputs: list[Any], progress: Progress | None) -> None:
    """Wait until all futures are done or one has failed, and report the progress of each Region."""
    while True:
        try:
            wait(futures, timeout=_POLL_SECONDS)
        except TimeoutError:
            pass
        else:
            break
        if any(f.status in _FAILED for f in futures):
            break
        if progress:
            _tell(client, outputs, progress)
    if progress:
        _tell(client, outputs, progress)


def _until_begun(client: Client, futures: list[Future[Any]], outputs: list[Any], before: str | None) -> None:
    """Wait until the scheduler has received the new computation, or its futures have failed.

    Results that this client persisted earlier may be gathered before the new graph has arrived. Their transfer would
    then be counted for the earlier computation.
    """
    deadline = perf_counter() + _GRAPH_SECONDS
    while SchedulerRPC(client).newest(outputs) == before and perf_counter() < deadline:
        if any(f.status in _FAILED for f in futures):
            return  # gathering raises the error
        sleep(_PAUSE_SECONDS)


def _tell(client: Client, outputs: list[Any], progress: Progress) -> None:
    if state := SchedulerRPC(client).progress(outputs):
        progress(state)


def _accepted(report: Report | None, seconds: float) -> Evidence:
    if report is None:
        raise PlacementError(
            "The result is refused: the scheduler has no placement report for this computation, so its placement is not "
            "proved. Run it again. If this repeats, restart the pools: `xdask pools down`, `xdask pools up`."
        )
    if report["problems"]:
        raise _refused(report)
    return Evidence(**report["evidence"], seconds=seconds)


def _refused(report: Report) -> PlacementError:
    problems = list(dict.fromkeys(report["problems"]))
    listed = "\n  ".join(problems[:3])
    more = f"\n  and {len(problems) - 3} more" if len(problems) > 3 else ""
    return PlacementError(f"The result is refused, because placement was violated:\n  {listed}{more}")


def _assemble(x: Any, values: Mapping[Any, Any]) -> Any:
    def fill(keys: Any) -> Any:
        return [fill(k) for k in keys] if isinstance(keys, list) else values[keys]

    finish, extra = x.__dask_postcompute__()
    return finish(fill(x.__dask_keys__()), *extra)
