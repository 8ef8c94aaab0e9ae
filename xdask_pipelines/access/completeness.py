"""Completeness: the expected and the existing time steps of an entry.

Belongs here: reading both numbers from a header, and formatting them. Does not belong here: counting (validation), the
consequences of gaps (time_selection, checks).

One rule with one override: missing steps block, unless the dataset is declared ``excerpt: true`` in ``regions.yaml``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol


class Timed(Protocol):
    """The properties of a catalog entry that are needed here."""

    @property
    def excerpt(self) -> bool: ...
    @property
    def header(self) -> Mapping[str, Any] | None: ...


@dataclass(frozen=True)
class Steps:
    """Existing and expected time steps; ``excerpt`` if the dataset is declared incomplete; ``unit`` of the numbers."""

    found: int
    expected: int
    excerpt: bool
    unit: str = "h"

    @property
    def complete(self) -> bool:
        """Return whether no step is missing."""
        return self.found == self.expected

    def __str__(self) -> str:
        kind = "excerpt, " if self.excerpt else ""
        return f"{kind}{self.found} of {self.expected} {self.unit}"


def steps_of(entry: Timed) -> Steps | None:
    """Return the steps of an entry: of the period in its path, else between its first and its last one.

    Returns None for data without time, and if the length of a step is unknown.
    """
    counted = (entry.header or {}).get("steps")
    if not counted:
        return None
    return Steps(counted["found"], counted["expected"], entry.excerpt, counted["unit"])
