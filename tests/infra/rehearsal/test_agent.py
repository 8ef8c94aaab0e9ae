"""The agent: real processes with the file system, user and network of their definition, started, replaced and ended."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from infra.rehearsal.stage import Stage, stage
from infra.rehearsal.tasks.agent import AgentSettings
from infra.rehearsal.tasks.containers import REPOSITORY
from infra.rehearsal.tasks.running_task import RunningTask
from tests.infra.rehearsal.written_assembly import CLIENT, EAST, WEST, topology_file, written_assembly
from xdask_pipelines.topology.aws_names import (
    DAGSTER_SERVICE,
    SCHEDULER_SERVICE,
    WORKER_CONTAINER,
    cluster_name,
    pool_service,
)

pytestmark = [pytest.mark.rehearsal, pytest.mark.timeout(300)]
POOL, CLUSTER = pool_service(EAST), cluster_name(EAST)
#: What the pools run here: it ends after SIGTERM, but not before the file `slow` is gone.
_WAITS = 'trap "while [ -e /results/slow ]; do sleep 0.1; done; exit 0" TERM; while :; do sleep 0.1; done'


@pytest.fixture(scope="module", params=["namespaces", "loopback"])
def parts(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    top = tmp_path_factory.mktemp("agent")
    assembly = written_assembly(top / "cdk.out")
    for file in assembly.glob("*.template.json"):
        template = json.loads(file.read_text())
        for resource in template["Resources"].values():
            for container in resource.get("Properties", {}).get("ContainerDefinitions", ()):
                container |= {"EntryPoint": ["sh", "-c", _WAITS], "Command": [], "StopTimeout": 3}
        file.write_text(json.dumps(template))
    with stage(
        topology_file(top / "own"),
        assembly,
        top / "rehearsal",
        data={region: [REPOSITORY / "data" / region] for region in (EAST, WEST)},
        settings=AgentSettings(boot_seconds=0.5, fargate_seconds=0.1, idle_seconds=0.5),
        wide_area=request.param == "namespaces",
    ) as found:
        found.deploy()
        found.command("certs", "--aws")
        yield found


@pytest.fixture
def worker(parts: Stage) -> Iterator[RunningTask]:
    """The one task of a pool, which is at zero before and after."""
    parts.scale(EAST, CLUSTER, POOL, 1)
    yield parts.task(EAST, POOL)
    (parts.folder / "results" / EAST / "slow").unlink(missing_ok=True)
    parts.scale(EAST, CLUSTER, POOL, 0)
    parts.wait(lambda: not parts.agent.instances[EAST].running, 20, "the pool is at zero")


def inside(task: RunningTask, *words: str) -> tuple[int, str]:
    done = task.run(next(iter(task.processes)), words, 30)
    return done.returncode, done.stdout + done.stderr


def described(parts: Stage, arn: str) -> dict[str, Any]:
    return parts.clients.of("ecs", EAST).describe_tasks(cluster=CLUSTER, tasks=[arn])["tasks"][0]


def test_a_worker_sees_the_data_of_its_region_alone_and_cannot_write_them(parts: Stage, worker: RunningTask) -> None:
    assert inside(worker, "ls", "/data") == (0, "era5-pds\n")
    code, said = inside(worker, "touch", "/data/x")
    assert (code, "Read-only file system" in said) == (1, True)
    assert inside(worker, "touch", "/results/x", "/spill/x", "/tmp/x") == (0, "")
    assert WEST not in inside(worker, "ls", str(parts.folder / "data"))[1]
    assert inside(worker, "touch", "/x")[0] == 1


def test_a_worker_is_not_root_and_reads_its_keys(worker: RunningTask) -> None:
    assert inside(worker, "id", "-u")[0] == 0
    assert inside(worker, "sh", "-c", "grep -c PRIVATE /run/xdask/tls/node-key.pem") == (0, "2\n")
    status = Path(f"/proc/{worker.processes[WORKER_CONTAINER].pid}/status").read_text()
    user = os.geteuid() or 10001  # without root, there is one user alone
    assert f"Uid:\t{user}\t{user}" in status


def test_a_worker_knows_its_task_and_reaches_nothing_of_aws_but_s3(parts: Stage, worker: RunningTask) -> None:
    program = """
import json, os, urllib.request
import boto3
with urllib.request.urlopen(os.environ["ECS_CONTAINER_METADATA_URI_V4"] + "/task") as answer:
    task = json.load(answer)
print(task["TaskARN"], task["Containers"][0]["Networks"][0]["IPv4Addresses"][0])
boto3.client("s3", region_name="us-east-1").list_buckets()
try:
    boto3.client("ecs", region_name="us-east-1").list_clusters()
except Exception as error:
    print(error)
"""
    code, said = inside(worker, "python", "-c", program)
    assert code == 0, said
    assert said.startswith(f"{worker.arn} {worker.interface.address}\n")
    assert "ecs cannot be reached from here" in said
    last = [call for call in parts.proxy.calls if call.role == f"xdask-pool-{EAST}"]
    assert {call.operation for call in last} == {"ListBuckets", "ListClusters"}


def test_an_essential_container_that_ends_ends_its_task_and_the_service_replaces_it(
    parts: Stage, worker: RunningTask
) -> None:
    worker.processes[WORKER_CONTAINER].kill()
    parts.wait(lambda: any(t.arn != worker.arn for t in parts.agent.running(EAST, POOL)), 20, "another task runs")
    task = described(parts, worker.arn)
    assert (task["stopCode"], task["stoppedReason"]) == (
        "EssentialContainerExited",
        "Essential container in task exited",
    )
    assert task["containers"][0]["exitCode"] == 137
    assert parts.agent.running(EAST, POOL)[0].interface.address != worker.interface.address


def test_a_task_that_does_not_end_in_time_is_killed(parts: Stage, worker: RunningTask) -> None:
    (parts.folder / "results" / EAST / "slow").touch()
    parts.scale(EAST, CLUSTER, POOL, 0)
    parts.wait(lambda: described(parts, worker.arn)["lastStatus"] == "DEACTIVATING", 10, "the task ends")
    seconds = parts.wait(lambda: described(parts, worker.arn)["lastStatus"] == "STOPPED", 20, "the task has ended")
    assert 1.5 < seconds < 8
    assert described(parts, worker.arn)["containers"][0]["exitCode"] == 137


def test_a_task_that_ends_in_time_ends_well_and_nothing_of_it_is_left(parts: Stage, worker: RunningTask) -> None:
    code, said = inside(worker, "sh", "-c", "setsid sleep 600 >/dev/null 2>&1 & echo $!")
    assert code == 0, said
    left = Path(f"/proc/{int(said)}")
    assert left.is_dir()
    parts.scale(EAST, CLUSTER, POOL, 0)
    parts.wait(lambda: described(parts, worker.arn)["lastStatus"] == "STOPPED", 10, "the task has ended")
    assert described(parts, worker.arn)["containers"][0]["exitCode"] == 0
    parts.wait(lambda: not left.is_dir(), 5, "what its command left behind has ended")


def test_protected_tasks_end_when_their_protection_does(parts: Stage, worker: RunningTask) -> None:
    ecs = parts.clients.of("ecs", EAST)
    ecs.update_task_protection(cluster=CLUSTER, tasks=[worker.arn], protectionEnabled=True)
    parts.scale(EAST, CLUSTER, POOL, 0)
    parts.agent.step()
    assert described(parts, worker.arn)["lastStatus"] == "RUNNING"
    (service,) = ecs.describe_services(cluster=CLUSTER, services=[POOL])["services"]
    assert (service["desiredCount"], service["runningCount"]) == (0, 1)
    parts.proxy.states.of(worker.arn).protected_until = 0.0
    parts.wait(lambda: described(parts, worker.arn)["lastStatus"] == "STOPPED", 20, "the task has ended")


@pytest.mark.parametrize(("notice", "code"), [(False, 137), (True, 0)])
def test_an_instance_that_is_lost_is_replaced(parts: Stage, worker: RunningTask, notice: bool, code: int) -> None:
    parts.agent.interrupt(worker, notice=notice)
    parts.wait(lambda: any(t.arn != worker.arn for t in parts.agent.running(EAST, POOL)), 20, "another task runs")
    parts.wait(lambda: described(parts, worker.arn)["lastStatus"] == "STOPPED", 20, "the task has ended")
    assert described(parts, worker.arn)["containers"][0]["exitCode"] == code


def test_the_pool_has_no_more_instances_than_its_group(parts: Stage, worker: RunningTask) -> None:
    parts.scale(EAST, CLUSTER, POOL, 5)
    parts.wait(lambda: len(parts.agent.running(EAST, POOL)) == 3, 30, "three tasks run")
    for _ in range(3):
        parts.agent.step()
    (service,) = parts.clients.of("ecs", EAST).describe_services(cluster=CLUSTER, services=[POOL])["services"]
    assert (service["runningCount"], service["pendingCount"]) == (3, 2)


def test_a_replaced_scheduler_has_another_address_and_its_name_follows_the_record(parts: Stage) -> None:
    old = parts.task(CLIENT, SCHEDULER_SERVICE)
    parts.clients.of("ecs", CLIENT).stop_task(cluster=cluster_name(CLIENT), task=old.arn)
    parts.wait(
        lambda: any(t.arn != old.arn for t in parts.agent.running(CLIENT, SCHEDULER_SERVICE)), 20, "another runs"
    )
    new = parts.task(CLIENT, SCHEDULER_SERVICE)
    assert new.interface.address != old.interface.address
    dagster = parts.task(CLIENT, DAGSTER_SERVICE)
    route53 = parts.clients.of("route53", CLIENT)
    zone = route53.list_hosted_zones_by_name(DNSName="xdask.internal")["HostedZones"][0]["Id"]
    for address in (old.interface.address, new.interface.address):
        record = {"Name": "scheduler.xdask.internal", "Type": "A", "TTL": 10, "ResourceRecords": [{"Value": address}]}
        changes = [{"Action": "UPSERT", "ResourceRecordSet": record}]
        route53.change_resource_record_sets(HostedZoneId=zone, ChangeBatch={"Changes": changes})
        parts.wait(
            lambda wanted=address: inside(dagster, "getent", "hosts", "scheduler.xdask.internal")[1].startswith(wanted),
            10,
            "the name leads to the address",
        )


def test_a_task_that_starts_while_tasks_are_listed_is_not_taken_for_one_that_ended(
    parts: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    cluster = cluster_name(CLIENT)
    ecs, look = parts.clients.of("ecs", CLIENT), parts.agent._look_after
    started: list[dict[str, Any]] = []

    def look_and_start(region: str, *args: Any) -> set[str]:
        found = look(region, *args)
        if region == CLIENT and not started:
            started.extend(
                ecs.run_task(cluster=cluster, taskDefinition=SCHEDULER_SERVICE, launchType="FARGATE")["tasks"]
            )
            parts.proxy.states.of(started[0]["taskArn"])
        return found

    with monkeypatch.context() as patched:
        patched.setattr(parts.agent, "_look_after", look_and_start)
        parts.wait(lambda: started, 10, "a task starts")
        with parts.agent._lock:  # the step in which it started is over
            (task,) = ecs.describe_tasks(cluster=cluster, tasks=[started[0]["taskArn"]])["tasks"]
    assert task["lastStatus"] != "STOPPED"
    ecs.stop_task(cluster=cluster, task=task["taskArn"])
    parts.wait(lambda: parts.proxy.states.of(task["taskArn"]).status == "STOPPED", 20, "the task has ended")


def test_nothing_runs_in_a_region_that_was_never_asked(parts: Stage) -> None:
    assert parts.agent.running(WEST, pool_service(WEST)) == []
    assert parts.agent.instances[WEST].peak == 0
