"""Roles of the client Region: Dagster and notebooks.

Belongs here: their statements. Does not belong here: statements that other roles have too (shared_statements).
"""

from __future__ import annotations

from collections.abc import Iterator

from infra.policies.shared_statements import EXEC, catalog, results, tls_keys
from infra.policies.statements import TASKS, Allow, Arns
from xdask_pipelines.topology import Topology, aws_names


def observe(arns: Arns, topology: Topology) -> Iterator[Allow]:
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


def dagster(arns: Arns, topology: Topology) -> Iterator[Allow]:
    """Let Dagster observe and size the pools, start syncs and runs, and keep results and the catalog."""
    assert topology.aws is not None
    client, full = topology.client.region, topology.aws.stage == "full"
    yield from observe(arns, topology)
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
        {"StringEquals": {"iam:PassedToService": TASKS}},
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
    yield from catalog(arns, client)
    yield from results(arns, client)
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
            {"StringEquals": {"iam:PassedToService": TASKS}},
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
    yield EXEC


def notebook(arns: Arns, topology: Topology) -> Iterator[Allow]:
    """Let a notebook observe the pools, and read and write results and the catalog."""
    client = topology.client.region
    yield from observe(arns, topology)
    yield tls_keys(arns, client)
    yield from catalog(arns, client)
    yield from results(arns, client)
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
    yield EXEC


def _instance(arns: Arns, client: str) -> Iterator[Allow]:
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
