"""A folder in place of a Lustre mount, for projects on one machine.

Belongs here: the operations of a Lustre file system on a plain folder. Does not belong here: listing for the catalog
(catalog.manifest).
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
    """The folder is both bucket and mount, so nothing has to be imported."""

    files: MountFiles
    imports: ClassVar[bool] = False

    def import_changes(self, mount: Mount, tell: Tell) -> ImportReport:
        """Report the files in the folder."""
        residency = self.files.residency(mount.region, [mount.path])
        if not residency.resident_files:
            raise XdaskError(
                f"The folder {mount.path} of {mount.region} contains no files. Put the data there, or remove the dataset "
                "from regions.yaml."
            )
        stands_for = f", standing in for {mount.source}" if mount.source else ""
        size = f"{counted(residency.resident_files, 'file')}, {format_bytes(residency.resident_bytes)}"
        tell(f"{mount.region}: folder {mount.path}{stands_for} contains {size}; nothing to import")
        return ImportReport(mount.region, mount.path, "SUCCEEDED", residency.resident_files)

    def forget(self, region: str, keys: Sequence[str]) -> int:
        """Remove nothing, because folder and bucket are the same."""
        return 0

    def residency(self, region: str, keys: Sequence[str]) -> Residency:
        """Return the files in the folder; all of them are on the mount."""
        return self.files.residency(region, keys)

    def warm(self, region: str, keys: Sequence[str], tell: Tell) -> Residency:
        """Report the files in the folder; nothing has to be fetched."""
        residency = self.files.residency(region, keys)
        tell(f"{region}: {counted(residency.resident_files, 'file')} already in the folder")
        return residency
