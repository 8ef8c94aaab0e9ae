"""Workers that survive exits raised by tasks, and restart when their connection to the scheduler breaks.

Belongs here: errors that would end a worker process or prevent its restart. Does not belong here: frozen workers
(worker_liveness), the user's error when a worker died (compute).

In Dask (2026.8.0), `SystemExit` and `KeyboardInterrupt` in a task end the worker and all its tasks: one `sys.exit` in a
user's function ended workers four times, one in an actor permanently. An error that is its own cause occupied a thread
forever, and an error with a traceback too long to be pickled left its client waiting. A worker whose connection to the
scheduler breaks also ends its nanny, so that it is not restarted.
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

#: How many frames are kept at each end of a long traceback.
_FRAMES = 30


class TaskExit(RuntimeError):
    """A task, or a function of `Client.run`, raised an exception that ends processes, such as `SystemExit`."""


def survive(worker: Worker) -> None:
    """Make a worker survive exits raised by tasks, and restart when its connection breaks."""
    run_tasks_by(_contained, _contained_in_loop)
    actors_by(worker, _exit)
    survive_runs(worker)
    leave_nanny_running(worker)


def survive_runs(server: Worker | Scheduler) -> None:
    """Make a worker or scheduler survive exits raised by functions of `Client.run` or `Client.run_on_scheduler`."""
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
        f"Your function raised {error!r}, which would end a process that other clients use, so it was replaced by this "
        "error. Raise a subclass of `Exception` instead, or return early."
    )


def _end_causes(error: BaseException) -> None:
    """Cut a chain of causes that contains a cycle."""
    seen = {id(error)}
    while (cause := error.__cause__) is not None:
        if id(cause) in seen:
            error.__cause__ = None
            return
        seen.add(id(cause))
        error = cause


def _shorten_traceback(error: BaseException) -> None:
    """Keep only both ends of a long traceback, such as that of an endless recursion."""
    frames, entry = [], error.__traceback__
    while entry is not None:
        frames.append(entry)
        entry = entry.tb_next
    if len(frames) > 2 * _FRAMES:
        frames[_FRAMES - 1].tb_next = frames[-_FRAMES]
