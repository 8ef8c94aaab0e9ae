"""`xdask notebook`: JupyterLab of this project alone, on this machine alone."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from time import monotonic, sleep

import psutil
import pytest
from click.testing import CliRunner

from infra.rehearsal.servers.loopback import free_port
from xdask_pipelines.cli import main
from xdask_pipelines.operations import notebook_server

REGIONS = "client: {region: eu-west-2, cidr: 10.0.0.0/16}\nworkers: [{region: us-east-1, cidr: 10.1.0.0/16}]\n"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "regions.yaml").write_text(REGIONS)
    (tmp_path / "notebooks").mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("XDASK_TOPOLOGY", raising=False)
    return tmp_path


@pytest.fixture
def server(folder: Path) -> Iterator[tuple[subprocess.Popen[str], int, Path]]:
    port = free_port()
    start = "from xdask_pipelines.cli import main; main()"
    words = [sys.executable, "-c", start, "notebook", "--no-browser", "--port", str(port)]
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(words, cwd=folder, stdout=log, stderr=log, text=True)
    yield process, port, folder / "log"
    process.terminate()
    process.wait(30)


def asked(address: str) -> int:
    try:
        with urllib.request.urlopen(address, timeout=10) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code


def test_jupyterlab_opens_in_the_folder_on_loopback_and_asks_for_its_token(
    server: tuple[subprocess.Popen[str], int, Path], folder: Path
) -> None:
    process, port, log = server
    deadline = monotonic() + 90
    while not (found := re.search(rf"http://127\.0\.0\.1:{port}/lab\?token=(\w+)", log.read_text())):
        assert process.poll() is None, log.read_text()
        assert monotonic() < deadline, log.read_text()
        sleep(0.2)
    token, base = found.group(1), f"http://127.0.0.1:{port}/api"
    assert len(token) >= 32
    assert asked(f"{base}/contents") == 403
    with urllib.request.urlopen(f"{base}/contents?token={token}", timeout=10) as answer:
        names = {each["name"] for each in json.load(answer)["content"]}
    assert {"notebooks", "regions.yaml"} <= names
    listening = [c.laddr.ip for c in psutil.Process(process.pid).net_connections("tcp") if c.status == "LISTEN"]
    assert set(listening) == {"127.0.0.1"}
    assert psutil.Process(process.pid).environ()["XDASK_TOPOLOGY"] == str(folder / "regions.yaml")


def test_without_jupyterlab_one_error_says_what_to_install(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(notebook_server, "find_spec", lambda name: None if name == "jupyterlab" else find_spec(name))
    shown = CliRunner().invoke(main, ["notebook"])
    assert shown.exit_code == 1
    assert 'pip install "xdask_pipelines[notebook]"' in shown.output
    assert len(shown.output.strip().splitlines()) == 1


def test_notebooks_on_aws_stay_commands_of_their_own(folder: Path) -> None:
    shown = CliRunner().invoke(main, ["notebook", "start"])
    assert shown.exit_code == 1
    assert "profile local" in shown.output
    assert "open" in CliRunner().invoke(main, ["notebook", "--help"]).output
