"""The scaling policy: how many workers a pool should have. It is a pure function of its inputs.

Belongs here: the policy. Does not belong here: counting the backlog (backlog), starting and draining workers.

A *worker* here is a unit that is started and stopped as a whole: on AWS an instance with several processes. Starting
one takes two to four minutes. A pool therefore grows at once to the size that its backlog needs, and shrinks only after
it has needed fewer workers for a while. Estimates of a backlog may be wrong: a pool that is still under pressure (more than
10 waiting tasks, or processors more than 70 % busy) when the backlog should have been done gets one worker more; and it does
not shrink before it is calm (fewer than 2 waiting tasks, processors less than 30 % busy, or half of the pool idle).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import ceil
from typing import Any

#: Largest fraction of the remaining workers' memory that results may fill.
FILL = 0.5


@dataclass(frozen=True)
class Backlog:
    """The backlog of one pool, and the results that it holds.

    Attributes
    ----------
    tasks
        Tasks that wait or run.
    running
        Tasks that run.
    seconds
        Work in all of them: the sum of their durations on one thread.
    held_bytes
        Results in the memory of its workers.
    cpu
        Fraction of its threads whose processors are busy.
    """

    tasks: int = 0
    running: int = 0
    seconds: float = 0.0
    held_bytes: int = 0
    cpu: float = 0.0

    @classmethod
    def of(cls, counted: Mapping[str, Any]) -> Backlog:
        """Create a backlog from the scheduler's figures of a pool (`backlog.count`)."""
        tasks = counted["no_worker"] + counted["queued"] + counted["processing"]
        cpu = counted["cpu_percent"] / 100 / max(1, counted["threads"])
        return cls(tasks, counted["running"], counted["seconds"], counted["held_bytes"], cpu)

    @property
    def waiting(self) -> int:
        """Tasks that have no thread."""
        return self.tasks - self.running


@dataclass(frozen=True)
class State:
    """State of the policy for one pool between two steps.

    Attributes
    ----------
    workers
        Number of workers that the pool should have now.
    less_since
        Time since which the pool has needed clearly fewer workers; None if it needs all.
    most_needed
        The largest number that it has needed in that time.
    pressed_since
        Time since which the pool has been under pressure; None if it is not.
    """

    workers: int
    less_since: float | None = None
    most_needed: int = 0
    pressed_since: float | None = None


@dataclass(frozen=True)
class Scaling:
    """The scaling policy of one pool.

    Parameters
    ----------
    min_workers, max_workers
        Limits of the number of workers.
    threads
        Threads of one worker.
    memory_bytes
        Memory of one worker.
    target_seconds
        Time in which a backlog should be done, once the workers have started.
    cool_down_seconds
        How long a pool must have needed fewer workers before it shrinks; longer than a worker takes to start.
    start_seconds
        Time in which a worker has started.
    out_waiting, out_cpu
        A pool with more waiting tasks, or busier processors, is under pressure.
    in_waiting, in_cpu
        A pool with fewer waiting tasks, and less busy processors, is calm.
    """

    min_workers: int
    max_workers: int
    threads: int
    memory_bytes: int
    target_seconds: float = 300.0
    cool_down_seconds: float = 300.0
    start_seconds: float = 240.0
    out_waiting: int = 10
    out_cpu: float = 0.7
    in_waiting: int = 2
    in_cpu: float = 0.3

    def needed(self, backlog: Backlog) -> int:
        """Return the number of workers that finish a backlog in the target time and have memory for the results.

        Never more than the tasks can keep busy, never fewer than the running tasks keep busy now.
        """
        for_work = min(ceil(backlog.seconds / (self.target_seconds * self.threads)), ceil(backlog.tasks / self.threads))
        busy = max(ceil(backlog.running / self.threads), int(backlog.tasks > 0))
        for_data = ceil(backlog.held_bytes / (FILL * self.memory_bytes))
        return min(max(for_work, busy, for_data, self.min_workers), self.max_workers)

    def first(self) -> State:
        """Return the initial state of a pool."""
        return State(self.min_workers)

    def step(self, state: State, backlog: Backlog, now: float) -> State:
        """Return the next state of a pool.

        Parameters
        ----------
        state
            State that the previous step returned.
        backlog
            Current backlog.
        now
            Seconds of a monotonic clock.
        """
        needed = self.needed(backlog)
        if needed > state.workers:
            return State(needed)
        if self._could_use_more(state.workers, backlog):
            pressed = now if state.pressed_since is None else state.pressed_since
            if now - pressed >= self.start_seconds + self.target_seconds:
                return State(state.workers + 1)
            return State(state.workers, pressed_since=pressed)
        # A steady load varies by one worker, so one worker less is ignored unless the pool is idle.
        if needed == state.workers or (needed == state.workers - 1 and needed > self.min_workers):
            return State(state.workers)
        if not self._calm(state.workers, needed, backlog):
            return State(state.workers)
        since = now if state.less_since is None else state.less_since
        most = needed if state.less_since is None else max(needed, state.most_needed)
        if now - since >= self.cool_down_seconds:
            return State(most)
        return State(state.workers, since, most)

    def _could_use_more(self, workers: int, backlog: Backlog) -> bool:
        """Return whether a pool is under pressure, and has tasks for one worker more."""
        pressed = backlog.waiting > self.out_waiting or backlog.cpu > self.out_cpu
        return pressed and workers < min(ceil(backlog.tasks / self.threads), self.max_workers)

    def _calm(self, workers: int, needed: int, backlog: Backlog) -> bool:
        # Busy processors of a few workers must not keep many idle ones.
        return backlog.waiting < self.in_waiting and (backlog.cpu < self.in_cpu or 2 * needed <= workers)
