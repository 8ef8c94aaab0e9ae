"""Notebooks on AWS: a task of the same image for each person, or a SageMaker instance.

Belongs here: starting, finding and stopping them. Does not belong here: definition and home (infra), pages
(port_forwarding).
"""

from __future__ import annotations

import re
from collections.abc import Callable
from time import monotonic, sleep
from typing import Any

from xdask_pipelines.errors import XdaskError
from xdask_pipelines.resources.aws.clients import call, client, pages
from xdask_pipelines.topology import Topology, aws_names

Tell = Callable[[str], None]
_PATIENCE_SECONDS, _PAUSE_SECONDS = 300.0, 5.0
_INSTANCE_LOG = "/aws/sagemaker/NotebookInstances"


def person(topology: Topology) -> str:
    """Return the name of the person whose credentials are used, as part of names: the last part of their ARN."""
    arn = call(client("sts", topology.client.region), "get_caller_identity")["Arn"]
    return re.sub(r"[^A-Za-z0-9_-]", "-", arn.rpartition("/")[2])[:36]


def start(topology: Topology, tell: Tell, wait: Callable[[float], None] = sleep) -> str:
    """Start the notebook of a person, or find it if it runs; return its task, or the address of its instance.

    Raises
    ------
    XdaskError
        It does not run within five minutes; the reason that ECS gives is quoted.
    AwsError
        A call was refused.
    """
    assert topology.aws is not None
    if topology.aws.notebook == "sagemaker":
        return _start_instance(topology, tell, wait)
    region, owner = topology.client.region, person(topology)
    ecs, cluster = client("ecs", region), aws_names.cluster_name(region)
    arn = running(topology, owner)
    if arn is None:
        answer = call(
            ecs,
            "run_task",
            cluster=cluster,
            taskDefinition=aws_names.NOTEBOOK,
            launchType="FARGATE",
            startedBy=owner,
            enableExecuteCommand=True,
            propagateTags="TASK_DEFINITION",
            networkConfiguration=_network(topology),
            overrides={
                "containerOverrides": [{"name": "notebook", "environment": [{"name": "XDASK_USER", "value": owner}]}]
            },
        )
        if not answer["tasks"]:
            reasons = "; ".join(each.get("reason", "no reason is given") for each in answer["failures"])
            raise XdaskError(f"ECS did not start the notebook: {reasons}. Fix the cause, then start it again.")
        arn = str(answer["tasks"][0]["taskArn"])
        tell("the notebook starts; it needs a minute or two")
    deadline = monotonic() + _PATIENCE_SECONDS
    while (task := call(ecs, "describe_tasks", cluster=cluster, tasks=[arn])["tasks"][0])["lastStatus"] != "RUNNING":
        if task["lastStatus"] == "STOPPED" or monotonic() > deadline:
            reason = task.get("stoppedReason") or f"it is {task['lastStatus']}"
            raise XdaskError(f"The notebook does not run: {reason}. See its log in {aws_names.log_group('notebook')}.")
        wait(_PAUSE_SECONDS)
    return arn


def running(topology: Topology, owner: str) -> str | None:
    """Return the task of a person's notebook; None if none runs."""
    ecs, cluster = client("ecs", topology.client.region), aws_names.cluster_name(topology.client.region)
    found = pages(ecs, "list_tasks", "taskArns", cluster=cluster, startedBy=owner, desiredStatus="RUNNING")
    tasks = call(ecs, "describe_tasks", cluster=cluster, tasks=found)["tasks"] if found else []
    ours = [t["taskArn"] for t in tasks if f"/{aws_names.NOTEBOOK}:" in t["taskDefinitionArn"]]
    return str(ours[0]) if ours else None


def stop(topology: Topology, tell: Tell) -> bool:
    """Stop the notebook of a person; its home stays. Return whether one ran."""
    assert topology.aws is not None
    if topology.aws.notebook == "sagemaker":
        sagemaker = client("sagemaker", topology.client.region)
        if _instance(sagemaker)["NotebookInstanceStatus"] != "InService":
            return False
        call(sagemaker, "stop_notebook_instance", NotebookInstanceName=aws_names.NOTEBOOK)
        tell("the instance stops; its disk stays")
        return True
    arn = running(topology, person(topology))
    if arn is None:
        return False
    ecs, cluster = client("ecs", topology.client.region), aws_names.cluster_name(topology.client.region)
    call(ecs, "stop_task", cluster=cluster, task=arn, reason="Stopped by its user")
    tell("the notebook stops; its home stays")
    return True


def _network(topology: Topology) -> dict[str, Any]:
    """Return the network of a notebook: the subnets of the scheduler's service, and the group of notebooks."""
    region = topology.client.region
    services = call(
        client("ecs", region),
        "describe_services",
        cluster=aws_names.cluster_name(region),
        services=[aws_names.SCHEDULER_SERVICE],
    )["services"]
    if not services:
        raise XdaskError("The scheduler's service does not exist. Deploy it: `make infra-deploy`.")
    network = dict(services[0]["networkConfiguration"]["awsvpcConfiguration"])
    groups = pages(
        client("ec2", region),
        "describe_security_groups",
        "SecurityGroups",
        Filters=[{"Name": "tag:Name", "Values": [aws_names.NOTEBOOK]}],
    )
    return {"awsvpcConfiguration": {**network, "securityGroups": [group["GroupId"] for group in groups]}}


def instance_address(topology: Topology) -> str:
    """Return an address that opens the running instance of notebooks; it is valid for five minutes.

    Raises
    ------
    XdaskError
        The instance does not run.
    """
    sagemaker = client("sagemaker", topology.client.region)
    if (state := _instance(sagemaker)["NotebookInstanceStatus"]) != "InService":
        raise XdaskError(f"The notebook instance is {state}. Start it: `xdask notebook start`.")
    answer = call(sagemaker, "create_presigned_notebook_instance_url", NotebookInstanceName=aws_names.NOTEBOOK)
    return str(answer["AuthorizedUrl"])


def _instance(sagemaker: Any) -> dict[str, Any]:
    return dict(call(sagemaker, "describe_notebook_instance", NotebookInstanceName=aws_names.NOTEBOOK))


def _start_instance(topology: Topology, tell: Tell, wait: Callable[[float], None]) -> str:
    """Start the instance and wait until Jupyter runs on it, which takes three to seven minutes."""
    sagemaker, deadline = client("sagemaker", topology.client.region), monotonic() + 2 * _PATIENCE_SECONDS
    reported, asked = "", False
    while (state := (instance := _instance(sagemaker))["NotebookInstanceStatus"]) != "InService":
        if state == "Failed" or monotonic() > deadline or (state == "Stopped" and asked):
            reason = instance.get("FailureReason", "SageMaker gives no reason")
            raise XdaskError(
                f"The notebook instance is {state}: {reason}. Read the log of its start script, {_INSTANCE_LOG} in "
                "CloudWatch, then start it again."
            )
        if state == "Stopped":
            call(sagemaker, "start_notebook_instance", NotebookInstanceName=aws_names.NOTEBOOK)
            asked = True
        if state != reported:
            tell(f"the instance is {state}")
            reported = state
        wait(_PAUSE_SECONDS)
    return instance_address(topology)
