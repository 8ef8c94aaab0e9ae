"""Deployment of all stacks of all Regions into the emulator.

Belongs here: create, update, roll back and destroy, with the events of what failed. Does not belong here: what is in the
stacks (templates), how long processes of tasks take to end (agent).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, field
from time import monotonic, sleep
from typing import Any
from uuid import uuid4

from botocore.exceptions import ClientError

from infra.deployment.removal import Emptying, FoundStack
from infra.rehearsal.account.clients import EmulatedClients
from infra.rehearsal.account.stand_ins import problems, supported_types
from infra.rehearsal.account.templates import Stack, deployable

_PATIENCE_SECONDS = 180
_PAUSE_SECONDS = 0.05
#: A stack that never came to be has to be deleted before it can be created.
_NEVER_WAS = ("ROLLBACK_COMPLETE", "ROLLBACK_FAILED", "REVIEW_IN_PROGRESS", "CREATE_FAILED")
Say = Callable[[str], None]


class DeploymentFailed(Exception):
    """A stack could not be created, updated or deleted; the message has the events of what failed."""


@dataclass
class Deployment:
    """The stacks of one assembly in the emulator.

    Parameters
    ----------
    clients
        Clients of the emulator.
    stacks
        In the order of deployment.
    say
        Gets a line for each stack.
    """

    clients: EmulatedClients
    stacks: Sequence[Stack]
    say: Say = lambda line: None
    _supported: frozenset[str] = field(default_factory=frozenset)

    def deploy(self, names: Collection[str] | None = None) -> dict[str, str]:
        """Create or update stacks, in order; what was done by stack: ``created``, ``updated`` or ``unchanged``.

        A stack whose update fails is rolled back by CloudFormation. A deployment is rolled back by deploying the assembly
        of before.

        Parameters
        ----------
        names
            The stacks; all of them by default.

        Raises
        ------
        DeploymentFailed
            A stack failed, or the list of stand-ins does not fit the emulator.
        """
        self._supported = self._supported or supported_types()
        if wrong := problems({kind for stack in self.stacks for kind in stack.types}, self._supported):
            raise DeploymentFailed("\n".join(wrong))
        done = {}
        for stack in self.stacks:
            if names is not None and stack.name not in names:
                continue
            began = monotonic()
            done[stack.name] = self._deploy(stack)
            self.say(f"{stack.name:38s} {done[stack.name]:10s} {monotonic() - began:5.1f} s")
        return done

    def destroy(self) -> None:
        """Empty what would keep stacks from being deleted, as a real removal does; delete every stack, the last one first.

        Raises
        ------
        DeploymentFailed
            A stack could not be deleted.
        """
        there = [stack for stack in self.stacks if self._status(stack) is not None]
        found = [FoundStack(stack.region, stack.name) for stack in there]
        Emptying(self.clients, self.say, lambda seconds: sleep(0.2)).empty(found)
        for stack in reversed(there):
            self._cloudformation(stack).delete_stack(StackName=stack.name)
            self._settle(stack, {"", "DELETE_COMPLETE"})
            self.say(f"{stack.name:38s} deleted")

    def output(self, region: str, stack: str, key: str) -> str:
        """Return an output of a deployed stack.

        Raises
        ------
        DeploymentFailed
            The stack or the output does not exist.
        """
        try:
            found = self.clients.of("cloudformation", region).describe_stacks(StackName=stack)["Stacks"][0]
        except ClientError as error:
            raise DeploymentFailed(f"{stack} in {region} is not deployed: {error}. Deploy it first.") from error
        for each in found.get("Outputs", ()):
            if each["OutputKey"] == key:
                return str(each["OutputValue"])
        raise DeploymentFailed(f"{stack} in {region} has no output {key}. Deploy it again, or correct the reference.")

    # ---- one stack ------------------------------------------------------------------------------------------------

    def _deploy(self, stack: Stack) -> str:
        client, body = self._cloudformation(stack), json.dumps(deployable(stack, self.output))
        if (status := self._status(stack)) in _NEVER_WAS:
            client.delete_stack(StackName=stack.name)
            self._settle(stack, {"", "DELETE_COMPLETE"})
            status = None
        kind, wanted = ("CREATE", "CREATE_COMPLETE") if status is None else ("UPDATE", "UPDATE_COMPLETE")
        change = client.create_change_set(
            StackName=stack.name,
            ChangeSetName=f"rehearsal-{uuid4().hex}",
            ChangeSetType=kind,
            TemplateBody=body,
            Capabilities=["CAPABILITY_NAMED_IAM"],
            Tags=[{"Key": key, "Value": value} for key, value in stack.tags.items()],
            ImportExistingResources=True,  # buckets of results outlive their stack, and are taken over by the next one
        )["Id"]
        if not self._has_changes(stack, change):
            return "unchanged"
        client.execute_change_set(ChangeSetName=change)
        self._settle(stack, {wanted, "IMPORT_COMPLETE"})
        return "created" if kind == "CREATE" else "updated"

    def _has_changes(self, stack: Stack, change: str) -> bool:
        client, deadline = self._cloudformation(stack), monotonic() + _PATIENCE_SECONDS
        while (found := client.describe_change_set(ChangeSetName=change))["Status"].endswith(
            ("PENDING", "IN_PROGRESS")
        ):
            if monotonic() > deadline:
                raise DeploymentFailed(f"The changes of {stack.name} are not known after {_PATIENCE_SECONDS} s.")
            sleep(_PAUSE_SECONDS)
        if found["Status"] != "FAILED":
            return True
        reason = found.get("StatusReason", "no reason was given")
        client.delete_change_set(ChangeSetName=change)
        if "didn't contain changes" in reason or "No updates" in reason:
            return False
        raise DeploymentFailed(f"{stack.name} in {stack.region} cannot be changed: {reason}")

    def _cloudformation(self, stack: Stack) -> Any:
        return self.clients.of("cloudformation", stack.region)

    def _status(self, stack: Stack) -> str | None:
        try:
            found = self._cloudformation(stack).describe_stacks(StackName=stack.name)["Stacks"][0]
        except ClientError as error:
            if "does not exist" in str(error):
                return None
            raise
        status = str(found["StackStatus"])
        return None if status == "DELETE_COMPLETE" else status

    def _settle(self, stack: Stack, wanted: set[str]) -> None:
        deadline = monotonic() + _PATIENCE_SECONDS
        while (status := self._status(stack) or "") and (status.endswith("IN_PROGRESS") or "CLEANUP" in status):
            if monotonic() > deadline:
                raise DeploymentFailed(f"{stack.name} in {stack.region} is {status} after {_PATIENCE_SECONDS} s.")
            sleep(_PAUSE_SECONDS)
        if status not in wanted:
            failed = "\n".join(self._failures(stack))
            raise DeploymentFailed(f"{stack.name} in {stack.region} ended as {status or 'deleted'}:\n{failed}")

    def _failures(self, stack: Stack) -> Iterable[str]:
        client, seen = self._cloudformation(stack), set()
        events = client.describe_stack_events(StackName=stack.name)["StackEvents"]
        # Of validation, which comes before any resource is created, stack events have the number of errors alone.
        events += client.describe_events(StackName=stack.name)["OperationEvents"]
        for event in reversed(events):
            reason = event.get("ResourceStatusReason") or event.get("ValidationStatusReason")
            if reason and "FAILED" in event.get("ResourceStatus", "") + event.get("ValidationStatus", ""):
                line = (
                    f"  {event.get('LogicalResourceId', stack.name)} ({event.get('ResourceType', 'stack')}): {reason}"
                )
                if line not in seen:
                    seen.add(line)
                    yield line
