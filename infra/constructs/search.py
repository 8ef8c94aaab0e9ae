"""The OpenSearch domain of the catalog.

Belongs here: the domain, who may use it, its slow logs. Does not belong here: indices (catalog).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import aws_cdk as cdk
from aws_cdk import aws_logs as logs
from aws_cdk import aws_opensearchservice as opensearch
from constructs import Construct

from infra.constructs.logs import log_group
from xdask_pipelines.topology.aws_names import SEARCH_DOMAIN
from xdask_pipelines.topology.aws_names import log_group as log_group_name

VERSION = "OpenSearch_3.5"
_SLOW = ("SEARCH_SLOW_LOGS", "INDEX_SLOW_LOGS", "ES_APPLICATION_LOGS")


@dataclass(frozen=True)
class SearchConfig:
    """The domain.

    Attributes
    ----------
    instance_type, nodes, volume_gib
        Its nodes.
    subnets, security_group
        Of its network interfaces; one subnet for one node, two for more.
    key_arn
        KMS key of data and logs.
    users
        ARNs of the roles that use it.
    master
        ARN of the role that administers it with fine-grained access control; None to leave that off.
    """

    instance_type: str
    nodes: int
    volume_gib: int
    subnets: Sequence[str]
    security_group: str
    key_arn: str
    users: Sequence[str]
    master: str | None


class Search(Construct):
    """A domain that is reached by HTTPS in its VPC alone.

    Attributes
    ----------
    endpoint
        Host name.
    """

    def __init__(self, scope: Construct, id_: str, config: SearchConfig) -> None:
        super().__init__(scope, id_)
        group = log_group(self, "Log", "catalog", config.key_arn)
        allowed = logs.CfnResourcePolicy(
            self,
            "LogPolicy",
            policy_name=f"{SEARCH_DOMAIN}-catalog",
            policy_document=cdk.Stack.of(self).to_json_string(_may_log(self)),
        )
        zones = config.nodes > 1
        domain = opensearch.CfnDomain(
            self,
            "Domain",
            domain_name=SEARCH_DOMAIN,
            engine_version=VERSION,
            cluster_config=opensearch.CfnDomain.ClusterConfigProperty(
                instance_type=config.instance_type,
                instance_count=config.nodes,
                zone_awareness_enabled=zones,
                zone_awareness_config=opensearch.CfnDomain.ZoneAwarenessConfigProperty(availability_zone_count=2)
                if zones
                else None,
                multi_az_with_standby_enabled=False,
            ),
            ebs_options=opensearch.CfnDomain.EBSOptionsProperty(
                ebs_enabled=True, volume_type="gp3", volume_size=config.volume_gib
            ),
            vpc_options=opensearch.CfnDomain.VPCOptionsProperty(
                subnet_ids=list(config.subnets[: 2 if zones else 1]), security_group_ids=[config.security_group]
            ),
            encryption_at_rest_options=opensearch.CfnDomain.EncryptionAtRestOptionsProperty(
                enabled=True, kms_key_id=config.key_arn
            ),
            node_to_node_encryption_options=opensearch.CfnDomain.NodeToNodeEncryptionOptionsProperty(enabled=True),
            domain_endpoint_options=opensearch.CfnDomain.DomainEndpointOptionsProperty(
                enforce_https=True, tls_security_policy="Policy-Min-TLS-1-2-PFS-2023-10"
            ),
            advanced_security_options=_fine_grained(config.master),
            access_policies=_access(self, config.users),
            log_publishing_options={
                kind: opensearch.CfnDomain.LogPublishingOptionProperty(
                    cloud_watch_logs_log_group_arn=group.attr_arn, enabled=True
                )
                for kind in _SLOW
            },
            software_update_options=opensearch.CfnDomain.SoftwareUpdateOptionsProperty(
                auto_software_update_enabled=True
            ),
        )
        domain.node.add_dependency(allowed)
        # What it holds can be found again by a sync, and results are catalogued again from their stores.
        domain.apply_removal_policy(cdk.RemovalPolicy.DESTROY)
        self.endpoint = domain.attr_domain_endpoint


def _fine_grained(master: str | None) -> Any:
    if master is None:
        return None
    return opensearch.CfnDomain.AdvancedSecurityOptionsInputProperty(
        enabled=True,
        internal_user_database_enabled=False,
        master_user_options=opensearch.CfnDomain.MasterUserOptionsProperty(master_user_arn=master),
    )


def _access(scope: Construct, users: Sequence[str]) -> dict[str, Any]:
    stack = cdk.Stack.of(scope)
    arn = f"arn:{stack.partition}:es:{stack.region}:{stack.account}:domain/{SEARCH_DOMAIN}/*"
    return {
        "Version": "2012-10-17",
        "Statement": [{"Effect": "Allow", "Principal": {"AWS": list(users)}, "Action": "es:ESHttp*", "Resource": arn}],
    }


def _may_log(scope: Construct) -> dict[str, Any]:
    stack = cdk.Stack.of(scope)
    arn = f"arn:{stack.partition}:logs:{stack.region}:{stack.account}:log-group:{log_group_name('catalog')}:*"
    return {
        "Version": "2012-10-17",
        "Statement": [
            {
                "Effect": "Allow",
                "Principal": {"Service": "es.amazonaws.com"},
                "Action": ["logs:PutLogEvents", "logs:CreateLogStream"],
                "Resource": arn,
                "Condition": {"StringEquals": {"aws:SourceAccount": stack.account}},
            }
        ],
    }
