"""Changes that an earlier command began: CloudFormation goes on with a stack after the command was interrupted.

Belongs here: waiting for them. Does not belong here: changes of this command (cdk_stacks, removal).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from time import monotonic, sleep

from infra.deployment.aws_clients import Clients
from infra.deployment.removal import FoundStack, our_stacks
from xdask_pipelines.errors import XdaskError

Tell = Callable[[str], None]
#: A domain of OpenSearch and a database take half an hour.
_PATIENCE_SECONDS, _PAUSE_SECONDS = 3600.0, 10.0


def settled_stacks(
    clients: Clients, regions: Iterable[str], tell: Tell, wait: Callable[[float], None] = sleep
) -> list[FoundStack]:
    """Return all stacks of ours in some Regions, once CloudFormation changes none of them.

    Raises
    ------
    XdaskError
        A stack is still being changed after an hour.
    """
    places, reported, deadline = list(regions), set[FoundStack](), monotonic() + _PATIENCE_SECONDS
    while True:
        found = our_stacks(clients, places)
        busy = [stack for stack in found if _is_busy(stack.status)]
        if not busy:
            return found
        for stack in set(busy) - reported:
            tell(f"{stack.name} in {stack.region} is {stack.status}: an earlier command began that; waiting")
        reported |= set(busy)
        if monotonic() > deadline:
            names = ", ".join(f"{stack.name} ({stack.status})" for stack in busy)
            raise XdaskError(f"CloudFormation is still changing {names}. Look at their events, then run this again.")
        wait(_PAUSE_SECONDS)


def _is_busy(status: str) -> bool:
    return status.endswith("_IN_PROGRESS") and status != "REVIEW_IN_PROGRESS"
