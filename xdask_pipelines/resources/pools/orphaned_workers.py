"""Extra workers whose run has ended without ending them: its process was killed, or its machine was lost.

Belongs here: finding and ending them. Does not belong here: starting them (extra_workers), the loop (ecs_controller).

An extra task carries the name of its run's Dask client. Its scheduler knows whether that client is connected.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Any

from xdask_pipelines.placement.client.scheduler_rpc import SchedulerRPC
from xdask_pipelines.resources.aws.clients import call, client, pages
from xdask_pipelines.resources.pools.extra_workers import EXTRA
from xdask_pipelines.resources.pools.standing_pools import Tell
from xdask_pipelines.system.units import counted
from xdask_pipelines.topology.aws_names import cluster_name, pool_service

_DESCRIBED = 100


def end_orphans(rpc: SchedulerRPC, regions: Collection[str], before: Collection[str], tell: Tell) -> list[str]:
    """End extra tasks whose client was away at this look and at the one before; return those that were away at this one.

    A client that lost its connection for a moment has one look to come back.

    Parameters
    ----------
    rpc
        The scheduler.
    regions
        Worker Regions.
    before
        What the last look returned.
    tell
        Gets a line for each Region in which tasks are ended.
    """
    found = {region: dict(_extra_tasks(region)) for region in regions}
    clients = {name for tasks in found.values() for name in tasks.values()}
    connected = set(rpc.connected(sorted(clients))) if clients else set()
    away = {region: [arn for arn, name in tasks.items() if name not in connected] for region, tasks in found.items()}
    for region, arns in away.items():
        orphans = [arn for arn in arns if arn in before]
        for arn in orphans:
            reason = "The run that started this extra worker has ended"
            call(client("ecs", region), "stop_task", cluster=cluster_name(region), task=arn, reason=reason)
        if orphans:
            tell(f"{region}: ended {counted(len(orphans), 'extra instance')} of a run whose process is gone")
    return [arn for arns in away.values() for arn in arns]


def _extra_tasks(region: str) -> Iterator[tuple[str, str]]:
    """Iterate over the extra tasks of a Region, each with the name of its client."""
    ecs, cluster = client("ecs", region), cluster_name(region)
    arns = pages(ecs, "list_tasks", "taskArns", cluster=cluster, family=pool_service(region), desiredStatus="RUNNING")
    for i in range(0, len(arns), _DESCRIBED):
        tasks: list[Mapping[str, Any]] = call(
            ecs, "describe_tasks", cluster=cluster, tasks=arns[i : i + _DESCRIBED]
        ).get("tasks", [])
        for task in tasks:
            prefix, _, name = task.get("startedBy", "").partition("/")
            if prefix == EXTRA:
                yield task["taskArn"], name
