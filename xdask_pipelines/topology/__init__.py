"""The topology: Regions, datasets, links and pools, from one file; imported by everything, and by ``infra``."""

from xdask_pipelines.topology.model import (
    Topology,
    absolute_address,
    certificates_folder,
    find_topology,
    project_folder,
)

__all__ = ["Topology", "absolute_address", "certificates_folder", "find_topology", "project_folder"]
