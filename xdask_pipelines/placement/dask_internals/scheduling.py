"""Actions of a scheduler on tasks for which Dask has no public interface.

Belongs here: transitions, and the order of plugins. Does not belong here: changes of single tasks (task_states),
replicas of results (result_copies).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from time import monotonic
from typing import Any

from dask.typing import Key
from dask.utils import parse_timedelta
from distributed import Scheduler
from distributed.core import Status
from distributed.diagnostics.plugin import SchedulerPlugin
from distributed.protocol.pickle import dumps
from distributed.protocol.serialize import ToPickle
from distributed.scheduler import KilledWorker, TaskState, WorkerState

from xdask_pipelines.placement.dask_internals.scheduler_requests import tell_worker

__all__ = ["KilledWorker"]

_NO_WORKER, _PROCESSING = "no-worker", "processing"


def without_worker(scheduler: Scheduler) -> list[TaskState]:
    """Return the tasks that are ready, but that no worker may run."""
    return list(scheduler.unrunnable)


def fail(scheduler: Scheduler, ts: TaskState, error: Exception) -> None:
    """Fail a task that has no worker, or that its worker cannot begin; and all tasks that need it."""
    if ts.state not in (_NO_WORKER, _PROCESSING):
        return  # already failed together with another task
    stimulus = f"xdask-no-worker-{monotonic()}"
    about = {"exception": dumps(error), "cause": ts.key, "stimulus_id": stimulus}
    if ts.processing_on:
        about["worker"] = ts.processing_on.address  # which is told to forget the task once nobody wants it
    recommendations = scheduler.transition(ts.key, "erred", **about)
    scheduler.transitions(recommendations, stimulus_id=stimulus)


def resume(scheduler: Scheduler, keys: Iterable[Key]) -> None:
    """Send tasks to workers after their restrictions have changed; tasks that still have no worker remain."""
    ready = {key: "processing" for key in keys if (ts := scheduler.tasks.get(key)) and ts.state == _NO_WORKER}
    if ready:
        scheduler.transitions(ready, stimulus_id=f"xdask-no-worker-{monotonic()}")  # type: ignore[arg-type]


def expected_seconds(scheduler: Scheduler, ts: TaskState) -> float:
    """Return the expected run time of a task, from similar tasks that ran; Dask's guess if none did."""
    return float(scheduler._get_prefix_duration(ts.prefix))


def be_first(scheduler: Scheduler, name: str, plugin: SchedulerPlugin) -> None:
    """Call a plugin before all others."""
    scheduler.plugins = {name: plugin, **scheduler.plugins}


def note_submitting_task(scheduler: Scheduler, note: Callable[[Key | None], None]) -> None:
    """Call a function before each graph is accepted, with the key of the task that submits it (None: a client)."""
    create = scheduler._create_taskstate_from_graph

    def create_noting(**values: Any) -> dict[str, float]:
        note(values["submitting_task"])
        return create(**values)

    scheduler._create_taskstate_from_graph = create_noting  # type: ignore[method-assign]


def check_submissions(scheduler: Scheduler, check: Callable[..., Mapping[str, Any]]) -> None:
    """Call a function before each graph is accepted. Its result replaces keywords; an error refuses the graph.

    The function gets all keywords of Dask's own function: ``dsk``, ``annotations_by_type``, ``user_priority`` and
    others.
    """
    create = scheduler._create_taskstate_from_graph

    def create_checked(**values: Any) -> dict[str, float]:
        return create(**{**values, **check(**values)})

    scheduler._create_taskstate_from_graph = create_checked  # type: ignore[method-assign]


def send_tasks_by(scheduler: Scheduler, pack: Callable[[Any, Key | None], Any]) -> None:
    """Pack each task before it is sent with ``pack(task, key)``, and its annotations with ``pack(annotations, None)``.

    The packed object is pickled, and must unpickle on the worker to a task or to a dictionary. Annotations with only
    Boolean values, such as our own, are not packed: they can always be sent.
    """
    message_of = scheduler._task_to_msg

    def packed_message(ts: TaskState) -> dict[str, Any]:
        message = message_of(ts)
        message["run_spec"] = ToPickle(pack(ts.run_spec, ts.key))
        if all(type(key) is str and type(value) is bool for key, value in (ts.annotations or {}).items()):
            message["annotations"] = dict(ts.annotations or {})
        else:
            message["annotations"] = ToPickle(pack(ts.annotations, None))
        return message

    scheduler._task_to_msg = packed_message  # type: ignore[method-assign]


def name_holders_by(
    scheduler: Scheduler, name: Callable[[TaskState, Mapping[Key, Sequence[str]]], Mapping[Key, Sequence[str]]]
) -> None:
    """Choose the holders of inputs that are sent with each task: ``name(ts, holders)`` returns addresses by key."""
    message_of = scheduler._task_to_msg

    def message_with_holders(ts: TaskState) -> dict[str, Any]:
        message = message_of(ts)
        message["who_has"] = name(ts, message["who_has"])
        return message

    scheduler._task_to_msg = message_with_holders  # type: ignore[method-assign]


def report_to_own_client(scheduler: Scheduler) -> None:
    """Report a failed submission to its own client only.

    Dask reports it to all clients that want one of its keys, although the task itself continues.
    """
    report = scheduler.report

    def report_own(message: dict[str, Any], ts: TaskState | None = None, client: str | None = None) -> None:
        task = scheduler.tasks.get(message["key"]) if client and message["op"] == "task-erred" else None
        if task is None or task.state == "erred":
            report(message, ts, client)
        elif (comm := scheduler.client_comms.get(str(client))) is not None:
            comm.send(message)

    scheduler.report = report_own  # type: ignore[method-assign, assignment]


def seconds_of(value: Any) -> float:
    """Convert a time in Dask's format, such as ``"100 ms"``, to seconds.

    Raises
    ------
    TypeError, ValueError, KeyError
        If the value is not a time.
    """
    return float(parse_timedelta(value) or 0.0)


# ---- workers that leave -----------------------------------------------------------------------------------------------


def close_gracefully(scheduler: Scheduler, ws: WorkerState) -> None:
    """Stop sending tasks to a worker, as `Scheduler.retire_workers` does, and inform the worker."""
    _set_status(scheduler, ws, Status.closing_gracefully)


def is_leaving(ws: WorkerState) -> bool:
    """Return whether a worker was told to take no more tasks and to end."""
    return ws.status == Status.closing_gracefully


def reopen(scheduler: Scheduler, ws: WorkerState) -> None:
    """Start sending tasks to a worker again."""
    _set_status(scheduler, ws, Status.running)


def _set_status(scheduler: Scheduler, ws: WorkerState, status: Status) -> None:
    stimulus = f"xdask-drain-{monotonic()}"
    scheduler.handle_worker_status_change(status, ws, stimulus)
    tell_worker(scheduler, ws.address, "worker-status-change", status=status.name, stimulus_id=stimulus)


def hand_over(scheduler: Scheduler, ts: TaskState, giver: WorkerState, taker: WorkerState) -> None:
    """Ask a worker to hand over a task to another; the worker refuses if the task has begun."""
    scheduler.extensions["stealing"].move_task_request(ts, giver, taker)


def assigned(scheduler: Scheduler, ws: WorkerState) -> int:
    """Return the number of tasks of a worker, with those that others have been asked to hand over to it."""
    return len(ws.processing) + int(scheduler.extensions["stealing"].in_flight_tasks[ws])
