"""The topology: Regions, datasets, links and pools, from one file; imported by everything, and by ``infra``.

The model is imported on first use: workers need only the names, and no Pydantic.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from xdask_pipelines.topology.model import (
        Topology,
        absolute_address,
        certificates_folder,
        find_topology,
        project_folder,
    )

__all__ = ["Topology", "absolute_address", "certificates_folder", "find_topology", "project_folder"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from xdask_pipelines.topology import model

    return getattr(model, name)
