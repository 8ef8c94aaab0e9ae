"""The bucket of a Region's results, and its mount as files.

Belongs here: bucket, file system, mount targets. Does not belong here: who mounts it (worker_host, client_tasks).

Results are written by code that works on paths and renames files when they are complete. Mountpoint for S3 cannot rename;
S3 Files can, is mounted by NFS, and stores files as objects of the bucket.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import aws_cdk as cdk
from aws_cdk import Tags
from aws_cdk import aws_kms as kms
from aws_cdk import aws_s3 as s3
from aws_cdk import aws_s3files as s3files
from constructs import Construct

from xdask_pipelines.topology.aws_names import PREFIX

#: User and group of the image's processes (docker/Dockerfile).
USER_ID = "10001"
_OLD_VERSION_DAYS, _LOG_DAYS, _UNFINISHED_DAYS = 90, 90, 7


@dataclass(frozen=True)
class ResultsConfig:
    """The results of one Region.

    Attributes
    ----------
    bucket_name, log_bucket_name
        Names of the bucket, and of the bucket of its access log.
    key_arn
        KMS key of the data.
    role_arn
        Role by which S3 Files copies between file system and bucket.
    subnets, security_group
        Of the mount targets: one subnet a zone.
    """

    bucket_name: str
    log_bucket_name: str
    key_arn: str
    role_arn: str
    subnets: Sequence[str]
    security_group: str


class Results(Construct):
    """A versioned bucket that outlives its stack, and a file system on it.

    Attributes
    ----------
    bucket, log_bucket
        The buckets.
    file_system_arn, file_system_id, access_point_arn, access_point_id
        What is mounted: by the access point all files belong to the image's user.
    mount_targets
        The file system can be mounted when they are there.
    """

    def __init__(self, scope: Construct, id_: str, config: ResultsConfig) -> None:
        super().__init__(scope, id_)
        self.log_bucket = s3.Bucket(
            self,
            "Logs",
            bucket_name=config.log_bucket_name,
            encryption=s3.BucketEncryption.S3_MANAGED,  # load balancers write to no other
            block_public_access=s3.BlockPublicAccess.BLOCK_ALL,
            enforce_ssl=True,
            lifecycle_rules=[s3.LifecycleRule(expiration=cdk.Duration.days(_LOG_DAYS))],
            removal_policy=cdk.RemovalPolicy.DESTROY,
        )
        self.bucket = s3.Bucket(
            self,
            "Bucket",
            bucket_name=config.bucket_name,
            versioned=True,
            encryption=s3.BucketEncryption.KMS,
            encryption_key=kms.Key.from_key_arn(self, "Key", config.key_arn),
            bucket_key_enabled=True,
            block_public_access=s3.BlockPublicAccess.BLOCK_ALL,
            enforce_ssl=True,
            server_access_logs_bucket=self.log_bucket,
            server_access_logs_prefix="results/",
            lifecycle_rules=[
                s3.LifecycleRule(
                    noncurrent_version_expiration=cdk.Duration.days(_OLD_VERSION_DAYS),
                    abort_incomplete_multipart_upload_after=cdk.Duration.days(_UNFINISHED_DAYS),
                )
            ],
            removal_policy=cdk.RemovalPolicy.RETAIN,
        )
        self._files(config)

    def _files(self, config: ResultsConfig) -> None:
        files = s3files.CfnFileSystem(
            self, "Files", bucket=self.bucket.bucket_arn, role_arn=config.role_arn, kms_key_id=config.key_arn
        )
        Tags.of(files).add("Name", PREFIX)
        files.apply_removal_policy(cdk.RemovalPolicy.DESTROY)  # the files stay in the bucket
        self.file_system_id, self.file_system_arn = files.attr_file_system_id, files.attr_file_system_arn
        self.mount_targets = [
            s3files.CfnMountTarget(
                self,
                f"Target{zone}",
                file_system_id=files.attr_file_system_id,
                subnet_id=subnet,
                security_groups=[config.security_group],
            )
            for zone, subnet in enumerate(config.subnets)
        ]
        point = s3files.CfnAccessPoint(
            self,
            "Access",
            file_system_id=files.attr_file_system_id,
            posix_user=s3files.CfnAccessPoint.PosixUserProperty(uid=USER_ID, gid=USER_ID),
            root_directory=s3files.CfnAccessPoint.RootDirectoryProperty(
                path="/xdask",
                creation_permissions=s3files.CfnAccessPoint.CreationPermissionsProperty(
                    owner_uid=USER_ID, owner_gid=USER_ID, permissions="0750"
                ),
            ),
        )
        self.access_point_id, self.access_point_arn = point.attr_access_point_id, point.attr_access_point_arn
