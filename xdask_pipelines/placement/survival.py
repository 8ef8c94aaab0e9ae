"""Workers that outlive what tasks raise, and come back when their connection to the scheduler breaks.

Belongs here: what would end a worker process, or keep it from being started again. Does not belong here: frozen workers
(frozen), what a user reads of a worker's death (compute).

Dask (2026.8.0) lets `SystemExit` and `KeyboardInterrupt` of a task end the worker, and all that it runs: one `sys.exit` in a
user's function ended it four times, one in an actor for ever. A worker whose connection to the scheduler breaks ends its
nanny too, so that nothing starts it again.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import distributed.worker
from dask._task_spec import GraphNode
from distributed import Worker
from distributed.comm.core import Comm
from distributed.core import Server, error_message
from distributed.protocol.serialize import Serialize


class TaskExit(RuntimeError):
    """A task, or a function that a client ran, raised what ends processes, such as `SystemExit`."""


def survive(worker: Worker) -> None:
    """Let a worker go on when a task raises an exit, and be started again when its connection breaks."""
    run, run_in_loop = distributed.worker._run_task_simple, distributed.worker._run_task_async

    def run_contained(task: GraphNode, data: Any, time_delay: float) -> Any:
        return run(_contained(task), data, time_delay)  # type: ignore[arg-type]

    async def run_in_loop_contained(task: Callable[[Any], Awaitable[Any]], data: Any, time_delay: float) -> Any:
        return await run_in_loop(_contained_in_loop(task), data, time_delay)  # type: ignore[arg-type]

    distributed.worker._run_task_simple = run_contained
    distributed.worker._run_task_async = run_in_loop_contained
    execute = worker.handlers["actor_execute"]

    async def execute_contained(actor: Any = None, function: Any = None, args: Any = (), kwargs: Any = None) -> Any:
        try:
            return await execute(actor=actor, function=function, args=args, kwargs=kwargs)
        except (SystemExit, KeyboardInterrupt) as error:
            return {"status": "error", "exception": Serialize(_exit(error))}

    worker.handlers["actor_execute"] = execute_contained
    survive_runs(worker, "run")

    async def handle_scheduler(comm: Comm) -> None:
        try:
            await worker.handle_stream(comm)
        finally:
            await worker.close(nanny=False, reason="xdask-scheduler-connection-broken")

    worker.handle_scheduler = handle_scheduler  # type: ignore[method-assign]


def survive_runs(server: Server, handler: str) -> None:
    """Let a worker or scheduler go on when a function of `Client.run` or `Client.run_on_scheduler` raises an exit."""
    run = server.handlers[handler]

    async def run_contained(comm: Comm, *given: Any, **options: Any) -> Any:
        try:
            return await run(comm, *given, **options)
        except (SystemExit, KeyboardInterrupt) as error:
            return error_message(_exit(error))

    server.handlers[handler] = run_contained


def _contained(task: Callable[[Any], Any]) -> Callable[[Any], Any]:
    def call(data: Any) -> Any:
        try:
            return task(data)
        except Exception:
            raise
        except BaseException as error:
            raise _exit(error) from error

    return call


def _contained_in_loop(task: Callable[[Any], Awaitable[Any]]) -> Callable[[Any], Awaitable[Any]]:
    async def call(data: Any) -> Any:
        try:
            return await task(data)
        except (SystemExit, KeyboardInterrupt) as error:
            raise _exit(error) from error

    return call


def _exit(error: BaseException) -> TaskExit:
    return TaskExit(
        f"Your function raised {error!r}, which ends processes; this one goes on, for others use it. Raise a subclass of "
        "`Exception` instead, or return early."
    )
