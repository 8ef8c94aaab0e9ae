"""File systems that come and go: the Lustre stack of a Region (stage full).

Belongs here: creating and deleting the stack. Does not belong here: its template (infra.stacks.lustre_stack), imports
(lustre).
"""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic, sleep
from typing import Any

from xdask_pipelines.errors import AwsError, XdaskError
from xdask_pipelines.resources.aws.clients import call, client
from xdask_pipelines.system.units import counted
from xdask_pipelines.topology import Topology, aws_names

Tell = Callable[[str], None]
_PATIENCE_SECONDS, _PAUSE_SECONDS = 3600.0, 15.0


def up(topology: Topology, region: str, tell: Tell, wait: Callable[[float], None] = sleep) -> None:
    """Create the file system of a Region from the template of the last synthesis, and wait until it can be mounted.

    Raises
    ------
    XdaskError
        The stage is small, there is no template, or the stack fails.
    """
    name = _stack(topology, region)
    template = topology.root / "infra/cdk.out" / f"{name}.template.json"
    if not template.is_file():
        raise XdaskError(f"There is no template {template}. Write it first: `make infra-synth`.")
    stacks = client("cloudformation", region)
    if _state(stacks, name) == "":
        tags = [{"Key": aws_names.PREFIX, "Value": "lustre"}]
        call(stacks, "create_stack", StackName=name, TemplateBody=template.read_text("utf-8"), Tags=tags)
    _settled(stacks, region, name, "CREATE_COMPLETE", tell, wait)
    tell(f"{region}: instances that start from now on mount the file system. Fill it: `xdask sync`")


def down(topology: Topology, region: str, tell: Tell, wait: Callable[[float], None] = sleep) -> None:
    """Delete the file system of a Region: its data are in their buckets.

    Raises
    ------
    XdaskError
        The stage is small, the pool of the Region has instances, or the stack cannot be deleted.
    """
    name = _stack(topology, region)
    ecs, cluster = client("ecs", region), aws_names.cluster_name(region)
    if tasks := call(ecs, "list_tasks", cluster=cluster)["taskArns"]:
        raise XdaskError(
            f"{region}: the file system is used ({counted(len(tasks), 'task')}). Wait until the pool is at zero, or "
            f"bring it there: `xdask pools scale {region} 0`. Nothing was deleted."
        )
    stacks = client("cloudformation", region)
    if _state(stacks, name):
        call(stacks, "delete_stack", StackName=name)
        _settled(stacks, region, name, "", tell, wait)
    tell(f"{region}: instances that start from now on mount the buckets")


def _stack(topology: Topology, region: str) -> str:
    topology.worker(region)
    if topology.aws is None or topology.aws.stage != "full":
        raise XdaskError(
            "Only stage full has file systems; at stage small the buckets are mounted. Write `stage: full` in regions.yaml, "
            "and deploy."
        )
    return aws_names.stack_name("lustre", region)


def _state(stacks: Any, name: str) -> str:
    """Return the state of a stack; empty if it does not exist."""
    try:
        state = str(call(stacks, "describe_stacks", StackName=name)["Stacks"][0]["StackStatus"])
    except AwsError as error:
        if "does not exist" in str(error):
            return ""
        raise
    return "" if state == "DELETE_COMPLETE" else state


def _settled(stacks: Any, region: str, name: str, wanted: str, tell: Tell, wait: Callable[[float], None]) -> None:
    deadline, reported = monotonic() + _PATIENCE_SECONDS, ""
    while (state := _state(stacks, name)).endswith("IN_PROGRESS"):
        if state != reported:
            tell(f"{region}: {name} is {state}; a file system needs about ten minutes")
            reported = state
        if monotonic() > deadline:
            raise XdaskError(
                f"{region}: {name} is {state} after an hour. See its events in the CloudFormation console."
            )
        wait(_PAUSE_SECONDS)
    if state not in (wanted, wanted and "UPDATE_COMPLETE"):
        raise XdaskError(f"{region}: {name} is {state or 'deleted'}. See its events in the CloudFormation console.")
