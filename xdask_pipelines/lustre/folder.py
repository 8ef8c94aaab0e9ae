"""A folder that stands in for a Lustre mount on one machine.

Belongs here: what an import means where the folder is the data. Does not belong here: listing for the catalog.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from xdask_pipelines.errors import XdaskError
from xdask_pipelines.lustre.imports import ImportReport, Residency, Tell
from xdask_pipelines.lustre.mount_files import MountFiles
from xdask_pipelines.system.units import counted, format_bytes
from xdask_pipelines.topology.mount import Mount


@dataclass(frozen=True)
class FolderLustre:
    """Nothing has to be moved: the folder is both bucket and mount. It is looked at where it lies."""

    files: MountFiles
    imports: ClassVar[bool] = False

    def import_changes(self, mount: Mount, tell: Tell) -> ImportReport:
        """Report what the folder holds."""
        found = self.files.residency(mount.region, [mount.path])
        if not found.resident_files:
            raise XdaskError(
                f"The folder {mount.path} of {mount.region} holds no files. Put the data there, or take the dataset out "
                "of regions.yaml."
            )
        stands_for = f", standing in for {mount.source}" if mount.source else ""
        size = f"{counted(found.resident_files, 'file')}, {format_bytes(found.resident_bytes)}"
        tell(f"{mount.region}: folder {mount.path}{stands_for} holds {size}; nothing to import")
        return ImportReport(mount.region, mount.path, "SUCCEEDED", found.resident_files)

    def forget(self, region: str, keys: Sequence[str]) -> int:
        """Remove nothing: a file that is gone from the folder is gone."""
        return 0

    def residency(self, region: str, keys: Sequence[str]) -> Residency:
        """All that is in the folder is there."""
        return self.files.residency(region, keys)

    def warm(self, region: str, keys: Sequence[str], tell: Tell) -> Residency:
        """Nothing has to be fetched."""
        found = self.files.residency(region, keys)
        tell(f"{region}: in the folder already: {counted(found.resident_files, 'file')}")
        return found
