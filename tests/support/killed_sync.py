"""A sync in a process of its own that dies by SIGKILL at a step: ``killed_sync.py SCHEDULER REGIONS CATALOG FSX STEP``.

Steps are the calls to the Region's workers (list, remove from the mount, headers), each before it and after it, and the
moment before the commit.
"""

import os
import signal
import sys
from functools import partial
from typing import Any

import boto3
from distributed import Client

import xdask_pipelines.access.syncing.sync_place as module
from xdask_pipelines.access.syncing.worker_calls import MountAtHome
from xdask_pipelines.catalog import open_catalog
from xdask_pipelines.lustre.fsx import FsxLustre
from xdask_pipelines.placement import compute
from xdask_pipelines.topology import Topology
from xdask_pipelines.topology.place import Place

STEPS = ("leased", "listed", "removed", "described", "committing")


def main(scheduler: str, regions: str, catalog_url: str, fsx_url: str, step: str) -> None:
    topology, catalog = Topology.load(regions), open_catalog(catalog_url)
    fsx = boto3.session.Session().client("fsx", region_name="us-east-1", endpoint_url=fsx_url)

    def dying(name: str, function: Any) -> Any:
        def call(*args: Any, **kwargs: Any) -> Any:
            if name == "committing" == step:
                os.kill(os.getpid(), signal.SIGKILL)
            answer = function(*args, **kwargs)
            if name == step:
                os.kill(os.getpid(), signal.SIGKILL)
            return answer

        return call

    with Client(scheduler) as client:
        run = partial(compute, client)
        lustre = FsxLustre(lambda region: fsx, MountAtHome(run, on_lustre=True), poll_seconds=0)
        module.list_mounts = dying("listed", module.list_mounts)
        module.read_headers = dying("described", module.read_headers)
        module.commit_sync = dying("committing", module.commit_sync)
        for thing, name, then in ((catalog, "lease", "leased"), (lustre, "forget", "removed")):
            object.__setattr__(thing, name, dying(then, getattr(thing, name)))
        context = module.SyncContext(topology=topology, catalog=catalog, compute=run, lustre=lustre)
        module.sync_place(context, Place("era5", "us-east-1"))


if __name__ == "__main__":
    main(*sys.argv[1:])
