"""One dataset in one Region: the unit of a sync.

Belongs here: the value. Does not belong here: the folders that hold it (mount).
"""

from __future__ import annotations

from typing import NamedTuple


class Place(NamedTuple):
    """A dataset and one Region that holds it; as text ``era5 in us-east-1``."""

    dataset: str
    region: str

    def __str__(self) -> str:
        return f"{self.dataset} in {self.region}"
