"""The account before a deployment: who deploys, what the CDK needs in each Region, roles of services, quotas.

Belongs here: checks and idempotent preparation. Does not belong here: stacks (cdk_stacks).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from botocore.exceptions import ClientError

from infra.deployment.aws_clients import Clients
from xdask_pipelines.errors import XdaskError
from xdask_pipelines.topology import Topology

Tell = Callable[[str], None]
_BOOTSTRAP = "/cdk-bootstrap/hnb659fds/version"
_OLDEST_BOOTSTRAP = 6
#: Services that create their role on first use from the console only, or too late for CloudFormation.
_SERVICE_ROLES = (
    "ecs.amazonaws.com",
    "autoscaling.amazonaws.com",
    "opensearchservice.amazonaws.com",
    "rds.amazonaws.com",
)
_OF_FULL = ("fsx.amazonaws.com", "elasticloadbalancing.amazonaws.com")
_OF_SPOT = ("spot.amazonaws.com",)
#: Quotas of EC2: virtual CPUs of running standard instances, on demand and spot. All pools are of standard families.
_QUOTAS = {False: "L-1216C47A", True: "L-34B43A08"}
_FARGATE_QUOTA = "L-3032A538"
#: Virtual CPUs of the client Region: scheduler and Dagster, one notebook; at stage full Dagster and one run in addition.
_FARGATE_CPUS = {"small": 4, "full": 8}


def refuse_other_account(clients: Clients, topology: Topology) -> None:
    """Refuse credentials of another account than that of the topology.

    Raises
    ------
    XdaskError
        They are of another account.
    """
    assert topology.aws is not None
    found = clients.of("sts", topology.client.region).get_caller_identity()["Account"]
    if found != topology.aws.account:
        raise XdaskError(
            f"Your credentials are of the account {found}, and regions.yaml names {topology.aws.account}. Choose the "
            "profile (AWS_PROFILE), or correct aws.account."
        )


def unprepared_regions(clients: Clients, topology: Topology) -> list[str]:
    """Return the Regions in which the CDK's bootstrap is missing or too old."""
    found = []
    for region in topology.regions:
        try:
            parameter = clients.of("ssm", region).get_parameter(Name=_BOOTSTRAP)["Parameter"]
        except ClientError as error:
            if error.response["Error"]["Code"] != "ParameterNotFound":
                raise
            found.append(region)
            continue
        if int(parameter["Value"]) < _OLDEST_BOOTSTRAP:
            found.append(region)
    return found


def create_service_roles(clients: Clients, topology: Topology, tell: Tell) -> list[str]:
    """Create the service-linked roles that are missing; return the services whose role was created."""
    assert topology.aws is not None
    spot = any(worker.pool.spot for worker in topology.workers)
    services = [*_SERVICE_ROLES, *(_OF_FULL if topology.aws.stage == "full" else ()), *(_OF_SPOT if spot else ())]
    iam: Any = clients.of("iam", topology.client.region)
    created = []
    for service in services:
        try:
            iam.create_service_linked_role(AWSServiceName=service)
        except ClientError as error:
            code, message = error.response["Error"]["Code"], error.response["Error"]["Message"]
            if code == "EntityAlreadyExists" or (code == "InvalidInput" and "has been taken" in message):
                continue
            raise
        tell(f"created the service-linked role of {service}")
        created.append(service)
    return created


def quota_problems(clients: Clients, topology: Topology) -> list[str]:
    """Return the Regions whose quota of virtual CPUs is less than what the largest pool, or the tasks on Fargate, need."""
    assert topology.aws is not None
    found, home, needed = [], topology.client.region, _FARGATE_CPUS[topology.aws.stage]
    quota = _quota(clients, home, "fargate", _FARGATE_QUOTA)
    if quota < needed:
        found.append(
            f"{home}: the quota is {quota:g} virtual CPUs on Fargate, and scheduler, Dagster and one notebook need "
            f"{needed}. Ask for more in Service Quotas (Fargate, {_FARGATE_QUOTA})"
        )
    for worker in topology.workers:
        needed = (worker.pool.max_workers + 1) * worker.pool.instance.vcpus
        quota = _quota(clients, worker.region, "ec2", _QUOTAS[worker.pool.spot])
        if quota < needed:
            found.append(
                f"{worker.region}: the quota is {quota:g} virtual CPUs, and {worker.pool.max_workers} instances with one "
                f"for the sync need {needed}. Ask for more in Service Quotas (EC2, {_QUOTAS[worker.pool.spot]}), or lower "
                "max_workers"
            )
    return found


def _quota(clients: Clients, region: str, service: str, code: str) -> float:
    quotas: Any = clients.of("service-quotas", region)
    return float(quotas.get_service_quota(ServiceCode=service, QuotaCode=code)["Quota"]["Value"])
