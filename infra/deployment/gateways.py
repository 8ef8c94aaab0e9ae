"""Peerings of transit gateways, which somebody has to accept: CloudFormation cannot.

Belongs here: accepting, and waiting until they are there. Does not belong here: gateways (stacks.transit_stack).
"""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic, sleep
from typing import Any

from infra.deployment.aws_clients import Clients
from xdask_pipelines.errors import XdaskError
from xdask_pipelines.topology import Topology
from xdask_pipelines.topology.aws_names import PREFIX

Tell = Callable[[str], None]
_PATIENCE_SECONDS, _PAUSE_SECONDS = 600.0, 10.0


def accept_peerings(
    clients: Clients, topology: Topology, tell: Tell, wait: Callable[[float], None] = sleep
) -> list[str]:
    """Accept every requested peering of our gateways, and wait until all of them are available; a second call does nothing.

    Returns
    -------
    The accepted attachments.

    Raises
    ------
    XdaskError
        A peering failed, or is not available after ten minutes.
    """
    accepted: list[str] = []
    deadline = monotonic() + _PATIENCE_SECONDS
    while True:
        states = {}
        for region in topology.regions:
            ec2 = clients.of("ec2", region)
            for each in _attachments(ec2):
                id_, state = each["TransitGatewayAttachmentId"], each["State"]
                states[id_] = state
                if state == "pendingAcceptance" and each["AccepterTgwInfo"]["Region"] == region and id_ not in accepted:
                    ec2.accept_transit_gateway_peering_attachment(TransitGatewayAttachmentId=id_)
                    tell(f"{region}: accepted the peering {id_} from {each['RequesterTgwInfo']['Region']}")
                    accepted.append(id_)
        if failed := {id_: state for id_, state in states.items() if state in ("failed", "failing", "rejected")}:
            raise XdaskError(
                f"Peerings of transit gateways failed: {failed}. Delete the stacks of kind transit of their Regions, then "
                "deploy again."
            )
        if all(state == "available" for state in states.values()):
            return accepted
        if monotonic() > deadline:
            raise XdaskError(f"Peerings of transit gateways are not available: {states}. Deploy again to go on.")
        wait(_PAUSE_SECONDS)


def _attachments(ec2: Any) -> list[dict[str, Any]]:
    """Return the peerings of our gateways that are not deleted."""
    gateways = ec2.describe_transit_gateways(Filters=[{"Name": "tag:Name", "Values": [PREFIX]}])["TransitGateways"]
    ids = {gateway["TransitGatewayId"] for gateway in gateways if gateway["State"] not in ("deleted", "deleting")}
    found = ec2.describe_transit_gateway_peering_attachments()["TransitGatewayPeeringAttachments"]
    return [
        each
        for each in found
        if each["State"] not in ("deleted", "deleting")
        and ids & {each["RequesterTgwInfo"]["TransitGatewayId"], each["AccepterTgwInfo"]["TransitGatewayId"]}
    ]
