"""Alarms of one Region; in the client's, the dashboard over all Regions and the budget too."""

from __future__ import annotations

from aws_cdk import aws_budgets as budgets
from aws_cdk import aws_cloudwatch as cloudwatch
from constructs import Construct

from infra.constructs.alarms import Alarms, Threshold, of_client_region, of_worker_region
from infra.constructs.dashboard import dashboard_body
from infra.stacks.region_stack import RegionStack
from xdask_pipelines.topology import Topology, aws_names

_WARN_PERCENT = (80, 100)


class AlarmsStack(RegionStack):
    """What watches, and never changes anything.

    Alarms of figures that the controller publishes are in the client Region, where it publishes them. A worker Region has
    the topic of its Auto Scaling group alone.
    """

    def __init__(self, scope: Construct, topology: Topology, region: str, key_arn: str) -> None:
        super().__init__(scope, "alarms", topology, region)
        thresholds: list[Threshold] = []
        if self.is_client:
            thresholds += of_client_region(region)
            for worker in topology.worker_regions:
                thresholds += [each.renamed(f"{each.name}-{worker}") for each in of_worker_region(worker)]
        alarms = Alarms(self, "Alarms", self.aws.alarms_to, key_arn, thresholds)
        if self.is_client:
            cloudwatch.CfnDashboard(
                self,
                "Dashboard",
                dashboard_name=aws_names.PREFIX,
                dashboard_body=dashboard_body(region, topology.worker_regions),
            )
            self._budget(alarms.topic_arn)

    def _budget(self, topic: str) -> None:
        """Create the budget of everything that carries the tag."""
        subscriber = budgets.CfnBudget.SubscriberProperty(address=topic, subscription_type="SNS")
        budgets.CfnBudget(
            self,
            "Budget",
            budget=budgets.CfnBudget.BudgetDataProperty(
                budget_name=aws_names.PREFIX,
                budget_type="COST",
                time_unit="MONTHLY",
                budget_limit=budgets.CfnBudget.SpendProperty(amount=self.aws.budget_usd, unit="USD"),
                cost_filters={"TagKeyValue": [f"user:{aws_names.PREFIX}:stage${self.aws.stage}"]},
            ),
            notifications_with_subscribers=[
                budgets.CfnBudget.NotificationWithSubscribersProperty(
                    notification=budgets.CfnBudget.NotificationProperty(
                        comparison_operator="GREATER_THAN",
                        notification_type="ACTUAL",
                        threshold=percent,
                        threshold_type="PERCENTAGE",
                    ),
                    subscribers=[subscriber],
                )
                for percent in _WARN_PERCENT
            ],
        )
