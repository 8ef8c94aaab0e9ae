"""What each IAM role may do, as data: every statement has a reason, and resources are named.

Belongs here: the statements of every role. Does not belong here: roles in templates (stacks.roles_stack), whether recorded
calls are allowed (rehearsal.iam_contract).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from xdask_pipelines.topology import Topology, aws_names
from xdask_pipelines.topology.aws_facts import region_partitions


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


_NOTEBOOKS = {"ecs": "ecs-tasks.amazonaws.com", "sagemaker": "sagemaker.amazonaws.com"}
_TASKS, _INSTANCES, _FILES = "ecs-tasks.amazonaws.com", "ec2.amazonaws.com", "elasticfilesystem.amazonaws.com"


class _Arns:
    """ARNs of one topology."""

    def __init__(self, topology: Topology) -> None:
        assert topology.aws is not None
        self.account, self.partition = topology.aws.account, region_partitions()[topology.client.region]

    def of(self, service: str, region: str, rest: str) -> str:
        return f"arn:{self.partition}:{service}:{region}:{self.account}:{rest}"

    def bucket(self, name: str) -> tuple[str, str]:
        return f"arn:{self.partition}:s3:::{name}", f"arn:{self.partition}:s3:::{name}/*"

    def role(self, part: str, region: str) -> str:
        return self.of("iam", "", f"role/{aws_names.role_name(part, region)}")

    def cluster(self, region: str) -> str:
        return self.of("ecs", region, f"cluster/{aws_names.cluster_name(region)}")

    def service(self, region: str, name: str) -> str:
        return self.of("ecs", region, f"service/{aws_names.cluster_name(region)}/{name}")

    def tasks(self, region: str) -> str:
        return self.of("ecs", region, f"task/{aws_names.cluster_name(region)}/*")

    def family(self, region: str, name: str) -> str:
        return self.of("ecs", region, f"task-definition/{name}:*")

    def secret(self, region: str, name: str) -> str:
        return self.of("secretsmanager", region, f"secret:{name}-??????")

    def logs(self, region: str, part: str) -> str:
        return self.of("logs", region, f"log-group:{aws_names.log_group(part)}:*")


def roles_of(topology: Topology) -> list[RoleSpec]:
    """Return all roles of a deployment, the client Region's first."""
    assert topology.aws is not None
    arns, client, full = _Arns(topology), topology.client.region, topology.aws.stage == "full"
    roles = [
        RoleSpec("execution", client, _TASKS, tuple(_execution(arns, client, ("scheduler", "dagster", "notebook")))),
        RoleSpec("dagster", client, _TASKS, tuple(_dagster(arns, topology))),
        RoleSpec("notebook", client, _NOTEBOOKS[topology.aws.notebook], tuple(_notebook(arns, topology))),
    ]
    if full:
        roles.append(RoleSpec("scheduler", client, _TASKS, (_tls(arns, client), _EXEC)))
    roles += [RoleSpec("files", region, _FILES, tuple(_files(arns, region))) for region in topology.regions]
    for region in topology.worker_regions:
        read = tuple(_sources(arns, topology, region))
        roles += [
            RoleSpec("execution", region, _TASKS, tuple(_execution(arns, region, ("pool", "sync")))),
            RoleSpec("pool", region, _TASKS, ()),  # its host mounts data and results; its tasks ask AWS for nothing
            RoleSpec("sync", region, _TASKS, read),
            RoleSpec("host", region, _INSTANCES, (*_host(arns, region, full=full), *read)),
        ]
    return roles


#: What ECS Exec and port forwarding to a container need.
_EXEC = Allow(
    "Exec",
    (
        "ssmmessages:CreateControlChannel",
        "ssmmessages:CreateDataChannel",
        "ssmmessages:OpenControlChannel",
        "ssmmessages:OpenDataChannel",
    ),
    ("*",),
    "People reach the pages by port forwarding through SSM; these actions support no resource",
)


def _execution(arns: _Arns, region: str, parts: tuple[str, ...]) -> Iterator[Allow]:
    repository = arns.of("ecr", region, "repository/cdk-*-container-assets-*")
    yield Allow(
        "Pull",
        ("ecr:BatchCheckLayerAvailability", "ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer"),
        (repository,),
        "The image lies in the repository of the CDK's bootstrap",
    )
    yield Allow(
        "PullToken",
        ("ecr:GetAuthorizationToken",),
        ("*",),
        "Pulling an image needs a token; the action supports no resource",
    )
    yield Allow(
        "Log",
        ("logs:CreateLogStream", "logs:PutLogEvents"),
        tuple(arns.logs(region, part) for part in parts),
        "The log driver of ECS writes the output of containers",
    )


def _tls(arns: _Arns, region: str) -> Allow:
    return Allow(
        "TlsKeys",
        ("secretsmanager:GetSecretValue",),
        (arns.secret(region, aws_names.TLS_SECRET),),
        "Keys are read into memory at start, and never pass through an environment",
    )


def _key(arns: _Arns, region: str) -> Allow:
    return Allow(
        "Key",
        ("kms:Decrypt", "kms:GenerateDataKey"),
        (arns.of("kms", region, "key/*"),),
        "Results are encrypted with the key of this alias, whose id is not known before it is created",
        {"ForAnyValue:StringEquals": {"kms:ResourceAliases": f"alias/{aws_names.PREFIX}"}},
    )


def _results(arns: _Arns, region: str) -> Iterator[Allow]:
    bucket, objects = arns.bucket(aws_names.results_bucket(arns.account, region))
    yield Allow(
        "MountResults",
        ("s3files:ClientMount", "s3files:ClientWrite"),
        (arns.of("s3files", region, "file-system/*"),),
        "The results bucket is mounted through an access point; the id of its file system is not known before it is created",
        {"ArnLike": {"s3files:AccessPointArn": arns.of("s3files", region, "file-system/*/access-point/*")}},
    )
    yield Allow(
        "ReadResults",
        ("s3:GetObject", "s3:GetObjectVersion", "s3:ListBucket"),
        (bucket, objects),
        "S3 Files reads large files straight from the bucket",
    )
    yield _key(arns, region)


def _files(arns: _Arns, region: str) -> Iterator[Allow]:
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
    yield _key(arns, region)


def _sources(arns: _Arns, topology: Topology, region: str) -> Iterator[Allow]:
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


def _host(arns: _Arns, region: str, *, full: bool) -> Iterator[Allow]:
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
    yield _tls(arns, region)
    yield from _results(arns, region)
    if full:
        yield Allow(
            "FindLustre",
            ("fsx:DescribeFileSystems",),
            (arns.of("fsx", region, "file-system/*"),),
            "A host mounts the file system that is there when it starts, and Mountpoint where there is none",
        )


def _observe(arns: _Arns, topology: Topology) -> Iterator[Allow]:
    """Reading the state of services and tasks of all Regions."""
    regions = topology.regions
    in_clusters = {"ArnLike": {"ecs:cluster": arns.of("ecs", "*", f"cluster/{aws_names.cluster_name('*')}")}}
    services = [arns.service(region, aws_names.pool_service(region)) for region in topology.worker_regions]
    services += [
        arns.service(topology.client.region, name) for name in (aws_names.SCHEDULER_SERVICE, aws_names.DAGSTER_SERVICE)
    ]
    yield Allow(
        "ObserveServices", ("ecs:DescribeServices",), tuple(services), "How many instances a pool has, and why not more"
    )
    yield Allow(
        "ObserveTasks",
        ("ecs:DescribeTasks",),
        tuple(arns.tasks(region) for region in regions),
        "Which instances run, and their addresses",
    )
    yield Allow(
        "ListTasks",
        ("ecs:ListTasks",),
        ("*",),
        "Which instances there are; the action is limited by its cluster",
        in_clusters,
    )


def _dagster(arns: _Arns, topology: Topology) -> Iterator[Allow]:
    assert topology.aws is not None
    client, full = topology.client.region, topology.aws.stage == "full"
    yield from _observe(arns, topology)
    workers = topology.worker_regions
    yield Allow(
        "Scale",
        ("ecs:UpdateService",),
        (
            *(arns.service(region, aws_names.pool_service(region)) for region in workers),
            arns.service(client, aws_names.SCHEDULER_SERVICE),
        ),
        "The controller sizes the pools; `xdask pools up` starts the scheduler",
    )
    yield Allow(
        "ProtectAndStop",
        ("ecs:UpdateTaskProtection", "ecs:StopTask"),
        tuple(arns.tasks(region) for region in workers),
        "What stays is protected before a pool shrinks; sync executors and extra workers end",
    )
    yield Allow(
        "Run",
        ("ecs:RunTask",),
        tuple(
            arns.family(region, family)
            for region in workers
            for family in (aws_names.pool_service(region), aws_names.sync_family(region))
        ),
        "Sync executors, and extra workers of one run",
        {"ArnLike": {"ecs:cluster": arns.of("ecs", "*", f"cluster/{aws_names.cluster_name('*')}")}},
    )
    yield Allow(
        "Tag",
        ("ecs:TagResource",),
        tuple(arns.tasks(region) for region in (*workers, *((client,) if full else ()))),
        "Tasks carry the tags of their cost; those of runs their id",
        {"StringEquals": {"ecs:CreateAction": ["RunTask"]}},
    )
    yield Allow(
        "Pass",
        ("iam:PassRole",),
        tuple(arns.role(part, region) for region in workers for part in ("pool", "sync", "execution")),
        "A task runs with the roles of its definition",
        {"StringEquals": {"iam:PassedToService": _TASKS}},
    )
    yield Allow(
        "FindZone",
        ("route53:ListHostedZonesByName",),
        ("*",),
        "The id of the private zone is found by its name; the action supports no resource",
    )
    yield Allow(
        "SchedulerRecord",
        ("route53:ChangeResourceRecordSets",),
        (f"arn:{arns.partition}:route53:::hostedzone/*",),
        "The scheduler's name leads to its task; the zone has no name in its ARN, so the record is named",
        {
            "ForAllValues:StringEquals": {
                "route53:ChangeResourceRecordSetsNormalizedRecordNames": [aws_names.SCHEDULER_HOST],
                "route53:ChangeResourceRecordSetsRecordTypes": ["A"],
            }
        },
    )
    yield Allow(
        "ReadRecord",
        ("route53:ListResourceRecordSets",),
        (f"arn:{arns.partition}:route53:::hostedzone/*",),
        "The record is written only when it changed; the zone has no name in its ARN",
    )
    yield Allow(
        "Metrics",
        ("cloudwatch:PutMetricData",),
        ("*",),
        "Figures of the pools; the action is limited by its namespace",
        {"StringEquals": {"cloudwatch:namespace": aws_names.METRICS_NAMESPACE}},
    )
    yield Allow(
        "Alerts", ("sns:Publish",), (arns.of("sns", client, aws_names.ALARM_TOPIC),), "Syncs that failed are reported"
    )
    yield Allow(
        "Secrets",
        ("secretsmanager:GetSecretValue",),
        (arns.secret(client, aws_names.TLS_SECRET), arns.secret(client, aws_names.DATABASE_SECRET)),
        "Keys and the password of the database are read into memory at start",
    )
    yield from _catalog(arns, client)
    yield from _results(arns, client)
    bucket, _ = arns.bucket(aws_names.results_bucket(arns.account, client))
    yield Allow("Logs", ("s3:PutObject",), (f"{bucket}/logs/*",), "Output of runs, which the UI shows")
    if full:
        yield Allow(
            "Runs",
            ("ecs:RunTask", "ecs:StopTask"),
            (arns.family(client, aws_names.RUN_FAMILY), arns.tasks(client)),
            "Each run is a task of its own",
            {"ArnEquals": {"ecs:cluster": arns.cluster(client)}},
        )
        yield Allow(
            "PassRun",
            ("iam:PassRole",),
            tuple(arns.role(part, client) for part in ("dagster", "execution")),
            "A run has the roles of Dagster",
            {"StringEquals": {"iam:PassedToService": _TASKS}},
        )
        yield Allow(
            "RunDefinition",
            ("ecs:DescribeTaskDefinition",),
            ("*",),
            "The run launcher reads the definition of its own task; the action supports no resource",
        )
        yield Allow(
            "Import",
            ("fsx:DescribeDataRepositoryAssociations", "fsx:DescribeDataRepositoryTasks", "fsx:CreateDataRepositoryTask"),
            tuple(arns.of("fsx", "*", f"{kind}/*") for kind in ("association", "task", "file-system")),
            "A sync imports what changed in a bucket; ids are not known before they are created",
            {"StringEquals": {"aws:RequestedRegion": list(workers)}},
        )  # fmt: skip
    yield _EXEC


def _catalog(arns: _Arns, client: str) -> Iterator[Allow]:
    resources = (arns.of("es", client, f"domain/{aws_names.SEARCH_DOMAIN}/*"),)
    read = ("es:ESHttpGet", "es:ESHttpHead", "es:ESHttpPost")
    yield Allow("Catalog", read, resources, "The catalog is searched; entries are added in bulk, which is a POST too")
    yield Allow("CatalogChanges", ("es:ESHttpPut",), resources, "Commits of syncs and results; indices are created")
    yield Allow(
        "CatalogRemoval", ("es:ESHttpDelete",), resources, "A migration deletes the indices of an older release"
    )


def _notebook(arns: _Arns, topology: Topology) -> Iterator[Allow]:
    client = topology.client.region
    yield from _observe(arns, topology)
    yield _tls(arns, client)
    yield from _catalog(arns, client)
    yield from _results(arns, client)
    assert topology.aws is not None
    if topology.aws.notebook == "sagemaker":
        yield from _instance(arns, client)
        return
    home = topology.aws.home
    yield Allow(
        "Home",
        ("elasticfilesystem:ClientMount", "elasticfilesystem:ClientWrite"),
        (arns.of("elasticfilesystem", client, f"file-system/{home.file_system if home else '*'}"),),
        "The home is mounted through an access point; the id of a file system of ours is not known before it is created",
        {"ArnLike": {"elasticfilesystem:AccessPointArn": arns.of("elasticfilesystem", client, "access-point/*")}},
    )
    yield _EXEC


def _instance(arns: _Arns, client: str) -> Iterator[Allow]:
    yield Allow(
        "StopIdle",
        ("sagemaker:StopNotebookInstance",),
        (arns.of("sagemaker", client, f"notebook-instance/{aws_names.NOTEBOOK}"),),
        "The instance stops itself when nobody uses it",
    )
    group = arns.of("logs", client, "log-group:/aws/sagemaker/NotebookInstances")
    yield Allow(
        "InstanceLog",
        ("logs:CreateLogGroup", "logs:CreateLogStream", "logs:DescribeLogStreams", "logs:PutLogEvents"),
        (group, f"{group}:*"),
        "SageMaker logs the start script with the role of the instance, to a group and streams of its own",
    )
