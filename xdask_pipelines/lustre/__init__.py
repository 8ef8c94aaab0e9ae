"""Lustre: keeping a Region's mount in step with its bucket.

Belongs here: the protocol of an import and its local stand-in. Does not belong here: what files mean (catalog).
"""

from xdask_pipelines.lustre.folder import FolderLustre
from xdask_pipelines.lustre.imports import ImportReport, Lustre

__all__ = ["FolderLustre", "ImportReport", "Lustre"]
