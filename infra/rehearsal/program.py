"""What the program does by itself on AWS, as steps that a story asks for and waits for.

Belongs here: commands in the client Region's container, and what they must bring about. Does not belong here: the order of
steps (rehearse), tasks and processes (stage).
"""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from pathlib import Path
from time import monotonic

from infra.rehearsal.stage import Stage
from xdask_pipelines.topology.aws_names import (
    DAGSTER_SERVICE,
    SCHEDULER_HOST,
    SCHEDULER_SERVICE,
    ZONE,
)

#: Container of the client Region in which people's commands run.
_CONTAINER = "code"
#: How long the program may take to see a new address of the scheduler, and to start pools.
_RECORD_SECONDS, _POOL_SECONDS, _ZERO_SECONDS = 90.0, 180.0, 900.0


class Program:
    """The program with profile aws: its controller keeps the record and sizes the pools.

    Parameters
    ----------
    stage
        Where it runs.
    """

    def __init__(self, stage: Stage) -> None:
        self.stage = stage
        self.client = stage.topology.client.region

    @property
    def family(self) -> str:
        """Task family with Dagster's containers: at stage small that of the scheduler."""
        names = {
            properties["Family"]
            for stack in self.stage.stacks
            for properties in stack.of_type("AWS::ECS::TaskDefinition").values()
        }
        return DAGSTER_SERVICE if DAGSTER_SERVICE in names else SCHEDULER_SERVICE

    def name_scheduler(self) -> float:
        """Wait for the controller in Dagster's daemon, which keeps the record."""
        return self.stage.wait(
            lambda: self._recorded() == self._scheduler_address(),
            _RECORD_SECONDS,
            f"{SCHEDULER_HOST} leads to its task",
        )

    def sync(self) -> str:
        """Sync while every pool is at zero: by the sync executor of each Region."""
        return self.run("xdask", "sync")

    def start_pools(self) -> float:
        """Ask for the scheduler; the controller starts a pool from zero when a run needs it."""
        began = monotonic()
        self.run("xdask", "pools", "up")
        return monotonic() - began

    def run(self, *words: str) -> str:
        """Run a command in the container of Dagster's code."""
        return self.stage.run(self.client, self.family, _CONTAINER, *words)

    def begin(self, log: Path, *words: str) -> subprocess.Popen[bytes]:
        """Begin a command in the container of Dagster's code."""
        return self.stage.task(self.client, self.family).begin(_CONTAINER, words, log)

    def stop_pools(self) -> float:
        """Wait until the controller has brought all idle pools to zero, and their instances have ended."""
        return self._wait_for_zero(_ZERO_SECONDS)

    def _wait_for_zero(self, seconds: float) -> float:
        instances = self.stage.agent.instances.values()
        return self.stage.wait(lambda: not any(each.running for each in instances), seconds, "every pool is at zero")

    def _scheduler_address(self) -> str:
        running: Sequence[str] = [
            task.interface.address for task in self.stage.agent.running(self.client, SCHEDULER_SERVICE)
        ]
        return running[0] if len(running) == 1 else "no single task"

    def _recorded(self) -> str:
        route53 = self.stage.clients.of("route53", self.client)
        for zone in route53.list_hosted_zones_by_name(DNSName=ZONE)["HostedZones"]:
            for record in route53.list_resource_record_sets(HostedZoneId=zone["Id"])["ResourceRecordSets"]:
                if record["Name"].rstrip(".") == SCHEDULER_HOST:
                    return str(record["ResourceRecords"][0]["Value"])
        return ""
