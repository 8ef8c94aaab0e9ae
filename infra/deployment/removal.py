"""Before stacks are deleted: what CloudFormation cannot delete is emptied first, and afterwards what stays is listed.

Belongs here: services, tasks, instances, the scheduler's record, logs; stacks of Regions that left the topology; leftovers.
Does not belong here: deleting stacks (cdk_stacks).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from time import monotonic, sleep
from typing import Any

from botocore.exceptions import ClientError

from infra.deployment.aws_clients import Clients
from xdask_pipelines.errors import XdaskError
from xdask_pipelines.topology import aws_names

Tell = Callable[[str], None]
_PATIENCE_SECONDS, _PAUSE_SECONDS = 900.0, 5.0
_A_CALL = 1000
#: What a destroyed deployment leaves on purpose, and what it costs.
STAYS = (
    ("results buckets", "0.023 USD for one GB and month"),
    (
        "the EFS file system of homes, if it was created",
        "0.30 USD for one GB and month, 0.016 after 30 days without use",
    ),
    ("the last snapshot of the database", "0.095 USD for one GB and month"),
    ("KMS keys, deleted after 7 days", "nothing while they wait"),
    ("images in the repository of the CDK's bootstrap", "0.10 USD for one GB and month"),
    ("service-linked roles, and the CDK's bootstrap", "nothing"),
    ("log groups that RDS and Container Insights created: /aws/rds/…, /aws/ecs/…", "0.03 USD for one GB and month"),
)


@dataclass(frozen=True)
class FoundStack:
    """A stack of a deployment: Region, name, and the state in which CloudFormation has it."""

    region: str
    name: str
    status: str = ""


def our_stacks(clients: Clients, regions: Iterable[str]) -> list[FoundStack]:
    """Return all stacks of ours in some Regions, also of Regions that are not in the topology any more."""
    found = []
    for region in regions:
        pages = clients.of("cloudformation", region).get_paginator("describe_stacks").paginate()
        for page in pages:
            for stack in page["Stacks"]:
                tags = {tag["Key"] for tag in stack.get("Tags", ())}
                if stack["StackStatus"] != "DELETE_COMPLETE" and aws_names.PREFIX in tags:
                    found.append(FoundStack(region, stack["StackName"], stack["StackStatus"]))
    return found


def enabled_regions(clients: Clients, region: str) -> list[str]:
    """Return all Regions that the account can use."""
    answer = clients.of("ec2", region).describe_regions(AllRegions=False)
    return sorted(each["RegionName"] for each in answer["Regions"])


def stray_stacks(clients: Clients, regions: Sequence[str], wanted: Iterable[str]) -> list[FoundStack]:
    """Return stacks of ours that the assembly does not have: they go on costing until they are destroyed."""
    names = set(wanted)
    return [stack for stack in our_stacks(clients, regions) if stack.name not in names]


class Emptying:
    """Emptying what would keep stacks from being deleted. Every step may be done twice.

    Parameters
    ----------
    clients
        Clients of AWS.
    tell
        Called with one line for each thing that was emptied.
    wait
        Waits for some seconds.
    """

    def __init__(self, clients: Clients, tell: Tell, wait: Callable[[float], None] = sleep) -> None:
        self._clients, self._tell, self._wait = clients, tell, wait

    def empty(self, stacks: Sequence[FoundStack]) -> None:
        """Empty everything that some stacks hold.

        Raises
        ------
        XdaskError
            Tasks or instances did not end within a quarter of an hour.
        """
        # The client's first: its controller would start pools again that have just been stopped.
        ordered = sorted(stacks, key=lambda stack: not stack.name.startswith(f"{aws_names.PREFIX}-client-"))
        resources = [(stack.region, each) for stack in ordered for each in self._resources(stack)]

        def ids(kind: str) -> list[tuple[str, str]]:
            return [(region, each["PhysicalResourceId"]) for region, each in resources if each["ResourceType"] == kind]

        services = ids("AWS::ECS::Service")
        for region, cluster in ids("AWS::ECS::Cluster"):
            for place, arn in services:
                if place == region and arn.split("/")[-2] == cluster:
                    self._service(region, arn)
            self._tasks(region, cluster)
        for region, group in ids("AWS::AutoScaling::AutoScalingGroup"):
            self._instances(region, group)
        for region, zone in ids("AWS::Route53::HostedZone"):
            self._records(region, zone)
        for region, bucket in ids("AWS::S3::Bucket"):
            if bucket.startswith(f"{aws_names.PREFIX}-logs-"):
                self._bucket(region, bucket)

    def _resources(self, stack: FoundStack) -> list[dict[str, Any]]:
        client = self._clients.of("cloudformation", stack.region)
        pages = client.get_paginator("list_stack_resources").paginate(StackName=stack.name)
        return [
            each
            for page in pages
            for each in page["StackResourceSummaries"]
            if each.get("PhysicalResourceId") and each["ResourceStatus"] != "DELETE_COMPLETE"
        ]

    def _service(self, region: str, arn: str) -> None:
        cluster, name = arn.split("/")[-2:]
        self._clients.of("ecs", region).update_service(cluster=cluster, service=name, desiredCount=0)
        self._tell(f"{region}: {name} goes to 0 tasks")

    def _tasks(self, region: str, cluster: str) -> None:
        """Stop all tasks of a cluster, also those of runs and notebooks, and wait until they have ended."""
        ecs = self._clients.of("ecs", region)
        deadline = monotonic() + _PATIENCE_SECONDS
        asked: set[str] = set()
        while tasks := [t for p in ecs.get_paginator("list_tasks").paginate(cluster=cluster) for t in p["taskArns"]]:
            for task in set(tasks) - asked:
                ecs.stop_task(cluster=cluster, task=task, reason="The deployment is destroyed")
                asked.add(task)
            if monotonic() > deadline:
                raise XdaskError(f"{region}: {len(tasks)} tasks of {cluster} did not end. Destroy again to go on.")
            self._wait(_PAUSE_SECONDS)
        if asked:
            self._tell(f"{region}: {len(asked)} tasks of {cluster} have ended")

    def _instances(self, region: str, group: str) -> None:
        """Take the protection from the instances of a group, and bring it to 0: a protected one would keep it for ever."""
        scaling = self._clients.of("autoscaling", region)
        deadline = monotonic() + _PATIENCE_SECONDS
        while True:
            groups = scaling.describe_auto_scaling_groups(AutoScalingGroupNames=[group])["AutoScalingGroups"]
            instances = groups[0]["Instances"] if groups else []
            if not instances:
                return
            protected = [each["InstanceId"] for each in instances if each["ProtectedFromScaleIn"]]
            for first in range(0, len(protected), 50):
                scaling.set_instance_protection(
                    AutoScalingGroupName=group,
                    InstanceIds=protected[first : first + 50],
                    ProtectedFromScaleIn=False,
                )
            scaling.update_auto_scaling_group(AutoScalingGroupName=group, MinSize=0, MaxSize=0, DesiredCapacity=0)
            if monotonic() > deadline:
                raise XdaskError(
                    f"{region}: {len(instances)} instances of {group} did not end. Destroy again to go on."
                )
            self._tell(f"{region}: {len(instances)} instances of {group} are ending")
            self._wait(_PAUSE_SECONDS)

    def _records(self, region: str, zone: str) -> None:
        """Delete the records that are not the zone's own: a zone with records cannot be deleted."""
        route53 = self._clients.of("route53", region)
        pages = route53.get_paginator("list_resource_record_sets").paginate(HostedZoneId=zone)
        records = [each for page in pages for each in page["ResourceRecordSets"] if each["Type"] not in ("NS", "SOA")]
        for record in records:
            changes = {"Changes": [{"Action": "DELETE", "ResourceRecordSet": record}]}
            route53.change_resource_record_sets(HostedZoneId=zone, ChangeBatch=changes)
            self._tell(f"deleted the record {record['Name']}")

    def _bucket(self, region: str, bucket: str) -> None:
        """Delete all objects of a bucket of access logs; results are never deleted."""
        s3 = self._clients.of("s3", region)
        count = 0
        try:
            pages = list(s3.get_paginator("list_objects_v2").paginate(Bucket=bucket))
        except ClientError as error:
            if error.response["Error"]["Code"] == "NoSuchBucket":
                return
            raise
        keys = [{"Key": each["Key"]} for page in pages for each in page.get("Contents", ())]
        for first in range(0, len(keys), _A_CALL):
            s3.delete_objects(Bucket=bucket, Delete={"Objects": keys[first : first + _A_CALL], "Quiet": True})
            count += len(keys[first : first + _A_CALL])
        if count:
            self._tell(f"{region}: deleted {count} objects of {bucket}")
