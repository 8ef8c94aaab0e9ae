"""Messages with tasks to workers: they are compressed, and a task that cannot be sent fails alone and with its name.

Belongs here: the task and the annotations inside such a message. Does not belong here: keywords of a submission
(keywords), errors raised by tasks (survival), results of tasks.

Distributed (2026.8.0) sends tasks over one connection to each worker. An object that fails to pickle on the scheduler,
or to unpickle on the worker, ends that connection: one argument from a module that workers do not have permanently
ended all workers of a pool.
"""

from __future__ import annotations

import io
import pickle
from collections.abc import Callable, Sequence
from typing import Any

from dask.typing import Key
from distributed import Scheduler

from xdask_pipelines.errors import PlacementError
from xdask_pipelines.placement.dask_internals.scheduling import send_tasks_by
from xdask_pipelines.placement.dask_internals.task_specs import Task
from xdask_pipelines.placement.dask_internals.wire import dumps
from xdask_pipelines.placement.graph.task_codec import compressed, decompressed, plain


def send_tasks_safely(scheduler: Scheduler) -> None:
    """Make a scheduler send tasks so that none of them can end the connection to its worker.

    Parameters
    ----------
    scheduler
        The scheduler.
    """
    send_tasks_by(scheduler, _packed)


class _Packed:
    """A pickled value. It unpickles to the value itself, or to a replacement if that fails."""

    def __init__(self, pickled: bytes, buffers: Sequence[pickle.PickleBuffer]) -> None:
        self._content = (*compressed(pickled), *buffers)

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return unpacked, self._content


def _packed(value: Any, key: Key | None) -> Any:
    buffers: list[pickle.PickleBuffer] = []
    try:
        return _Packed(dumps(key) + dumps(plain(value), buffer_callback=buffers.append), buffers)
    except Exception as error:
        return _replacement(key, "pickled on the scheduler", error)


def unpacked(data: bytes, long: bool, *buffers: Any) -> Any:
    """Unpickle a task, or annotations, on a worker.

    Parameters
    ----------
    data
        Two pickles, compressed together: the key of the task (None for annotations) and the value.
    long
        Flag that `compressed` returned.
    *buffers
        Buffers of the second pickle.

    Returns
    -------
    The value. If it cannot be unpickled: a task that fails with an error, or empty annotations.
    """
    pickles = io.BytesIO(decompressed(data, long))
    key = pickle.load(pickles)
    try:
        return pickle.load(pickles, buffers=buffers)
    except Exception as error:
        return _replacement(key, "unpickled on its worker", error)


def _replacement(key: Key | None, action: str, error: Exception) -> Any:
    if key is None:
        return {}
    return Task(
        key,
        _refuse,
        f"Task {str(key)!r} cannot be {action}: {error!r}. Create the object inside the task, and pass the task only the "
        "values that it needs for that.",
    )


def _refuse(message: str) -> None:
    raise PlacementError(message)
