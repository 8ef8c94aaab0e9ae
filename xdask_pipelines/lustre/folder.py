"""A folder that stands in for a Lustre mount on one machine.

Belongs here: what an import means where the folder is the data. Does not belong here: listing for the catalog.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass

from xdask_pipelines.errors import XdaskError
from xdask_pipelines.lustre.imports import ImportReport

#: ``stat_mount(region, mount)``: ``(path, size in bytes, modification time in ns)`` of every file, told by the Region.
StatMount = Callable[[str, str], list[tuple[str, int, int]]]


@dataclass(frozen=True)
class FolderLustre:
    """Nothing has to be moved: the folder is both bucket and mount. Its state is looked up where it lies."""

    stat_mount: StatMount

    def import_changes(self, region: str, mount: str, source: str | None, tell: Callable[[str], None]) -> ImportReport:
        """Report what the folder holds."""
        files = self.stat_mount(region, mount)
        if not files:
            raise XdaskError(
                f"The folder {mount} of {region} holds no files. Put the data there, or take the dataset out "
                "of regions.yaml."
            )
        size = sum(n for _, n, _ in files)
        stands_for = f", standing in for {source}" if source else ""
        tell(f"{region}: folder {mount}{stands_for} holds {len(files)} files, {size / 1e6:.1f} MB; nothing to import")
        digest = hashlib.blake2b(repr(sorted(files)).encode(), digest_size=16).hexdigest()
        return ImportReport(region, mount, "SUCCEEDED", len(files), size, digest)
