"""Tasks: containers of their definitions, instances, states, and what ECS serves to containers."""

from __future__ import annotations

import json
import os
import subprocess
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from infra.rehearsal.account.clients import access_key
from infra.rehearsal.account.task_states import TaskStates
from infra.rehearsal.account.templates import Stack
from infra.rehearsal.servers.loopback import listening
from infra.rehearsal.tasks import containers
from infra.rehearsal.tasks.containers import Container, Mount, base_environment, command
from infra.rehearsal.tasks.instances import Instances
from infra.rehearsal.tasks.task_definitions import HostFolders, containers_of, definitions_of
from infra.rehearsal.tasks.task_metadata import CREDENTIALS, METADATA, TaskMetadata
from infra.rehearsal.tasks.task_networks import LoopbackNetwork
from tests.infra.rehearsal.conftest import DAGSTER, Deployed
from tests.infra.rehearsal.written_assembly import CLIENT, EAST
from xdask_pipelines.topology.aws_names import SCHEDULER_SERVICE, WORKER_CONTAINER, pool_service

POOL = pool_service(EAST)


def folders(top: Path) -> HostFolders:
    host = {"/mnt/data": top / "data", "/mnt/results": top / "results", "/mnt/nvme/spill": top / "spill"}
    return HostFolders({**host, "/run/xdask/tls": top / "tls"}, top / "results", top / "homes", top / "project")


def test_a_container_has_the_words_user_and_mounts_of_its_template(
    deployed: Deployed, stacks: list[Stack], tmp_path: Path
) -> None:
    ecs = deployed.operator.of("ecs", EAST)
    described = ecs.describe_task_definition(taskDefinition=POOL)["taskDefinition"]
    (container,) = containers_of(described, definitions_of(stacks)[POOL], {}, folders(tmp_path), {"A": "b"})
    assert list(container.words[:4]) == ["xdask", "worker", "--region", EAST]
    assert (container.name, container.user) == (WORKER_CONTAINER, "10001:10001")
    assert container.environment["A"] == "b"
    assert container.memory_folders_mib == {"/tmp": 64}
    mounts = {mount.target: (mount.source, mount.read_only) for mount in container.mounts}
    assert mounts["/data"] == (tmp_path / "data", True)
    assert mounts["/results"] == (tmp_path / "results", False)
    assert mounts["/project"] == (tmp_path / "project", True)


def test_overrides_of_a_task_replace_words_and_add_to_the_environment(
    deployed: Deployed, stacks: list[Stack], tmp_path: Path
) -> None:
    described = deployed.operator.of("ecs", CLIENT).describe_task_definition(taskDefinition=SCHEDULER_SERVICE)
    override = {"name": "scheduler", "command": ["other"], "environment": [{"name": "X", "value": "y"}]}
    (container,) = containers_of(
        described["taskDefinition"],
        definitions_of(stacks)[SCHEDULER_SERVICE],
        {"containerOverrides": [override]},
        folders(tmp_path),
        {},
    )
    assert container.words[0] == "python"
    assert container.words[-1] == "other"
    assert container.environment["X"] == "y"
    assert container.environment["AWS_DEFAULT_REGION"] == CLIENT


@pytest.mark.rehearsal  # as root, who alone can give files to others
def test_the_sync_alone_removes_what_fsx_gave_to_root(tmp_path: Path) -> None:
    data, keys, root = tmp_path / "data", tmp_path / "keys", tmp_path / "root"
    for folder in (data, keys, root):
        folder.mkdir(mode=0o755)
    for name in ("a.nc", "b.nc"):
        (data / name).write_text("")
    (keys / "node-key.pem").write_text("key")
    (keys / "node-key.pem").chmod(0o400)
    os.chown(keys / "node-key.pem", 10001, 10001)
    names = tmp_path / "hosts"
    names.write_text("127.0.0.1 localhost\n")

    def ends_with(user: str, capabilities: tuple[str, ...], *words: str) -> int:
        mounts = [Mount(data, "/data", False), Mount(keys, "/keys", True)]
        container = Container("one", words, base_environment(), user, mounts, capabilities=capabilities)
        done = subprocess.run(command(container, root, names, []), env=dict(container.environment), check=False)
        return done.returncode

    assert ends_with("10001:10001", (), "rm", "/data/a.nc") != 0
    assert ends_with("0:0", ("DAC_OVERRIDE",), "rm", "/data/a.nc") == 0
    assert ends_with("0:0", ("DAC_OVERRIDE",), "cat", "/keys/node-key.pem") == 0
    assert ends_with("0:0", (), "cat", "/keys/node-key.pem") != 0
    assert ends_with("0:0", ("DAC_OVERRIDE",), "chown", "10001", "/data/b.nc") != 0
    assert [path.name for path in data.iterdir()] == ["b.nc"]


@pytest.mark.rehearsal
def test_a_program_below_a_closed_folder_of_tmp_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    closed, root, names = tmp_path / "closed", tmp_path / "root", tmp_path / "hosts"
    program = closed / "clone" / "program"
    program.parent.mkdir(parents=True)
    program.write_text("#!/bin/sh\necho runs\n")
    program.chmod(0o755)
    closed.chmod(0o700)
    root.mkdir()
    names.write_text("127.0.0.1 localhost\n")
    assert program.is_relative_to("/tmp"), "which a container has in memory"
    monkeypatch.setattr(containers, "_PROGRAM", (program.parent,))
    container = Container("one", [str(program)], base_environment(), "10001:10001", memory_folders_mib={"/tmp": 16})
    words = command(container, root, names, [])
    done = subprocess.run(words, env=dict(container.environment), capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("runs\n", "")


def test_a_volume_of_an_unknown_folder_of_the_host_is_an_error(tmp_path: Path) -> None:
    template = {"Volumes": [{"Name": "a", "Host": {"SourcePath": "/etc"}}], "ContainerDefinitions": []}
    with pytest.raises(ValueError, match="The volume a is /etc of its host"):
        containers_of({"containerDefinitions": []}, template, {}, folders(tmp_path), {})


def test_an_instance_starts_for_a_task_and_ends_when_it_has_none() -> None:
    now = [0.0]
    instances = Instances(most=1, boot_seconds=10, idle_seconds=5, clock=lambda: now[0])
    assert not instances.place("a")
    assert not instances.place("b")  # no more than one
    now[0] = 10.0
    assert instances.place("a")
    instances.free("a")
    assert instances.place("b")  # the same instance, which runs
    instances.free("b")
    now[0] = 14.0
    instances.end_idle()
    assert len(instances.running) == 1
    now[0] = 15.0
    instances.end_idle()
    assert (instances.running, instances.peak) == ([], 1)


def test_a_lost_instance_leaves_room_for_another_one() -> None:
    instances = Instances(most=1, boot_seconds=0)
    assert instances.place("a")
    instances.lose("a")
    assert instances.place("b")


def test_every_task_on_loopback_has_an_address_that_no_task_had_before() -> None:
    network = LoopbackNetwork([CLIENT, EAST])
    first = network.take(EAST)
    network.give_back(first)
    addresses = [first.address, *(network.take(EAST).address for _ in range(600)), network.take(CLIENT).address]
    assert len(set(addresses)) == len(addresses)
    assert all(address.startswith("127.") for address in addresses)


def test_a_stopped_task_says_why_and_with_which_code() -> None:
    states = TaskStates()
    state = states.of(f"arn:aws:ecs:{EAST}:1:task/c/0123")
    state.exit_codes, state.stop_code, state.status = {"a": 137}, "EssentialContainerExited", "STOPPED"
    task = {"taskArn": state.arn, "desiredStatus": "STOPPED", "lastStatus": "STOPPED", "stopCode": "UserInitiated",
            "containers": [{"name": "a"}]}  # fmt: skip
    states.describe(task)
    assert task["stopCode"] == "EssentialContainerExited"
    assert task["containers"][0]["exitCode"] == 137
    assert (state.region, state.cluster, state.task_id) == (EAST, "c", "0123")


def test_a_container_gets_the_metadata_of_its_task_and_credentials_of_its_role() -> None:
    container = {"Name": "a", "Networks": [{"IPv4Addresses": ["10.0.0.1"]}]}
    task = {"TaskARN": "arn:task/0123", "Containers": [container]}
    role = f"arn:aws:iam::1:role/{DAGSTER}"
    metadata = TaskMetadata({"0123": task}.get, {"0123": role}.get)  # type: ignore[arg-type]
    url = metadata.listen(listening())

    def get(path: str) -> object:
        with urllib.request.urlopen(url + path, timeout=5) as answer:
            return json.load(answer)

    assert get(f"{METADATA}0123.a/task") == task
    assert get(f"{METADATA}0123.a") == container
    assert get(f"{CREDENTIALS}0123")["AccessKeyId"] == access_key(DAGSTER)  # type: ignore[index]
    for path in (f"{METADATA}4567.a/task", f"{CREDENTIALS}4567", "/other"):
        with pytest.raises(urllib.error.HTTPError, match="404"):
            get(path)
    metadata.close()
