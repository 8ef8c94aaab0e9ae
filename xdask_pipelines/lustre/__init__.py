"""Lustre: keeping a Region's mount in step with its bucket.

Belongs here: imports, and what of the files is there. Does not belong here: what files mean (catalog).
"""

from xdask_pipelines.lustre.folder import FolderLustre
from xdask_pipelines.lustre.imports import ImportReport, LustreFileSystem, Residency, Tell

__all__ = ["FolderLustre", "ImportReport", "LustreFileSystem", "Residency", "Tell"]
