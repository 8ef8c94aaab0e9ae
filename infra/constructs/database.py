"""The Postgres database of Dagster's history.

Belongs here: the instance and its secret. Does not belong here: its tables (Dagster).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import aws_cdk as cdk
from aws_cdk import aws_rds as rds
from aws_cdk import aws_secretsmanager as secrets
from constructs import Construct

from xdask_pipelines.topology.aws_names import DATABASE, DATABASE_SECRET

VERSION = "17.9"
USER = "dagster"
_BACKUP_DAYS = 7


@dataclass(frozen=True)
class DatabaseConfig:
    """The instance.

    Attributes
    ----------
    instance_class
        Such as ``db.t4g.micro``.
    subnets, security_group
        Of its network interface; subnets of two zones.
    key_arn
        KMS key of data and secret.
    """

    instance_class: str
    subnets: Sequence[str]
    security_group: str
    key_arn: str


class Database(Construct):
    """One instance with backups of a week, and a last snapshot when it is removed.

    Attributes
    ----------
    host
        Host name.
    """

    def __init__(self, scope: Construct, id_: str, config: DatabaseConfig) -> None:
        super().__init__(scope, id_)
        secret = secrets.CfnSecret(
            self,
            "Secret",
            name=DATABASE_SECRET,
            kms_key_id=config.key_arn,
            generate_secret_string=secrets.CfnSecret.GenerateSecretStringProperty(
                secret_string_template=f'{{"username": "{USER}"}}',
                generate_string_key="password",
                password_length=40,
                exclude_punctuation=True,
            ),
        )
        secret.apply_removal_policy(cdk.RemovalPolicy.DESTROY)
        group = rds.CfnDBSubnetGroup(
            self,
            "Subnets",
            db_subnet_group_description="Private subnets",
            subnet_ids=list(config.subnets),
        )
        database = rds.CfnDBInstance(
            self,
            "Instance",
            db_instance_identifier=DATABASE,
            engine="postgres",
            engine_version=VERSION,
            auto_minor_version_upgrade=True,
            db_instance_class=config.instance_class,
            allocated_storage="20",
            max_allocated_storage=100,
            storage_type="gp3",
            storage_encrypted=True,
            kms_key_id=config.key_arn,
            db_name=USER,
            master_username=USER,
            master_user_password=cdk.Fn.sub(
                "{{resolve:secretsmanager:${Arn}:SecretString:password}}", {"Arn": secret.ref}
            ),
            db_subnet_group_name=group.ref,
            vpc_security_groups=[config.security_group],
            publicly_accessible=False,
            multi_az=False,
            backup_retention_period=_BACKUP_DAYS,
            copy_tags_to_snapshot=True,
            deletion_protection=False,  # a last snapshot is kept instead
            enable_iam_database_authentication=False,
            enable_cloudwatch_logs_exports=["postgresql"],
        )
        database.apply_removal_policy(cdk.RemovalPolicy.SNAPSHOT)
        self.host = database.attr_endpoint_address
