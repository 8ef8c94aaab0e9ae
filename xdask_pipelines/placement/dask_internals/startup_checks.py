"""Checks that Dask has everything on which this package relies, when a scheduler or worker starts.

Belongs here: names, parameters and fields of Dask that `dask_internals` uses. Does not belong here: their behaviour,
which tests check (tests/contract).

Many changes would fail silently: if Dask renamed the log of transfers, evidence would count no bytes.
"""

from __future__ import annotations

import inspect
from collections import deque
from collections.abc import Callable, Iterator
from importlib.metadata import version
from typing import Any

import distributed.scheduler
from dask._task_spec import GraphNode, Task
from dask.blockwise import Blockwise
from dask.highlevelgraph import Layer
from distributed import Scheduler, Worker
from distributed.shuffle._core import ShuffleRun

from xdask_pipelines.errors import PlacementError

#: Methods that are called or replaced, and their required parameters.
_SCHEDULER_METHODS = {
    "_create_taskstate_from_graph": ("submitting_task",),
    "_get_prefix_duration": ("prefix",),
    "_task_to_msg": ("ts",),
    "add_worker": ("comm", "address", "resources", "extra"),
    "check_worker_ttl": (),
    "decide_worker_non_rootish": ("ts",),
    "handle_worker_status_change": ("status", "worker", "stimulus_id"),
    "report": ("msg", "ts", "client"),
    "request_acquire_replicas": ("addr", "keys", "stimulus_id"),
    "stimulus_cancel": ("keys", "client", "force", "reason", "msg"),
    "transition": ("key", "finish", "stimulus_id"),
    "transitions": ("recommendations", "stimulus_id"),
    "valid_workers": ("ts",),
    "worker_objective": ("ts", "ws"),
    "workers_to_close": (),
}
_SCHEDULER_REQUESTS = frozenset(
    {
        *("gather", "rebalance", "replicate", "restart", "restart_workers", "retire_workers", "terminate"),
        *("register-worker", "register_scheduler_plugin", "unregister_scheduler_plugin"),
        *("register_worker_plugin", "unregister_worker_plugin", "register_nanny_plugin", "unregister_nanny_plugin"),
    }
)
_SCHEDULER_FIELDS = (
    *("client_comms", "clients", "http_application", "idle", "n_tasks", "queued", "resources", "running", "saturated"),
    *("stream_comms", "unrunnable"),
)
_TASK_FIELDS = frozenset(
    {
        *("annotations", "dependencies", "dependents", "host_restrictions", "loose_restrictions", "prefix", "priority"),
        *("resource_restrictions", "run_spec", "state", "waiters", "waiting_on", "who_has", "who_wants"),
        *("worker_restrictions", "processing_on", "nbytes", "actor"),
    }
)


def check_scheduler(scheduler: Scheduler) -> None:
    """Refuse to run if Dask's scheduler lacks something on which placement relies.

    Raises
    ------
    PlacementError
        If something is missing; the message lists it.
    """
    _refuse(_missing_in_scheduler(scheduler))


def check_worker(worker: Worker) -> None:
    """Refuse to run if Dask's worker lacks something on which placement relies."""
    _refuse(_missing_in_worker(worker))


def _refuse(missing: Iterator[str]) -> None:
    if missing_names := sorted(missing):
        raise PlacementError(
            f"Dask {version('dask')} lacks what placement needs: {'; '.join(missing_names)}. Install a version that "
            "xdask_pipelines supports (`pip install xdask_pipelines` chooses one)."
        )


def _missing_in_scheduler(scheduler: Scheduler) -> Iterator[str]:
    for name, parameters in _SCHEDULER_METHODS.items():
        yield from _lacking(f"Scheduler.{name}", getattr(Scheduler, name, None), parameters)
    yield from (f"the request {name!r}" for name in _SCHEDULER_REQUESTS - scheduler.handlers.keys())
    yield from (f"Scheduler.{name}" for name in _SCHEDULER_FIELDS if not hasattr(scheduler, name))
    yield from (f"TaskState.{name}" for name in _TASK_FIELDS if not hasattr(distributed.scheduler.TaskState, name))
    if "cancel-keys" not in scheduler.stream_handlers:
        yield "the message 'cancel-keys'"
    yield from (f"the extension {name!r}" for name in ("amm", "stealing") if name not in scheduler.extensions)
    # These are replaced by name in Dask's module. If Dask no longer used these names, the replacement would silently
    # fail.
    for name, user in {"RetireWorker": "retire_workers", "heartbeat_interval": "add_worker"}.items():
        if name not in _names(getattr(Scheduler, user, None)):
            yield f"{name} in Scheduler.{user}"
    if "_create_taskstate_from_graph" not in _names(getattr(Scheduler, "update_graph", None)):
        yield "_create_taskstate_from_graph in Scheduler.update_graph"
    for name in ("keys", "task", "indices", "output_indices", "dims", "numblocks"):
        if name not in _attributes_of(Blockwise):
            yield f"Blockwise.{name}"
    yield from (f"Layer.{n}" for n in ("annotations", "collection_annotations") if n not in _attributes_of(Layer))
    yield from _lacking("GraphNode.fuse", getattr(GraphNode, "fuse", None), ("key",))
    yield from (f"Task.{name}" for name in ("args", "func", "kwargs", "block_fusion") if not hasattr(Task, name))


def _missing_in_worker(worker: Worker) -> Iterator[str]:
    log = getattr(worker, "transfer_incoming_log", None)
    writer = getattr(Worker, "_update_metrics_received_data", None)
    if not isinstance(log, deque) or "transfer_incoming_log" not in _names(writer):
        yield "Worker.transfer_incoming_log, to which received data are added"
    gathered_by = ("worker", "to_gather", "total_nbytes", "stimulus_id")
    yield from _lacking("Worker.gather_dep", getattr(Worker, "gather_dep", None), gathered_by)
    yield from _lacking("Worker.batched_send", getattr(Worker, "batched_send", None), ("msg",))
    yield from (f"the request {name!r}" for name in ("get_data", "run") if name not in worker.handlers)
    yield from _lacking("Worker.get_data", getattr(Worker, "get_data", None), ("comm", "keys", "who", "serializers"))
    yield from _lacking("ShuffleRun.send", getattr(ShuffleRun, "send", None), ("address", "shards"))
    yield from _lacking("Worker.set_resources", getattr(Worker, "set_resources", None), ())
    yield from (f"Worker.{name}" for name in ("contact_address", "_address") if not hasattr(worker, name))
    tables = ("startup_information", "stream_handlers")
    yield from (f"Worker.{name}" for name in tables if not isinstance(getattr(worker, name, None), dict))
    yield from (f"WorkerState.{name}" for name in ("tasks", "total_resources") if not hasattr(worker.state, name))


def _lacking(name: str, function: Callable[..., Any] | None, parameters: tuple[str, ...]) -> Iterator[str]:
    if function is None:
        yield name
        return
    has = inspect.signature(function).parameters
    if any(p.kind is p.VAR_KEYWORD for p in has.values()):
        return
    yield from (f"the parameter {parameter!r} of {name}" for parameter in parameters if parameter not in has)


def _names(function: Callable[..., Any] | None) -> tuple[str, ...]:
    """Return the names that a function uses, including its inner functions."""
    code = getattr(inspect.unwrap(function), "__code__", None) if function else None
    names: list[str] = []
    stack = [code] if code else []
    while stack:
        one = stack.pop()
        names += one.co_names
        stack += [c for c in one.co_consts if inspect.iscode(c)]
    return tuple(names)


def _attributes_of(kind: type) -> set[str]:
    """Return the attribute names of a class, from annotations, slots and properties."""
    return {name for base in kind.__mro__ for name in (*vars(base), *vars(base).get("__annotations__", ()))}
