"""Completeness: how many time steps an entry should have, and how many it has.

Belongs here: counting from headers. Does not belong here: what follows from a gap (checks).
"""

from __future__ import annotations

from calendar import monthrange
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

_HOURLY_LAYOUTS = {"era5-pds"}


class Timed(Protocol):
    """What counting needs of a catalog entry."""

    @property
    def layout(self) -> str: ...
    @property
    def excerpt(self) -> bool: ...
    @property
    def facets(self) -> Mapping[str, str]: ...
    @property
    def header(self) -> Mapping[str, Any] | None: ...


@dataclass(frozen=True)
class Steps:
    """Time steps found and expected (hours of a month); ``excerpt`` if the dataset is declared incomplete."""

    found: int
    expected: int
    excerpt: bool

    @property
    def complete(self) -> bool:
        """Whether none is missing."""
        return self.found == self.expected

    def __str__(self) -> str:
        kind = "excerpt, " if self.excerpt else ""
        return f"{kind}{self.found} of {self.expected} h"


def steps_of(entry: Timed) -> Steps | None:
    """Hours of a monthly file; None for layouts whose step the path does not tell."""
    if entry.layout not in _HOURLY_LAYOUTS or entry.header is None:
        return None
    _, days = monthrange(int(entry.facets["year"]), int(entry.facets["month"]))
    lengths = [c["shape"][0] for n, c in entry.header["coords"].items() if n.startswith("time") and c["dims"] == [n]]
    return Steps(min(lengths, default=0), 24 * days, entry.excerpt)
