"""One CloudWatch dashboard over all Regions.

Belongs here: its widgets, as a document. Does not belong here: the figures (the controller), alarms (alarms).
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from xdask_pipelines.topology.aws_names import METRICS_NAMESPACE

_WIDTH, _HEIGHT = 12, 6
#: Title of a plot, its metric, and the unit on its axis.
_PLOTS = (
    ("Instances that run", "Instances", ""),
    ("Tasks that wait", "QueuedTasks", ""),
    ("Tasks that run", "RunningTasks", ""),
    ("Processors busy", "CpuPercent", "%"),
    ("Memory of workers", "MemoryPercent", "%"),
    ("Bytes from other Regions", "BytesReceived", "bytes in 5 minutes"),
)


def dashboard_body(client: str, workers: Sequence[str]) -> str:
    """Return the document of the dashboard: one plot for each figure, with a line for each Region."""
    widgets: list[dict[str, Any]] = []
    for i, (title, metric, unit) in enumerate(_PLOTS):
        widgets.append(
            {
                "type": "metric",
                "x": _WIDTH * (i % 2),
                "y": _HEIGHT * (i // 2),
                "width": _WIDTH,
                "height": _HEIGHT,
                "properties": {
                    "title": title,
                    "region": client,
                    "view": "timeSeries",
                    "stat": "Average",
                    "period": 300,
                    "metrics": [[METRICS_NAMESPACE, metric, "Region", region] for region in workers],
                    "yAxis": {"left": {"min": 0, "label": unit}},
                },
            }
        )
    return json.dumps({"widgets": widgets})
