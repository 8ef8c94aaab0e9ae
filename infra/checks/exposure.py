"""What templates expose: addresses that overlap, doors to the internet, wildcards, secrets.

Belongs here: properties that every deployment has to have. Does not belong here: declared connections (reachability).
"""

from __future__ import annotations

import json
import re
from ipaddress import IPv4Network
from itertools import combinations
from typing import Any

from infra.checks.assembly import Assembly

_ANYWHERE = ("0.0.0.0/0", "::/0")
#: Key policies are about their own key, so `*` there is no wildcard.
_OWN_POLICY = "AWS::KMS::Key"


def public_ingress(assembly: Assembly) -> list[str]:
    """Return every rule that admits the whole internet: its stack, group and port."""
    found = []
    for group in assembly.of_type("AWS::EC2::SecurityGroup"):
        for rule in group.properties.get("SecurityGroupIngress", ()):
            if rule.get("CidrIp", rule.get("CidrIpv6")) in _ANYWHERE:
                found.append(f"{group.id.stack}/{group.tag('Name')}:{rule['FromPort']}")
    for rule_resource in assembly.of_type("AWS::EC2::SecurityGroupIngress"):
        if rule_resource.properties.get("CidrIp", rule_resource.properties.get("CidrIpv6")) in _ANYWHERE:
            found.append(f"{rule_resource.id.stack}/{rule_resource.id.logical_id}")
    return found


def overlapping_networks(assembly: Assembly) -> list[str]:
    """Return pairs of subnets whose addresses overlap."""
    subnets = [(s.id, IPv4Network(s.properties["CidrBlock"])) for s in assembly.of_type("AWS::EC2::Subnet")]
    return [f"{a} and {b}" for (a, x), (b, y) in combinations(subnets, 2) if x.overlaps(y)]


def custom_resources(assembly: Assembly) -> list[str]:
    """Return resources that are not CloudFormation's own types."""
    return [
        f"{each.id.stack}/{each.id.logical_id}"
        for each in assembly.resources.values()
        if each.type.startswith("Custom::")
        or each.type in ("AWS::CloudFormation::CustomResource", "AWS::Lambda::Function")
    ]


def wildcard_statements(assembly: Assembly) -> list[str]:
    """Return every statement of a role whose resource is ``*``: role and statement."""
    found = []
    for role in assembly.of_type("AWS::IAM::Role"):
        for policy in role.properties.get("Policies", ()):
            for statement in policy["PolicyDocument"]["Statement"]:
                resources = statement["Resource"]
                if "*" in (resources if isinstance(resources, list) else [resources]):
                    found.append(f"{role.properties.get('RoleName', role.id.logical_id)}/{statement.get('Sid')}")
    for policy_resource in (*assembly.of_type("AWS::IAM::Policy"), *assembly.of_type("AWS::IAM::ManagedPolicy")):
        found.append(f"{policy_resource.id.stack}/{policy_resource.id.logical_id}: a policy outside of its role")
    return found


def implicit_removals(assembly: Assembly) -> list[str]:
    """Return stateful resources whose removal policy is not written down."""
    stateful = (
        *("AWS::S3::Bucket", "AWS::RDS::DBInstance", "AWS::EFS::FileSystem", "AWS::FSx::FileSystem", "AWS::KMS::Key"),
        *(
            "AWS::OpenSearchService::Domain",
            "AWS::SecretsManager::Secret",
            "AWS::Logs::LogGroup",
            "AWS::S3Files::FileSystem",
        ),
    )
    return [
        f"{each.id.stack}/{each.id.logical_id}"
        for kind in stateful
        for each in assembly.of_type(kind)
        if "DeletionPolicy" not in each.document or "UpdateReplacePolicy" not in each.document
    ]


def secrets_in_sight(assembly: Assembly) -> list[str]:
    """Return environment variables and properties that hold a secret instead of leading to one."""
    found = []
    for each in assembly.resources.values():
        for name, value in _leaves(each.properties):
            named = re.search(r"(?i)(password|secret|privatekey)$", name) and isinstance(value, str)
            if named and not value.startswith(("{{resolve:secretsmanager:", "arn:")):
                found.append(f"{each.id.stack}/{each.id.logical_id}: {name}")
        if each.type == "AWS::ECS::TaskDefinition":
            text = json.dumps(each.properties)
            if '"Secrets"' in text:
                found.append(f"{each.id.stack}/{each.id.logical_id}: a secret passes through the environment")
    return found


def _leaves(value: Any, name: str = "") -> list[tuple[str, Any]]:
    if isinstance(value, dict):
        return [leaf for key, inner in value.items() for leaf in _leaves(inner, key)]
    if isinstance(value, list):
        return [leaf for inner in value for leaf in _leaves(inner, name)]
    return [(name, value)]
