"""What a deployment costs by the hour, from its templates and a table of list prices.

Belongs here: the price of each resource of the templates. Does not belong here: prices (topology.aws_prices), the cost of
a materialization, which its evidence has.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from xdask_pipelines.errors import XdaskError
from xdask_pipelines.topology import aws_prices as prices
from xdask_pipelines.topology.aws_facts import INSTANCE_TYPES, usd_per_vcpu_second

#: What costs by use, and is not in the figures.
NOT_INCLUDED = "storage of results and homes, requests, logs, data between Regions, runs in tasks of their own"


@dataclass(frozen=True)
class Item:
    """One line of the bill.

    Attributes
    ----------
    region, name
        Region, and what it is.
    idle, asleep, busy
        USD for one hour: with all pools at zero; after `xdask aws sleep`; with all pools at their largest size.
    lustre
        Whether `xdask lustre down` saves it.
    """

    region: str
    name: str
    idle: float
    asleep: float
    busy: float
    lustre: bool = False


def always(region: str, name: str, usd: float, *, lustre: bool = False) -> Item:
    """Return an item that costs the same at any time."""
    return Item(region, name, usd, usd, usd, lustre)


def _month(usd: float) -> float:
    return usd / prices.HOURS_A_MONTH


@dataclass(frozen=True)
class _Stack:
    """One template with its Region."""

    region: str
    resources: Mapping[str, Mapping[str, Any]]

    def properties(self, reference: Any) -> Mapping[str, Any]:
        """Return the properties of the resource of the same template that a `Ref` or `Fn::GetAtt` names."""
        name = reference.get("Ref") or reference["Fn::GetAtt"][0]
        found: Mapping[str, Any] = self.resources[name]["Properties"]
        return found


def _fargate(stack: _Stack, values: Mapping[str, Any]) -> list[Item]:
    if values.get("LaunchType") != "FARGATE":
        return []
    task = stack.properties(values["TaskDefinition"])
    vcpus, gigabytes = int(task["Cpu"]) / 1024, int(task["Memory"]) / 1024
    usd = (vcpus * prices.FARGATE_VCPU + gigabytes * prices.FARGATE_GB) * values["DesiredCount"]
    network = values["NetworkConfiguration"]["AwsvpcConfiguration"]
    found = [Item(stack.region, f"{values['ServiceName']}, {vcpus:g} vCPU, {gigabytes:g} GB", usd, 0.0, usd)]
    if network["AssignPublicIp"] == "ENABLED":
        found.append(Item(stack.region, "public address", prices.PUBLIC_IPV4, 0.0, prices.PUBLIC_IPV4))
    return found


def _hosts(stack: _Stack, values: Mapping[str, Any]) -> list[Item]:
    data = stack.properties(values["LaunchTemplate"]["LaunchTemplateId"])["LaunchTemplateData"]
    kind, most = data["InstanceType"], int(values["MaxSize"]) - 1  # one is for the sync executor
    hour = usd_per_vcpu_second(kind) * 3600 * INSTANCE_TYPES[kind].vcpus
    disk = sum(device["Ebs"]["VolumeSize"] for device in data["BlockDeviceMappings"])
    address = prices.PUBLIC_IPV4 if data["NetworkInterfaces"][0]["AssociatePublicIpAddress"] else 0.0
    one = hour + _month(disk * prices.HOST_DISK_GB) + address
    return [Item(stack.region, f"pool, up to {most} {kind}", 0.0, 0.0, most * one)]


def _database(stack: _Stack, values: Mapping[str, Any]) -> list[Item]:
    kind, storage = values["DBInstanceClass"], _month(int(values["AllocatedStorage"]) * prices.DATABASE_GB)
    hour = _priced(prices.DATABASE, kind)
    return [Item(stack.region, f"database {kind}", hour, 0.0, hour), always(stack.region, "its storage", storage)]


def _search(stack: _Stack, values: Mapping[str, Any]) -> list[Item]:
    cluster = values["ClusterConfig"]
    nodes, kind = cluster["InstanceCount"], cluster["InstanceType"]
    hour = nodes * (_priced(prices.SEARCH, kind) + _month(values["EBSOptions"]["VolumeSize"] * prices.SEARCH_GB))
    return [always(stack.region, f"catalog, {nodes} {kind}", hour)]


def _priced(table: Mapping[str, float], kind: str) -> float:
    if kind not in table:
        raise XdaskError(
            f"There is no price for {kind}. Known are {', '.join(table)}; add it to topology/aws_prices.py."
        )
    return table[kind]


def _secret(stack: _Stack, values: Mapping[str, Any]) -> list[Item]:
    copies = 1 + len(values.get("ReplicaRegions", ()))
    return [always(stack.region, f"secret {values['Name']}", _month(copies * prices.SECRET))]


def _lustre(stack: _Stack, values: Mapping[str, Any]) -> list[Item]:
    size = values["StorageCapacity"]
    return [always(stack.region, f"Lustre, {size} GiB", _month(size * prices.LUSTRE_GB), lustre=True)]


def _balancer(stack: _Stack, values: Mapping[str, Any]) -> list[Item]:
    return [always(stack.region, "load balancer", prices.LOAD_BALANCER + len(values["Subnets"]) * prices.PUBLIC_IPV4)]


def _alarm(stack: _Stack, values: Mapping[str, Any]) -> list[Item]:
    alarm, figure = _month(prices.ALARM), _month(prices.METRIC)  # a figure that nobody publishes costs nothing
    return [Item(stack.region, "alarms and their figures", alarm + figure, alarm, alarm + figure)]


def _notebook(stack: _Stack, values: Mapping[str, Any]) -> list[Item]:
    kind, disk = values["InstanceType"], _month(values["VolumeSizeInGB"] * prices.NOTEBOOK_DISK_GB)
    return [
        always(stack.region, "disk of the notebook", disk),
        Item(stack.region, f"notebook, {kind}", 0.0, 0.0, _priced(prices.NOTEBOOK, kind)),  # it stops itself
    ]


def _flat(name: str, usd: float) -> Callable[[_Stack, Mapping[str, Any]], list[Item]]:
    return lambda stack, values: [always(stack.region, name, usd)]


_PRICES: dict[str, Callable[[_Stack, Mapping[str, Any]], list[Item]]] = {
    "AWS::ECS::Service": _fargate,
    "AWS::AutoScaling::AutoScalingGroup": _hosts,
    "AWS::RDS::DBInstance": _database,
    "AWS::OpenSearchService::Domain": _search,
    "AWS::SecretsManager::Secret": _secret,
    "AWS::FSx::FileSystem": _lustre,
    "AWS::ElasticLoadBalancingV2::LoadBalancer": _balancer,
    "AWS::KMS::Key": _flat("KMS key", _month(prices.KMS_KEY)),
    "AWS::Route53::HostedZone": _flat("private zone", _month(prices.HOSTED_ZONE)),
    "AWS::CloudWatch::Alarm": _alarm,
    "AWS::EC2::NatGateway": _flat("NAT gateway", prices.NAT_GATEWAY + prices.PUBLIC_IPV4),
    "AWS::EC2::TransitGatewayVpcAttachment": _flat("transit gateway", prices.TRANSIT_ATTACHMENT),
    "AWS::EC2::TransitGatewayPeeringAttachment": _flat("transit gateway", 2 * prices.TRANSIT_ATTACHMENT),
    "AWS::SageMaker::NotebookInstance": _notebook,
}
#: Types that cost nothing by the hour; any other type is an error, so that nothing is forgotten.
FREE = frozenset(
    {
        "AWS::CloudWatch::Dashboard",  # the first three of an account
        *("AWS::Budgets::Budget", "AWS::ECS::CapacityProvider", "AWS::ECS::Cluster", "AWS::ECS::TaskDefinition"),
        *("AWS::ECS::ClusterCapacityProviderAssociations", "AWS::EFS::AccessPoint", "AWS::EFS::FileSystem"),
        *("AWS::EFS::MountTarget", "AWS::EC2::EIP", "AWS::EC2::FlowLog", "AWS::EC2::InternetGateway"),
        *("AWS::EC2::LaunchTemplate", "AWS::EC2::Route", "AWS::EC2::RouteTable", "AWS::EC2::SecurityGroup"),
        *("AWS::EC2::SecurityGroupEgress", "AWS::EC2::SecurityGroupIngress", "AWS::EC2::Subnet"),
        *("AWS::EC2::SubnetRouteTableAssociation", "AWS::EC2::TransitGateway", "AWS::EC2::TransitGatewayRoute"),
        *("AWS::EC2::TransitGatewayRouteTable", "AWS::EC2::TransitGatewayRouteTableAssociation"),
        *("AWS::EC2::TransitGatewayRouteTablePropagation", "AWS::EC2::VPC", "AWS::EC2::VPCEndpoint"),
        *("AWS::EC2::VPCGatewayAttachment", "AWS::EC2::VPCPeeringConnection", "AWS::FSx::DataRepositoryAssociation"),
        *("AWS::ElasticLoadBalancingV2::Listener", "AWS::ElasticLoadBalancingV2::TargetGroup", "AWS::IAM::Role"),
        *("AWS::IAM::InstanceProfile", "AWS::KMS::Alias", "AWS::Logs::LogGroup", "AWS::Logs::ResourcePolicy"),
        *("AWS::RDS::DBSubnetGroup", "AWS::S3::Bucket", "AWS::S3::BucketPolicy", "AWS::S3Files::AccessPoint"),
        *("AWS::S3Files::FileSystem", "AWS::S3Files::MountTarget", "AWS::SNS::Subscription", "AWS::SNS::Topic"),
        *("AWS::SNS::TopicPolicy", "AWS::SageMaker::NotebookInstanceLifecycleConfig"),
    }
)


def items_of(folder: Path) -> list[Item]:
    """Return what the templates of a folder cost by the hour.

    Parameters
    ----------
    folder
        The folder ``cdk.out`` that a synthesis wrote.

    Raises
    ------
    XdaskError
        The folder has no templates, or a type of resource or instance has no price.
    """
    manifest = folder / "manifest.json"
    if not manifest.is_file():
        raise XdaskError(f"There are no templates in {folder}. Write them first: `make infra-synth`.")
    items = []
    for artifact in json.loads(manifest.read_text("utf-8"))["artifacts"].values():
        if artifact["type"] != "aws:cloudformation:stack":
            continue
        region = artifact["environment"].rpartition("/")[2]
        template = json.loads((folder / artifact["properties"]["templateFile"]).read_text("utf-8"))
        stack, level = _Stack(region, template["Resources"]), prices.price_level(region)
        for resource in template["Resources"].values():
            kind = resource["Type"]
            if kind in FREE:
                continue
            if kind not in _PRICES:
                raise XdaskError(f"There is no price for {kind}. Add it to operations/aws/idle_cost.py.")
            for item in _PRICES[kind](stack, resource["Properties"]):
                items.append(
                    Item(region, item.name, level * item.idle, level * item.asleep, level * item.busy, item.lustre)
                )
    return _merged(items)


def _merged(items: list[Item]) -> list[Item]:
    """Return one item for each name of a Region."""
    found: dict[tuple[str, str], Item] = {}
    for item in items:
        known = found.get((item.region, item.name), Item(item.region, item.name, 0.0, 0.0, 0.0, item.lustre))
        found[item.region, item.name] = Item(
            item.region,
            item.name,
            known.idle + item.idle,
            known.asleep + item.asleep,
            known.busy + item.busy,
            item.lustre,
        )
    return list(found.values())
