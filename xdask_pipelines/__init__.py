"""Dagster pipelines that compute where the climate data lives.

Belongs here: what notebooks and scripts begin with. Does not belong here: anything that it takes: every floor imports this
file, so that is imported when called.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from xdask_pipelines.notebook import Project

    __version__: str

__all__ = ["open_project"]


if not TYPE_CHECKING:  # else any attribute would pass the type checker

    def __getattr__(name: str) -> str:
        """Look ``__version__`` up when it is asked for: the metadata costs a third of the time of `xdask --help`."""
        if name != "__version__":
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        from xdask_pipelines.system.version import VERSION

        return VERSION


def open_project(path: str | os.PathLike[str] | None = None) -> Project:
    """Open the project that a ``regions.yaml`` describes, from a notebook or script.

    Parameters
    ----------
    path
        The file. None: the one that the environment variable ``XDASK_TOPOLOGY`` names, else ``regions.yaml`` in the current
        folder.

    Returns
    -------
    Project
        With ``catalog``, ``open(dataset=..., ...)``, ``compute(x)`` and, afterwards, ``evidence``.

    Raises
    ------
    TopologyError
        There is no such file, or it cannot be used.

    Examples
    --------
    >>> from xdask_pipelines import open_project
    >>> project = open_project()
    >>> tas = project.open(dataset="cmip6", variable="tas", experiment_id="A1B")
    >>> warmest = project.compute(tas.max("lat"))
    >>> sorted(project.evidence.tasks_by_region)
    ['us-west-2']
    >>> project.close()
    """
    from xdask_pipelines.notebook import Project
    from xdask_pipelines.topology import Topology, find_topology

    return Project(find_topology() if path is None else Topology.load(Path(path)))
