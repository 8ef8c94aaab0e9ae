"""Everything that a rehearsal needs, started together: emulator, S3, servers, proxy, network, agent, project, deployment.

Belongs here: bringing the parts up and down, and what a story asks of them. Does not belong here: the story (rehearse).
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from time import monotonic, sleep

from infra.rehearsal.account.clients import OPERATOR, EmulatedClients, credentials
from infra.rehearsal.account.deploy import Deployment
from infra.rehearsal.account.emulator import emulator
from infra.rehearsal.account.file_systems import FileSystems
from infra.rehearsal.account.operator_front import operator_front
from infra.rehearsal.account.proxy import Proxy
from infra.rehearsal.account.templates import Stack, read_assembly
from infra.rehearsal.domain.search_domain import SearchDomain, master_of, search_domain
from infra.rehearsal.servers.forward import forward
from infra.rehearsal.servers.loopback import listening
from infra.rehearsal.servers.postgres_server import PostgresServer, postgres_server
from infra.rehearsal.servers.s3_server import S3Server, s3_server
from infra.rehearsal.servers.search_server import search_server
from infra.rehearsal.tasks.agent import Agent, AgentSettings, agent
from infra.rehearsal.tasks.running_task import RunningTask
from infra.rehearsal.tasks.task_networks import LoopbackNetwork, TaskNetwork, listening_in, task_network
from xdask_pipelines.system.ports import LOOPBACK
from xdask_pipelines.topology import Topology
from xdask_pipelines.topology.aws_names import DATABASE_SECRET, PROJECT_PATH

#: Ports of servers in the client Region, as tasks see them.
_DATABASE_PORT, _DOMAIN_PORT = 5432, 443
#: Between two looks at what is waited for: some of them connect to the database.
_PAUSE_SECONDS = 0.5
#: Network interfaces at one time: of the client Region, and of each worker Region.
_CLIENT_INTERFACES, _WORKER_INTERFACES = 6, 5
Say = Callable[[str], None]


class StoryFailed(Exception):
    """A step of the rehearsal did not happen; the message says which."""


@dataclass
class Stage:
    """The parts of a running rehearsal.

    Attributes
    ----------
    topology, stacks, assembly
        What is rehearsed.
    folder
        Its files: project, data, results, logs, the record of calls.
    """

    topology: Topology
    stacks: list[Stack]
    assembly: Path
    folder: Path
    proxy: Proxy
    network: TaskNetwork
    agent: Agent
    s3: S3Server
    postgres: PostgresServer | None
    clients: EmulatedClients
    deployment: Deployment
    file_systems: FileSystems

    def deploy(self, names: Collection[str] | None = None) -> None:
        """Deploy some stacks, all by default, and what the emulator lacks but the rehearsal has."""
        self.deployment.deploy(names)
        s3 = self.s3.client()
        there = {bucket["Name"] for bucket in s3.list_buckets()["Buckets"]}
        for stack in self.stacks:
            if names is not None and stack.name not in names:
                continue
            for properties in stack.of_type("AWS::S3::Bucket").values():
                if (name := properties.get("BucketName")) and name not in there:
                    s3.create_bucket(Bucket=name)
            for properties in stack.of_type("AWS::RDS::DBInstance").values():
                secrets = self.clients.of("secretsmanager", stack.region)
                login = json.loads(secrets.get_secret_value(SecretId=DATABASE_SECRET)["SecretString"])
                assert self.postgres is not None
                self.postgres.create(properties["DBName"], login["username"], login["password"])

    def fill_sources(self) -> None:
        """Put the data of each Region into the buckets from which they are imported."""
        s3 = self.s3.client()
        there = {bucket["Name"] for bucket in s3.list_buckets()["Buckets"]}
        for region in self.topology.worker_regions:
            for dataset in self.topology.worker(region).datasets:
                if not dataset.source:
                    continue
                bucket, prefix = source_of(dataset.source)
                if bucket not in there:
                    s3.create_bucket(Bucket=bucket)
                    there.add(bucket)
                top = self.folder / "data" / region / dataset.mount
                for file in sorted(top.rglob("*")):
                    if file.is_file():
                        s3.upload_file(str(file), bucket, prefix + file.relative_to(top).as_posix())

    def command(self, *words: str, region: str = "") -> str:
        """Run a command of the program as an operator on a laptop with the project; what it printed.

        Raises
        ------
        StoryFailed
            The command failed.
        """
        laptop = self.folder / "laptop"
        if not laptop.is_dir():
            shutil.copytree(self.folder / "project", laptop)
            shutil.copytree(self.assembly, laptop / "infra" / "cdk.out")
        environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "XDASK_"))},
            **credentials(OPERATOR),
            "AWS_ENDPOINT_URL": self.clients.url,
            "AWS_DEFAULT_REGION": region or self.topology.client.region,
        }
        xdask = str(Path(sys.executable).with_name("xdask"))
        done = subprocess.run(
            [xdask, *words], cwd=laptop, env=environment, capture_output=True, text=True, timeout=600, check=False
        )
        if done.returncode:
            raise StoryFailed(f"`xdask {' '.join(words)}` failed with {done.returncode}:\n{done.stdout}\n{done.stderr}")
        return done.stdout + done.stderr

    def task(self, region: str, family: str, seconds: float = 60) -> RunningTask:
        """Wait for a running task of a family, and return the task.

        Raises
        ------
        StoryFailed
            No task of the family runs in time.
        """
        self.wait(lambda: bool(self.agent.running(region, family)), seconds, f"a task of {family} in {region} runs")
        return self.agent.running(region, family)[0]

    def wait(self, happened: Callable[[], bool], seconds: float, what: str) -> float:
        """Wait until something happened; the seconds that it took.

        Raises
        ------
        StoryFailed
            It did not happen in time.
        """
        began = monotonic()
        while not happened():
            if monotonic() - began > seconds:
                failures = "\n".join(self.agent.failures[-5:])
                raise StoryFailed(f"After {seconds:g} s it did not happen that {what}.\n{failures}")
            sleep(_PAUSE_SECONDS)
        return monotonic() - began

    def run(self, region: str, family: str, container: str, *words: str, timeout: float = 600) -> str:
        """Run a command in a container to its end; what it printed.

        Raises
        ------
        StoryFailed
            The command failed.
        """
        done = self.task(region, family).run(container, words, timeout)
        if done.returncode:
            raise StoryFailed(f"`{' '.join(words)}` failed with {done.returncode}:\n{done.stdout}\n{done.stderr}")
        return done.stdout + done.stderr

    def scale(self, region: str, cluster: str, service: str, desired: int) -> None:
        """Set the desired count of a service, as an operator does."""
        self.clients.of("ecs", region).update_service(cluster=cluster, service=service, desiredCount=desired)


def source_of(url: str) -> tuple[str, str]:
    """Return bucket and prefix of a source; the prefix is empty or ends with a slash."""
    bucket, _, prefix = url.removeprefix("s3://").partition("/")
    return bucket, f"{prefix.strip('/')}/" if prefix.strip("/") else ""


@contextmanager
def stage(
    topology_file: Path,
    assembly: Path,
    folder: Path,
    *,
    data: Mapping[str, Sequence[Path]],
    analyses: Path | None = None,
    settings: AgentSettings | None = None,
    wide_area: bool = True,
    say: Say = lambda line: None,
) -> Iterator[Stage]:
    """Bring up all parts; nothing is deployed yet.

    Parameters
    ----------
    topology_file
        `regions.yaml` of the project.
    assembly
        Cloud assembly of the project.
    folder
        New folder for the files of the rehearsal.
    data
        Folders with the data of each Region, of which a copy is used: the sync may write.
    analyses
        Folder of analyses in addition to those of the project.
    settings
        How the agent runs tasks.
    wide_area
        Whether tasks get network namespaces, where this machine allows them.
    say
        Gets lines of progress.
    """
    folder.mkdir(parents=True)
    project = folder / "project"
    project.mkdir()
    shutil.copy(topology_file, project / "regions.yaml")
    for source in (topology_file.parent / "analyses", analyses):
        if source and source.is_dir():
            shutil.copytree(source, project / "analyses", dirs_exist_ok=True)
    (project / "var").mkdir()
    topology, stacks = Topology.load(project / "regions.yaml"), read_assembly(assembly)
    for region in topology.worker_regions:
        target = folder / "data" / region
        target.mkdir(parents=True, exist_ok=True)
        for source in data.get(region, ()):
            shutil.copytree(source, target, dirs_exist_ok=True)
    with ExitStack() as exits:
        emulated = exits.enter_context(emulator(stacks[0].account, folder / "emulator"))
        datasets = [dataset for region in topology.worker_regions for dataset in topology.worker(region).datasets]
        public = sorted({source_of(each.source)[0] for each in datasets if each.source and each.anonymous})
        s3 = exits.enter_context(s3_server(folder / "s3", public))
        has = {resource["Type"] for each in stacks for resource in each.template["Resources"].values()}
        postgres = exits.enter_context(postgres_server()) if "AWS::RDS::DBInstance" in has else None
        search = None
        if "AWS::OpenSearchService::Domain" in has:
            search = exits.enter_context(search_server(folder / "opensearch"))
        front = exits.enter_context(operator_front(emulated, folder, s3))
        clients = EmulatedClients(url=front.listen(listening()))
        wanted = {topology.client.region: _CLIENT_INTERFACES}
        wanted |= dict.fromkeys(topology.worker_regions, _WORKER_INTERFACES)
        on_loopback = closing(LoopbackNetwork(topology.regions)) if not wide_area else None
        network: TaskNetwork = exits.enter_context(on_loopback or task_network(wanted))
        client = topology.client.region
        servers = _reach_database(network, client, postgres, exits) if postgres else {}
        settings = settings or AgentSettings()
        names, domain = settings.names, None
        if search:
            domain = exits.enter_context(search_domain(front, search, client, folder / "domain", master_of(stacks)))
            servers |= _reach_domain(network, client, domain, project)
            names = domain.names
        given = settings.environment
        settings = replace(settings, names=names, environment=lambda region: {
            **(servers if region == client else {}), **given(region)
        })  # fmt: skip
        deployment = Deployment(clients, stacks, say)
        file_systems = FileSystems(EmulatedClients(url=emulated.url), stacks, s3.client(), folder / "lustre")
        front.fsx = file_systems.twin
        runs = exits.enter_context(agent(front, network, topology, stacks, folder, settings, say, file_systems.mounted))
        found = Stage(
            topology, stacks, assembly, folder, front, network, runs, s3, postgres, clients, deployment, file_systems
        )
        found.fill_sources()
        yield found


def _reach_database(network: TaskNetwork, region: str, postgres: PostgresServer, exits: ExitStack) -> dict[str, str]:
    """Let tasks of the client Region reach the database; the environment that names it."""
    # On loopback without namespaces, 127.0.0.1 is where Postgres itself may run with this port.
    mine = [each for each in network.interfaces() if each.region == region]
    listeners = [listening_in(interface, _DATABASE_PORT) for interface in mine]
    host = network.database if isinstance(network, LoopbackNetwork) else LOOPBACK
    for listener in listeners or [listening(_DATABASE_PORT, host)]:
        forward(exits.enter_context(closing(listener)), postgres.port)
    return {"XDASK_DATABASE_HOST": host}


def _reach_domain(network: TaskNetwork, region: str, domain: SearchDomain, project: Path) -> dict[str, str]:
    """Let tasks of the client Region reach the domain by its own name; the environment in which they trust it."""
    shutil.copy(domain.authority, project / domain.authority.name)
    for interface in network.interfaces():
        if interface.region == region:
            domain.listen(listening_in(interface, _DOMAIN_PORT))
    found = {"SSL_CERT_FILE": f"{PROJECT_PATH}/{domain.authority.name}"}
    if not network.interfaces():  # without namespaces the port is not free, or not allowed
        found["XDASK_CATALOG"] = domain.listen_on_loopback(listening())
    return found
