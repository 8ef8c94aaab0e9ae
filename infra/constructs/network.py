"""The network of one Region: a VPC, or subnets in an existing one.

Belongs here: addresses, subnets, route tables, the S3 endpoint, flow logs. Does not belong here: routes to other Regions
(stacks.peering_stack), security groups (groups).
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass

from aws_cdk import Aws, Fn, Tags
from aws_cdk import aws_ec2 as ec2
from constructs import Construct

from infra.constructs.logs import log_group, writer_role
from infra.flows import Tier
from xdask_pipelines.topology.aws_names import PREFIX
from xdask_pipelines.topology.aws_stanza import Vpc


@dataclass(frozen=True)
class NetworkConfig:
    """The network of one Region.

    Attributes
    ----------
    region, cidr, zones
        Region, addresses of its subnets, and letters of its two zones; None for the first two of the account.
    existing
        VPC to which the subnets are added; None to create one.
    nat
        Whether instances reach AWS's services through a NAT gateway, and have no public addresses.
    readable_buckets, writable_buckets
        Buckets that can be reached through the S3 endpoint, by name.
    key_arn
        KMS key of logs.
    """

    region: str
    cidr: str
    zones: tuple[str, str] | None
    existing: Vpc | None
    nat: bool
    readable_buckets: tuple[str, ...]
    writable_buckets: tuple[str, ...]
    key_arn: str


def tier_cidrs(cidr: str) -> dict[Tier, tuple[str, ...]]:
    """Divide a network: the first half is private; the third quarter is public; the last is for hosts behind NAT.

    Returns
    -------
    One network for each zone of each tier.
    """
    private, rest = ipaddress.IPv4Network(cidr).subnets(1)
    public, egress = rest.subnets(1)
    tiers: dict[Tier, ipaddress.IPv4Network] = {"private": private, "public": public, "egress": egress}
    return {tier: tuple(map(str, network.subnets(1))) for tier, network in tiers.items()}  # two, as there are zones


class Network(Construct):
    """A VPC with subnets in two zones.

    Attributes
    ----------
    vpc_id
        The VPC.
    subnets
        Subnet ids by tier, one for each zone.
    route_tables
        Route tables by tier, one for each zone.
    """

    def __init__(self, scope: Construct, id_: str, config: NetworkConfig) -> None:
        super().__init__(scope, id_)
        self.config = config
        self.subnets: dict[Tier, list[str]] = {}
        self.route_tables: dict[Tier, list[str]] = {}
        if config.existing:
            self.vpc_id, gateway, attached = config.existing.id, config.existing.internet_gateway, None
        else:
            vpc = ec2.CfnVPC(self, "Vpc", cidr_block=config.cidr, enable_dns_hostnames=True, enable_dns_support=True)
            Tags.of(vpc).add("Name", PREFIX)
            self.vpc_id = vpc.ref
            gateway = ec2.CfnInternetGateway(self, "Gateway").ref
            attached = ec2.CfnVPCGatewayAttachment(self, "Attachment", vpc_id=self.vpc_id, internet_gateway_id=gateway)
        tiers: tuple[Tier, ...] = ("public", "egress", "private") if config.nat else ("public", "private")
        for tier in tiers:
            self._tier(tier, tier_cidrs(config.cidr)[tier])
        for i, table in enumerate(self.route_tables["public"]):
            route = ec2.CfnRoute(
                self, f"PublicDefault{i}", route_table_id=table, destination_cidr_block="0.0.0.0/0", gateway_id=gateway
            )
            if attached:
                route.add_resource_dependency(attached)
        if config.nat:
            self._nat(attached)
        self._endpoint()
        self._flow_logs()

    def _tier(self, tier: Tier, cidrs: tuple[str, ...]) -> None:
        self.subnets[tier], self.route_tables[tier] = [], []
        zones = self.config.zones
        for zone, cidr in enumerate(cidrs):
            subnet = ec2.CfnSubnet(
                self,
                f"{tier.title()}{zone}",
                vpc_id=self.vpc_id,
                cidr_block=cidr,
                availability_zone=f"{self.config.region}{zones[zone]}" if zones else Fn.select(zone, Fn.get_azs("")),
                map_public_ip_on_launch=False,  # what needs an address asks for one
            )
            Tags.of(subnet).add("Name", f"{PREFIX}-{tier}-{zone + 1}")
            table = ec2.CfnRouteTable(self, f"{tier.title()}Table{zone}", vpc_id=self.vpc_id)
            Tags.of(table).add("Name", f"{PREFIX}-{tier}-{zone + 1}")
            ec2.CfnSubnetRouteTableAssociation(
                self, f"{tier.title()}Association{zone}", subnet_id=subnet.ref, route_table_id=table.ref
            )
            self.subnets[tier].append(subnet.ref)
            self.route_tables[tier].append(table.ref)

    def _nat(self, attached: ec2.CfnVPCGatewayAttachment | None) -> None:
        address = ec2.CfnEIP(self, "NatAddress", domain="vpc")
        if attached:
            address.add_resource_dependency(attached)
        gateway = ec2.CfnNatGateway(
            self, "Nat", subnet_id=self.subnets["public"][0], allocation_id=address.attr_allocation_id
        )
        for i, table in enumerate(self.route_tables["egress"]):
            ec2.CfnRoute(
                self,
                f"EgressDefault{i}",
                route_table_id=table,
                destination_cidr_block="0.0.0.0/0",
                nat_gateway_id=gateway.ref,
            )

    def _endpoint(self) -> None:
        """Add the only way from private subnets to S3, limited to the buckets of the topology."""
        config = self.config
        statements = []
        if names := sorted({*config.readable_buckets, *config.writable_buckets}):
            statements.append(_statement("Read", ["s3:GetObject*", "s3:ListBucket*", "s3:GetBucketLocation"], names))
        if config.writable_buckets:
            actions = ["s3:PutObject", "s3:DeleteObject", "s3:AbortMultipartUpload", "s3:ListMultipartUploadParts"]
            statements.append(_statement("Write", actions, sorted(config.writable_buckets)))
        ec2.CfnVPCEndpoint(
            self,
            "S3",
            vpc_id=self.vpc_id,
            service_name=f"com.amazonaws.{config.region}.s3",
            vpc_endpoint_type="Gateway",
            route_table_ids=self.route_tables["private"],
            policy_document={"Version": "2012-10-17", "Statement": statements},
        )

    def _flow_logs(self) -> None:
        group = log_group(self, "FlowLog", "flow", self.config.key_arn)
        role = writer_role(self, "FlowRole", "vpc-flow-logs.amazonaws.com", group)
        whole = [("VPC", self.vpc_id)] if not self.config.existing else []
        parts = whole or [("Subnet", subnet) for subnets in self.subnets.values() for subnet in subnets]
        for i, (kind, resource) in enumerate(parts):
            ec2.CfnFlowLog(
                self,
                f"Flow{i}",
                resource_type=kind,
                resource_id=resource,
                traffic_type="REJECT",  # what the groups refuse; all traffic would cost more than the rest of the network
                log_group_name=group.ref,
                deliver_logs_permission_arn=role.role_arn,
            )


def _statement(sid: str, actions: list[str], buckets: list[str]) -> dict[str, object]:
    resources = [f"arn:{Aws.PARTITION}:s3:::{name}{end}" for name in buckets for end in ("", "/*")]
    return {"Sid": sid, "Effect": "Allow", "Principal": "*", "Action": actions, "Resource": resources}
