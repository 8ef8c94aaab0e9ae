"""Alarms and dashboard name the figures that the controller publishes."""

from __future__ import annotations

import json
import re

from infra.constructs.alarms import of_client_region, of_worker_region
from infra.constructs.dashboard import dashboard_body
from tests.infra.conftest import Synthesized
from xdask_pipelines.placement.scheduler.backlog import EMPTY
from xdask_pipelines.resources.aws.pool_metrics import PoolFigures
from xdask_pipelines.topology.aws_names import METRICS_NAMESPACE

#: Figures of the client Region, which the controller and the sensor of failed syncs publish.
OF_CLIENT = {"SchedulerUp", "CertificateDays", "FailedSyncs"}


def published() -> set[str]:
    busy = {**EMPTY, "workers": 1, "memory_bytes": 1, "threads": 1}
    figures = PoolFigures(1, 1, busy, 0, 1.0).metrics("us-east-1")
    return {figure["MetricName"] for figure in figures}


def test_every_alarm_is_of_a_figure_that_somebody_publishes() -> None:
    assert {each.metric for each in of_worker_region("us-east-1")} <= published()
    ours = {each.metric for each in of_client_region("eu-west-2") if each.namespace == METRICS_NAMESPACE}
    assert ours == OF_CLIENT


def test_every_plot_is_of_a_figure_that_the_controller_publishes() -> None:
    widgets = json.loads(dashboard_body("eu-west-2", ["us-east-1", "us-west-2"]))["widgets"]
    metrics = [metric for widget in widgets for metric in widget["properties"]["metrics"]]
    assert len(metrics) == 12
    assert {name for _, name, _, _ in metrics} <= published()


def test_every_alarm_says_what_to_do(small: Synthesized) -> None:
    for alarm in small.assembly.of_type("AWS::CloudWatch::Alarm"):
        text = alarm.properties["AlarmDescription"]
        assert re.search(r": (see|raise|choose|look|run|delete) ", text), text
