"""The pipeline's steps as they are written, and deployments that are killed: the real commands, against the emulator."""

from __future__ import annotations

import json
import os
import pty
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from time import monotonic, sleep

import pytest
import yaml

from infra.deployment.removal import our_stacks
from infra.node import node_folder
from infra.rehearsal.account.clients import OPERATOR, EmulatedClients, credentials
from infra.rehearsal.account.emulator import emulator
from infra.rehearsal.account.operator_front import OperatorFront, docker_stand_in, operator_front
from infra.rehearsal.servers.loopback import listening
from infra.repository import REPOSITORY
from tests.infra.rehearsal.written_assembly import ACCOUNT, CLIENT, EAST, WEST
from tests.support.workflow import Workflow

pytestmark = [pytest.mark.rehearsal, pytest.mark.timeout(1200)]
#: Files that are older than the environment in a clone whose environment is up to date.
_LOCKS = ("pyproject.toml", "requirements.lock", "requirements-dev.lock", "infra/requirements.lock",
          "infra/package-lock.json", "infra/rehearsal/emulator.lock")  # fmt: skip
REGIONS = (CLIENT, EAST, WEST)


@dataclass
class Clone:
    """A fresh clone whose commands reach the emulator, and nothing else of AWS."""

    folder: Path
    front: OperatorFront
    environment: dict[str, str]

    @property
    def clients(self) -> EmulatedClients:
        return EmulatedClients(url=self.front.emulator.url)

    def git(self, *words: str) -> str:
        name = ["-c", "user.name=operator", "-c", "user.email=ops@example.org"]
        done = subprocess.run(["git", *name, *words], cwd=self.folder, check=True, capture_output=True, text=True)
        return done.stdout.strip()

    def commit(self, largest_pool: int) -> str:
        """Commit the topology of the example with another size of a pool; the commit."""
        stanzas = yaml.safe_load((REPOSITORY / "deploy" / "aws" / "regions.yaml").read_text())
        stanzas["workers"][1]["pool"]["max_workers"] = largest_pool
        (self.folder / "regions.yaml").write_text(yaml.safe_dump(stanzas, sort_keys=False))
        self.git("commit", "--quiet", "--message", f"A pool of {largest_pool}", "regions.yaml")
        return self.git("rev-parse", "HEAD")

    def stacks(self) -> dict[str, str]:
        """Return the states of our stacks by name."""
        return {stack.name: stack.status for stack in our_stacks(self.clients, REGIONS)}

    def deployed(self) -> dict[str, object]:
        """Return the templates of all stacks, as the command line would read them."""
        return {name: json.loads(text) for (_, name), text in self.front.templates.items()}

    def command(self, *words: str, answers: bytes = b"") -> subprocess.Popen[bytes]:
        """Begin a command of the deployment in a process group of its own, at a terminal if it asks something."""
        keys = {**self.environment, **credentials(OPERATOR), "AWS_DEFAULT_REGION": CLIENT}
        log = (self.folder.parent / "command.log").open("wb")
        near, far = pty.openpty()
        os.write(near, answers)
        process = subprocess.Popen(
            [".venv/bin/python", "-W", "ignore", "-m", "infra.deployment", *words],
            cwd=self.folder, env=keys, stdin=far if answers else subprocess.DEVNULL, stdout=log, stderr=log,
            start_new_session=True,
        )  # fmt: skip
        os.close(far)
        return process

    def end(self, process: subprocess.Popen[bytes]) -> str:
        """Wait for the end of a command; its output."""
        code = process.wait(600)
        text = (self.folder.parent / "command.log").read_text()
        assert code == 0, text[-5000:]
        return text

    def kill_when(self, process: subprocess.Popen[bytes], happened: Callable[[], bool]) -> None:
        """Kill a command with its children, as when its machine is lost."""
        deadline = monotonic() + 300
        while not happened():
            assert process.poll() is None, (self.folder.parent / "command.log").read_text()[-5000:]
            assert monotonic() < deadline
            sleep(0.02)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait(10)

    def called(self, operation: str, stack: str) -> Callable[[], bool]:
        return lambda: any(
            call.operation == operation and stack in str(call.parameters.get("StackName")) for call in self.front.calls
        )


@pytest.fixture
def clone(tmp_path: Path) -> Iterator[Clone]:
    folder = tmp_path / "clone"
    subprocess.run(["git", "clone", "--quiet", REPOSITORY, folder], check=True)
    (folder / ".venv").symlink_to(sys.prefix)
    (folder / "infra" / "node_modules").symlink_to((REPOSITORY / "infra" / "node_modules").resolve())
    for name in _LOCKS:
        os.utime(folder / name, (0, 0))
    tools = [str(Path(found).parent) for name in ("git", "make", "bash") if (found := shutil.which(name))]
    with emulator(ACCOUNT, tmp_path / "emulator") as found, operator_front(found, tmp_path) as front:
        environment = {
            "PATH": os.pathsep.join(dict.fromkeys([str(node_folder()), *tools, "/usr/bin", "/bin"])),
            "HOME": str(tmp_path),
            "CI": "true",
            "PYTHONPATH": str(folder),
            "AWS_ENDPOINT_URL": front.listen(listening()),
            "AWS_EC2_METADATA_DISABLED": "true",
            "CDK_DOCKER": str(docker_stand_in(tmp_path)),
        }
        yield Clone(folder, front, environment)


def _different(output: str) -> set[str]:
    """Return the stacks of which the command line shows a difference."""
    parts = re.split(r"^Stack (\S+)", output, flags=re.MULTILINE)[1:]
    return {name for name, text in zip(parts[::2], parts[1::2], strict=True) if "There were no differences" not in text}


def _largest_group(templates: Mapping[str, object]) -> set[str]:
    return set(re.findall(r'"MaxSize": "(\d+)"', json.dumps(templates[f"xdask-worker-{WEST}"])))


def test_every_step_of_the_pipeline_does_what_it_says(clone: Clone) -> None:
    workflow = Workflow(
        REPOSITORY / "deploy/aws/pipeline/github-actions.yml",
        clone.folder,
        clone.environment,
        variables={
            "ROLE_TO_READ": f"arn:aws:iam::{ACCOUNT}:role/reads",
            "ROLE_TO_DEPLOY": f"arn:aws:iam::{ACCOUNT}:role/deploys",
            "CLIENT_REGION": CLIENT,
        },
        keys=credentials(OPERATOR),
        instead={"make rehearse": "make --dry-run rehearse"},  # test_story.py runs it
    )
    first = clone.commit(4)
    check, rehearse, deploy = workflow.run("push", first)
    assert "21 stacks" in check.output
    assert "USD" in check.output, "the cost by the hour"
    assert "-m infra.rehearsal.rehearse" in rehearse.output
    assert "Deployed." in deploy.output
    before = clone.deployed()
    assert len(before) == len(clone.stacks()) == 21
    assert set(clone.stacks().values()) == {"CREATE_COMPLETE"}
    docker = (clone.folder.parent / "docker.log").read_text()
    for region in REGIONS:
        assert re.search(rf"push {ACCOUNT}\.dkr\.ecr\.{region}\.", docker), docker

    second = clone.commit(6)
    *_, diff = workflow.run("pull_request", second)
    assert f"Stack xdask-worker-{WEST}" in diff.output
    assert re.search(r"\[-\] 5\s+.*\[\+\] 7", diff.output, re.DOTALL), diff.output
    services = [f"client-{CLIENT}", f"notebook-{CLIENT}", f"worker-{EAST}", f"worker-{WEST}"]
    assert _different(diff.output) == {f"xdask-{name}" for name in services}, "the topology is in their image too"
    assert clone.deployed() == before, "a difference changes nothing"

    workflow.run("push", second)
    assert _largest_group(clone.deployed()) == {"7"}
    (only,) = workflow.run("workflow_dispatch", second, commit=first)
    assert (only.job, only.command) == ("roll-back", "make infra-deploy YES=--yes")
    assert clone.deployed() == before


def test_a_deployment_and_a_removal_that_are_killed_are_run_again_to_a_clean_end(clone: Clone) -> None:
    clone.commit(4)
    synth = subprocess.run(
        [".venv/bin/python", "-m", "infra.app"], cwd=clone.folder, env=clone.environment, check=False
    )
    assert synth.returncode == 0

    # between two stacks: the change set of one is there, and was not executed
    clone.kill_when(clone.command("deploy", "--yes"), clone.called("CreateChangeSet", f"xdask-network-{EAST}"))
    assert "xdask-client-eu-west-2" not in clone.stacks()
    # within one
    clone.kill_when(clone.command("deploy", "--yes"), clone.called("ExecuteChangeSet", f"xdask-storage-{CLIENT}"))
    clone.front.statuses[EAST, f"xdask-key-{EAST}"] = ["UPDATE_IN_PROGRESS"]
    said = clone.end(clone.command("deploy", "--yes"))
    assert f"xdask-key-{EAST} in {EAST} is UPDATE_IN_PROGRESS: an earlier command began that; waiting" in said
    assert "Deployed." in said
    assert len(clone.stacks()) == 21
    assert set(clone.stacks().values()) <= {"CREATE_COMPLETE", "UPDATE_COMPLETE"}

    clone.kill_when(clone.command("destroy", answers=b"y\n"), clone.called("DeleteStack", "xdask-"))
    assert clone.stacks()
    clone.kill_when(clone.command("destroy", answers=b"y\n"), clone.called("DeleteStack", f"xdask-storage-{EAST}"))
    assert clone.stacks()
    said = clone.end(clone.command("destroy", answers=b"y\n"))
    assert "Destroyed. What stays" in said
    assert clone.stacks() == {}
    assert "nothing is deployed" in clone.end(clone.command("destroy"))
