"""The EC2 instances that run the tasks of a worker Region.

Belongs here: launch template, Auto Scaling group, capacity provider, and what their set-up script gets. Does not belong
here: the script (worker_host.sh), tasks (pool).
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import aws_cdk as cdk
from aws_cdk import aws_autoscaling as autoscaling
from aws_cdk import aws_ec2 as ec2
from aws_cdk import aws_ecs as ecs
from constructs import Construct

from infra.constructs.results import USER_ID
from xdask_pipelines.topology import aws_names
from xdask_pipelines.topology.stanzas import Dataset

_SCRIPT = Path(__file__).with_name("worker_host.sh")
#: The newest image is looked up whenever an instance starts, so that hosts are patched without a deployment.
_IMAGE = "resolve:ssm:/aws/service/ecs/optimized-ami/amazon-linux-2023/recommended/image_id"
_ROOT_GIB = 40


@dataclass(frozen=True)
class HostConfig:
    """The hosts of one Region.

    Attributes
    ----------
    region
        The Region.
    instance_type, spot, most
        Of the instances, and how many there may be.
    subnets, public_address, security_group
        Network of the hosts; tasks have a network of their own.
    results_file_system, results_access_point
        What is mounted at ``/mnt/results``.
    datasets
        What is mounted below ``/mnt/data``.
    lustre_name
        Name of the file system to mount in place of the buckets; empty at stage small.
    alarm_topic
        ARN of the topic that hears of launches that failed.
    """

    region: str
    instance_type: str
    spot: bool
    most: int
    subnets: Sequence[str]
    public_address: bool
    security_group: str
    results_file_system: str
    results_access_point: str
    datasets: Sequence[Dataset]
    lustre_name: str
    alarm_topic: str


def mount_lines(datasets: Sequence[Dataset]) -> str:
    """Return one line for each mount from a bucket: folder, bucket, prefix and options, separated by bars."""
    lines = []
    for dataset in datasets:
        if dataset.source:
            bucket, _, prefix = dataset.source.removeprefix("s3://").partition("/")
            prefix = prefix and prefix.rstrip("/") + "/"
            lines.append("|".join((dataset.mount, bucket, prefix, "--no-sign-request" if dataset.anonymous else "")))
    return "\n".join(lines)


def with_settings(script: Path, settings: Mapping[str, str]) -> str:
    """Return a shell script with its settings as variables after its first line."""
    first, _, rest = script.read_text("utf-8").partition("\n")
    # What is known only when a stack is deployed are ids of AWS, which need no quotes.
    variables = [
        f"{name}={value if cdk.Token.is_unresolved(value) else shlex.quote(value)}" for name, value in settings.items()
    ]
    return "\n".join((first, *variables, rest))


class WorkerHosts(Construct):
    """Instances that start when tasks need them, and end when none does.

    Attributes
    ----------
    provider
        Capacity provider of ECS.
    group
        Auto Scaling group.
    """

    def __init__(self, scope: Construct, id_: str, config: HostConfig) -> None:
        super().__init__(scope, id_)
        name = aws_names.capacity_provider(config.region)
        script = with_settings(
            _SCRIPT,
            {
                "REGION": config.region,
                "CLUSTER": aws_names.cluster_name(config.region),
                "LOG_GROUP": aws_names.log_group("host"),
                "USER_ID": USER_ID,
                "TLS_SECRET": aws_names.TLS_SECRET,
                "LUSTRE_NAME": config.lustre_name,
                "MOUNTS": mount_lines(config.datasets),
                "RESULTS_FILE_SYSTEM": config.results_file_system,
                "RESULTS_ACCESS_POINT": config.results_access_point,
            },
        )
        template = ec2.CfnLaunchTemplate(
            self, "Template", launch_template_name=name, launch_template_data=self._data(config, script)
        )
        template.apply_removal_policy(cdk.RemovalPolicy.DESTROY)
        self.group = autoscaling.CfnAutoScalingGroup(
            self,
            "Group",
            auto_scaling_group_name=name,
            min_size="0",
            max_size=str(config.most),
            vpc_zone_identifier=list(config.subnets),
            launch_template=autoscaling.CfnAutoScalingGroup.LaunchTemplateSpecificationProperty(
                launch_template_id=template.ref, version=template.attr_latest_version_number
            ),
            new_instances_protected_from_scale_in=True,  # the capacity provider ends them, once their tasks have ended
            capacity_rebalance=config.spot,
            notification_configurations=[
                autoscaling.CfnAutoScalingGroup.NotificationConfigurationProperty(
                    topic_arn=config.alarm_topic,
                    notification_types=[
                        "autoscaling:EC2_INSTANCE_LAUNCH_ERROR",
                        "autoscaling:EC2_INSTANCE_TERMINATE_ERROR",
                    ],
                )
            ],
        )
        self.group.apply_removal_policy(cdk.RemovalPolicy.DESTROY)
        self.provider = ecs.CfnCapacityProvider(
            self,
            "Provider",
            name=name,
            auto_scaling_group_provider=ecs.CfnCapacityProvider.AutoScalingGroupProviderProperty(
                auto_scaling_group_arn=self.group.attr_auto_scaling_group_arn,
                managed_scaling=ecs.CfnCapacityProvider.ManagedScalingProperty(
                    status="ENABLED", target_capacity=100, instance_warmup_period=120
                ),
                managed_termination_protection="ENABLED",
                managed_draining="ENABLED",
            ),
        )

    def _data(self, config: HostConfig, script: str) -> ec2.CfnLaunchTemplate.LaunchTemplateDataProperty:
        Template = ec2.CfnLaunchTemplate  # noqa: N806
        disk = Template.EbsProperty(
            volume_size=_ROOT_GIB, volume_type="gp3", encrypted=True, delete_on_termination=True
        )
        interface = Template.NetworkInterfaceProperty(
            device_index=0,
            associate_public_ip_address=config.public_address,
            groups=[config.security_group],
            delete_on_termination=True,
        )
        return Template.LaunchTemplateDataProperty(
            image_id=_IMAGE,
            instance_type=config.instance_type,
            iam_instance_profile=Template.IamInstanceProfileProperty(name=aws_names.role_name("host", config.region)),
            instance_initiated_shutdown_behavior="terminate",
            instance_market_options=Template.InstanceMarketOptionsProperty(market_type="spot") if config.spot else None,
            metadata_options=Template.MetadataOptionsProperty(http_tokens="required", http_put_response_hop_limit=1),
            monitoring=Template.MonitoringProperty(enabled=False),  # a minute's resolution costs, and is of no use here
            block_device_mappings=[Template.BlockDeviceMappingProperty(device_name="/dev/xvda", ebs=disk)],
            network_interfaces=[interface],
            user_data=cdk.Fn.base64(script),
            tag_specifications=[
                Template.TagSpecificationProperty(
                    resource_type=kind,
                    tags=[
                        cdk.CfnTag(key="Name", value=aws_names.capacity_provider(config.region)),
                        cdk.CfnTag(key=aws_names.PREFIX, value="worker"),
                    ],
                )
                for kind in ("instance", "volume")
            ],
        )
