"""The code location that Dagster loads, by ``workspace.yaml`` or ``pyproject.toml``."""

import logging
import os
from pathlib import Path

import dagster as dg

from xdask_pipelines.build import assemble
from xdask_pipelines.topology import Topology, find_topology


def definitions(path: str | os.PathLike[str] | None = None) -> dg.Definitions:
    """Return the Dagster definitions of a project: its datasets, analyses, checks, schedules, sensors and resources.

    A code location of your own can merge them with other definitions: ``dg.Definitions.merge(definitions(), ...)``.

    Parameters
    ----------
    path
        ``regions.yaml`` of the project. None: the file that the environment variable ``XDASK_TOPOLOGY`` names, else
        ``regions.yaml`` in the current folder.

    Returns
    -------
    Definitions
        Files in ``analyses/`` that cannot be imported are left out, and logged as warnings.

    Raises
    ------
    TopologyError
        There is no such file, or it cannot be used.
    """
    assembly = assemble(find_topology() if path is None else Topology.load(Path(path)))
    for broken in assembly.own.broken:
        logging.getLogger(__name__).warning("left out: %s", broken)
    return assembly.definitions


@dg.definitions
def defs() -> dg.Definitions:
    """Return what Dagster loads: the project of the current folder, or that of ``XDASK_TOPOLOGY``."""
    return definitions()
