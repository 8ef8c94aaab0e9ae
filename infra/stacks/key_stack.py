"""The KMS key of one Region: for data, logs and messages."""

from __future__ import annotations

import aws_cdk as cdk
from aws_cdk import aws_iam as iam
from aws_cdk import aws_kms as kms
from constructs import Construct

from infra.stacks.region_stack import RegionStack
from xdask_pipelines.topology import Topology
from xdask_pipelines.topology.aws_names import PREFIX, log_group

_OF_AUTO_SCALING = "aws-service-role/autoscaling.amazonaws.com/AWSServiceRoleForAutoScaling"


class KeyStack(RegionStack):
    """One key, rotated every year; it can be recovered for seven days after its stack is destroyed.

    Attributes
    ----------
    key_arn
        The key.
    """

    def __init__(self, scope: Construct, topology: Topology, region: str) -> None:
        super().__init__(scope, "key", topology, region)
        key = kms.Key(
            self,
            "Key",
            alias=f"alias/{PREFIX}",
            enable_key_rotation=True,
            pending_window=cdk.Duration.days(7),
            removal_policy=cdk.RemovalPolicy.DESTROY,
        )
        logs = f"arn:{self.partition}:logs:{region}:{self.account}:log-group:{log_group('*')}"
        use = ["kms:Encrypt", "kms:Decrypt", "kms:ReEncrypt*", "kms:GenerateDataKey*", "kms:DescribeKey"]
        key.add_to_resource_policy(
            iam.PolicyStatement(
                sid="Logs",
                principals=[iam.ServicePrincipal(f"logs.{region}.amazonaws.com")],
                actions=use,
                resources=["*"],  # in a key's own policy: this key
                conditions={"ArnLike": {"kms:EncryptionContext:aws:logs:arn": logs}},
            )
        )
        key.add_to_resource_policy(
            iam.PolicyStatement(
                sid="Alarms",
                principals=[
                    iam.ServicePrincipal("cloudwatch.amazonaws.com"),
                    iam.ServicePrincipal("budgets.amazonaws.com"),
                ],
                actions=["kms:Decrypt", "kms:GenerateDataKey*"],
                resources=["*"],
                conditions={"StringEquals": {"aws:SourceAccount": self.account}},
            )
        )
        key.add_to_resource_policy(
            iam.PolicyStatement(
                sid="FailedLaunches",  # Auto Scaling publishes with its role, which a deployment creates first
                principals=[iam.ArnPrincipal(f"arn:{self.partition}:iam::{self.account}:role/{_OF_AUTO_SCALING}")],
                actions=["kms:Decrypt", "kms:GenerateDataKey*"],
                resources=["*"],
            )
        )
        self.key_arn = key.key_arn
