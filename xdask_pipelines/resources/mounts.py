"""The Lustre file system of a topology: local folders, or FSx on AWS.

Belongs here: the choice. Does not belong here: imports (lustre).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from xdask_pipelines.access.home_calls import Compute
from xdask_pipelines.access.syncing.worker_calls import MountAtHome
from xdask_pipelines.lustre import FolderLustre, LustreFileSystem
from xdask_pipelines.lustre.mounted_bucket import MountedBucket
from xdask_pipelines.resources.aws.clients import client
from xdask_pipelines.topology import Topology

#: Function that returns a Lustre file system, given the function that computes on its files.
LustreWith = Callable[[Compute], LustreFileSystem]

#: FSx allows few calls a second to its associations.
_FSX_ATTEMPTS = 8


def lustre_of(topology: Topology) -> LustreWith:
    """Return the file systems of a topology: on AWS FSx at the stage full and mounted buckets at the stage small."""
    if topology.profile != "aws":
        return lambda compute: FolderLustre(MountAtHome(compute))
    if topology.aws is not None and topology.aws.stage == "small":
        return lambda compute: MountedBucket(MountAtHome(compute))
    from xdask_pipelines.lustre.fsx import FsxLustre  # imports botocore
    from xdask_pipelines.lustre.fsx_or_buckets import FsxOrBuckets

    fsx = partial(client, "fsx", attempts=_FSX_ATTEMPTS)
    return lambda compute: FsxOrBuckets(
        FsxLustre(fsx, MountAtHome(compute, on_lustre=True)), MountedBucket(MountAtHome(compute))
    )
