"""What a container on AWS starts with: keys and settings in memory, readable by nobody else, and no password elsewhere."""

from __future__ import annotations

import json
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from dagster._core.instance.config import dagster_instance_config
from sqlalchemy.engine import make_url

from tests.support.aws_project import CLIENT, AwsProject, aws_project
from xdask_pipelines.catalog.opensearch.opensearch_node import Node
from xdask_pipelines.cli.aws_commands import PARTS as OFFERED
from xdask_pipelines.errors import AwsError, XdaskError
from xdask_pipelines.operations.aws.start_part import PARTS, prepared_command
from xdask_pipelines.operations.project import dagster_home
from xdask_pipelines.topology import Topology
from xdask_pipelines.topology.aws_names import DAGSTER_SERVICE, DATABASE_SECRET, TLS_SECRET

FULL = """
  stage: full
  access:
    host: dagster.example.org
    certificate: arn:aws:acm:eu-west-2:123456789012:certificate/0123abcd
    oidc:
      issuer: https://id.example.org
      authorization_endpoint: https://id.example.org/a
      token_endpoint: https://id.example.org/t
      user_info_endpoint: https://id.example.org/u
      client_id: xdask
      client_secret: arn:aws:secretsmanager:eu-west-2:123456789012:secret:oidc
"""


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[AwsProject]:
    """A container whose memory file system is a folder of this test."""
    with aws_project(tmp_path) as found:
        keys = {
            name: (found.topology.certificates / name).read_text() for name in ("ca.pem", "node.pem", "node-key.pem")
        }
        found.twin.secrets[CLIENT, TLS_SECRET] = json.dumps(keys)
        found.twin.secrets[CLIENT, DATABASE_SECRET] = json.dumps({"username": "dagster", "password": "s:cr\\t"})
        monkeypatch.setenv("XDASK_CERTS", str(tmp_path / "memory" / "tls"))
        monkeypatch.setenv("DAGSTER_HOME", str(tmp_path / "memory" / "dagster"))
        monkeypatch.setenv("XDASK_DATABASE_HOST", "db.example.org")
        yield found


def test_notebooks_are_admitted_to_the_catalog_of_the_stage_full(
    project: AwsProject, monkeypatch: pytest.MonkeyPatch
) -> None:
    project.twin.service(CLIENT, DAGSTER_SERVICE)
    sent: list[tuple[str, str, object]] = []

    class Transport:
        def perform_request(self, method: str, path: str, body: object) -> None:
            sent.append((method, path, body))

    class Client:
        transport = Transport()

    monkeypatch.setattr(Node, "ask", lambda self, request: request(Client()))
    monkeypatch.setenv("XDASK_CATALOG", "opensearch+https://d.example.org:443/xdask?aws_region=eu-west-2")
    PARTS["code"](full(project))
    assert [path.rpartition("api/")[2] for _, path, _ in sent] == ["roles/xdask", "rolesmapping/xdask"]
    assert sent[1][2] == {"backend_roles": ["arn:aws:iam::123456789012:role/xdask-notebook-eu-west-2"]}


def full(project: AwsProject) -> Topology:
    file = project.folder / "regions.yaml"
    short = "aws: {account: '123456789012', alarms_to: ops@example.org}"
    file.write_text(
        file.read_text().replace(short, "aws:\n  account: '123456789012'\n  alarms_to: ops@example.org" + FULL)
    )
    project.twin.service(CLIENT, DAGSTER_SERVICE)
    return Topology.load(file)


def test_keys_and_password_are_in_files_of_this_user_alone(project: AwsProject) -> None:
    command = PARTS["daemon"](project.topology)
    memory = project.folder / "memory"
    assert (memory / "tls" / "node-key.pem").read_text() == (project.topology.certificates / "node-key.pem").read_text()
    assert (memory / "dagster" / "pgpass").read_text() == "db.example.org:5432:dagster:dagster:s\\:cr\\\\t\n"
    for path in memory.rglob("*"):
        assert not stat.S_IMODE(path.stat().st_mode) & 0o077, path
    holders = [
        path.name for path in memory.rglob("*") if path.is_file() and "s:cr" in path.read_text().replace("\\", "")
    ]
    assert holders == ["pgpass"]
    assert "s:cr" not in str(command)
    assert command.environment == {"DAGSTER_HOME": str(memory / "dagster")}
    assert dagster_home(project.topology) == memory / "dagster"


def test_dagster_accepts_the_settings_and_psycopg_reads_the_password_file(project: AwsProject) -> None:
    PARTS["code"](project.topology)
    settings, _ = dagster_instance_config(str(project.folder / "memory" / "dagster"))
    assert settings["compute_logs"]["config"]["bucket"] == "xdask-results-123456789012-eu-west-2"
    assert settings["concurrency"]["runs"]["max_concurrent_runs"] == 4
    assert "run_launcher" not in settings
    url = make_url(settings["storage"]["postgres"]["postgres_url"])
    assert (url.host, url.password, url.query["sslmode"]) == ("db.example.org", None, "require")
    assert Path(str(url.query["passfile"])).name == "pgpass"


def test_at_the_stage_full_runs_are_tasks_in_the_network_of_dagster(project: AwsProject) -> None:
    topology = full(project)
    PARTS["webserver"](topology)
    launcher = yaml.safe_load((project.folder / "memory" / "dagster" / "dagster.yaml").read_text())["run_launcher"][
        "config"
    ]
    assert (launcher["task_definition"], launcher["container_name"]) == ("xdask-run", "run")
    assert launcher["run_task_kwargs"]["cluster"] == "xdask-eu-west-2"
    assert launcher["run_task_kwargs"]["networkConfiguration"]["awsvpcConfiguration"]["subnets"] == ["subnet-1"]
    with pytest.raises(XdaskError, match="in a task on ECS"):
        PARTS["reader"](topology)


def test_the_scheduler_needs_its_keys_alone(project: AwsProject) -> None:
    del project.twin.secrets[CLIENT, DATABASE_SECRET]
    command = PARTS["scheduler"](project.topology)
    assert command.environment["DASK_DISTRIBUTED__COMM__TLS__SCHEDULER__KEY"].endswith("memory/tls/node-key.pem")
    assert {operation for _, operation in project.twin.calls} == {"GetSecretValue"}
    with pytest.raises(AwsError, match=r"secretsmanager:GetSecretValue in eu-west-2"):
        PARTS["daemon"](project.topology)
    project.twin.secrets[CLIENT, TLS_SECRET] = "{}"
    with pytest.raises(XdaskError, match=r"has no ca\.pem, node\.pem, node-key\.pem\..*`xdask certs --aws`"):
        PARTS["scheduler"](project.topology)


def test_any_command_runs_with_the_settings(project: AwsProject) -> None:
    command = prepared_command(project.topology, ["env", "--null"])
    done = subprocess.run(command.words, env=dict(command.environment), capture_output=True, text=True, check=True)
    assert f"DAGSTER_HOME={project.folder}/memory/dagster" in done.stdout
    with pytest.raises(XdaskError, match="no program nonsense"):
        prepared_command(project.topology, ["nonsense"])
    assert tuple(PARTS) == OFFERED
    assert sys.executable in PARTS["code"](project.topology).words
