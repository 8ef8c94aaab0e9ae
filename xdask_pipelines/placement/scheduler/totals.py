"""Tasks and bytes of everything that ran since the scheduler started, by Region and by pair of Regions.

Belongs here: running sums over all computations, and how many tasks wait now. Does not belong here: the ledger of one
computation (computation), when they are looked at (samples).
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from dask.typing import Key

#: States in which Dask keeps what no worker can take yet.
WAITING = frozenset({"no-worker", "queued"})


@dataclass
class Totals:
    """Sums since the scheduler started; each is kept by steps, so that nobody needs to look at all tasks.

    Unlike evidence they know no owner: what runs or moves for a computation that nobody wants any more counts as well.

    Attributes
    ----------
    tasks
        Placed tasks that ran, by the Region in which they ran.
    read
        Stored bytes that leaves read from files, by Region.
    across
        Bytes in memory of what moved between Regions, by ``"src->dst"``; the client's Region counts as one.
    waiting
        Tasks that wait for a worker of their pool at this moment, by Region.
    """

    tasks: Counter[str] = field(default_factory=Counter)
    read: Counter[str] = field(default_factory=Counter)
    across: Counter[str] = field(default_factory=Counter)
    waiting: Counter[str] = field(default_factory=Counter)
    _waits_in: dict[Key, str] = field(default_factory=dict)

    def moved(self, src: str, dst: str, nbytes: int) -> None:
        """Bytes went from one Region to another, or stayed."""
        if src != dst:
            self.across[f"{src}->{dst}"] += nbytes

    def step(self, key: Key, start: str, finish: str, region: str | None) -> None:
        """A task of a Region, or of none, went from one state to another."""
        if start in WAITING and (left := self._waits_in.pop(key, None)):
            self.waiting[left] -= 1
        if finish in WAITING and region:
            self._waits_in[key] = region
            self.waiting[region] += 1

    def restart(self) -> None:
        """All tasks are gone without a step; what ran, ran."""
        self.waiting.clear()
        self._waits_in.clear()
