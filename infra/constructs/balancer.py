"""The load balancer by which members read Dagster (stage full).

Belongs here: listener, log-in by OIDC, access log. Does not belong here: what members may do: the pages behind it only read.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from aws_cdk import aws_elasticloadbalancingv2 as elb
from constructs import Construct

from xdask_pipelines.topology.aws_names import PREFIX, UI_PORT
from xdask_pipelines.topology.aws_stanza import Access

_SESSION_SECONDS = 12 * 3600


@dataclass(frozen=True)
class BalancerConfig:
    """The load balancer.

    Attributes
    ----------
    access
        Host, certificate and identity provider.
    vpc_id, subnets, security_group
        Its network; public subnets of two zones.
    log_bucket
        Name of the bucket of its access log.
    """

    access: Access
    vpc_id: str
    subnets: Sequence[str]
    security_group: str
    log_bucket: str


class Balancer(Construct):
    """A load balancer whose only listener asks for a log-in before it forwards anything.

    Attributes
    ----------
    targets
        Target group of Dagster's read-only pages.
    listener
        A service may register targets once it is there.
    """

    def __init__(self, scope: Construct, id_: str, config: BalancerConfig) -> None:
        super().__init__(scope, id_)
        balancer = elb.CfnLoadBalancer(
            self,
            "Balancer",
            name=PREFIX,
            type="application",
            scheme="internet-facing",
            subnets=list(config.subnets),
            security_groups=[config.security_group],
            load_balancer_attributes=[
                elb.CfnLoadBalancer.LoadBalancerAttributeProperty(key=key, value=value)
                for key, value in {
                    "access_logs.s3.enabled": "true",
                    "access_logs.s3.bucket": config.log_bucket,
                    "access_logs.s3.prefix": "balancer",
                    "routing.http.drop_invalid_header_fields.enabled": "true",
                    "routing.http.desync_mitigation_mode": "strictest",
                    "deletion_protection.enabled": "false",
                }.items()
            ],
        )
        self.targets = elb.CfnTargetGroup(
            self,
            "Targets",
            name=PREFIX,
            vpc_id=config.vpc_id,
            target_type="ip",
            protocol="HTTP",
            port=UI_PORT,
            health_check_path="/server_info",
            health_check_interval_seconds=30,
            matcher=elb.CfnTargetGroup.MatcherProperty(http_code="200"),
            target_group_attributes=[
                elb.CfnTargetGroup.TargetGroupAttributeProperty(key="deregistration_delay.timeout_seconds", value="10")
            ],
        )
        oidc = config.access.oidc
        log_in = elb.CfnListener.AuthenticateOidcConfigProperty(
            issuer=oidc.issuer,
            authorization_endpoint=oidc.authorization_endpoint,
            token_endpoint=oidc.token_endpoint,
            user_info_endpoint=oidc.user_info_endpoint,
            client_id=oidc.client_id,
            client_secret=f"{{{{resolve:secretsmanager:{oidc.client_secret}:SecretString}}}}",
            on_unauthenticated_request="authenticate",
            session_timeout=str(_SESSION_SECONDS),
        )
        self.listener = elb.CfnListener(
            self,
            "Listener",
            load_balancer_arn=balancer.ref,
            protocol="HTTPS",
            port=443,
            ssl_policy="ELBSecurityPolicy-TLS13-1-2-2021-06",
            certificates=[elb.CfnListener.CertificateProperty(certificate_arn=config.access.certificate)],
            default_actions=[
                elb.CfnListener.ActionProperty(type="authenticate-oidc", order=1, authenticate_oidc_config=log_in),
                elb.CfnListener.ActionProperty(type="forward", order=2, target_group_arn=self.targets.ref),
            ],
        )
