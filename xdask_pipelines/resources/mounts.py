"""The Lustre file system of a topology: local folders, or FSx on AWS.

Belongs here: the choice, and clients of AWS. Does not belong here: imports (lustre).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from xdask_pipelines.access.home_calls import Compute
from xdask_pipelines.access.syncing.worker_calls import MountAtHome
from xdask_pipelines.lustre import FolderLustre, LustreFileSystem
from xdask_pipelines.topology import Topology

#: Function that returns a Lustre file system, given the function that computes on its files.
LustreWith = Callable[[Compute], LustreFileSystem]


def lustre_of(topology: Topology) -> LustreWith:
    """Lustre as the topology's profile has it."""
    if topology.profile != "aws":
        return lambda compute: FolderLustre(MountAtHome(compute))
    from xdask_pipelines.lustre.fsx import FsxLustre  # imports botocore

    return lambda compute: FsxLustre(_fsx, MountAtHome(compute, on_lustre=True))


def _fsx(region: str) -> Any:
    import boto3
    from botocore.client import Config

    return boto3.session.Session().client(
        "fsx", region_name=region, config=Config(retries={"mode": "standard", "max_attempts": 8})
    )
