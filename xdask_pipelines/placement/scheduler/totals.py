"""Tasks and bytes of everything that ran since the scheduler started, by Region and by pair of Regions.

Belongs here: running sums over all computations, and the number of waiting tasks. Does not belong here: the figures of
one computation (computation), sampling them over time (samples).
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from dask.typing import Key

#: States of tasks that no worker can take yet.
WAITING = frozenset({"no-worker", "queued"})


@dataclass
class Totals:
    """Sums since the scheduler started. They are updated at each transition, so that no pass over all tasks is needed.

    Unlike evidence they have no owner: work for a computation that was cancelled counts too.

    Attributes
    ----------
    tasks
        Placed tasks that ran, by the Region in which they ran.
    read
        Stored bytes that leaves read from files, by Region.
    across
        Bytes in memory that moved between Regions, by ``"src->dst"``; the client's Region is one of them.
    waiting
        Tasks that wait for a worker of their pool at this moment, by Region.
    """

    tasks: Counter[str] = field(default_factory=Counter)
    read: Counter[str] = field(default_factory=Counter)
    across: Counter[str] = field(default_factory=Counter)
    waiting: Counter[str] = field(default_factory=Counter)
    _waits_in: dict[Key, str] = field(default_factory=dict)

    def moved(self, src: str, dst: str, nbytes: int) -> None:
        """Count bytes that a worker sent, if they went to another Region."""
        if src != dst:
            self.across[f"{src}->{dst}"] += nbytes

    def step(self, key: Key, start: str, finish: str, region: str | None) -> None:
        """Count a transition of a task; ``region`` is its pool, or None."""
        if start in WAITING and (left := self._waits_in.pop(key, None)):
            self.waiting[left] -= 1
        if finish in WAITING and region:
            self._waits_in[key] = region
            self.waiting[region] += 1

    def restart(self) -> None:
        """Forget waiting tasks, which a restart drops without a transition; the other sums remain."""
        self.waiting.clear()
        self._waits_in.clear()
