"""What the zones of a Region offer, before anything is deployed there.

Belongs here: comparing offers of AWS with what templates place in zones. Does not belong here: quotas (account).

Not asked, because AWS has no call for it: FSx for Lustre, S3 Files, Fargate. Capacity is never known beforehand.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from infra.constructs.search import VERSION
from infra.deployment.aws_clients import Clients
from infra.stacks.storage_stack import DATABASE_CLASS, SEARCH_TYPE
from xdask_pipelines.topology import Topology


@dataclass(frozen=True)
class _Need:
    """Something that is placed in zones: where it is offered, and in which positions (0, 1) of the two it must be.

    ``any_of`` needs one of the positions, and not all of them.
    """

    what: str
    offered: frozenset[str]
    positions: Sequence[int]
    any_of: bool = False

    def lacking(self, zones: Sequence[str]) -> list[str]:
        """Return the zones that lack it, where that is a problem."""
        missing = [zones[i] for i in self.positions if zones[i] not in self.offered]
        return [] if self.any_of and len(missing) < len(self.positions) else missing


def zone_problems(clients: Clients, topology: Topology) -> list[str]:
    """Return for each Region what its two zones do not offer, and what to write instead.

    Parameters
    ----------
    clients, topology
        AWS, and what is to be deployed.
    """
    return [problem for region in topology.regions for problem in _problems(clients, topology, region)]


def _problems(clients: Clients, topology: Topology, region: str) -> Iterator[str]:
    stanza = topology.client if region == topology.client.region else topology.worker(region)
    available, first = _zones(clients.of("ec2", region))
    zones = [f"{region}{letter}" for letter in stanza.zones] if stanza.zones else first[:2]
    if strange := [zone for zone in zones if zone not in available]:
        yield f"{region}: {strange[0]} is not a zone of this account; available: {', '.join(available)}. Correct `zones`."
        return
    if len(zones) < 2:
        yield f"{region}: two zones are needed; available: {', '.join(zones) or 'none'}. Choose another Region."
        return
    needs = _of_client(clients, topology) if region == topology.client.region else _of_worker(clients, topology, region)
    lacks = [
        f"{' and '.join(missing)} {'do' if len(missing) > 1 else 'does'} not offer {need.what}"
        for need in needs
        if (missing := need.lacking(zones))
    ]
    if not lacks:
        return
    fit = [zone for zone in available if all(zone in need.offered for need in needs)]
    letters = ", ".join(zone.removeprefix(region) for zone in fit[:2])
    advice = (
        f"Write `zones: [{letters}]` for this Region"
        if len(fit) >= 2
        else f"{fit[0] if fit else 'No zone'} alone offers all: choose other types, or another Region"
    )
    yield f"{region}: {'; '.join(lacks)}. {advice}."


def _zones(ec2: Any) -> tuple[list[str], list[str]]:
    """Return the zones of an account, and those of which CloudFormation takes the first two.

    These are the zones with a default subnet, if any has one.
    """
    found = ec2.describe_availability_zones(
        Filters=[{"Name": "zone-type", "Values": ["availability-zone"]}, {"Name": "state", "Values": ["available"]}]
    )
    names = sorted(zone["ZoneName"] for zone in found["AvailabilityZones"])
    subnets = ec2.describe_subnets(Filters=[{"Name": "default-for-az", "Values": ["true"]}])["Subnets"]
    default = {subnet["AvailabilityZone"] for subnet in subnets}
    return names, [name for name in names if name in default] or names


def _of_worker(clients: Clients, topology: Topology, region: str) -> list[_Need]:
    assert topology.aws is not None
    worker = topology.worker(region)
    found = clients.of("ec2", region).describe_instance_type_offerings(
        LocationType="availability-zone", Filters=[{"Name": "instance-type", "Values": [worker.pool.instance_type]}]
    )
    offered = frozenset(each["Location"] for each in found["InstanceTypeOfferings"])
    positions = [worker.lustre.zone - 1] if topology.aws.stage == "full" else [0, 1]
    return [_Need(worker.pool.instance_type, offered, positions)]


def _of_client(clients: Clients, topology: Topology) -> list[_Need]:
    assert topology.aws is not None
    region, aws = topology.client.region, topology.aws
    kind = DATABASE_CLASS[aws.stage]
    options = clients.of("rds", region).describe_orderable_db_instance_options(
        Engine="postgres", DBInstanceClass=kind, Vpc=True
    )["OrderableDBInstanceOptions"]
    database = frozenset(zone["Name"] for option in options for zone in option["AvailabilityZones"])
    node = aws.search.instance_type or SEARCH_TYPE[aws.stage]
    details = clients.of("opensearch", region).list_instance_type_details(
        EngineVersion=VERSION, InstanceType=node, RetrieveAZs=True
    )["InstanceTypeDetails"]
    search = frozenset(zone for each in details for zone in each.get("AvailabilityZones", ()))
    return [
        _Need(f"{kind} (database)", database, [0, 1], any_of=True),
        _Need(f"{node} (catalog)", search, [0, 1] if aws.search.nodes > 1 else [0]),
    ]
