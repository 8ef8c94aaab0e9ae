"""EC2 instances of a Region, as a capacity provider starts and ends them.

Belongs here: how many there are, when they are ready, which task has which. Does not belong here: processes (agent).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from time import monotonic


@dataclass
class Instance:
    """One instance: when it can run a task, the ARN of its task, and since when it has none."""

    ready_at: float
    task: str = ""
    idle_since: float = 0.0


@dataclass
class Instances:
    """The instances of one Region, each for one task.

    Parameters
    ----------
    most
        Size of the Auto Scaling group at most.
    boot_seconds, idle_seconds
        What an instance takes to start, and how long one stays that has no task.
    """

    most: int
    boot_seconds: float
    idle_seconds: float = 5.0
    clock: Callable[[], float] = monotonic
    running: list[Instance] = field(default_factory=list)
    #: Largest number at one time, and seconds of all instances that ended.
    peak: int = 0

    def place(self, task: str) -> bool:
        """Return whether a task has an instance that runs; start one for it if there may be more."""
        now = self.clock()
        mine = next((each for each in self.running if each.task == task), None)
        mine = mine or next((each for each in self.running if not each.task), None)
        if mine is None:
            if len(self.running) >= self.most:
                return False
            mine = Instance(now + self.boot_seconds)
            self.running.append(mine)
            self.peak = max(self.peak, len(self.running))
        mine.task = task
        return now >= mine.ready_at

    def free(self, task: str) -> None:
        """Let another task have the instance of a task that ended."""
        for each in self.running:
            if each.task == task:
                each.task, each.idle_since = "", self.clock()

    def lose(self, task: str) -> None:
        """End the instance of a task at once, as when AWS wants it back."""
        self.running = [each for each in self.running if each.task != task]

    def end_idle(self) -> None:
        """End instances without task."""
        now = self.clock()
        self.running = [each for each in self.running if each.task or now - each.idle_since < self.idle_seconds]
