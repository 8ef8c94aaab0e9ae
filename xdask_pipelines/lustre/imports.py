"""What keeps a Region's mount in step with its bucket, whoever does it.

Belongs here: the protocol and its report. Does not belong here: AWS (fsx), folders (folder).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from xdask_pipelines.topology.mount import Mount

#: Final states of an FSx data repository task.
State = Literal["SUCCEEDED", "FAILED", "CANCELED"]
Tell = Callable[[str], None]


@dataclass(frozen=True)
class ImportReport:
    """End of one import.

    Attributes
    ----------
    region, mount
        Of what.
    state
        Final state. A task of which some files failed is FAILED, and is reported; one that did nothing raises.
    files, failed
        Files looked at, and those that could not be imported.
    detail
        What there is to know: the task, where its report lies, why files failed.
    """

    region: str
    mount: str
    state: State
    files: int
    failed: int = 0
    detail: str = ""


@dataclass(frozen=True)
class Residency:
    """How much of some files is on the mount, and how much is still in the bucket only, to be fetched when it is read."""

    resident_files: int = 0
    resident_bytes: int = 0
    released_files: int = 0
    released_bytes: int = 0

    def __add__(self, other: Residency) -> Residency:
        return Residency(
            self.resident_files + other.resident_files,
            self.resident_bytes + other.resident_bytes,
            self.released_files + other.released_files,
            self.released_bytes + other.released_bytes,
        )


class LustreFileSystem(Protocol):
    """Brings mounts up to date with their buckets, and knows what of them is there."""

    @property
    def imports(self) -> bool:
        """Whether a mount and its bucket are two things; else the folder is the data."""
        ...

    def import_changes(self, mount: Mount, tell: Tell) -> ImportReport:
        """Import what is new or changed in the mount's source, and wait for the end. Imports never carry deletions.

        Raises
        ------
        XdaskError
            The mount is not there, is not linked to its source, or the import did nothing.
        """
        ...

    def forget(self, region: str, keys: Sequence[str]) -> int:
        """Remove files from the mount that are gone from the bucket; how many were there."""
        ...

    def residency(self, region: str, keys: Sequence[str]) -> Residency:
        """What of these files and stores is on the mount."""
        ...

    def warm(self, region: str, keys: Sequence[str], tell: Tell) -> Residency:
        """Fetch from the bucket what of these files and stores is not on the mount yet, and wait for it.

        Returns
        -------
        What was there before.
        """
        ...
