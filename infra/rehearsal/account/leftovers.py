"""What is left in the emulator after all stacks were destroyed.

Belongs here: finding it by service, and removing what templates retain. Does not belong here: what it costs (infra.costs).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from infra.rehearsal.account.clients import EmulatedClients
from infra.rehearsal.account.templates import Stack

#: Kinds that may stay when all stacks are gone: what people would miss.
RETAINED_KINDS = frozenset({"bucket", "EFS file system", "database snapshot"})


@dataclass(frozen=True, order=True)
class Leftover:
    """One resource that exists: its Region, kind, and name or id."""

    region: str
    kind: str
    name: str


def leftovers(clients: EmulatedClients, regions: Sequence[str]) -> list[Leftover]:
    """Return what exists in some Regions, apart from what every AWS account has."""
    found = {Leftover(region, kind, name) for region in regions for kind, name in _in_region(clients, region)}
    found |= {Leftover("global", kind, name) for kind, name in _anywhere(clients, regions[0])}
    return sorted(found)


def _in_region(clients: EmulatedClients, region: str) -> Iterator[tuple[str, str]]:
    def ask(service: str, operation: str, key: str, **more: Any) -> Iterable[Any]:
        answer: Iterable[Any] = getattr(clients.of(service, region), operation)(**more)[key]
        return answer

    for stack in ask("cloudformation", "list_stacks", "StackSummaries"):
        if stack["StackStatus"] != "DELETE_COMPLETE":
            yield "stack", stack["StackName"]
    for cluster in ask("ecs", "list_clusters", "clusterArns"):
        yield "cluster", cluster.rpartition("/")[2]
        yield from (("task", task) for task in ask("ecs", "list_tasks", "taskArns", cluster=cluster))
    for family in ask("ecs", "list_task_definition_families", "families", status="ACTIVE"):
        yield "task family", family
    yield from (("VPC", vpc["VpcId"]) for vpc in ask("ec2", "describe_vpcs", "Vpcs") if not vpc["IsDefault"])
    for reservation in ask("ec2", "describe_instances", "Reservations"):
        for instance in reservation["Instances"]:
            if instance["State"]["Name"] != "terminated":
                yield "instance", instance["InstanceId"]
    for group in ask("autoscaling", "describe_auto_scaling_groups", "AutoScalingGroups"):
        yield "Auto Scaling group", group["AutoScalingGroupName"]
    for system in ask("efs", "describe_file_systems", "FileSystems"):
        yield "EFS file system", system["FileSystemId"]
    for database in ask("rds", "describe_db_instances", "DBInstances"):
        yield "database", database["DBInstanceIdentifier"]
    for snapshot in ask("rds", "describe_db_snapshots", "DBSnapshots"):
        yield "database snapshot", snapshot["DBSnapshotIdentifier"]
    for domain in ask("opensearch", "list_domain_names", "DomainNames"):
        yield "OpenSearch domain", domain["DomainName"]
    yield from (("secret", secret["Name"]) for secret in ask("secretsmanager", "list_secrets", "SecretList"))
    yield from (("log group", each["logGroupName"]) for each in ask("logs", "describe_log_groups", "logGroups"))
    yield from (("topic", topic["TopicArn"]) for topic in ask("sns", "list_topics", "Topics"))
    for alarm in ask("cloudwatch", "describe_alarms", "MetricAlarms"):
        yield "alarm", alarm["AlarmName"]
    for key in ask("kms", "list_keys", "Keys"):
        if clients.of("kms", region).describe_key(KeyId=key["KeyId"])["KeyMetadata"]["KeyState"] != "PendingDeletion":
            yield "key", key["KeyId"]


def _anywhere(clients: EmulatedClients, region: str) -> Iterator[tuple[str, str]]:
    yield from (("bucket", each["Name"]) for each in clients.of("s3", region).list_buckets()["Buckets"])
    for role in clients.of("iam", region).list_roles()["Roles"]:
        if not role["Path"].startswith("/aws-service-role/"):
            yield "role", role["RoleName"]
    yield from (("zone", zone["Name"]) for zone in clients.of("route53", region).list_hosted_zones()["HostedZones"])


def retained(stacks: Sequence[Stack]) -> dict[str, list[str]]:
    """Return the logical ids of resources that stay when their stack is deleted, by stack."""
    found = {
        stack.name: [
            f"{logical_id} ({resource['Type']})"
            for logical_id, resource in stack.template["Resources"].items()
            if resource.get("DeletionPolicy") in ("Retain", "Snapshot", "RetainExceptOnCreate")
        ]
        for stack in stacks
    }
    return {name: kept for name, kept in found.items() if kept}


def remove_retained(clients: EmulatedClients, left: Sequence[Leftover]) -> None:
    """Remove what a person would remove in the end: buckets of results with all versions, homes, snapshots."""
    for each in left:
        if each.kind == "bucket":
            s3 = clients.of("s3", "us-east-1")
            for page in s3.get_paginator("list_object_versions").paginate(Bucket=each.name):
                for version in [*page.get("Versions", ()), *page.get("DeleteMarkers", ())]:
                    s3.delete_object(Bucket=each.name, Key=version["Key"], VersionId=version["VersionId"])
            s3.delete_bucket(Bucket=each.name)
        elif each.kind == "EFS file system":
            clients.of("efs", each.region).delete_file_system(FileSystemId=each.name)
        elif each.kind == "database snapshot":
            clients.of("rds", each.region).delete_db_snapshot(DBSnapshotIdentifier=each.name)
