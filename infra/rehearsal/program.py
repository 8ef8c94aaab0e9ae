"""What the program does by itself on AWS, as steps that a story asks for and waits for.

Belongs here: commands in the client Region's container, and what they must bring about. Does not belong here: the order of
steps (rehearse), tasks and processes (stage).
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from infra.deployment.cdk_stacks import of_kinds
from infra.rehearsal.stage import Stage, StoryFailed
from xdask_pipelines.schedules import SYNC_JOB
from xdask_pipelines.topology.aws_names import (
    DAGSTER_SERVICE,
    NOTEBOOK,
    SCHEDULER_HOST,
    SCHEDULER_SERVICE,
    ZONE,
)

#: Kinds of stacks that are deployed after the certificates are in their secret.
_SERVICES = ("lustre", "client", "worker", "notebook")
#: Container of the client Region in which people's commands run.
_CONTAINER = "code"
#: How long the program may take to see a new address of the scheduler, and to start pools.
_RECORD_SECONDS, _SYNC_SECONDS, _POOL_SECONDS, _ZERO_SECONDS = 300.0, 600.0, 600.0, 600.0
#: What a person does in a notebook.
_NOTEBOOK_CELL = """
from xdask_pipelines import open_project
project = open_project()
tas = project.open(dataset="cmip6", variable="tas", experiment_id="E1")
warmest = float(project.compute(tas.max()))
print(f"warmest {warmest:.1f} K, tasks in {dict(project.evidence.tasks_by_region)}")
project.close()
"""
#: What a person does on Dagster's pages: launch a run.
_LAUNCH = """
import sys
from dagster_graphql import DagsterGraphQLClient
run = DagsterGraphQLClient("127.0.0.1", port_number=3000).submit_job_execution("__ASSET_JOB", asset_selection=[sys.argv[1]])
print(run)
"""
_END = """
import sys
from dagster_graphql import DagsterGraphQLClient
DagsterGraphQLClient("127.0.0.1", port_number=3000).terminate_run(sys.argv[1])
"""
#: What its page shows afterwards.
_EVIDENCE = """
import json, sys
from dagster import AssetKey, DagsterInstance
with DagsterInstance.get() as instance:
    event = instance.get_latest_materialization_event(AssetKey(sys.argv[1]))
    print(json.dumps({"run": event.run_id, **event.asset_materialization.metadata["evidence"].value}))
"""


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

    def first_sync(self) -> float:
        """Wait for the sync that a sensor launches when nothing was synced yet: by the sync executor of each Region."""
        return self.stage.wait(lambda: self._succeeded(job_name=SYNC_JOB), _SYNC_SECONDS, "the first sync has ended")

    def launch(self, asset: str) -> str:
        """Launch a run that makes an asset, by Dagster's webserver; the id of the run."""
        return self.run("python", "-W", "ignore", "-c", _LAUNCH, asset).split()[-1]

    def computes(self, run: str) -> bool:
        """Return whether the process of a run has begun: before, no page can end it."""
        from dagster import DagsterRunStatus, RunsFilter

        found = self._history().get_runs(RunsFilter(run_ids=[run]))
        return any(each.status is DagsterRunStatus.STARTED for each in found)

    def end(self, run: str) -> None:
        """End a run, by Dagster's webserver."""
        self.run("python", "-W", "ignore", "-c", _END, run)

    def succeeded(self, run: str) -> bool:
        """Return whether a run has ended well.

        Raises
        ------
        StoryFailed
            It failed, or was cancelled.
        """
        return self._succeeded(run_ids=[run])

    def evidence(self, asset: str) -> dict[str, Any]:
        """Return the evidence of the last materialization of an asset, and the id of its run."""
        found: dict[str, Any] = json.loads(self.run("python", "-W", "ignore", "-c", _EVIDENCE, asset).splitlines()[-1])
        return found

    def _succeeded(self, **which: Any) -> bool:
        from dagster import DagsterRunStatus, RunsFilter

        runs = self._history().get_runs(RunsFilter(**which))
        if failed := [run for run in runs if run.status in (DagsterRunStatus.FAILURE, DagsterRunStatus.CANCELED)]:
            raise StoryFailed(
                f"The run {failed[0].run_id} of {failed[0].job_name} failed; see {self.stage.agent.logs}."
            )
        return any(run.status is DagsterRunStatus.SUCCESS for run in runs)

    def _history(self) -> Any:
        from dagster_postgres import PostgresRunStorage

        assert self.stage.postgres is not None
        return PostgresRunStorage(self.stage.postgres.url("dagster"), should_autocreate_tables=False)

    def start_scheduler(self) -> str:
        """Ask for the scheduler; the controller starts a pool from zero when a run needs it."""
        return self.run("xdask", "pools", "up")

    def deploy(self) -> None:
        """Deploy all stacks as a person does: certificates are stored before the services that read them."""
        names = [stack.name for stack in self.stage.stacks]
        services = of_kinds(names, _SERVICES)
        self.stage.deploy([name for name in names if name not in services])
        self.stage.command("certs", "--aws")
        self.stage.deploy(services)

    def doctor(self, *only: str) -> list[dict[str, str]]:
        """Examine the deployment from inside, some parts alone if they are named; what was found."""
        words = ["xdask", "doctor", "--aws", "--json", *(word for part in only for word in ("--only", part))]
        done = self.stage.task(self.client, self.family).run(_CONTAINER, words, 600)
        try:
            found: list[dict[str, str]] = json.loads(done.stdout)["findings"]
        except (ValueError, KeyError):
            raise StoryFailed(f"`xdask doctor --aws` failed:\n{done.stdout}\n{done.stderr}") from None
        return found

    def compute_in_notebook(self) -> str:
        """Start the notebook of a person, compute in it, stop it; what was printed."""
        self.stage.command("notebook", "start")
        notebook = self.stage.task(self.client, NOTEBOOK)
        done = notebook.run("notebook", ["python", "-W", "ignore", "-c", _NOTEBOOK_CELL], _POOL_SECONDS)
        if done.returncode:
            raise StoryFailed(f"The notebook's computation failed:\n{done.stdout}\n{done.stderr}")
        self.stage.command("notebook", "stop")
        self.stage.wait(lambda: not self.stage.agent.running(self.client, NOTEBOOK), 60, "the notebook has ended")
        return done.stdout.strip()

    def run(self, *words: str) -> str:
        """Run a command in the container of Dagster's code."""
        return self.stage.run(self.client, self.family, _CONTAINER, *words)

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
