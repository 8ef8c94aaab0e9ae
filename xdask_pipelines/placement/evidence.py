"""Evidence: where the tasks of a computation ran, and which bytes crossed Regions.

Belongs here: the value that `compute` returns, and sums of several. Does not belong here: collecting it (ledger).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from xdask_pipelines.system.markup import Markup, block, table
from xdask_pipelines.system.markup import text as markup_text
from xdask_pipelines.system.units import format_bytes


@dataclass(frozen=True, repr=False)
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

    # ---- display ------------------------------------------------------------------------------------------------------

    def __repr__(self) -> str:
        return f"<Evidence: {self._in_words()}>"

    def _in_words(self) -> str:
        if not self.tasks_by_region and not self.bytes_across and not self.reused_tasks:
            return "nothing was computed in a Region"
        tasks = ", ".join(f"{region} {n:,}" for region, n in sorted(self.tasks_by_region.items())) or "0"
        reused = f" and {self.reused_tasks:,} reused" if self.reused_tasks else ""
        return (
            f"tasks {tasks}{reused}, {self.misplaced_tasks} misplaced; "
            f"{format_bytes(sum(self.bytes_read_by_region.values()))} read at home, "
            f"{format_bytes(sum(self.bytes_across.values()))} across Regions; {self.seconds:.1f} s"
        )

    def by_region(self) -> Markup:
        """Return a table of tasks, bytes and seconds by Region."""
        regions = sorted(self.tasks_by_region.keys() | self.bytes_read_by_region.keys())
        rows = [
            (
                region,
                f"{self.tasks_by_region.get(region, 0):,}",
                format_bytes(self.bytes_read_by_region.get(region, 0)),
                format_bytes(sum(n for pair, n in self.bytes_across.items() if pair.startswith(f"{region}->"))),
                f"{self.seconds_by_region.get(region, 0.0):.2f}",
                f"{self.worker_seconds_by_region.get(region, 0.0):.2f}",
            )
            for region in regions
        ]
        head = ("Region", "tasks", "read at home", "sent to other Regions", "seconds", "thread-seconds")
        return table(head, rows, right=range(1, len(head)))

    def _repr_html_(self) -> str:
        from xdask_pipelines.placement.footprint import in_words  # kept light: schedulers and workers show nothing
        from xdask_pipelines.placement.prediction.transfers_drawing import transfers_drawing

        if not self.tasks_by_region and not self.bytes_across:
            return block("Evidence", self._in_words())
        return block(
            f"Evidence: {self._in_words()}",
            self.by_region(),
            transfers_drawing(self.tasks_by_region, self.bytes_read_by_region, self.bytes_across),
            in_words(self.as_dict()) if self.cost_usd else markup_text(""),
        )
