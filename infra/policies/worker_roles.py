"""Roles of a worker Region: hosts and syncs; and S3 Files, which every Region has.

Belongs here: their statements. Does not belong here: statements that other roles have too (shared_statements).
"""

from __future__ import annotations

from collections.abc import Iterator

from infra.policies.shared_statements import data_key, results, tls_keys
from infra.policies.statements import Allow, Arns
from xdask_pipelines.topology import Topology, aws_names


def files(arns: Arns, region: str) -> Iterator[Allow]:
    """Let S3 Files copy between its file system and the results bucket."""
    bucket, objects = arns.bucket(aws_names.results_bucket(arns.account, region))
    copies = "S3 Files copies files to the bucket, and objects to the file system"
    yield Allow("List", ("s3:ListBucket", "s3:ListBucketVersions", "s3:ListBucketMultipartUploads"), (bucket,), copies)
    yield Allow(
        "Objects",
        ("s3:AbortMultipartUpload", "s3:DeleteObject", "s3:DeleteObjectVersion", "s3:GetObject", "s3:GetObjectVersion",
         "s3:GetObjectTagging", "s3:ListMultipartUploadParts", "s3:PutObject", "s3:PutObjectTagging"),
        (objects,),
        copies,
    )  # fmt: skip
    yield Allow(
        "Events",
        ("events:DeleteRule", "events:DescribeRule", "events:DisableRule", "events:EnableRule",
         "events:ListTargetsByRule", "events:PutRule", "events:PutTargets", "events:RemoveTargets"),
        (arns.of("events", region, "rule/DO-NOT-DELETE-S3-Files*"),),
        "S3 Files learns of changes in the bucket by rules of its own, whose names begin so",
    )  # fmt: skip
    yield data_key(arns, region)


def sources(arns: Arns, topology: Topology, region: str) -> Iterator[Allow]:
    """Let a process read the sources of the datasets of its Region."""
    resources: list[str] = []
    for dataset in topology.worker(region).datasets:
        if dataset.anonymous:  # asked without credentials, so that no role matters
            continue
        for url in filter(None, (dataset.source, dataset.inventory)):
            name, _, prefix = url.removeprefix("s3://").partition("/")
            bucket, _ = arns.bucket(name)
            resources += [bucket, f"{bucket}/{prefix.rstrip('/') + '/' if prefix else ''}*"]
    if resources:
        yield Allow(
            "ReadSources",
            ("s3:GetObject", "s3:ListBucket"),
            tuple(dict.fromkeys(resources)),
            "Mounts, listings and headers of the datasets of this Region",
        )


def host(arns: Arns, region: str, *, full: bool) -> Iterator[Allow]:
    """Let a host join its cluster, log its set-up, and mount what its tasks use."""
    instances = arns.of("ecs", region, f"container-instance/{aws_names.cluster_name(region)}/*")
    yield Allow(
        "Register",
        ("ecs:DeregisterContainerInstance", "ecs:RegisterContainerInstance"),
        (arns.cluster(region),),
        "The agent of ECS joins its instance to the cluster",
    )
    yield Allow(
        "Agent",
        ("ecs:Poll", "ecs:StartTelemetrySession", "ecs:SubmitContainerStateChange", "ecs:SubmitTaskStateChange",
         "ecs:SubmitAttachmentStateChanges", "ecs:UpdateContainerInstancesState", "ecs:PutSystemLogEvents"),
        (arns.cluster(region), instances),
        "The agent of ECS runs tasks and reports their state",
    )  # fmt: skip
    yield Allow(
        "AgentDiscovery",
        ("ecs:DiscoverPollEndpoint",),
        ("*",),
        "The agent finds its endpoint; the action supports no resource",
    )
    yield Allow(
        "HostLog",
        ("logs:CreateLogStream", "logs:PutLogEvents", "logs:DescribeLogStreams"),
        (arns.logs(region, "host"),),
        "The set-up of a host is logged, also if the host ends because of it",
    )
    yield tls_keys(arns, region)
    yield from results(arns, region)
    if full:
        yield Allow(
            "FindLustre",
            ("fsx:DescribeFileSystems",),
            (arns.of("fsx", region, "file-system/*"),),
            "A host mounts the file system that is there when it starts, and Mountpoint where there is none",
        )
