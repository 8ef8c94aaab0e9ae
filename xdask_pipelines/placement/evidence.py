"""Evidence: where the tasks of a computation ran, and which bytes crossed Regions.

Belongs here: the value that `compute` returns, and sums of several. Does not belong here: collecting it (ledger).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any


@dataclass(frozen=True)
class Evidence:
    """Tasks and bytes of one computation, by Region.

    Attributes
    ----------
    tasks_by_region
        Placed tasks that ran, by the Region in which they ran. A task that is rerun after the loss of a worker counts
        again.
    misplaced_tasks
        Placed tasks that ran outside their Region. Results with such tasks are refused, so users always see 0.
    reused_tasks
        Tasks that this computation needed and that ran for another computation.
    neutral_tasks
        Tasks that ran without a home: no read and no placed ancestor.
    bytes_read_by_region
        Stored (compressed) bytes that leaves read from files, by Region.
    bytes_across
        Bytes in memory that moved between Regions, by ``"src->dst"``; the client's Region is one of them.
    seconds
        Wall time, from submission until the results were on the client.
    seconds_by_region
        From the start of the first placed task in a Region to the end of the last.
    worker_seconds_by_region
        Thread-seconds in which placed tasks ran.
    cost_usd
        Estimate at list prices: ``compute`` (busy threads) and ``egress``.
    kwh_by_region, co2e_kg_by_region
        Estimates; Regions whose grid has no published factor are missing from the latter.
    avoided
        Estimated savings compared with sending all inputs to the client's Region: ``bytes``, ``cost_usd``, ``co2e_kg``.
        Empty if nothing was read.
    """

    tasks_by_region: Mapping[str, int] = field(default_factory=dict)
    misplaced_tasks: int = 0
    reused_tasks: int = 0
    neutral_tasks: int = 0
    bytes_read_by_region: Mapping[str, int] = field(default_factory=dict)
    bytes_across: Mapping[str, int] = field(default_factory=dict)
    seconds: float = 0.0
    seconds_by_region: Mapping[str, float] = field(default_factory=dict)
    worker_seconds_by_region: Mapping[str, float] = field(default_factory=dict)
    cost_usd: Mapping[str, float] = field(default_factory=dict)
    kwh_by_region: Mapping[str, float] = field(default_factory=dict)
    co2e_kg_by_region: Mapping[str, float] = field(default_factory=dict)
    avoided: Mapping[str, float] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """Return plain numbers and dictionaries that can be written as JSON."""
        return {
            f.name: dict(sorted(value.items())) if isinstance(value := getattr(self, f.name), Mapping) else value
            for f in fields(self)
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Evidence:
        """Rebuild evidence from `as_dict`."""
        return cls(**values)

    @classmethod
    def total(cls, parts: Iterable[Evidence]) -> Evidence:
        """Add up the evidence of several computations; their seconds are added as if they had run one after the other."""
        sums: dict[str, Any] = {}
        for part in parts:
            for name, value in part.as_dict().items():
                if isinstance(value, dict):
                    sum_ = sums.setdefault(name, {})
                    for key, n in value.items():
                        sum_[key] = sum_.get(key, 0) + n
                else:
                    sums[name] = sums.get(name, 0) + value
        return cls.from_dict(sums)
