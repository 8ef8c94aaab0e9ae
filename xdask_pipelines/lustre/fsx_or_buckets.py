"""File systems that may be down (`xdask lustre down`): hosts of such a Region mount its buckets instead.

Belongs here: which of the two a Region has now. Does not belong here: either of them (fsx, mounted_bucket).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar

from xdask_pipelines.lustre.fsx import FsxLustre
from xdask_pipelines.lustre.imports import ImportReport, Residency, Tell
from xdask_pipelines.lustre.mounted_bucket import MountedBucket
from xdask_pipelines.topology.mount import Mount


@dataclass(frozen=True)
class FsxOrBuckets:
    """FSx for Lustre where a Region has a linked file system, and mounted buckets where it has none.

    Parameters
    ----------
    fsx, buckets
        The two kinds. Which of them a Region has is asked once.
    """

    fsx: FsxLustre
    buckets: MountedBucket
    imports: ClassVar[bool] = True
    _linked: dict[str, bool] = field(default_factory=dict, repr=False, compare=False)

    def _of(self, region: str) -> FsxLustre | MountedBucket:
        if region not in self._linked:
            self._linked[region] = self.fsx.is_linked(region)
        return self.fsx if self._linked[region] else self.buckets

    def import_changes(self, mount: Mount, tell: Tell) -> ImportReport:
        """Import what changed, if there is a file system to import into."""
        return self._of(mount.region).import_changes(mount, tell)

    def forget(self, region: str, keys: Sequence[str]) -> int:
        """Remove files that no longer exist in the bucket, if the mount is not the bucket itself."""
        return self._of(region).forget(region, keys)

    def residency(self, region: str, keys: Sequence[str]) -> Residency:
        """Return which of these files are on the mount."""
        return self._of(region).residency(region, keys)

    def warm(self, region: str, keys: Sequence[str], tell: Tell) -> Residency:
        """Fetch files that are not on the mount yet."""
        return self._of(region).warm(region, keys, tell)
