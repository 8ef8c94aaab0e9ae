"""What a computation proves about where it ran.

Belongs here: the value that `compute` hands out and the sum of several. Does not belong here: collecting it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any


@dataclass(frozen=True)
class Evidence:
    """Tasks and bytes of one computation, by Region.

    Attributes
    ----------
    tasks_by_region
        Placed tasks that ran, by the Region in which they ran. One run again after the loss of a worker counts again.
    misplaced_tasks
        Placed tasks that ran outside their Region. Results with any are refused, so that 0 is what a user sees.
    reused_tasks
        Tasks that this computation needed and that another one had run, or was running.
    neutral_tasks
        Tasks that ran without a home: no read and no placed ancestor.
    bytes_read_by_region
        Stored (compressed) bytes that leaves read from files, by Region.
    bytes_across
        Bytes in memory of what moved between Regions, by ``"src->dst"``; the client's Region counts as one.
    seconds
        Wall time, from submission until the results were on the client.
    """

    tasks_by_region: Mapping[str, int] = field(default_factory=dict)
    misplaced_tasks: int = 0
    reused_tasks: int = 0
    neutral_tasks: int = 0
    bytes_read_by_region: Mapping[str, int] = field(default_factory=dict)
    bytes_across: Mapping[str, int] = field(default_factory=dict)
    seconds: float = 0.0

    def as_dict(self) -> dict[str, Any]:
        """Plain numbers and dictionaries, ready for JSON."""
        return {
            f.name: dict(sorted(value.items())) if isinstance(value := getattr(self, f.name), Mapping) else value
            for f in fields(self)
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Evidence:
        """Make evidence anew from `as_dict`."""
        return cls(**values)

    @classmethod
    def total(cls, parts: Iterable[Evidence]) -> Evidence:
        """Sum of several computations; seconds add up as if they had run one after the other."""
        sums: dict[str, Any] = {}
        for part in parts:
            for name, value in part.as_dict().items():
                if isinstance(value, dict):
                    sums[name] = Counter(sums.get(name, {})) + Counter(value)
                else:
                    sums[name] = sums.get(name, 0) + value
        return cls.from_dict({name: dict(v) if isinstance(v, Counter) else v for name, v in sums.items()})
