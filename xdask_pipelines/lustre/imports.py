"""The protocol of file systems that import changes of a bucket into a Region's mount.

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
    """Report of one import.

    Attributes
    ----------
    region, mount
        Region and mount of the import.
    state
        Final state. A task in which some files failed is FAILED, and is reported; a task that did nothing raises.
    files, failed
        Number of files that were checked, and of those that could not be imported.
    detail
        Further information: the task, the path of its report, why files failed.
    """

    region: str
    mount: str
    state: State
    files: int
    failed: int = 0
    detail: str = ""


@dataclass(frozen=True)
class Residency:
    """Number and bytes of files on the mount, and of files that are only in the bucket and fetched when they are read."""

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
    """Imports changes of buckets into mounts, and knows which files are on the mounts."""

    @property
    def imports(self) -> bool:
        """Whether a mount is imported from a bucket; else the folder itself is the source."""
        ...

    def import_changes(self, mount: Mount, tell: Tell) -> ImportReport:
        """Import new and changed objects of the mount's source, and wait for the end. Deletions are not imported.

        Raises
        ------
        XdaskError
            If the mount does not exist or is not linked to its source, or the import did nothing.
        """
        ...

    def forget(self, region: str, keys: Sequence[str]) -> int:
        """Remove files from the mount that no longer exist in the bucket, and return their number."""
        ...

    def residency(self, region: str, keys: Sequence[str]) -> Residency:
        """Return which of these files and stores are on the mount."""
        ...

    def warm(self, region: str, keys: Sequence[str], tell: Tell) -> Residency:
        """Fetch those of these files and stores that are not on the mount yet, and wait for them.

        Returns
        -------
        The state before.
        """
        ...
