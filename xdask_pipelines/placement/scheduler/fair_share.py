"""Fair share of a pool: its clients take turns, so that the many tasks of one client do not make the others wait.

Belongs here: the order in which a pool runs the tasks of several clients. Does not belong here: where tasks run.

Dask runs older submissions first: a computation of one task waits for the 20,000 tasks that were submitted before it.
Here every task gets a turn, a number, when it is submitted (start-time fair queueing). Tasks of one client have
consecutive turns, in Dask's own order. A new client starts at the turn that the pool has reached. A worker runs lower
turns first, so that clients alternate task by task, and each client's own submissions still run one after the other.
The turn replaces Dask's generation in the priority; Dask's order within a graph follows it. With a priority above 0, a
submission shares turns with the client's other work instead of following it, but does not overtake other clients: in
plain Dask, 20,000 tasks with priority 1,000 made another client wait 120 s for one sum. With a priority below 0, a
submission runs after the work of all others.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from xdask_pipelines.placement.dask_internals.task_states import TaskState, prioritise

#: The last turn that was given to submitted tasks, by pool and by whether their priority is above 0.
LastTurns = dict[tuple[str | None, bool], int]
#: Tasks that a running task submits get its turn minus this number, as in Dask.
SUBTASK = 0.01


class FairShare:
    """The turn that each pool has reached."""

    def __init__(self) -> None:
        self._reached: dict[str, int] = {}

    def reached(self, region: str | None) -> int:
        """Return the latest turn that ran in a pool; for tasks without a pool, the earliest of all pools."""
        if region is None:
            return min(self._reached.values(), default=0)
        return self._reached.get(region, 0)

    def ran(self, region: str | None, turn: float) -> None:
        """Note that a task with this turn ran."""
        if region is not None and turn > self._reached.get(region, 0):
            self._reached[region] = int(turn)

    def first(self, region: str | None, own: int) -> int:
        """Return the first turn of a new submission.

        Parameters
        ----------
        region
            Pool of the tasks.
        own
            Last turn in that pool of the client's earlier tasks that it still wants and that are in the same priority
            class.
        """
        return max(self.reached(region), own) + 1

    def give_turns(
        self, new: Iterable[TaskState], region_of: Callable[[TaskState], str | None], last: LastTurns
    ) -> LastTurns:
        """Replace Dask's generations by turns in the priorities of a new submission.

        Parameters
        ----------
        new
            Tasks of the submission.
        region_of
            Returns the Region to which a task is bound, or None.
        last
            Last turns of the client's earlier tasks.

        Returns
        -------
        The last turns that were given.
        """
        next_turn: LastTurns = {}
        for ts in sorted((ts for ts in new if ts.priority), key=_priority):
            row = (region_of(ts), _priority(ts)[0] < 0)
            turn = next_turn.get(row) or self.first(row[0], last.get(row, 0))
            next_turn[row] = turn + 1
            take_turn(ts, turn)
        return {row: turn - 1 for row, turn in next_turn.items()}

    def give_subtasks_turns(self, new: Iterable[TaskState], parent: TaskState) -> None:
        """Let tasks that a running task submits run before tasks that have not begun.

        Otherwise all submitting tasks would run at once, and wait for their subtasks.
        """
        for ts in new:
            if ts.priority:
                take_turn(ts, _priority(parent)[1] - SUBTASK)


def take_turn(ts: TaskState, turn: float) -> None:
    """Replace the generation in the priority of a task by a turn."""
    user, _, *order = _priority(ts)
    # A priority above 0 is already part of the turn. One below 0 stays, so that the tasks of all others run first.
    prioritise(ts, (user if user > 0 else 0, turn, *order))


def _priority(ts: TaskState) -> tuple[float, ...]:
    return ts.priority or ()
