"""Alarms of one Region, and the topic by which people hear of them.

Belongs here: topic, subscription, thresholds. Does not belong here: publishing the figures (the controller in Dagster's
daemon), the dashboard (dashboard).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import aws_cdk as cdk
from aws_cdk import aws_cloudwatch as cloudwatch
from aws_cdk import aws_sns as sns
from constructs import Construct

from xdask_pipelines.topology.aws_names import ALARM_TOPIC, METRICS_NAMESPACE, PREFIX


@dataclass(frozen=True)
class Threshold:
    """One alarm.

    Attributes
    ----------
    name
        Last part of its name.
    namespace, metric, dimensions, statistic
        What is watched.
    comparison, value
        When it rings, such as ``>`` and 50.
    minutes
        For how long.
    message
        What it means, and what to do.
    silence_rings
        Whether missing figures ring too.
    """

    name: str
    metric: str
    comparison: str
    value: float
    minutes: int
    message: str
    dimensions: Mapping[str, str]
    namespace: str = METRICS_NAMESPACE
    statistic: str = "Average"
    silence_rings: bool = False

    def renamed(self, name: str) -> Threshold:
        """Return the same alarm with another name."""
        return replace(self, name=name)


_COMPARISONS = {
    ">": "GreaterThanThreshold",
    "<": "LessThanThreshold",
    ">=": "GreaterThanOrEqualToThreshold",
}


def of_worker_region(region: str) -> list[Threshold]:
    """Return the alarms of a worker Region."""
    place = {"Region": region}
    return [
        Threshold(
            "queue",
            "QueuedTasks",
            ">",
            50,
            15,
            "Tasks wait for workers: raise max_workers, or look why none starts",
            place,
        ),
        Threshold(
            "pool-below-desired",
            "MissingInstances",
            ">",
            0,
            15,
            "Instances do not start: see the events of the pool's service, and the log of its hosts",
            place,
        ),
        Threshold(
            "memory",
            "MemoryPercent",
            ">",
            85,
            10,
            "Workers spill to disk: choose an instance type with more memory, or smaller chunks",
            place,
        ),
        Threshold("cpu", "CpuPercent", ">", 85, 60, "The pool is busy for an hour: raise max_workers", place),
        Threshold(
            "disk", "DiskPercent", ">", 85, 10, "The spill disk fills: choose an instance type with more NVMe", place
        ),
        Threshold(
            "sync-late",
            "HoursSinceSync",
            ">",
            30,
            60,
            "No sync of this Region succeeded for 30 hours: see the run nightly_sync in Dagster",
            place,
            statistic="Maximum",
        ),
    ]


def of_client_region(region: str) -> list[Threshold]:
    """Return the alarms of the client Region."""
    return [
        Threshold(
            "scheduler-down",
            "SchedulerUp",
            "<",
            1,
            15,
            "The scheduler does not run, or Dagster's daemon does not see it: see the events of its service, and its log",
            {"Region": region},
            statistic="Minimum",
            silence_rings=True,
        ),
        Threshold(
            "failed-syncs",
            "FailedSyncs",
            ">",
            0,
            5,
            "A sync failed: see the run in Dagster; its message says what to do",
            {"Region": region},
            statistic="Sum",
        ),
        Threshold(
            "certificates",
            "CertificateDays",
            "<",
            30,
            60,
            "TLS certificates expire in less than 30 days: run `xdask certs --aws`, then restart the services",
            {"Region": region},
            statistic="Minimum",
        ),
        Threshold(
            "catalog-disk",
            "FreeStorageSpace",
            "<",
            2_000,
            60,
            "The disk of the catalog fills: raise search.volume_gib in regions.yaml, and deploy",
            {"DomainName": PREFIX, "ClientId": cdk.Aws.ACCOUNT_ID},
            namespace="AWS/ES",
            statistic="Minimum",
        ),
        Threshold(
            "history-disk",
            "FreeStorageSpace",
            "<",
            2e9,
            60,
            "The disk of the history fills: delete old runs in Dagster, or raise the storage",
            {"DBInstanceIdentifier": PREFIX},
            namespace="AWS/RDS",
            statistic="Minimum",
        ),
    ]


class Alarms(Construct):
    """A topic with one subscription, and the alarms that publish to it.

    Parameters
    ----------
    scope, id_
        As for every construct.
    email
        Who hears of them; AWS asks this address once for its consent.
    key_arn
        KMS key of the messages.
    thresholds
        The alarms.
    """

    def __init__(self, scope: Construct, id_: str, email: str, key_arn: str, thresholds: list[Threshold]) -> None:
        super().__init__(scope, id_)
        topic = sns.CfnTopic(self, "Topic", topic_name=ALARM_TOPIC, kms_master_key_id=key_arn)
        sns.CfnSubscription(self, "Email", topic_arn=topic.ref, protocol="email", endpoint=email)
        sns.CfnTopicPolicy(self, "Policy", topics=[topic.ref], policy_document=_policy(topic.ref))
        self.topic_arn = topic.ref
        for each in thresholds:
            self._alarm(each)

    def _alarm(self, each: Threshold) -> None:
        alarm = cloudwatch.CfnAlarm(
            self,
            "".join(word.title() for word in each.name.split("-")),
            alarm_name=f"{PREFIX}-{each.name}",
            alarm_description=each.message,
            namespace=each.namespace,
            metric_name=each.metric,
            dimensions=[
                cloudwatch.CfnAlarm.DimensionProperty(name=name, value=value) for name, value in each.dimensions.items()
            ],
            statistic=each.statistic,
            period=300,
            evaluation_periods=max(1, each.minutes // 5),
            comparison_operator=_COMPARISONS[each.comparison],
            threshold=each.value,
            treat_missing_data="breaching" if each.silence_rings else "notBreaching",
            alarm_actions=[self.topic_arn],
            ok_actions=[self.topic_arn],
        )
        alarm.apply_removal_policy(cdk.RemovalPolicy.DESTROY)


def _policy(topic: str) -> dict[str, object]:
    own = {"StringEquals": {"aws:SourceAccount": cdk.Aws.ACCOUNT_ID}}
    services = ["cloudwatch.amazonaws.com", "budgets.amazonaws.com"]  # Auto Scaling publishes as a role of the account
    return {
        "Version": "2012-10-17",
        "Statement": [
            {
                "Sid": "Publish",
                "Effect": "Allow",
                "Principal": {"Service": services},
                "Action": "sns:Publish",
                "Resource": topic,
                "Condition": own,
            },
            {
                "Sid": "OnlyTls",
                "Effect": "Deny",
                "Principal": "*",
                "Action": "sns:Publish",
                "Resource": topic,
                "Condition": {"Bool": {"aws:SecureTransport": "false"}},
            },
        ],
    }
