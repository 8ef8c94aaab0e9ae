"""With certificates made, nothing starts a plain scheduler: every way in which one may start is here."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import xdask_pipelines
from tests.support.places import EAST, workers
from xdask_pipelines.placement import local_regions
from xdask_pipelines.placement.local.certificates import make_certificates
from xdask_pipelines.topology import certificates_folder

PACKAGE = Path(xdask_pipelines.__file__).parent
#: Calls that start a process, or a part of Dask in this one.
STARTS_PROCESSES = {"spawn", "Popen", "open_ipc_subprocess", "check_call", "check_output", "call", "system", "Process"}
STARTS_DASK = {"Scheduler", "Worker", "Nanny", "LocalCluster", "SpecCluster", "SSHCluster", "SubprocessCluster"}
STARTS_DASK |= {"ECSCluster", "FargateCluster", "KubeCluster"}
STARTS_OURS = {"start", "join", "local_regions"}
#: Whatever else is found must be put here, with a test that it speaks TLS once certificates are made.
WAYS = {
    "placement/local/cluster.py start spawn": "the scheduler, of LocalPools.up and local_regions",
    "placement/local/cluster.py _spawn_pool spawn": "workers, with the certificates of their scheduler",
    "placement/local/local_regions.py local_regions start": (
        "test_scripts_and_notebooks_find_the_certificates_of_their_project"
    ),
    "resources/pools/local_pools.py temporary local_regions": "test_temporary_workers_use_the_certificates_that_were_made",
    "resources/pools/local_pools.py up start": "tests/jobs/test_certs.py; xdask pools up, demo and ui call it",
    "resources/pools/local_pools.py _start_missing join": "workers, with the certificates of the scheduler that stands",
    "resources/pools/local_pools.py start_instances join": "workers, with the certificates of the scheduler that stands",
    "system/processes.py spawn Popen": "what the others call",
    "resources/opensearch/search_node.py _spawn spawn": "OpenSearch, not Dask",
    "operations/start_executor.py run_executor start": "tests/resources/pools/test_ecs_pools.py; without TLS on loopback",
    "cli/aws_commands.py notebook_start start": "an ECS task, not Dask",
    "operations/aws/port_forwarding.py _forward Popen": "the plugin of AWS's session manager, not Dask",
    "operations/ui.py _start Popen": "Dagster, not Dask",
    "operations/webserver.py _guarded_start open_ipc_subprocess": "Dagster, not Dask",
}


def _calls(path: Path) -> Iterator[tuple[str, ast.Call]]:
    """Calls in a file, by the innermost function that they are in."""

    def inside(node: ast.AST, function: str) -> Iterator[tuple[str, ast.Call]]:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.Call):
                yield function, child
            named = isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef))
            yield from inside(child, child.name if named else function)  # type: ignore[attr-defined]

    return inside(ast.parse(path.read_text()), "")


def _name(call: ast.Call) -> str:
    """Name of what is called; of a method only where it may start something."""
    if isinstance(call.func, ast.Name):
        return call.func.id
    return call.func.attr if isinstance(call.func, ast.Attribute) and call.func.attr not in STARTS_OURS else ""


def test_each_way_in_which_dask_may_start_is_known() -> None:
    found = set()
    for path in sorted(PACKAGE.rglob("*.py")):
        for function, call in _calls(path):
            name = _name(call)
            # Without an address, a client starts a plain cluster of its own.
            alone = (
                name == "Client"
                and not call.args
                and not {"address", "scheduler_file"} & {k.arg for k in call.keywords}
            )
            if name == "call" and isinstance(call.func, ast.Name) and "aws.clients import call" in path.read_text():
                continue  # of an operation of AWS
            owned = isinstance(call.func, ast.Attribute) and ast.unparse(call.func.value) in ("psutil", "instance")
            if alone or (name in STARTS_PROCESSES | STARTS_DASK | STARTS_OURS and not owned):
                found.add(f"{path.relative_to(PACKAGE).as_posix()} {function} {name}")
    assert found == WAYS.keys()


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project with certificates; its topology is not read."""
    monkeypatch.delenv("XDASK_TOPOLOGY", raising=False)
    root = tmp_path / "project"
    (root / "notebooks").mkdir(parents=True)
    (root / "regions.yaml").write_text("[not a topology")
    make_certificates(certificates_folder(root))
    return root


@pytest.mark.parametrize("where", ["root", "folder below it", "XDASK_TOPOLOGY"])
def test_scripts_and_notebooks_find_the_certificates_of_their_project(
    project: Path, where: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir({"root": project, "folder below it": project / "notebooks"}.get(where, project.parent))
    if where == "XDASK_TOPOLOGY":
        monkeypatch.setenv("XDASK_TOPOLOGY", "project/regions.yaml")
    with local_regions([EAST]) as client:
        scheduler: Any = client.scheduler
        addresses = [scheduler.address, *workers(client)]
        assert [address.split("://")[0] for address in addresses] == ["tls", "tls"]
        assert client.submit(sum, [1, 2]).result() == 3


def test_a_script_of_ones_own_speaks_tls_by_itself(project: Path) -> None:
    script = project / "mine.py"
    script.write_text(
        "from xdask_pipelines.placement import local_regions\n"
        "if __name__ == '__main__':\n"
        f"    with local_regions(['{EAST}']) as client:\n"
        "        print(client.scheduler.address)\n"
    )
    done = subprocess.run(
        [sys.executable, str(script)], cwd=project, env=os.environ, capture_output=True, text=True, timeout=120
    )
    assert done.stdout.startswith("tls://127.0.0.1:"), done.stderr


def test_without_certificates_or_outside_a_project_connections_are_plain(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "regions.yaml").touch()
    monkeypatch.chdir(tmp_path / "other")
    with local_regions([EAST]) as client:
        assert client.scheduler.address.startswith("tcp://127.0.0.1:")  # type: ignore[union-attr]
