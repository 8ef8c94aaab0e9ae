"""Every connection that the network has to allow, as one list: security groups and checks are made from it.

Belongs here: who connects to whom, on which ports. Does not belong here: how a rule looks in a template
(constructs.groups), whether templates allow what is declared (checks.reachability).

A *part* is what has one security group in one VPC. Parts are ``scheduler``, ``dagster``, ``notebook``, ``catalog``,
``database``, ``homes``, ``results`` and ``balancer`` in the client Region; ``workers`` (ECS tasks of pool and sync),
``hosts`` (their EC2 instances), ``results`` and ``lustre`` in each worker Region.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from xdask_pipelines.topology import Topology
from xdask_pipelines.topology.aws_names import SCHEDULER_PORT, UI_PORT, WORKER_PORTS

#: Reached by name, through the internet or an endpoint; never a source but for the load balancer.
INTERNET = "internet"
Tier = Literal["public", "egress", "private"]


@dataclass(frozen=True)
class Flow:
    """TCP connections from one part to another.

    Attributes
    ----------
    source, destination
        Parts, or `INTERNET`.
    first, last
        Ports of the destination.
    reason
        Shown as the description of the rules.
    """

    source: str
    destination: str
    first: int
    last: int
    reason: str


_NFS, _HTTPS, _POSTGRES = 2049, 443, 5432
_LUSTRE = ((988, 988), (1018, 1023))

#: In each worker Region, within its VPC.
_OF_WORKER_REGION = (
    Flow("hosts", INTERNET, _HTTPS, _HTTPS, "ECS, images, logs, secrets, S3"),
    Flow("workers", INTERNET, _HTTPS, _HTTPS, "S3 through the gateway endpoint: there is no other route"),
    Flow("hosts", "results", _NFS, _NFS, "Results bucket as files"),
)
_OF_LUSTRE = tuple(
    Flow(source, destination, first, last, "Lustre")
    for source, destination in (("hosts", "lustre"), ("lustre", "hosts"), ("lustre", "lustre"))
    for first, last in _LUSTRE
)
#: In the client Region, within its VPC.
_OF_CLIENT = (
    Flow("scheduler", INTERNET, _HTTPS, _HTTPS, "Image, logs, TLS secret"),
    Flow("dagster", INTERNET, _HTTPS, _HTTPS, "Image, logs, secrets, AWS of all Regions"),
    Flow("dagster", "scheduler", SCHEDULER_PORT, SCHEDULER_PORT, "Clients of Dask"),
    Flow("dagster", "catalog", _HTTPS, _HTTPS, "Catalog"),
    Flow("dagster", "database", _POSTGRES, _POSTGRES, "History of Dagster"),
    Flow("dagster", "results", _NFS, _NFS, "Results bucket as files"),
    Flow("notebook", INTERNET, _HTTPS, _HTTPS, "Image, logs, secrets, AWS of all Regions"),
    Flow("notebook", "scheduler", SCHEDULER_PORT, SCHEDULER_PORT, "Clients of Dask"),
    Flow("notebook", "catalog", _HTTPS, _HTTPS, "Catalog"),
    Flow("notebook", "results", _NFS, _NFS, "Results bucket as files"),
    Flow("notebook", "homes", _NFS, _NFS, "Homes of notebooks"),
)
_OF_BALANCER = (
    Flow(INTERNET, "balancer", _HTTPS, _HTTPS, "Members, who log in by OIDC"),
    Flow("balancer", INTERNET, _HTTPS, _HTTPS, "The identity provider"),
    Flow("balancer", "dagster", UI_PORT, UI_PORT, "Pages of Dagster, to read"),
)
#: From a part of the client Region to workers of each worker Region, or back.
_CLIENT_TO_WORKERS = (
    Flow("scheduler", "workers", *WORKER_PORTS, "Scheduler to workers and nannies"),
    Flow("dagster", "workers", SCHEDULER_PORT, SCHEDULER_PORT, "Sync to its executor"),
    Flow("notebook", "workers", SCHEDULER_PORT, SCHEDULER_PORT, "Sync to its executor"),
)
_WORKERS_TO_CLIENT = (Flow("workers", "scheduler", SCHEDULER_PORT, SCHEDULER_PORT, "Workers to the scheduler"),)
_WORKERS_TO_WORKERS = (Flow("workers", "workers", *WORKER_PORTS, "Workers to workers and nannies"),)


@dataclass(frozen=True)
class RegionalFlow:
    """A flow between two Regions, or within one."""

    source_region: str
    destination_region: str
    flow: Flow


def tier_of(part: str, topology: Topology) -> Tier:
    """Return the subnets in which a part has its network interfaces."""
    assert topology.aws is not None
    if part == "balancer":
        return "public"
    if part in ("scheduler", "dagster", "notebook", "hosts"):
        return "public" if topology.aws.egress == "public" else "egress"
    return "private"


def flows_of(topology: Topology) -> list[RegionalFlow]:
    """Return every connection that a deployment of a topology needs, and no other."""
    assert topology.aws is not None
    client, full = topology.client.region, topology.aws.stage == "full"
    flows = [RegionalFlow(client, client, flow) for flow in (*_OF_CLIENT, *(_OF_BALANCER if full else ()))]
    for region in topology.worker_regions:
        flows += [RegionalFlow(region, region, flow) for flow in (*_OF_WORKER_REGION, *(_OF_LUSTRE if full else ()))]
        flows += [RegionalFlow(client, region, flow) for flow in _CLIENT_TO_WORKERS]
        flows += [RegionalFlow(region, client, flow) for flow in _WORKERS_TO_CLIENT]
        flows += [
            RegionalFlow(region, other, flow) for other in topology.worker_regions for flow in _WORKERS_TO_WORKERS
        ]
    return flows
