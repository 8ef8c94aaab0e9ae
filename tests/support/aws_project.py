"""A project of the profile aws, whose ECS is a twin with real processes.

Belongs here: the project, its scheduler and pools. Does not belong here: what is tested.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support.ecs_twin import EcsTwin, ecs_twin
from tests.support.places import EAST, WEST, eventually
from xdask_pipelines.placement.local.certificates import make_certificates
from xdask_pipelines.resources.pools.ecs_pools import EcsPools
from xdask_pipelines.topology import Topology
from xdask_pipelines.topology.aws_names import SCHEDULER_SERVICE, pool_service, sync_family

CLIENT = "eu-west-2"
REGIONS = """
profile: aws
aws: {account: '123456789012', alarms_to: ops@example.org}
client: {region: eu-west-2, cidr: 10.0.0.0/16}
workers:
  - {region: us-east-1, cidr: 10.1.0.0/16, pool: {max_workers: 3}}
  - {region: us-west-2, cidr: 10.2.0.0/16, pool: {max_workers: 2}}
"""


@dataclass
class AwsProject:
    """A project, and the twin of ECS in which its processes run."""

    folder: Path
    twin: EcsTwin
    topology: Topology

    def pools(self) -> EcsPools:
        """Return its pools."""
        return EcsPools(self.topology)

    def number_of(self, region: str) -> int:
        """Return how many tasks a pool has."""
        return len(self.twin.of_service(region, pool_service(region)))

    def start_scheduler(self) -> None:
        """Start the scheduler's task, and let the pools use its address, which no DNS of this machine knows."""
        self.twin.services[CLIENT, SCHEDULER_SERVICE].desired = 1
        assert eventually(lambda: bool(self.twin.of_service(CLIENT, SCHEDULER_SERVICE)), 10)
        (task,) = self.twin.of_service(CLIENT, SCHEDULER_SERVICE)
        address = f"tls://{task.address}:8786"
        self.topology.__dict__["scheduler"] = address
        for region in (EAST, WEST):
            words = ("worker", "--region", region, "--scheduler", address, *self._folders(region))
            words += ("--processes", "1", "--threads", "1", "--memory-limit", "1GiB", "--drain-seconds", "10")
            self.twin.family(pool_service(region), *words)
        assert eventually(lambda: bool(self.pools().status().address), 60), self.logs()

    def _folders(self, region: str) -> tuple[str, ...]:
        data, results = self.topology.data_folder(region), self.topology.results_folder(region)
        spill = self.folder / "spill" / region
        for folder in (data, results, spill):
            folder.mkdir(parents=True, exist_ok=True)
        words = ("--data", str(data), "--results", str(results), "--local-directory", str(spill))
        return (*words, "--certs", str(self.topology.certificates))

    def logs(self) -> str:
        """Return what the processes logged."""
        return "\n".join(f"{log.name}:\n{log.read_text()}" for log in sorted(self.twin.logs.glob("*.log")))


@contextmanager
def aws_project(folder: Path) -> Iterator[AwsProject]:
    """Create a project with certificates, its services at zero, and credentials for the twin in the environment."""
    (folder / "regions.yaml").write_text(REGIONS)
    topology = Topology.load(folder / "regions.yaml")
    make_certificates(topology.certificates, [])
    with ecs_twin(folder) as twin, pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ENDPOINT_URL", twin.url)
        patch.setenv("AWS_ACCESS_KEY_ID", "key")
        patch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
        project = AwsProject(folder, twin, topology)
        words = ("--topology", str(folder / "regions.yaml"), "scheduler", "--dashboard", "127.0.0.1:0")
        twin.family(SCHEDULER_SERVICE, *words)
        twin.service(CLIENT, SCHEDULER_SERVICE)
        for region in (EAST, WEST):
            twin.service(region, pool_service(region))
            options = ("--processes", "1", "--threads", "1", "--idle-seconds", "3")
            twin.family(sync_family(region), "executor", "--region", region, *project._folders(region), *options)
        yield project
