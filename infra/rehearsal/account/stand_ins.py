"""Types of CloudFormation that the emulator lacks, and what is put in place of them.

Belongs here: which types, why, and how their ids look. Does not belong here: how templates are changed (templates).
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import cast

from infra.rehearsal.account.emulator import ask_emulator


@dataclass(frozen=True)
class StandIn:
    """What references to a resource get in place of those of a real one.

    Attributes
    ----------
    reason
        What the rehearsal loses, or what gives it in another way.
    ref
        What ``Ref`` returns.
    attributes
        What ``Fn::GetAtt`` returns, by attribute.

    Both may have ``{hex}`` (17 digits that depend on account, Region, stack and logical id), ``{region}``, ``{account}``,
    ``{name}`` (the property that is named in ``named_by``, if the template gives one) and ``{ref}``.
    """

    reason: str
    ref: str
    attributes: Mapping[str, str] = field(default_factory=dict)
    named_by: str = ""


_NETWORK = "Packets do not pass through the emulator; checks of the templates follow routes and rules."
STAND_INS: dict[str, StandIn] = {
    "AWS::EC2::VPCPeeringConnection": StandIn(_NETWORK, "pcx-{hex}", {"Id": "{ref}"}),
    "AWS::EC2::SecurityGroupIngress": StandIn(_NETWORK, "sgr-{hex}", {"Id": "{ref}"}),
    "AWS::EC2::SecurityGroupEgress": StandIn(_NETWORK, "sgr-{hex}", {"Id": "{ref}"}),
    "AWS::EC2::EIP": StandIn(
        _NETWORK, "192.0.2.1", {"AllocationId": "eipalloc-{hex}", "PublicIp": "{ref}"}
    ),
    "AWS::EC2::NatGateway": StandIn(_NETWORK, "nat-{hex}", {"NatGatewayId": "{ref}"}),
    "AWS::EC2::TransitGateway": StandIn(_NETWORK, "tgw-{hex}", {"Id": "{ref}"}),
    "AWS::EC2::TransitGatewayAttachment": StandIn(_NETWORK, "tgw-attach-{hex}", {"Id": "{ref}"}),
    "AWS::EC2::TransitGatewayVpcAttachment": StandIn(_NETWORK, "tgw-attach-{hex}", {"Id": "{ref}"}),
    "AWS::EC2::TransitGatewayPeeringAttachment": StandIn(
        _NETWORK, "tgw-attach-{hex}", {"TransitGatewayAttachmentId": "{ref}"}
    ),
    "AWS::EC2::TransitGatewayRoute": StandIn(_NETWORK, "tgw-route-{hex}"),
    "AWS::EC2::FlowLog": StandIn("No packet passes that could be logged.", "fl-{hex}", {"Id": "{ref}"}),
    "AWS::ECS::CapacityProvider": StandIn(
        "The proxy gives and takes instances; the API of the emulator has the name alone.", "{name}", {}, "Name"
    ),
    "AWS::ECS::ClusterCapacityProviderAssociations": StandIn(
        "The proxy gives and takes instances.", "{name}", {}, "Cluster"
    ),
    "AWS::FSx::FileSystem": StandIn(
        "The proxy has a file system, its associations and tasks.",
        "fs-{hex}",
        {
            "DNSName": "{ref}.fsx.{region}.amazonaws.com",
            "LustreMountName": "fsx",
            "ResourceARN": "arn:aws:fsx:{region}:{account}:file-system/{ref}",
        },
    ),
    "AWS::FSx::DataRepositoryAssociation": StandIn(
        "The proxy has a file system, its associations and tasks.",
        "dra-{hex}",
        {
            "AssociationId": "{ref}",
            "ResourceARN": "arn:aws:fsx:{region}:{account}:association/{ref}",
        },
    ),
    "AWS::S3Files::FileSystem": StandIn(
        "The agent mounts a folder of the Region at /results.",
        "fs-{hex}",
        {
            "FileSystemId": "{ref}",
            "FileSystemArn": "arn:aws:s3files:{region}:{account}:file-system/{ref}",
        },
    ),
    "AWS::S3Files::MountTarget": StandIn(
        "The agent mounts a folder of the Region at /results.", "fsmt-{hex}", {"MountTargetId": "{ref}"}
    ),
    "AWS::S3Files::AccessPoint": StandIn(
        "The agent mounts a folder of the Region at /results.",
        "fsap-{hex}",
        {
            "AccessPointId": "{ref}",
            "AccessPointArn": "arn:aws:s3files:{region}:{account}:file-system/access-point/{ref}",
        },
    ),
    "AWS::S3Files::FileSystemPolicy": StandIn("The agent mounts a folder of the Region at /results.", "policy-{hex}"),
    "AWS::SageMaker::NotebookInstance": StandIn(
        "Nothing runs a notebook instance here.",
        "arn:aws:sagemaker:{region}:{account}:notebook-instance/{name}",
        {"NotebookInstanceName": "{name}"},
        "NotebookInstanceName",
    ),
    "AWS::SageMaker::NotebookInstanceLifecycleConfig": StandIn(
        "Nothing runs a notebook instance here.",
        "arn:aws:sagemaker:{region}:{account}:notebook-instance-lifecycle-config/{name}",
        {"NotebookInstanceLifecycleConfigName": "{name}"},
        "NotebookInstanceLifecycleConfigName",
    ),
    "AWS::Budgets::Budget": StandIn("Nothing costs money here.", "{name}"),
    "AWS::CloudWatch::CompositeAlarm": StandIn(
        "Alarms of one metric are evaluated; of their combination the emulator knows nothing.",
        "{name}",
        {"Arn": "arn:aws:cloudwatch:{region}:{account}:alarm:{name}"},
        "AlarmName",
    ),
    "AWS::IAM::ServiceLinkedRole": StandIn("Nothing assumes it here.", "service-linked-{hex}", {"RoleName": "{ref}"}),
    "AWS::ECR::RegistryScanningConfiguration": StandIn("No image is pushed.", "{account}"),
    "AWS::SSM::Document": StandIn("No session runs through SSM here.", "{name}", {}, "Name"),
}  # fmt: skip


def fill(
    pattern: str, *, account: str, region: str, stack: str, logical_id: str, name: str | None, ref: str = ""
) -> str:
    """Return an id or an ARN of a stand-in."""
    digits = hashlib.sha256(f"{account}/{region}/{stack}/{logical_id}".encode()).hexdigest()[:17]
    return pattern.format(hex=digits, region=region, account=account, name=name or f"{stack}-{logical_id}", ref=ref)


def supported_types() -> frozenset[str]:
    """Return the types of CloudFormation that the emulator provisions."""
    program = (
        "import json; from ministack.services.cloudformation.provisioners import _RESOURCE_HANDLERS as found; "
        "print(json.dumps(sorted(found)))"
    )
    return frozenset(cast("list[str]", ask_emulator(program)))


def problems(used: Collection[str], supported: Collection[str]) -> list[str]:
    """Return where the list and the emulator disagree, one sentence each.

    Parameters
    ----------
    used
        Types of the templates.
    supported
        Types that the emulator provisions.
    """
    learned = [
        f"The emulator provisions {kind} now. Remove {kind} from STAND_INS, so that the rehearsal has the real one."
        for kind in sorted(STAND_INS.keys() & set(supported))
    ]
    lacking = [
        f"The emulator does not provision {kind}, which the templates use, and no stand-in is listed. Add {kind} to "
        "STAND_INS, with the reason."
        for kind in sorted(set(used) - set(supported) - STAND_INS.keys())
        if not kind.startswith("AWS::CloudFormation::")
    ]
    return learned + lacking
