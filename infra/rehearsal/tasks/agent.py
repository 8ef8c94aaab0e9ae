"""Starts the real processes of every ECS task that should run, and reports to the emulator those that ended.

Belongs here: the loop over Regions, clusters and services. Does not belong here: processes of one task (running_task),
network (task_networks), capacity (instances).
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
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
from infra.rehearsal.servers.loopback import listening
from infra.rehearsal.tasks.containers import Container
from infra.rehearsal.tasks.instances import Instances
from infra.rehearsal.tasks.running_task import RunningTask
from infra.rehearsal.tasks.task_definitions import HostFolders, containers_of, definitions_of
from infra.rehearsal.tasks.task_metadata import CREDENTIALS, METADATA, TaskMetadata
from infra.rehearsal.tasks.task_networks import Interface, LoopbackNetwork, TaskNetwork, listening_in
from xdask_pipelines.topology import Topology
from xdask_pipelines.topology.aws_names import TLS_SECRET, ZONE, role_name

_PAUSE_SECONDS = 0.2
_PROXY_PORT, _METADATA_PORT = 4566, 51678
#: What worker tasks can reach of AWS: their subnets have a gateway endpoint of S3, and no other way.
_OF_WORKERS = frozenset({"s3"})
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
    """

    boot_seconds: float = 2.0
    fargate_seconds: float = 1.0
    idle_seconds: float = 5.0
    environment: Callable[[str], Mapping[str, str]] = lambda region: {}


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
    ) -> None:
        self._proxy, self._network, self._topology, self._folder, self._say = proxy, network, topology, folder, say
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
        self._keys = Path(tempfile.mkdtemp(prefix="xdask-rehearsal-", dir=_memory()))
        self.hosts, self._root, self.logs = folder / "hosts", folder / "root", folder / "logs"
        for each in (self._root, self.logs):
            each.mkdir(exist_ok=True, parents=True)
        self.hosts.write_text("127.0.0.1 localhost\n")
        self.metadata = TaskMetadata(self._metadata, self._role)
        self._listen()

    # ---- the world around tasks -------------------------------------------------------------------------------------

    def _instances(self, stacks: Sequence[Stack], region: str) -> Instances:
        groups = [g for stack in stacks if stack.region == region
                  for g in stack.of_type("AWS::AutoScaling::AutoScalingGroup").values()]  # fmt: skip
        most = max((int(group["MaxSize"]) for group in groups), default=0)
        return Instances(most, self._settings.boot_seconds, self._settings.idle_seconds)

    def _listen(self) -> None:
        """Let the proxy and the metadata answer wherever tasks run."""
        self._addresses: dict[bool, tuple[str, str]] = {}
        client = self._topology.client.region
        if isinstance(self._network, LoopbackNetwork):
            metadata = self.metadata.listen(listening())
            self._addresses[True] = self._proxy.listen(listening()), metadata
            self._addresses[False] = self._proxy.listen(listening(), _OF_WORKERS), metadata
            return
        for interface in self._network.interfaces():
            is_client = interface.region == client
            services = None if is_client else _OF_WORKERS
            self._addresses[is_client] = (
                self._proxy.listen(listening_in(interface, _PROXY_PORT), services),
                self.metadata.listen(listening_in(interface, _METADATA_PORT)),
            )

    def _host_folders(self, region: str, task_id: str) -> HostFolders:
        results = self._own(self._folder / "results" / region)
        spill = self._own(self._folder / "spill" / task_id)
        of_host = {
            "/mnt/data": self._folder / "data" / region,
            "/mnt/results": results,
            "/mnt/nvme/spill": spill,
            "/run/xdask/tls": self._keys / region,
        }
        return HostFolders(of_host, results, self._own(self._folder / "homes"), self._folder / "project")

    def _own(self, folder: Path) -> Path:
        folder.mkdir(parents=True, exist_ok=True)
        if os.geteuid() == 0:
            shutil.chown(folder, 10001, 10001)
        return folder

    def _fetch_keys(self, region: str) -> bool:
        """Read the TLS keys into memory, as a host does when it starts; whether there are any."""
        folder = self._keys / region
        if (folder / "ca.pem").exists():
            return True
        role = role_name("host", region)
        self._proxy.know(role)
        try:
            client = EmulatedClients(url=self._host_proxy(), role=role).of("secretsmanager", region)
            files = json.loads(client.get_secret_value(SecretId=TLS_SECRET)["SecretString"])
        except (ClientError, BotoCoreError, ValueError):
            return False
        self._own(folder)
        for name, text in files.items():
            path = folder / name
            path.write_text(text)
            path.chmod(0o600)
            if os.geteuid() == 0:
                shutil.chown(path, 10001, 10001)
        return "ca.pem" in files

    def _host_proxy(self) -> str:
        if not hasattr(self, "_proxy_of_hosts"):
            self._proxy_of_hosts = self._proxy.listen(listening())
        return self._proxy_of_hosts

    def _write_hosts(self) -> None:
        route53 = self._clients.of("route53", self._topology.client.region)
        lines = ["127.0.0.1 localhost"]
        for zone in route53.list_hosted_zones_by_name(DNSName=ZONE)["HostedZones"]:
            for record in route53.list_resource_record_sets(HostedZoneId=zone["Id"])["ResourceRecordSets"]:
                if record["Type"] == "A":
                    lines += [f"{each['Value']} {record['Name'].rstrip('.')}" for each in record["ResourceRecords"]]
        text = "\n".join(lines) + "\n"
        if self.hosts.read_text() != text:
            with self.hosts.open("r+") as file:  # the same file: containers have it mounted
                file.write(text)
                file.truncate()

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
            self._write_hosts()
            wanted: set[str] = set()
            for region in self._topology.regions:
                ecs = self._clients.of("ecs", region)
                for arn in ecs.list_clusters()["clusterArns"]:
                    wanted |= self._look_after(region, arn.rpartition("/")[2], ecs)
            for arn in self._states.tasks.keys() - wanted:  # also of clusters that are deleted
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
        self._services(region, cluster, ecs)
        return set(wanted)

    def _start(self, region: str, task: Document, ecs: Any) -> None:
        arn = task["taskArn"]
        state = self._states.of(arn)
        if task["launchType"] == "FARGATE":
            began = self._fargate_since.setdefault(arn, monotonic())
            if monotonic() - began < self._settings.fargate_seconds:
                return
        elif not self.instances[region].place(arn) or not self._fetch_keys(region):
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
            self._host_folders(region, state.task_id),
            self._environment(region, state.task_id, interface),
        )
        containers = [_with_metadata(each) for each in containers]
        running = RunningTask(arn, interface, containers, self.logs)
        running.start(self._root, self.hosts, [self._folder / name for name in ("data", "results", "spill", "homes")])
        self._tasks[arn] = running

    def _runs(self, task: Document) -> None:
        state = self._states.of(task["taskArn"])
        state.status = "RUNNING"
        family = task["taskDefinitionArn"].rpartition("/")[2].partition(":")[0]
        self._say(f"{state.region}: {family} {state.task_id[:8]} runs at {state.address}")

    def _environment(self, region: str, task_id: str, interface: Interface) -> dict[str, str]:
        proxy, metadata = self._addresses[region == self._topology.client.region]
        return {
            **self._settings.environment(region),
            "AWS_ENDPOINT_URL": proxy,
            "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_CONTAINER_CREDENTIALS_FULL_URI": f"{metadata}{CREDENTIALS}{task_id}",
            "ECS_CONTAINER_METADATA_URI_V4": f"{metadata}{METADATA}{task_id}",
        }

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
        shutil.rmtree(self._keys, ignore_errors=True)


def _memory() -> Path | None:
    memory = Path("/dev/shm")
    return memory if memory.is_dir() else None


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
