"""Log groups.

Belongs here: their names, encryption and retention, and who writes to them. Does not belong here: what is logged.
"""

from __future__ import annotations

from aws_cdk import RemovalPolicy
from aws_cdk import aws_iam as iam
from aws_cdk import aws_logs as logs
from constructs import Construct

from xdask_pipelines.topology import aws_names

RETENTION_DAYS = 30


def log_group(scope: Construct, id_: str, part: str, key_arn: str) -> logs.CfnLogGroup:
    """Create the log group of a part; it is deleted with its stack."""
    group = logs.CfnLogGroup(
        scope, id_, log_group_name=aws_names.log_group(part), kms_key_id=key_arn, retention_in_days=RETENTION_DAYS
    )
    group.apply_removal_policy(RemovalPolicy.DESTROY)
    return group


def writer_role(scope: Construct, id_: str, service: str, group: logs.CfnLogGroup) -> iam.Role:
    """Create the role by which an AWS service writes to one log group."""
    write = iam.PolicyStatement(
        sid="Write",
        actions=["logs:CreateLogStream", "logs:PutLogEvents", "logs:DescribeLogStreams"],
        resources=[group.attr_arn],
    )
    return iam.Role(
        scope,
        id_,
        assumed_by=iam.ServicePrincipal(service),
        inline_policies={"write": iam.PolicyDocument(statements=[write])},
    )
