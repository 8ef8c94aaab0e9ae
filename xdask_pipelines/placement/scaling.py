"""How many workers a pool should have: a policy without Dask, without a clock, without machines.

Belongs here: the rule. Does not belong here: counting what waits (backlog), starting and draining workers.

A *worker* here is what is started and stopped as one: on AWS an instance of several processes. Starting one takes two
to four minutes, stopping and starting it again costs that twice: so a pool grows at once to what its backlog needs, and
shrinks only when it has needed less for a while.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import ceil
from typing import Any

#: Results may fill so much of the memory of the workers that stay.
FILL = 0.5


@dataclass(frozen=True)
class Backlog:
    """What waits for one pool, and what it holds.

    Attributes
    ----------
    tasks
        Tasks that wait or run.
    running
        Those that run.
    seconds
        Work in all of them: the sum of their durations on one thread.
    held_bytes
        Results in the memory of its workers.
    """

    tasks: int = 0
    running: int = 0
    seconds: float = 0.0
    held_bytes: int = 0

    @classmethod
    def of(cls, counted: Mapping[str, Any]) -> Backlog:
        """From what the scheduler answers about a pool (`placement.backlog.count`)."""
        tasks = counted["no_worker"] + counted["queued"] + counted["processing"]
        return cls(tasks, counted["running"], counted["seconds"], counted["held_bytes"])


@dataclass(frozen=True)
class State:
    """What is remembered of one pool from one look to the next.

    Attributes
    ----------
    workers
        How many it should have now.
    less_since
        Since when it has needed clearly less without interruption; None if it needs them.
    most_needed
        The most that it has needed in that time.
    """

    workers: int
    less_since: float | None = None
    most_needed: int = 0


@dataclass(frozen=True)
class Scaling:
    """The rule for one pool.

    Parameters
    ----------
    min_workers, max_workers
        Bounds.
    threads
        Threads of one worker.
    memory_bytes
        Memory of one worker.
    target_seconds
        A backlog is to be done in this time, once the workers are there.
    cool_down_seconds
        How long a pool must have needed less before it shrinks; longer than a worker takes to start.
    """

    min_workers: int
    max_workers: int
    threads: int
    memory_bytes: int
    target_seconds: float = 300.0
    cool_down_seconds: float = 600.0

    def needed(self, backlog: Backlog) -> int:
        """Workers that finish a backlog in the target time, with room for what they hold; within the bounds.

        Never more than there are tasks to keep their threads busy, never fewer than what runs keeps busy now.
        """
        for_work = min(ceil(backlog.seconds / (self.target_seconds * self.threads)), ceil(backlog.tasks / self.threads))
        busy = max(ceil(backlog.running / self.threads), int(backlog.tasks > 0))
        for_data = ceil(backlog.held_bytes / (FILL * self.memory_bytes))
        return min(max(for_work, busy, for_data, self.min_workers), self.max_workers)

    def first(self) -> State:
        """State of a pool that has not been looked at yet."""
        return State(self.min_workers)

    def step(self, state: State, backlog: Backlog, now: float) -> State:
        """What a pool should have, given what it should have had before.

        Parameters
        ----------
        state
            Answer of the step before.
        backlog
            What waits now.
        now
            Seconds on any clock that does not go back.
        """
        needed = self.needed(backlog)
        if needed > state.workers:
            return State(needed)
        # One worker less is within what a steady load wavers by, unless the pool has nothing left to do.
        if needed == state.workers or (needed == state.workers - 1 and needed > self.min_workers):
            return State(state.workers)
        since = now if state.less_since is None else state.less_since
        most = needed if state.less_since is None else max(needed, state.most_needed)
        if now - since >= self.cool_down_seconds:
            return State(most)
        return State(state.workers, since, most)
