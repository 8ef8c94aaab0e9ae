"""What IAM checks of each operation that the program calls, as data: actions, resources and condition keys.

Belongs here: one line for each operation. Does not belong here: whether policies allow it (iam_contract).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from infra.rehearsal.account.recorded_calls import Call
from xdask_pipelines.topology.aws_names import SEARCH_DOMAIN

_ECS_TASKS = "ecs-tasks.amazonaws.com"


@dataclass(frozen=True)
class Check:
    """One question to IAM: may an action be done on a resource, under these condition keys (in lower case)."""

    action: str
    resource: str
    keys: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class World:
    """What a call alone does not say.

    Attributes
    ----------
    account, partition
        Of all ARNs.
    roles_of
        Returns the ARNs of the roles that a task family passes, by Region and family.
    key_alias
        Alias of the KMS key of data.
    """

    account: str
    roles_of: Callable[[str, str], Sequence[str]] = lambda region, family: ()
    partition: str = "aws"
    key_alias: str = "alias/xdask"

    def arn(self, service: str, region: str, rest: str) -> str:
        """Return the ARN of a name, or the name if it is one already."""
        return rest if rest.startswith("arn:") else f"arn:{self.partition}:{service}:{region}:{self.account}:{rest}"


Checks = Callable[[Call, World], Iterator[Check]]


def _last(arn_or_name: str) -> str:
    return arn_or_name.rpartition("/")[2]


def _cluster(call: Call, world: World) -> dict[str, str]:
    return {"ecs:cluster": world.arn("ecs", call.region, f"cluster/{_last(call.parameters.get('cluster', 'default'))}")}


def _services(call: Call, world: World) -> Iterator[Check]:
    cluster = _last(call.parameters.get("cluster", "default"))
    named = call.parameters.get("services") or [call.parameters["service"]]
    for each in named:
        arn = world.arn("ecs", call.region, f"service/{cluster}/{_last(each)}")
        yield Check(f"ecs:{call.operation}", arn, _cluster(call, world))


def _tasks(call: Call, world: World) -> Iterator[Check]:
    cluster = _last(call.parameters.get("cluster", "default"))
    for each in call.parameters.get("tasks") or [call.parameters["task"]]:
        arn = world.arn("ecs", call.region, f"task/{cluster}/{_last(each)}")
        yield Check(f"ecs:{call.operation}", arn, _cluster(call, world))


def _run_task(call: Call, world: World) -> Iterator[Check]:
    family = _last(call.parameters["taskDefinition"])
    definition = family if ":" in family else f"{family}:1"
    yield Check("ecs:RunTask", world.arn("ecs", call.region, f"task-definition/{definition}"), _cluster(call, world))
    for role in world.roles_of(call.region, family.partition(":")[0]):
        yield Check("iam:PassRole", role, {"iam:passedtoservice": _ECS_TASKS})
    if call.parameters.get("tags") or call.parameters.get("propagateTags", "NONE") != "NONE":
        cluster = _last(call.parameters.get("cluster", "default"))
        arn = world.arn("ecs", call.region, f"task/{cluster}/0123456789abcdef")
        yield Check("ecs:TagResource", arn, {**_cluster(call, world), "ecs:createaction": "RunTask"})


def _secret(call: Call, world: World) -> Iterator[Check]:
    name = call.parameters["SecretId"]
    arn = name if name.startswith("arn:") else world.arn("secretsmanager", call.region, f"secret:{name}-AbCdEf")
    yield Check(f"secretsmanager:{call.operation}", arn)


def _record(call: Call, world: World) -> Iterator[Check]:
    zone = f"arn:{world.partition}:route53:::hostedzone/{_last(call.parameters['Id'])}"
    changes = call.parameters.get("ChangeBatch", {}).get("Changes", {}).get("Change", [])
    sets = [each["ResourceRecordSet"] for each in (changes if isinstance(changes, list) else [changes])]
    prefix = "route53:changeresourcerecordsets"
    keys = {
        f"{prefix}normalizedrecordnames": [each["Name"].rstrip(".").lower() for each in sets],
        f"{prefix}recordtypes": [each["Type"] for each in sets],
    }
    yield Check(f"route53:{call.operation}", zone, keys if sets else {})


def _metrics(call: Call, world: World) -> Iterator[Check]:
    yield Check("cloudwatch:PutMetricData", "*", {"cloudwatch:namespace": call.parameters["Namespace"]})


def _topic(call: Call, world: World) -> Iterator[Check]:
    yield Check("sns:Publish", call.parameters["TopicArn"])


def _fsx(call: Call, world: World) -> Iterator[Check]:
    yield Check(f"fsx:{call.operation}", world.arn("fsx", call.region, "file-system/fs-0123456789abcdef0"))


def _imports(call: Call, world: World) -> Iterator[Check]:
    file_system = call.parameters["FileSystemId"]
    yield Check(f"fsx:{call.operation}", world.arn("fsx", call.region, f"file-system/{file_system}"))
    yield Check(f"fsx:{call.operation}", world.arn("fsx", call.region, "task/task-0123456789abcdef0"))


def _anywhere(action: str) -> Checks:
    def checks(call: Call, world: World) -> Iterator[Check]:
        yield Check(action, "*", {k: v for k, v in _cluster(call, world).items() if "cluster" in call.parameters})

    return checks


def _object(action: str) -> Checks:
    def checks(call: Call, world: World) -> Iterator[Check]:
        bucket, key = call.parameters["Bucket"], call.parameters.get("Key", "")
        yield Check(action, f"arn:{world.partition}:s3:::{bucket}/{key}")

    return checks


def _bucket(action: str) -> Checks:
    def checks(call: Call, world: World) -> Iterator[Check]:
        yield Check(action, f"arn:{world.partition}:s3:::{call.parameters['Bucket']}")

    return checks


def _domain(call: Call, world: World) -> Iterator[Check]:
    yield Check(
        f"es:{call.operation}", world.arn("es", call.region, f"domain/{SEARCH_DOMAIN}{call.parameters['path']}")
    )


def _nothing(call: Call, world: World) -> Iterator[Check]:
    return iter(())


_OBJECTS = {
    "s3:GetObject": ("GetObject", "HeadObject"),
    "s3:PutObject": ("PutObject", "CreateMultipartUpload", "UploadPart", "CompleteMultipartUpload"),
    "s3:AbortMultipartUpload": ("AbortMultipartUpload",),
    "s3:DeleteObject": ("DeleteObject",),
}
_BUCKETS = {
    "s3:ListBucket": ("ListObjects", "ListObjectsV2", "HeadBucket"),
    "s3:ListBucketVersions": ("ListObjectVersions",),
    "s3:GetBucketLocation": ("GetBucketLocation",),
}
#: By service and operation. An operation that the program begins to call needs a line here.
CHECKS: Mapping[tuple[str, str], Checks] = {
    ("ecs", "DescribeServices"): _services,
    ("ecs", "UpdateService"): _services,
    ("ecs", "DescribeTasks"): _tasks,
    ("ecs", "StopTask"): _tasks,
    ("ecs", "UpdateTaskProtection"): _tasks,
    ("ecs", "GetTaskProtection"): _tasks,
    ("ecs", "RunTask"): _run_task,
    ("ecs", "ListTasks"): _anywhere("ecs:ListTasks"),
    ("ecs", "ListServices"): _anywhere("ecs:ListServices"),
    ("ecs", "DescribeTaskDefinition"): _anywhere("ecs:DescribeTaskDefinition"),
    ("ecs", "RegisterTaskDefinition"): _anywhere("ecs:RegisterTaskDefinition"),
    ("ec2", "DescribeNetworkInterfaces"): _anywhere("ec2:DescribeNetworkInterfaces"),
    ("route53", "ListHostedZonesByName"): _anywhere("route53:ListHostedZonesByName"),
    ("route53", "ListResourceRecordSets"): _record,
    ("route53", "ChangeResourceRecordSets"): _record,
    ("cloudwatch", "PutMetricData"): _metrics,
    ("sns", "Publish"): _topic,
    ("secretsmanager", "GetSecretValue"): _secret,
    ("secretsmanager", "PutSecretValue"): _secret,
    ("secretsmanager", "DescribeSecret"): _secret,
    ("fsx", "DescribeFileSystems"): _fsx,
    ("fsx", "DescribeDataRepositoryAssociations"): _fsx,
    ("fsx", "DescribeDataRepositoryTasks"): _fsx,
    ("fsx", "CreateDataRepositoryTask"): _imports,
    **{("es", f"ESHttp{method}"): _domain for method in ("Get", "Head", "Post", "Put", "Delete", "Patch")},
    ("sts", "GetCallerIdentity"): _nothing,  # needs no permission
    **{("s3", operation): _object(action) for action, operations in _OBJECTS.items() for operation in operations},
    **{("s3", operation): _bucket(action) for action, operations in _BUCKETS.items() for operation in operations},
}


def checks_of(call: Call, world: World) -> list[Check]:
    """Return what IAM checks of a call.

    Raises
    ------
    LookupError
        The operation has no line.
    """
    found = CHECKS.get((call.service, call.operation))
    if found is None:
        raise LookupError(
            f"{call.service} {call.operation} has no line in CHECKS (infra/rehearsal/iam_checks.py). Add it."
        )
    return list(found(call, world))
