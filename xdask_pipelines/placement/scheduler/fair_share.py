"""Fair sharing of a pool: its clients take turns, so that a flood of one does not make the others wait.

Belongs here: the order in which a pool runs the tasks of several clients. Does not belong here: where tasks run.

Dask runs older submissions first: a computation of one task waits for the 20,000 that somebody submitted before it.
Here every task gets a turn when it is submitted: tasks of one client have consecutive turns, in Dask's own order, and a
client that comes in begins at the turn that the pool has reached. A worker runs lower turns first, so that clients
alternate, task by task; each client's own submissions still run one after the other (start-time fair queueing). Turns
replace what Dask calls generation; Dask's order within a graph comes after them. What a client submits with a priority
above 0 takes turns beside the client's other work instead of after it, and before nobody else's: 20,000 tasks with priority
1,000 made another client wait 120 s for one sum. A priority below 0 lets the work of all others go first.
"""

from __future__ import annotations


class FairShare:
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

    def first(self, region: str | None, own: int) -> int:
        """First turn of a new submission.

        Parameters
        ----------
        region
            Pool of the tasks.
        own
            Last turn there of what the same client has submitted before and still wants, with a priority above 0 or without.
        """
        return max(self.reached(region), own) + 1
