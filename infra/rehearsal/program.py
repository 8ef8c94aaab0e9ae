"""What the program does by itself on AWS, as steps that a story asks for and waits for.

Belongs here: commands in the client Region's container, and what they must bring about. Does not belong here: the order of
steps (rehearse), tasks and processes (stage).
"""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from pathlib import Path
from time import monotonic
from typing import Protocol

from infra.rehearsal.stage import Stage
from xdask_pipelines.topology.aws_names import (
    DAGSTER_SERVICE,
    SCHEDULER_HOST,
    SCHEDULER_SERVICE,
    ZONE,
    cluster_name,
    pool_service,
)

#: Container of the client Region in which people's commands run.
_CONTAINER = "code"
#: How long the program may take to see a new address of the scheduler, and to start pools.
_RECORD_SECONDS, _POOL_SECONDS, _ZERO_SECONDS = 90.0, 180.0, 900.0


class Program(Protocol):
    """The program as a story sees it."""

    stage: Stage
    #: What the sync shows, as the table names it.
    sync_step: str

    def name_scheduler(self) -> float:
        """Wait until the scheduler's name leads to its task; the seconds that it took."""

    def sync(self) -> str:
        """Sync all datasets; what was printed."""

    def start_pools(self) -> float:
        """Let pools start from zero, at once or when a run needs them; the seconds that it took."""

    def run(self, *words: str) -> str:
        """Run a command of people to its end; what it printed."""

    def begin(self, log: Path, *words: str) -> subprocess.Popen[bytes]:
        """Begin a command of people, whose output goes to a file."""

    def stop_pools(self) -> float:
        """Let every pool go to zero; the seconds that it took."""


class AwsProgram:
    """The program with profile aws: its controller keeps the record and sizes the pools.

    Parameters
    ----------
    stage
        Where it runs.
    """

    sync_step = "sync with every pool at zero"

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

    def _wait_for_pools(self) -> float:
        regions = self.stage.topology.worker_regions
        return self.stage.wait(
            lambda: all(self.stage.agent.running(region, pool_service(region)) for region in regions),
            _POOL_SECONDS,
            "every pool has an instance",
        )

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


class HandsProgram(AwsProgram):
    """The program with profile attached: what the controller does with profile aws is done by hand, and syncs use pools."""

    sync_step = "pools start from zero, and sync"

    def sync(self) -> str:
        """Start the pools, and sync on them."""
        self.start_pools()
        return super().sync()

    def name_scheduler(self) -> float:
        """Write the record."""
        address = self.stage.task(self.client, SCHEDULER_SERVICE).interface.address
        route53 = self.stage.clients.of("route53", self.client)
        zone = route53.list_hosted_zones_by_name(DNSName=ZONE)["HostedZones"][0]["Id"]
        record = {"Name": SCHEDULER_HOST, "Type": "A", "TTL": 10, "ResourceRecords": [{"Value": address}]}
        changes = [{"Action": "UPSERT", "ResourceRecordSet": record}]
        route53.change_resource_record_sets(HostedZoneId=zone, ChangeBatch={"Changes": changes})
        return super().name_scheduler()

    def start_pools(self) -> float:
        """Set desired counts."""
        self._scale(1)
        return self._wait_for_pools() + self.stage.wait(self._answer, _POOL_SECONDS, "every pool answers")

    def stop_pools(self) -> float:
        """Set desired counts to zero."""
        self._scale(0)
        return self._wait_for_zero(60.0)

    def _answer(self) -> bool:
        task = self.stage.task(self.client, self.family)
        return task.run(_CONTAINER, ["xdask", "pools", "status"], 60).returncode == 0

    def _scale(self, desired: int) -> None:
        for region in self.stage.topology.worker_regions:
            self.stage.scale(region, cluster_name(region), pool_service(region), desired)
