"""Buckets that a Region's hosts mount read-only (Mountpoint for S3): files are there as soon as objects are.

Belongs here: the file system that imports nothing. Does not belong here: folders of one's own (folder), FSx (fsx).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from xdask_pipelines.lustre.folder import FolderLustre
from xdask_pipelines.lustre.imports import ImportReport, Tell
from xdask_pipelines.topology.mount import Mount


@dataclass(frozen=True)
class MountedBucket(FolderLustre):
    """A bucket is the mount. Its files are not counted: a walk over millions of objects takes hours."""

    imports: ClassVar[bool] = False

    def import_changes(self, mount: Mount, tell: Tell) -> ImportReport:
        """Report that nothing has to be imported."""
        tell(f"{mount.region}: {mount.path} is the bucket {mount.source or ''} itself; nothing to import")
        return ImportReport(mount.region, mount.path, "SUCCEEDED", 0, detail="mounted from its bucket")

    def forget(self, region: str, keys: Sequence[str]) -> int:
        """Remove nothing: what left the bucket left the mount."""
        return 0
