"""What an import of a bucket's changes is, whoever does it.

Belongs here: the protocol and its report. Does not belong here: AWS, folders.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, Protocol

#: Final states of an FSx data repository task.
State = Literal["SUCCEEDED", "FAILED", "CANCELED"]


@dataclass(frozen=True)
class ImportReport:
    """End of one import: its final state, and what the mount holds afterwards."""

    region: str
    mount: str
    state: State
    files: int
    size_bytes: int
    digest: str


class Lustre(Protocol):
    """Brings mounts up to date with their buckets."""

    def import_changes(self, region: str, mount: str, source: str | None, tell: Callable[[str], None]) -> ImportReport:
        """Import what is new or changed in ``source``, and wait for the end.

        Raises
        ------
        XdaskError
            If the mount is not there or the import failed.
        """
        ...
