"""Statements and roles as data, and ARNs of a topology.

Belongs here: their form. Does not belong here: any statement (client_roles, worker_roles, shared_statements).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from xdask_pipelines.topology import Topology, aws_names
from xdask_pipelines.topology.aws_facts import region_partitions

#: Service that assumes the roles of ECS tasks.
TASKS = "ecs-tasks.amazonaws.com"


@dataclass(frozen=True)
class Allow:
    """One statement of a policy.

    Attributes
    ----------
    sid, actions, resources, conditions
        As in the policy.
    reason
        What needs it, and for a resource ``*`` why nothing narrower is possible.
    """

    sid: str
    actions: tuple[str, ...]
    resources: tuple[str, ...]
    reason: str
    conditions: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    def document(self) -> dict[str, Any]:
        """Return the statement as it is in the policy."""
        found: dict[str, Any] = {
            "Sid": self.sid,
            "Effect": "Allow",
            "Action": list(self.actions),
            "Resource": list(self.resources),
        }
        return found | ({"Condition": {k: dict(v) for k, v in self.conditions.items()}} if self.conditions else {})


@dataclass(frozen=True)
class RoleSpec:
    """One role: its part and Region, the service that assumes it, and what it may do."""

    part: str
    region: str
    service: str
    statements: tuple[Allow, ...]

    @property
    def name(self) -> str:
        """Name of the role."""
        return aws_names.role_name(self.part, self.region)


class Arns:
    """ARNs of one topology."""

    def __init__(self, topology: Topology) -> None:
        assert topology.aws is not None
        self.account, self.partition = topology.aws.account, region_partitions()[topology.client.region]

    def of(self, service: str, region: str, rest: str) -> str:
        """Return an ARN of this account."""
        return f"arn:{self.partition}:{service}:{region}:{self.account}:{rest}"

    def bucket(self, name: str) -> tuple[str, str]:
        """Return the ARN of a bucket, and of its objects."""
        return f"arn:{self.partition}:s3:::{name}", f"arn:{self.partition}:s3:::{name}/*"

    def role(self, part: str, region: str) -> str:
        """Return the ARN of a role of this project."""
        return self.of("iam", "", f"role/{aws_names.role_name(part, region)}")

    def cluster(self, region: str) -> str:
        """Return the ARN of the ECS cluster of a Region."""
        return self.of("ecs", region, f"cluster/{aws_names.cluster_name(region)}")

    def service(self, region: str, name: str) -> str:
        """Return the ARN of an ECS service."""
        return self.of("ecs", region, f"service/{aws_names.cluster_name(region)}/{name}")

    def tasks(self, region: str) -> str:
        """Return the ARN of all tasks of the cluster of a Region."""
        return self.of("ecs", region, f"task/{aws_names.cluster_name(region)}/*")

    def family(self, region: str, name: str) -> str:
        """Return the ARN of all revisions of a task definition."""
        return self.of("ecs", region, f"task-definition/{name}:*")

    def secret(self, region: str, name: str) -> str:
        """Return the ARN of a secret, whose last six characters AWS chooses."""
        return self.of("secretsmanager", region, f"secret:{name}-??????")

    def logs(self, region: str, part: str) -> str:
        """Return the ARN of the streams of a log group."""
        return self.of("logs", region, f"log-group:{aws_names.log_group(part)}:*")
