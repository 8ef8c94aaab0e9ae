"""Putting a deployment to sleep, and waking it: what costs by the hour stops, and nothing is lost.

Belongs here: the order of steps. Does not belong here: prices (idle_cost), sizes of pools while it is awake (the
controller).
"""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic, sleep
from typing import Any

from xdask_pipelines.errors import XdaskError
from xdask_pipelines.resources.aws.clients import call, client, pages
from xdask_pipelines.system.units import counted
from xdask_pipelines.topology import Topology, aws_names

Tell = Callable[[str], None]
_PATIENCE_SECONDS, _PAUSE_SECONDS = 1200.0, 10.0


def put_to_sleep(topology: Topology, tell: Tell, *, force: bool = False) -> None:
    """Stop pools, scheduler, Dagster and the database.

    Parameters
    ----------
    topology
        With profile aws.
    tell
        Called with one line for each step.
    force
        Stop although workers, runs or notebooks are active: what they compute is lost.

    Raises
    ------
    XdaskError
        Something is active; nothing was stopped.
    AwsError
        A step was refused. The steps before it were done, and may be done again.
    """
    if (active := _active(topology)) and not force:
        raise XdaskError(
            f"This deployment is active: {'; '.join(active)}. Wait until it is idle, or stop it all the same: "
            "`xdask aws sleep --force`. Nothing was stopped."
        )
    alarms = client("cloudwatch", topology.client.region)
    if names := _alarms(alarms):
        call(alarms, "disable_alarm_actions", AlarmNames=names)
        tell(f"alarms are silent: {len(names)}")
    for region in topology.worker_regions:
        _scale(topology, region, aws_names.pool_service(region), 0)
    for name in _services(topology):
        _scale(topology, topology.client.region, name, 0)
    tell(f"services at 0: {', '.join(_services(topology))}, and all pools")
    database = client("rds", topology.client.region)
    if _state(database) == "available":
        call(database, "stop_db_instance", DBInstanceIdentifier=aws_names.DATABASE)
        tell("the database stops. AWS starts it again after 7 days: run `xdask aws sleep` again then, or it costs")


def wake(topology: Topology, tell: Tell, wait: Callable[[float], None] = sleep) -> None:
    """Start the database, then scheduler and Dagster; pools start when they are needed.

    Raises
    ------
    XdaskError
        The database is not available after twenty minutes.
    AwsError
        A step was refused. The steps before it were done, and may be done again.
    """
    database, deadline = client("rds", topology.client.region), monotonic() + _PATIENCE_SECONDS
    reported = ""
    while (state := _state(database)) != "available":
        if state == "stopped":
            call(database, "start_db_instance", DBInstanceIdentifier=aws_names.DATABASE)
        if state != reported:
            tell(f"the database is {state}; it needs some minutes")
            reported = state
        if monotonic() > deadline:
            raise XdaskError(
                f"The database is {state} after 20 minutes. Look at it in the RDS console, then wake again."
            )
        wait(_PAUSE_SECONDS)
    for name in _services(topology):
        _scale(topology, topology.client.region, name, 1)
    for worker in topology.workers:
        _scale(topology, worker.region, aws_names.pool_service(worker.region), worker.pool.min_workers)
    tell(f"services start: {', '.join(_services(topology))}")
    alarms = client("cloudwatch", topology.client.region)
    if names := _alarms(alarms):
        call(alarms, "enable_alarm_actions", AlarmNames=names)
        tell(f"alarms ring again: {len(names)}")


def _services(topology: Topology) -> list[str]:
    assert topology.aws is not None
    dagster = [aws_names.DAGSTER_SERVICE] if topology.aws.stage == "full" else []
    return [aws_names.SCHEDULER_SERVICE, *dagster]


def _scale(topology: Topology, region: str, service: str, count: int) -> None:
    cluster = aws_names.cluster_name(region)
    call(client("ecs", region), "update_service", cluster=cluster, service=service, desiredCount=count)


def _alarms(cloudwatch: Any) -> list[str]:
    found = pages(cloudwatch, "describe_alarms", "MetricAlarms", AlarmNamePrefix=f"{aws_names.PREFIX}-")
    return [alarm["AlarmName"] for alarm in found]


def _state(database: Any) -> str:
    answer = call(database, "describe_db_instances", DBInstanceIdentifier=aws_names.DATABASE)
    return str(answer["DBInstances"][0]["DBInstanceStatus"])


def _active(topology: Topology) -> list[str]:
    """Return what works now: tasks of pools, syncs, runs and notebooks."""
    found = []
    for region in topology.regions:
        tasks = pages(client("ecs", region), "list_tasks", "taskArns", cluster=aws_names.cluster_name(region))
        standing = len(_services(topology)) if region == topology.client.region else 0
        if len(tasks) > standing:
            found.append(f"{counted(len(tasks) - standing, 'task')} in {region}")
    return found
