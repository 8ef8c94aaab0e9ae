"""Findings of cdk-nag's AwsSolutions that are deliberate, each with its resource and reason.

Belongs here: the list. Does not belong here: reasons of IAM statements, which are with the statements (policies).
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import aws_cdk as cdk
from cdk_nag import AwsSolutionsChecks
from constructs import IConstruct

from infra.policies.statements import RoleSpec


@dataclass(frozen=True)
class Acknowledgement:
    """One finding: its rule, the construct's path as a pattern, and why it stays."""

    rule: str
    path: str
    reason: str


ACKNOWLEDGED = (
    Acknowledgement(
        "SMG4",
        r"xdask-storage-.*/Database/Secret",
        "The database admits Dagster's security group alone; a rotation would need a Lambda function in the VPC and a NAT "
        "gateway for it. The password is changed by a deployment.",
    ),
    Acknowledgement(
        "SMG4",
        r"xdask-storage-.*/Tls",
        "Certificates are issued by `xdask certs --aws`, whose authority's key is not on AWS; an alarm rings 30 days before "
        "they expire.",
    ),
    Acknowledgement(
        "RDS3",
        r"xdask-storage-.*/Database/Instance",
        "The history of runs may be away for minutes, and is restored from backups; a second instance doubles its price.",
    ),
    Acknowledgement(
        "RDS10",
        r"xdask-storage-.*/Database/Instance",
        "A last snapshot is kept when the instance is removed, so removing it loses nothing.",
    ),
    Acknowledgement(
        "RDS11",
        r"xdask-storage-.*/Database/Instance",
        "The port is reached from one security group alone; another port would hide nothing.",
    ),
    Acknowledgement(
        "OS3",
        r"xdask-storage-.*/Search/Domain",
        "The domain is in private subnets and admits two roles, by signed requests; addresses of tasks change.",
    ),
    Acknowledgement(
        "OS4",
        r"xdask-storage-.*/Search/Domain",
        "The catalog has one or two data nodes; three master nodes would cost more than they.",
    ),
    Acknowledgement(
        "OS7",
        r"xdask-storage-.*/Search/Domain",
        "A sync finds again what the catalog holds, so one zone is enough for one group; two nodes or more span two zones.",
    ),
    Acknowledgement(
        "ECS4",
        r"xdask-(client|worker)-.*",
        "At the small stage figures of every task would cost a third of all; the controller publishes those of the pools.",
    ),
    Acknowledgement(
        "ECS2",
        r"xdask-(client|worker|notebook)-.*",
        "The environment holds the Region, the path of the topology and host names. Secrets are read into memory at start.",
    ),
    Acknowledgement(
        "AS3",
        r"xdask-worker-.*/Hosts/Group",
        "Launches and ends that succeed are daily work of the pool, which CloudWatch shows; only failures are messages.",
    ),
    Acknowledgement(
        "S1",
        r"xdask-storage-.*/Results/Logs/Resource",
        "This bucket holds the access logs; its own would have to be in a bucket that has none.",
    ),
    Acknowledgement(
        "EC23",
        r"xdask-network-.*/Groups/Balancer",
        "Members reach the load balancer from anywhere, and log in by OIDC before anything is forwarded.",
    ),
)


def check(app: cdk.App) -> None:
    """Let the synthesis fail on findings of AwsSolutions that are not acknowledged."""
    cdk.Validations.of(app).add_plugins(AwsSolutionsChecks(app))
    reason = "Zones are those that a person named in regions.yaml; without `zones`, they are chosen by position."
    cdk.Validations.of(app).acknowledge(cdk.Acknowledgment(id="CloudFormation-Validate::W3010", reason=reason))
    for construct in app.node.find_all():
        for each in ACKNOWLEDGED:
            if re.fullmatch(each.path, construct.node.path):
                acknowledge(construct, each.rule, each.reason)


def acknowledge(construct: IConstruct, rule: str, reason: str) -> None:
    """Acknowledge one rule for one construct."""
    found = cdk.Acknowledgment(id=f"AwsSolutions::AwsSolutions-{rule}", reason=reason)
    cdk.Validations.of(construct).acknowledge(found)


def acknowledge_wildcards(construct: IConstruct, role: RoleSpec) -> None:
    """Acknowledge each resource with a wildcard, with the reason of its statement."""
    for allow in role.statements:
        for resource in allow.resources:
            if "*" in resource:
                acknowledge(construct, f"IAM5[Resource::{resource}]", allow.reason)
        for action in allow.actions:
            if "*" in action:
                acknowledge(construct, f"IAM5[Action::{action}]", allow.reason)
