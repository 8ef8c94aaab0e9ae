"""Starts the real processes of every ECS task that should run, and reports to the emulator those that ended.

Belongs here: the loop over Regions, clusters and services. Does not belong here: processes of one task (running_task),
network (task_networks), capacity (instances).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from threading import Event, RLock, Thread
from time import monotonic
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from infra.rehearsal.account.clients import EmulatedClients
from infra.rehearsal.account.ecs_answers import EcsAnswers
from infra.rehearsal.account.proxy import Proxy
from infra.rehearsal.account.templates import Stack
from infra.rehearsal.tasks.containers import Container
from infra.rehearsal.tasks.instances import Instances
from infra.rehearsal.tasks.running_task import RunningTask
from infra.rehearsal.tasks.surroundings import Surroundings
from infra.rehearsal.tasks.task_definitions import containers_of, definitions_of
from infra.rehearsal.tasks.task_metadata import TaskMetadata
from infra.rehearsal.tasks.task_networks import TaskNetwork
from xdask_pipelines.topology import Topology

#: Between two looks at all tasks: each takes about 15 calls, and most find nothing to do.
_PAUSE_SECONDS = 0.5
Say = Callable[[str], None]
Document = dict[str, Any]


@dataclass(frozen=True)
class AgentSettings:
    """How the agent runs tasks.

    Attributes
    ----------
    boot_seconds, fargate_seconds
        What an instance of EC2 and a task of Fargate take to start.
    idle_seconds
        How long an instance stays that has no task.
    environment
        Environment of containers of a Region, in place of that of the template.
    names
        Addresses by name that containers resolve, in addition to those of the hosted zone.
    """

    boot_seconds: float = 2.0
    fargate_seconds: float = 1.0
    idle_seconds: float = 5.0
    environment: Callable[[str], Mapping[str, str]] = lambda region: {}
    names: Callable[[], Mapping[str, str]] = dict


class Agent:
    """All tasks of all Regions.

    Parameters
    ----------
    proxy
        Gives the emulator and the states of tasks.
    network
        Gives tasks their interfaces.
    topology, stacks
        What is deployed.
    folder
        Of this rehearsal: logs, hosts, project, data and results.
    settings
        How tasks run.
    say
        Gets a line when a task starts or ends.
    file_system
        Returns the folder of a Region's file system, or None where buckets are mounted.
    """

    def __init__(
        self,
        proxy: Proxy,
        network: TaskNetwork,
        topology: Topology,
        stacks: Sequence[Stack],
        folder: Path,
        settings: AgentSettings | None = None,
        say: Say = lambda line: None,
        file_system: Callable[[str], Path | None] = lambda region: None,
    ) -> None:
        self._proxy, self._network, self._topology, self._say = proxy, network, topology, say
        self._settings, self._states = settings or AgentSettings(), proxy.states
        self._clients = EmulatedClients(url=proxy.emulator.url)
        self._ecs_answers = EcsAnswers(self._clients, self._states)
        self._definitions = definitions_of(stacks)
        self._tasks: dict[str, RunningTask] = {}
        self._described: dict[str, Document] = {}
        self._lock, self._stop = RLock(), Event()
        self._fargate_since: dict[str, float] = {}
        self.instances = {region: self._instances(stacks, region) for region in topology.worker_regions}
        self.failures: list[str] = []
        self._root, self.logs = folder / "root", folder / "logs"
        for each in (self._root, self.logs):
            each.mkdir(exist_ok=True, parents=True)
        self.metadata = TaskMetadata(self._metadata, self._role)
        self._around = Surroundings(proxy, network, topology, folder, self.metadata, file_system, self._settings.names)

    def _instances(self, stacks: Sequence[Stack], region: str) -> Instances:
        groups = [g for stack in stacks if stack.region == region
                  for g in stack.of_type("AWS::AutoScaling::AutoScalingGroup").values()]  # fmt: skip
        most = max((int(group["MaxSize"]) for group in groups), default=0)
        return Instances(most, self._settings.boot_seconds, self._settings.idle_seconds)

    # ---- the loop -----------------------------------------------------------------------------------------------------

    def run(self) -> None:
        """Look after all Regions until `close`."""
        while not self._stop.wait(_PAUSE_SECONDS):
            try:
                self.step()
            except (ClientError, BotoCoreError, OSError) as error:
                self.failures.append(f"{type(error).__name__}: {error}")

    def step(self) -> None:
        """Look after all Regions once."""
        with self._lock:
            self._around.write_names()
            # Taken before tasks are listed: a task that starts during the listing may be missing from it.
            known = set(self._states.tasks)
            wanted: set[str] = set()
            for region in self._topology.regions:
                ecs = self._clients.of("ecs", region)
                for arn in ecs.list_clusters()["clusterArns"]:
                    wanted |= self._look_after(region, arn.rpartition("/")[2], ecs)
            for arn in known - wanted:  # also of clusters that are deleted
                if self._states.of(arn).status != "STOPPED":
                    self._end(arn)
            for instances in self.instances.values():
                instances.end_idle()

    def _look_after(self, region: str, cluster: str, ecs: Any) -> set[str]:
        """Start and watch the tasks of a cluster that should run, and return their ARNs."""
        arns = [a for page in ecs.get_paginator("list_tasks").paginate(cluster=cluster) for a in page["taskArns"]]
        wanted: dict[str, Document] = {}
        for i in range(0, len(arns), 100):
            found = ecs.describe_tasks(cluster=cluster, tasks=arns[i : i + 100])["tasks"]
            wanted |= {task["taskArn"]: task for task in found if task["desiredStatus"] == "RUNNING"}
        for arn, task in wanted.items():
            running = self._tasks.get(arn)
            if running is None:
                self._start(region, task, ecs)
            elif running.lost_essential():
                self._ended(running, ecs, cluster)
            elif self._states.of(arn).status == "PENDING" and running.ready():
                self._runs(task)
        with self._states.scaling:
            self._services(region, cluster, ecs)
        return set(wanted)

    def _start(self, region: str, task: Document, ecs: Any) -> None:
        arn = task["taskArn"]
        state = self._states.of(arn)
        if task["launchType"] == "FARGATE":
            began = self._fargate_since.setdefault(arn, monotonic())
            if monotonic() - began < self._settings.fargate_seconds:
                return
        elif not self.instances[region].place(arn) or not self._around.fetch_keys(region):
            return
        interface = self._network.take(region)
        if interface is None:
            return
        state.address, state.status = interface.address, "PENDING"
        described = ecs.describe_task_definition(taskDefinition=task["taskDefinitionArn"])["taskDefinition"]
        task["_role"] = described.get("taskRoleArn", "")
        self._described[arn] = task
        self._proxy.know(task["_role"].rpartition("/")[2])
        containers = containers_of(
            described,
            self._definitions.get(described["family"], {}),
            task.get("overrides", {}),
            self._around.folders(region, state.task_id),
            {**self._settings.environment(region), **self._around.environment(region, state.task_id)},
        )
        containers = [_with_metadata(each) for each in containers]
        running = RunningTask(arn, interface, containers, self.logs)
        running.start(self._root, self._around.names, self._around.hidden)
        self._tasks[arn] = running

    def _runs(self, task: Document) -> None:
        state = self._states.of(task["taskArn"])
        state.status = "RUNNING"
        family = task["taskDefinitionArn"].rpartition("/")[2].partition(":")[0]
        self._say(f"{state.region}: {family} {state.task_id[:8]} runs at {state.address}")

    def _ended(self, running: RunningTask, ecs: Any, cluster: str) -> None:
        state, codes = self._states.of(running.arn), running.exit_codes()
        state.exit_codes |= codes
        state.stop_code = "EssentialContainerExited"
        reason = "Essential container in task exited"
        ecs.stop_task(cluster=cluster, task=running.arn, reason=reason)
        ended = ", ".join(f"{name} with {code}" for name, code in codes.items())
        self.failures.append(f"{running.arn}: {ended}; its output is {running.log(next(iter(codes)))}")
        self._say(f"{state.region}: task {state.task_id[:8]} ended: {ended}")

    def _end(self, arn: str) -> None:
        state, running = self._states.of(arn), self._tasks.get(arn)
        if running is not None:
            state.status = "DEACTIVATING"
            if not running.end():
                return
            state.exit_codes |= running.exit_codes()
            self._network.give_back(running.interface)
            del self._tasks[arn]
            self._say(f"{state.region}: task {state.task_id[:8]} ended")
        state.status = "STOPPED"
        if state.region in self.instances:
            self.instances[state.region].free(arn)

    def _services(self, region: str, cluster: str, ecs: Any) -> None:
        names = ecs.list_services(cluster=cluster)["serviceArns"]
        for service in ecs.describe_services(cluster=cluster, services=names)["services"] if names else ():
            name = service["serviceName"]
            if service["status"] != "ACTIVE":
                continue
            wanted = self._states.desired.get((region, cluster, name))
            if wanted is not None:  # protected tasks were more; some may not be any more
                kept = self._ecs_answers.scale(region, cluster, name, wanted)
                ecs.update_service(cluster=cluster, service=name, desiredCount=kept)
            elif service["runningCount"] < service["desiredCount"]:  # the emulator replaces tasks only when told
                ecs.update_service(cluster=cluster, service=name, desiredCount=service["desiredCount"])

    # ---- for containers, tests and the story --------------------------------------------------------------------------

    def _metadata(self, task_id: str) -> Document | None:
        arn = next((arn for arn in self._described if arn.endswith(f"/{task_id}")), None)
        if arn is None:
            return None
        task, state = self._described[arn], self._states.of(arn)
        family, _, revision = task["taskDefinitionArn"].rpartition("/")[2].partition(":")
        network = {"NetworkMode": "awsvpc", "IPv4Addresses": [state.address]}
        return {
            "Cluster": task["clusterArn"],
            "TaskARN": arn,
            "Family": family,
            "Revision": revision,
            "DesiredStatus": "RUNNING",
            "KnownStatus": state.status,
            "LaunchType": task["launchType"],
            "AvailabilityZone": task["availabilityZone"],
            "Containers": [
                {"DockerId": f"{task_id}-{i}", "Name": each["name"], "DesiredStatus": "RUNNING", "KnownStatus": "RUNNING",
                 "Type": "NORMAL", "ContainerARN": each["containerArn"], "Networks": [network]}
                for i, each in enumerate(task["containers"])
            ],
        }  # fmt: skip

    def _role(self, task_id: str) -> str:
        return next((str(t["_role"]) for arn, t in self._described.items() if arn.endswith(f"/{task_id}")), "")

    def running(self, region: str, family: str) -> list[RunningTask]:
        """Return the running tasks of a family."""
        with self._lock:
            return [
                task for arn, task in self._tasks.items()
                if self._states.of(arn).region == region
                and f"/{family}:" in self._described[arn]["taskDefinitionArn"]
                and self._states.of(arn).status == "RUNNING"
            ]  # fmt: skip

    def idle(self) -> bool:
        """Return whether no task has a process."""
        with self._lock:
            return not self._tasks

    def interrupt(self, task: RunningTask, *, notice: bool = False) -> None:
        """Lose the instance of a task: at once, or with the notice that AWS gives of spot interruptions.

        With notice, the agent of ECS drains the instance: its task gets SIGTERM.
        """
        with self._lock:
            state = self._states.of(task.arn)
            state.stop_code = "SpotInterruption" if notice else "TaskFailedToStart"
            if not notice:
                task.kill()
                self.instances[state.region].lose(task.arn)
            reason = "Spot interruption" if notice else "The host of the task was terminated"
            ecs = self._clients.of("ecs", state.region)
            ecs.stop_task(cluster=state.cluster, task=task.arn, reason=reason)

    def close(self) -> None:
        """End all processes."""
        self._stop.set()
        with self._lock:
            for task in self._tasks.values():
                task.end()
            deadline = monotonic() + 20
            for task in self._tasks.values():
                while not task.end() and monotonic() < deadline:
                    self._stop.wait(0) or Event().wait(0.1)
                task.kill()
            self._tasks.clear()
        self.metadata.close()
        self._around.close()


def _with_metadata(container: Container) -> Container:
    name = "ECS_CONTAINER_METADATA_URI_V4"
    return replace(
        container, environment={**container.environment, name: f"{container.environment[name]}.{container.name}"}
    )


@contextmanager
def agent(*args: Any, **options: Any) -> Iterator[Agent]:
    """Run an agent in a thread; see `Agent`."""
    found = Agent(*args, **options)
    thread = Thread(target=found.run, daemon=True)
    thread.start()
    try:
        yield found
    finally:
        found.close()
        thread.join(30)
