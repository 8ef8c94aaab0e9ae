"""Lustre: importing changes of a bucket into a Region's mount.

Belongs here: imports, and which files are on the mount. Does not belong here: the meaning of files (catalog).
"""

from xdask_pipelines.lustre.folder import FolderLustre
from xdask_pipelines.lustre.imports import ImportReport, LustreFileSystem, Residency, Tell

__all__ = ["FolderLustre", "ImportReport", "LustreFileSystem", "Residency", "Tell"]
