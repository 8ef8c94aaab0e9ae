"""Reaching pages of a deployment: port forwarding by SSM to a container, with the permissions of the person who asks.

Belongs here: finding the container, running the AWS CLI. Does not belong here: what the pages show.
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from time import sleep
from typing import Any

from xdask_pipelines.errors import XdaskError
from xdask_pipelines.operations.aws import notebooks
from xdask_pipelines.resources.aws.clients import call, client, pages
from xdask_pipelines.system.ports import LOOPBACK, port_problem
from xdask_pipelines.topology import Topology, aws_names

Tell = Callable[[str], None]
_POLL_SECONDS = 0.5


@dataclass(frozen=True)
class ForwardedPage:
    """A page of a container: what it is, ECS service, container, and port on loopback of its task and of this machine."""

    name: str
    service: str
    container: str
    port: int


def pages_of(topology: Topology) -> list[ForwardedPage]:
    """Return the pages of a deployment."""
    assert topology.aws is not None
    scheduler = aws_names.SCHEDULER_SERVICE
    dagster = aws_names.DAGSTER_SERVICE if topology.aws.stage == "full" else scheduler
    return [
        ForwardedPage("Dagster", dagster, "webserver", aws_names.UI_PORT),
        ForwardedPage("Dask's dashboard", scheduler, "scheduler", aws_names.DASHBOARD_PORT),
    ]


def connect(topology: Topology, tell: Tell) -> None:
    """Forward the ports of all pages to this machine, until Ctrl-C.

    Raises
    ------
    XdaskError
        The AWS CLI or its plugin is not installed, a port of this machine is in use, or a service has no running task.
    """
    refuse_missing_tools()
    found = pages_of(topology)
    for page in found:
        if problem := port_problem(page.port):
            raise XdaskError(
                f"{page.name} cannot be shown on port {page.port}: {problem}. Free the port, then try again."
            )
    commands = [
        forwarding(topology.client.region, target(topology, page.service, page.container), page.port) for page in found
    ]
    _forward(commands, [f"{page.name}: http://{LOOPBACK}:{page.port}" for page in found], tell)


def show_notebook(topology: Topology, tell: Tell) -> None:
    """Forward the port of a person's notebook to this machine, until Ctrl-C.

    Raises
    ------
    XdaskError
        None runs, a tool is missing, or the port is in use.
    """
    refuse_missing_tools()
    if problem := port_problem(aws_names.NOTEBOOK_PORT):
        raise XdaskError(
            f"The notebook cannot be shown on port {aws_names.NOTEBOOK_PORT}: {problem}. Free the port, then try again."
        )
    arn = notebooks.running(topology, notebooks.person(topology))
    if arn is None:
        raise XdaskError("No notebook of yours runs. Start it: `xdask notebook start`.")
    ecs, cluster = client("ecs", topology.client.region), aws_names.cluster_name(topology.client.region)
    tasks = call(ecs, "describe_tasks", cluster=cluster, tasks=[arn])["tasks"]
    command = forwarding(topology.client.region, _named(cluster, tasks, "notebook"), aws_names.NOTEBOOK_PORT)
    _forward([command], [f"Notebook: http://{LOOPBACK}:{aws_names.NOTEBOOK_PORT}"], tell)


def _forward(commands: Sequence[Sequence[str]], lines: Sequence[str], tell: Tell) -> None:
    running = [subprocess.Popen(command, stdout=subprocess.DEVNULL) for command in commands]
    try:
        for line in lines:
            tell(line)
        tell("Ctrl-C ends the connections.")
        while all(process.poll() is None for process in running):
            sleep(_POLL_SECONDS)
        raise XdaskError(
            "A connection ended. The task may have been replaced, or your role may not start sessions (ssm:StartSession on "
            "the task, with the document AWS-StartPortForwardingSession). Try again."
        )
    except KeyboardInterrupt:
        tell("\nclosed")
    finally:
        for process in running:
            process.terminate()
        for process in running:
            process.wait()


def refuse_missing_tools() -> None:
    """Refuse to go on without the AWS CLI and its Session Manager plugin.

    Raises
    ------
    XdaskError
        One of them is not installed.
    """
    missing = [tool for tool in ("aws", "session-manager-plugin") if shutil.which(tool) is None]
    if missing:
        raise XdaskError(
            f"{' and '.join(missing)} {'is' if len(missing) == 1 else 'are'} not installed. Port forwarding needs the AWS "
            "CLI and its Session Manager plugin; install them as the AWS documentation says, then try again."
        )


def target(topology: Topology, service: str, container: str) -> str:
    """Return how SSM names a container of a service: cluster, task and runtime id.

    Raises
    ------
    XdaskError
        The service has no running task.
    """
    ecs, cluster = client("ecs", topology.client.region), aws_names.cluster_name(topology.client.region)
    tasks = pages(ecs, "list_tasks", "taskArns", cluster=cluster, serviceName=service, desiredStatus="RUNNING")
    return _named(
        cluster, call(ecs, "describe_tasks", cluster=cluster, tasks=tasks)["tasks"] if tasks else [], container
    )


def _named(cluster: str, tasks: Sequence[Mapping[str, Any]], container: str) -> str:
    for task in tasks:
        runtime = next((c.get("runtimeId") for c in task["containers"] if c["name"] == container), None)
        if task["lastStatus"] == "RUNNING" and runtime:
            return f"ecs:{cluster}_{task['taskArn'].rpartition('/')[2]}_{runtime}"
    raise XdaskError(
        f"No task of {cluster} runs a container {container}. Wake the deployment (`xdask aws wake`), or read the events of "
        "the service in the ECS console."
    )


def forwarding(region: str, to: str, port: int) -> Sequence[str]:
    """Return the command that forwards a port of a container to the same port of this machine."""
    return [
        *("aws", "ssm", "start-session", "--region", region, "--target", to),
        *("--document-name", "AWS-StartPortForwardingSession"),
        *("--parameters", f"portNumber={port},localPortNumber={port}"),
    ]
