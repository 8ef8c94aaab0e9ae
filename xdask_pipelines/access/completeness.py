"""Completeness: how many time steps an entry should have, and how many it has.

Belongs here: what a header says of that, in words. Does not belong here: counting (validation), what follows from a gap
(time_selection, checks).

One rule with one override: missing steps block, unless the dataset is declared ``excerpt: true`` in ``regions.yaml``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol


class Timed(Protocol):
    """What counting needs of a catalog entry."""

    @property
    def excerpt(self) -> bool: ...
    @property
    def header(self) -> Mapping[str, Any] | None: ...


@dataclass(frozen=True)
class Steps:
    """Time steps found and expected; ``excerpt`` if the dataset is declared incomplete; ``unit`` of the numbers."""

    found: int
    expected: int
    excerpt: bool
    unit: str = "h"

    @property
    def complete(self) -> bool:
        """Whether none is missing."""
        return self.found == self.expected

    def __str__(self) -> str:
        kind = "excerpt, " if self.excerpt else ""
        return f"{kind}{self.found} of {self.expected} {self.unit}"


def steps_of(entry: Timed) -> Steps | None:
    """Steps of an entry: of the period that its path names, else between its first and its last one.

    None for data without time, and where the length of a step is unknown.
    """
    counted = (entry.header or {}).get("steps")
    if not counted:
        return None
    return Steps(counted["found"], counted["expected"], entry.excerpt, counted["unit"])
