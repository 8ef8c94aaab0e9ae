"""What a scientist imports in a notebook or script; `xdask_pipelines.open_project` is the entrance.

Belongs here: the project as a notebook sees it, and how it is shown. Does not belong here: what catalog, access, pools and
climate do.
"""

from xdask_pipelines.notebook.interactive_project import Project

__all__ = ["Project"]
