"""All IAM roles, in one place to review: resource policies name them, so they are created first."""

from __future__ import annotations

from aws_cdk import aws_iam as iam
from constructs import Construct

from infra.acknowledgements import acknowledge_wildcards
from infra.policies.roles import roles_of
from infra.policies.statements import RoleSpec
from infra.stacks.region_stack import RegionStack
from xdask_pipelines.topology import Topology


class RolesStack(RegionStack):
    """Roles of all Regions; IAM is global, and this stack is in the client Region."""

    def __init__(self, scope: Construct, topology: Topology) -> None:
        super().__init__(scope, "roles", topology, topology.client.region)
        for spec in roles_of(topology):
            self._role(spec)

    def _role(self, spec: RoleSpec) -> None:
        name = "".join(word.title() for word in (spec.part, *spec.region.split("-")))
        statements = [allow.document() for allow in spec.statements]
        policies = [
            iam.CfnRole.PolicyProperty(
                policy_name=spec.part, policy_document={"Version": "2012-10-17", "Statement": statements}
            )
        ]
        trust = {
            "Version": "2012-10-17",
            "Statement": [
                {
                    "Effect": "Allow",
                    "Principal": {"Service": spec.service},
                    "Action": "sts:AssumeRole",
                    **({"Condition": {"StringEquals": {"aws:SourceAccount": self.account}}}
                       if spec.service != "ec2.amazonaws.com" else {}),  # EC2 names no source
                }
            ],
        }  # fmt: skip
        role = iam.CfnRole(
            self,
            name,
            role_name=spec.name,
            assume_role_policy_document=trust,
            policies=policies if statements else None,
        )
        acknowledge_wildcards(role, spec)
        if spec.part == "host":
            iam.CfnInstanceProfile(self, f"{name}Profile", roles=[role.ref], instance_profile_name=spec.name)
