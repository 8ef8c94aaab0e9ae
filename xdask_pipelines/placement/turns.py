"""Turns: clients that share a pool take them, so that a flood of one does not make the others wait.

Belongs here: the order in which a pool runs the tasks of several clients. Does not belong here: where tasks run.

Dask runs older submissions first: a computation of one task waits for the 20,000 that somebody submitted before it.
Here every task gets a turn when it is submitted: tasks of one client have consecutive turns, in Dask's own order, and a
client that comes in begins at the turn that the pool has reached. A worker runs lower turns first, so that clients
alternate, task by task; each client's own submissions still run one after the other (start-time fair queueing). Only
what Dask calls generation is replaced: a user's priority still comes before it, Dask's order within a graph after it.
"""

from __future__ import annotations

from collections.abc import Mapping


class Turns:
    """The turn that each pool has reached."""

    def __init__(self) -> None:
        self._reached: dict[str, int] = {}

    def reached(self, region: str | None) -> int:
        """The latest turn that ran in a pool; for tasks of no pool the earliest of all pools."""
        if region is None:
            return min(self._reached.values(), default=0)
        return self._reached.get(region, 0)

    def ran(self, region: str | None, turn: float) -> None:
        """A task with this turn ran."""
        if region is not None and turn > self._reached.get(region, 0):
            self._reached[region] = int(turn)

    def first(self, region: str | None, own: Mapping[str | None, int]) -> int:
        """First turn of a new submission.

        Parameters
        ----------
        region
            Pool of the tasks.
        own
            Last turns of what the same client has submitted before and still wants.
        """
        return max(self.reached(region), own.get(region, 0)) + 1
