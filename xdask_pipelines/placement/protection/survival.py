"""Workers that outlive what tasks raise, and come back when their connection to the scheduler breaks.

Belongs here: what would end a worker process, or keep it from being started again. Does not belong here: frozen workers
(worker_liveness), what a user reads of a worker's death (compute).

Dask (2026.8.0) lets `SystemExit` and `KeyboardInterrupt` of a task end the worker, and all that it runs: one `sys.exit` in a
user's function ended it four times, one in an actor for ever. An error that is its own cause occupied a thread for ever, and
one with a traceback too long to be pickled left its client waiting. A worker whose connection to the scheduler breaks ends
its nanny too, so that nothing starts it again.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from distributed import Scheduler, Worker

from xdask_pipelines.placement.dask_internals.worker_hooks import (
    actors_by,
    leave_nanny_running,
    run_tasks_by,
    runs_by,
)

#: Frames that are kept at each end of a long traceback.
_FRAMES = 30


class TaskExit(RuntimeError):
    """A task, or a function that a client ran, raised what ends processes, such as `SystemExit`."""


def survive(worker: Worker) -> None:
    """Let a worker go on when a task raises an exit, and be started again when its connection breaks."""
    run_tasks_by(_contained, _contained_in_loop)
    actors_by(worker, _exit)
    survive_runs(worker)
    leave_nanny_running(worker)


def survive_runs(server: Worker | Scheduler) -> None:
    """Let a worker or scheduler go on when a function of `Client.run` or `Client.run_on_scheduler` raises an exit."""
    runs_by(server, _exit)


def _contained(task: Callable[[Any], Any]) -> Callable[[Any], Any]:
    def call(data: Any) -> Any:
        try:
            return task(data)
        except Exception as error:
            _end_causes(error)
            _shorten_traceback(error)
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


def _end_causes(error: BaseException) -> None:
    """End a chain of causes that comes back to where it has been."""
    seen = {id(error)}
    while (cause := error.__cause__) is not None:
        if id(cause) in seen:
            error.__cause__ = None
            return
        seen.add(id(cause))
        error = cause


def _shorten_traceback(error: BaseException) -> None:
    """Keep both ends of a long traceback, such as that of an endless recursion."""
    frames, entry = [], error.__traceback__
    while entry is not None:
        frames.append(entry)
        entry = entry.tb_next
    if len(frames) > 2 * _FRAMES:
        frames[_FRAMES - 1].tb_next = frames[-_FRAMES]
