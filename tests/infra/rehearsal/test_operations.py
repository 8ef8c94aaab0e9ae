"""Commands of an operator on a deployment: certificates, sleep, pages, notebooks, file systems."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from infra.app import build
from infra.deployment.account import create_service_roles, refuse_other_account, unprepared_regions
from infra.deployment.removal import enabled_regions, our_stacks, stray_stacks
from infra.rehearsal.account.clients import EmulatedClients, credentials
from infra.rehearsal.account.deploy import Deployment
from infra.rehearsal.account.emulator import emulator
from infra.rehearsal.account.templates import read_assembly
from tests.support.topologies import ACCOUNT, aws_topology
from xdask_pipelines.errors import XdaskError
from xdask_pipelines.operations.aws import notebooks, port_forwarding
from xdask_pipelines.operations.aws.sleep import put_to_sleep, wake
from xdask_pipelines.operations.aws.stored_certificates import store_certificates
from xdask_pipelines.placement.local.certificates import AUTHORITY_KEY, make_certificates
from xdask_pipelines.topology import Topology

pytestmark = pytest.mark.timeout(120)
CLIENT, EAST = "eu-west-2", "us-east-1"


class Deployed:
    """A deployed small stage of two worker Regions."""

    def __init__(self, topology: Topology, clients: EmulatedClients, deployment: Deployment) -> None:
        self.topology, self.clients, self.deployment = topology, clients, deployment

    def service(self, region: str, name: str) -> dict[str, Any]:
        found = self.clients.of("ecs", region).describe_services(cluster=f"xdask-{region}", services=[name])
        service: dict[str, Any] = found["services"][0]
        return service


@pytest.fixture(scope="module")
def deployed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployed]:
    folder = tmp_path_factory.mktemp("operations")
    topology = aws_topology(folder, 2)
    build(topology, str(folder / "out")).synth()
    with emulator(ACCOUNT, folder / "emulator") as found, pytest.MonkeyPatch.context() as patch:
        url = found.url
        for name, value in {**credentials("operator"), "AWS_ENDPOINT_URL": url}.items():
            patch.setenv(name, value)
        clients = EmulatedClients(url=url)
        deployment = Deployment(clients, read_assembly(folder / "out"))
        deployment.deploy()
        yield Deployed(topology, clients, deployment)


def test_certificates_are_stored_once_and_renewed_by_their_authority_alone(deployed: Deployed) -> None:
    topology, said = deployed.topology, list[str]()
    assert store_certificates(topology, said.append)
    stored = deployed.clients.of("secretsmanager", CLIENT).get_secret_value(SecretId="xdask/tls")["SecretString"]
    assert set(json.loads(stored)) == {"ca.pem", "node.pem", "node-key.pem"}, "the key of the authority stays here"
    assert not store_certificates(topology, said.append)
    assert "nothing was done" in said[-1]

    elsewhere = topology.certificates.with_name("elsewhere")
    topology.certificates.rename(elsewhere)  # as a pipeline, whose machine has no folder
    try:
        assert not store_certificates(topology, said.append)
        assert "the stored certificates are valid until" in said[-1]
        make_certificates(topology.certificates)
        with pytest.raises(XdaskError, match="are of another authority than those in"):
            store_certificates(topology, said.append)
        old = datetime.now(UTC) - timedelta(days=350)
        for file in topology.certificates.iterdir():
            file.unlink()
        make_certificates(topology.certificates, now=old)
        expiring = {name: (topology.certificates / name).read_text() for name in json.loads(stored)}
        secrets = deployed.clients.of("secretsmanager", CLIENT)
        secrets.put_secret_value(SecretId="xdask/tls", SecretString=json.dumps(expiring))
        (topology.certificates / AUTHORITY_KEY).unlink()
        with pytest.raises(XdaskError, match=r"does not have the key of their authority. Run `xdask certs --aws`"):
            store_certificates(topology, said.append)
    finally:
        for file in topology.certificates.iterdir():
            file.unlink()
        topology.certificates.rmdir()
        elsewhere.rename(topology.certificates)


def test_what_sleeps_costs_little_and_wakes_again(deployed: Deployed) -> None:
    topology, said = deployed.topology, list[str]()
    ecs = deployed.clients.of("ecs", EAST)
    ecs.update_service(cluster=f"xdask-{EAST}", service=f"xdask-pool-{EAST}", desiredCount=1)
    with pytest.raises(XdaskError, match=r"This deployment is active: 1 task in us-east-1. .*Nothing was stopped"):
        put_to_sleep(topology, said.append)
    assert deployed.service(CLIENT, "xdask-scheduler")["desiredCount"] == 1
    put_to_sleep(topology, said.append, force=True)
    assert deployed.service(EAST, f"xdask-pool-{EAST}")["desiredCount"] == 0
    assert deployed.service(CLIENT, "xdask-scheduler")["desiredCount"] == 0
    rds = deployed.clients.of("rds", CLIENT)
    assert rds.describe_db_instances()["DBInstances"][0]["DBInstanceStatus"] in ("stopping", "stopped")
    assert "AWS starts it again after 7 days" in said[-1]
    alarms = deployed.clients.of("cloudwatch", CLIENT).describe_alarms(AlarmNamePrefix="xdask-")["MetricAlarms"]
    assert alarms
    assert not any(alarm["ActionsEnabled"] for alarm in alarms)

    wake(topology, said.append, wait=lambda seconds: None)
    assert rds.describe_db_instances()["DBInstances"][0]["DBInstanceStatus"] == "available"
    assert deployed.service(CLIENT, "xdask-scheduler")["desiredCount"] == 1
    alarms = deployed.clients.of("cloudwatch", CLIENT).describe_alarms(AlarmNamePrefix="xdask-")["MetricAlarms"]
    assert all(alarm["ActionsEnabled"] for alarm in alarms)
    wake(topology, said.append, wait=lambda seconds: None)  # twice does no harm


def test_pages_are_those_of_running_containers(
    deployed: Deployed, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(XdaskError, match="aws and session-manager-plugin are not installed"):
        port_forwarding.connect(deployed.topology, print)
    assert [(page.name, page.container, page.port) for page in port_forwarding.pages_of(deployed.topology)] == [
        ("Dagster", "webserver", 3000),
        ("Dask's dashboard", "scheduler", 8787),
    ]
    with pytest.raises(XdaskError, match=r"runs a container nothing. Wake the deployment"):
        port_forwarding.target(deployed.topology, "xdask-scheduler", "nothing")
    command = port_forwarding.forwarding(CLIENT, "ecs:a_b_c", 3000)
    assert command[:3] == ["aws", "ssm", "start-session"]
    assert "portNumber=3000,localPortNumber=3000" in command


def test_a_notebook_of_a_person_runs_once_in_its_own_network(deployed: Deployed) -> None:
    topology, said = deployed.topology, list[str]()
    arn = notebooks.start(topology, said.append, wait=lambda seconds: None)
    assert notebooks.start(topology, said.append, wait=lambda seconds: None) == arn
    (task,) = deployed.clients.of("ecs", CLIENT).describe_tasks(cluster=f"xdask-{CLIENT}", tasks=[arn])["tasks"]
    assert "/xdask-notebook:" in task["taskDefinitionArn"]
    assert notebooks.stop(topology, said.append)
    assert said[-1] == "the notebook stops; its home stays"
    assert not notebooks.stop(topology, said.append)


def test_an_account_is_checked_and_prepared_once(deployed: Deployed) -> None:
    topology, said = deployed.topology, list[str]()
    refuse_other_account(deployed.clients, topology)
    assert topology.aws is not None
    other = topology.model_copy(update={"aws": topology.aws.model_copy(update={"account": "999999999999"})})
    with pytest.raises(XdaskError, match=r"of the account 123456789012, and regions.yaml names 999999999999"):
        refuse_other_account(deployed.clients, other)
    assert create_service_roles(deployed.clients, topology, said.append)
    assert create_service_roles(deployed.clients, topology, said.append) == []
    assert unprepared_regions(deployed.clients, topology) == list(topology.regions)
    name = "/cdk-bootstrap/hnb659fds/version"
    deployed.clients.of("ssm", EAST).put_parameter(Name=name, Value="30", Type="String")
    deployed.clients.of("ssm", CLIENT).put_parameter(Name=name, Value="4", Type="String")
    assert unprepared_regions(deployed.clients, topology) == ["eu-west-2", "us-west-2"], "missing, or too old"


def test_stacks_of_a_region_that_left_are_named(deployed: Deployed, tmp_path: Path) -> None:
    one = aws_topology(tmp_path, 1)
    build(one, str(tmp_path / "out")).synth()
    wanted = [stack.name for stack in read_assembly(tmp_path / "out")]
    regions = enabled_regions(deployed.clients, CLIENT)
    assert {"eu-west-2", "us-east-1", "us-west-2"} <= set(regions)
    assert {stack.name for stack in our_stacks(deployed.clients, regions)} > set(wanted)
    strays = stray_stacks(deployed.clients, regions, wanted)
    assert {stack.region for stack in strays} == {"us-west-2"}
    assert {stack.name.removesuffix("-us-west-2") for stack in strays} == {
        f"xdask-{kind}" for kind in ("key", "network", "alarms", "peering", "storage", "worker")
    }
