"""Statements of roles of several parts: keys, results, the catalog, sessions, images and logs.

Belongs here: what roles of client and worker Regions share. Does not belong here: a single role (client_roles,
worker_roles).
"""

from __future__ import annotations

from collections.abc import Iterator

from infra.policies.statements import Allow, Arns
from xdask_pipelines.topology import aws_names

#: What ECS Exec and port forwarding to a container need.
EXEC = Allow(
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


def execution(arns: Arns, region: str, parts: tuple[str, ...]) -> Iterator[Allow]:
    """Let ECS pull the image, and write the logs of the containers of some parts."""
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


def tls_keys(arns: Arns, region: str) -> Allow:
    """Let a process read the TLS keys."""
    return Allow(
        "TlsKeys",
        ("secretsmanager:GetSecretValue",),
        (arns.secret(region, aws_names.TLS_SECRET),),
        "Keys are read into memory at start, and never pass through an environment",
    )


def data_key(arns: Arns, region: str) -> Allow:
    """Let a process use the key of the data of its Region."""
    return Allow(
        "Key",
        ("kms:Decrypt", "kms:GenerateDataKey"),
        (arns.of("kms", region, "key/*"),),
        "Results are encrypted with the key of this alias, whose id is not known before it is created",
        {"ForAnyValue:StringEquals": {"kms:ResourceAliases": f"alias/{aws_names.PREFIX}"}},
    )


def results(arns: Arns, region: str) -> Iterator[Allow]:
    """Let a process mount the results of its Region."""
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
    yield data_key(arns, region)


def catalog(arns: Arns, client: str) -> Iterator[Allow]:
    """Let a process search the catalog, and change it."""
    resources = (arns.of("es", client, f"domain/{aws_names.SEARCH_DOMAIN}/*"),)
    read = ("es:ESHttpGet", "es:ESHttpHead", "es:ESHttpPost")
    yield Allow("Catalog", read, resources, "The catalog is searched; entries are added in bulk, which is a POST too")
    yield Allow("CatalogChanges", ("es:ESHttpPut",), resources, "Commits of syncs and results; indices are created")
    yield Allow(
        "CatalogRemoval", ("es:ESHttpDelete",), resources, "A migration deletes the indices of an older release"
    )
