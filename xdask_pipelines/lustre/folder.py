"""A folder that stands in for a Lustre mount on one machine.

Belongs here: what an import means where the folder is the data. Does not belong here: listing for the catalog.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from xdask_pipelines.errors import XdaskError
from xdask_pipelines.lustre.imports import ImportReport, Residency, Tell
from xdask_pipelines.lustre.mount import Mount


@dataclass(frozen=True)
class FolderLustre:
    """Nothing has to be moved: the folder is both bucket and mount. It is looked at where it lies."""

    mount: Mount

    def import_changes(self, region: str, mount: str, source: str | None, tell: Tell) -> ImportReport:
        """Report what the folder holds."""
        found = self.mount.residency(region, [mount])
        if not found.resident_files:
            raise XdaskError(
                f"The folder {mount} of {region} holds no files. Put the data there, or take the dataset out "
                "of regions.yaml."
            )
        stands_for = f", standing in for {source}" if source else ""
        size = f"{found.resident_files} files, {found.resident_bytes / 1e6:.1f} MB"
        tell(f"{region}: folder {mount}{stands_for} holds {size}; nothing to import")
        return ImportReport(region, mount, "SUCCEEDED", found.resident_files)

    def forget(self, region: str, keys: Sequence[str]) -> int:
        """Remove nothing: a file that is gone from the folder is gone."""
        return 0

    def residency(self, region: str, keys: Sequence[str]) -> Residency:
        """All that is in the folder is there."""
        return self.mount.residency(region, keys)

    def warm(self, region: str, keys: Sequence[str], tell: Tell) -> Residency:
        """Nothing has to be fetched."""
        found = self.mount.residency(region, keys)
        tell(f"{region}: {found.resident_files} files are in the folder already")
        return found
