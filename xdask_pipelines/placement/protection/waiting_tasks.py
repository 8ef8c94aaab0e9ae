"""Tasks for which the scheduler has no worker: failing them, and sending them off once they may run.

Belongs here: the two transitions out of Dask's state ``no-worker``. Does not belong here: who decides that (empty_pools,
unsatisfiable, shuffles).
"""

from __future__ import annotations

from collections.abc import Iterable
from time import monotonic

from dask.typing import Key
from distributed import Scheduler
from distributed.protocol.pickle import dumps
from distributed.scheduler import TaskState

_STATE = "no-worker"


def fail(scheduler: Scheduler, ts: TaskState, error: Exception) -> None:
    """Fail a task, and all that need it."""
    if ts.state != _STATE:
        return  # failing another task took this one along
    stimulus = f"xdask-no-worker-{monotonic()}"
    recommendations = scheduler.transition(ts.key, "erred", exception=dumps(error), cause=ts.key, stimulus_id=stimulus)
    scheduler.transitions(recommendations, stimulus_id=stimulus)


def resume(scheduler: Scheduler, keys: Iterable[Key]) -> None:
    """Send tasks to workers whose restrictions changed; those that still find none stay."""
    ready = {key: "processing" for key in keys if (ts := scheduler.tasks.get(key)) and ts.state == _STATE}
    if ready:
        scheduler.transitions(ready, stimulus_id=f"xdask-no-worker-{monotonic()}")  # type: ignore[arg-type]
