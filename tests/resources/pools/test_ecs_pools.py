"""Pools as ECS services: from zero with the work, back to zero without loss, by any controller that is there."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from time import sleep, time
from uuid import uuid4

import dagster as dg
import dask.array as da
import numpy as np
import pytest
import yaml
from dask_cloudprovider.aws import ECSCluster
from distributed import Client

from infra.rehearsal.account.recorded_calls import Refusal
from tests.support.aws_project import AwsProject, aws_project
from tests.support.places import EAST, WEST, eventually
from xdask_pipelines.access.home_calls import call_at_home
from xdask_pipelines.assets.datasets import catalog_key
from xdask_pipelines.errors import EmptyPool, PlacementError
from xdask_pipelines.placement import pin
from xdask_pipelines.placement.client.scheduler_rpc import SchedulerRPC
from xdask_pipelines.placement.launch.process_command import dask_words
from xdask_pipelines.resources.aws import starting_pools
from xdask_pipelines.resources.pools import extra_workers, pools_of_topology
from xdask_pipelines.resources.pools.ecs_backend import EcsBackend
from xdask_pipelines.resources.pools.ecs_pools import EcsPools
from xdask_pipelines.resources.pools.orphaned_workers import end_orphans
from xdask_pipelines.resources.pools.pool_controller import PoolController, scale
from xdask_pipelines.resources.pools.standing_pools import borrowed_workers
from xdask_pipelines.schedules import SYNC_JOB
from xdask_pipelines.sensors import first_sync, pool_controller
from xdask_pipelines.topology import Topology
from xdask_pipelines.topology.aws_names import SCHEDULER_HOST, SCHEDULER_SERVICE, pool_service, sync_family


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AwsProject]:
    with aws_project(tmp_path_factory.mktemp("aws")) as found:
        yield found


@pytest.fixture(scope="module")
def pools(project: AwsProject) -> Iterator[EcsPools]:
    project.start_scheduler()
    found = project.pools()
    yield found
    found.close()


def test_a_sync_has_an_executor_of_its_own_while_nothing_else_runs(project: AwsProject) -> None:
    """The first test: the scheduler is down, and all pools are at zero."""
    lines: list[str] = []
    with borrowed_workers(project.pools(), [EAST, WEST], lines.append) as compute:
        written = project.topology.data_folder(WEST) / "imported"
        (found,), evidence = compute(call_at_home("touch", WEST, written.write_text, "x"))
        assert found == 1
        assert written.read_text() == "x"
        assert evidence.tasks_by_region == {WEST: 1}
        (found,), _ = compute(call_at_home("sum", EAST, sum, [1, 2]))
        assert found == 3
        tasks = [task for task in project.twin.tasks.values() if task.family in (sync_family(EAST), sync_family(WEST))]
        assert not any(task.ends for task in tasks)
        project.twin.refuse["StopTask"] = Refusal("AccessDeniedException", "as if this process was killed")
    assert {(EAST, "StopTask"), (WEST, "StopTask")} <= set(project.twin.calls)
    del project.twin.refuse["StopTask"]
    assert eventually(lambda: all(task.status == "STOPPED" for task in tasks), 20), project.logs()
    assert {task.reason for task in tasks} == {"Essential container in task exited (0)"}, "without a client they end"
    assert [line for line in lines if "us-west-2: the sync executor runs" in line]
    assert project.number_of(EAST) == 0


def test_status_at_zero_is_no_problem(pools: EcsPools) -> None:
    status = pools.status()
    assert status.up
    assert status.notes == tuple(f"pool of {region}: at zero; it starts when it is needed" for region in (EAST, WEST))


def test_the_first_sync_is_launched_once_and_only_when_all_pools_are_deployed(
    project: AwsProject, pools: EcsPools, tmp_path: Path
) -> None:
    stanzas = yaml.safe_load((project.topology.root / "regions.yaml").read_text())
    stanzas["workers"][0]["datasets"] = [{"name": "era5", "layout": "era5-pds", "mount": "era5-pds"}]
    (tmp_path / "regions.yaml").write_text(yaml.safe_dump(stanzas))
    topology = Topology.load(tmp_path / "regions.yaml")
    places = topology.places
    job = dg.define_asset_job(SYNC_JOB, "*")
    definitions = dg.Definitions(
        assets=[dg.AssetSpec(catalog_key(*place)) for place in places],
        sensors=first_sync(topology),
        jobs=[job],
        resources={"pools": pools},
    )
    sensor = definitions.resolve_sensor_def("first_sync")
    with dg.DagsterInstance.ephemeral() as history:

        def look() -> dg.RunRequest | dg.SkipReason:
            found = sensor(dg.build_sensor_context(instance=history, resources={"pools": pools}))
            assert isinstance(found, dg.RunRequest | dg.SkipReason)
            return found

        project.twin.refuse["DescribeServices"] = Refusal("ClusterNotFoundException", "not deployed")
        waits = look()
        assert isinstance(waits, dg.SkipReason)
        assert "a pool is not deployed yet" in str(waits.skip_message)
        del project.twin.refuse["DescribeServices"]
        first, again = look(), look()
        assert isinstance(first, dg.RunRequest)
        assert isinstance(again, dg.RunRequest)
        assert first.run_key == again.run_key  # Dagster launches each key once
        history.add_run(dg.DagsterRun(job_name=SYNC_JOB, run_id=str(uuid4()), status=dg.DagsterRunStatus.STARTED))
        assert isinstance(look(), dg.SkipReason)
        for place in places:
            history.report_runless_asset_event(dg.AssetMaterialization(catalog_key(*place)))
        assert str(getattr(look(), "skip_message", "")) == "every dataset was synced"


def slowly(block: np.ndarray) -> np.ndarray:
    sleep(0.3 if block.size else 0)
    return block


def test_a_computation_waits_while_the_sensor_starts_its_pool_from_zero(project: AwsProject, pools: EcsPools) -> None:
    project.twin.route53.zones["xdask.internal"] = "Z1"
    metrics, lines, cursor = project.twin.metrics, list[str](), "{}"
    definitions = dg.Definitions(sensors=pool_controller(project.topology), resources={"pools": pools})
    sensor = definitions.resolve_sensor_def("pool_controller")

    def look() -> str:
        nonlocal cursor
        context = dg.build_sensor_context(instance=history, cursor=cursor, resources={"pools": pools})
        result = sensor(context)
        cursor = result.cursor
        return str(result.skip_reason.skip_message)

    work = pin(da.ones((8, 4), chunks=(1, 4)), EAST).map_blocks(slowly, dtype=float).sum()
    with dg.DagsterInstance.ephemeral() as history, ThreadPoolExecutor() as threads:
        (task,) = project.twin.of_service("eu-west-2", SCHEDULER_SERVICE)
        assert f"the scheduler's name leads to {task.address} now" in look()
        assert project.twin.route53.records == {("Z1", SCHEDULER_HOST): (task.address, 10)}
        assert metrics["eu-west-2", "Dask/Cluster", "SchedulerUp", "eu-west-2"] == 1
        assert metrics["eu-west-2", "Dask/Cluster", "CertificateDays", "eu-west-2"] > 300
        assert metrics["eu-west-2", "Dask/Cluster", "Instances", EAST] == 0
        waiting = threads.submit(project.pools().compute, work, tell=lines.append)
        assert eventually(lambda: "us-east-1: 1 instance instead of 0" in look(), 20)
        (total,), evidence = waiting.result(60)
        assert json.loads(cursor)["controller"]["sizes"] == {EAST: 1, WEST: 0}
        cursor = json.dumps(json.loads(cursor) | {"figures_at": 0})
        assert look() == "nothing to change"
    assert total == 32
    assert evidence.misplaced_tasks == 0
    assert any(line.startswith(f"{EAST}: ") and ", for " in line for line in lines), lines
    assert project.twin.route53.changes == 1
    assert metrics["eu-west-2", "Dask/Cluster", "Instances", EAST] == 1
    assert 0 < metrics["eu-west-2", "Dask/Cluster", "MemoryPercent", EAST] < 100
    assert 0 < metrics["eu-west-2", "Dask/Cluster", "DiskPercent", EAST] < 100


def test_a_pool_shrinks_by_the_instance_that_was_drained_and_loses_nothing(
    project: AwsProject, pools: EcsPools
) -> None:
    backend = EcsBackend(pools, print)
    scale(backend, EAST, 2)
    held = pin(da.ones((20, 4), chunks=(1, 4)), EAST).map_blocks(slowly, dtype=float)
    held = pools.client().persist(held)
    assert eventually(lambda: sum(map(len, pools.client().has_what().values())) == 20, 30)
    before = {task.id for task in project.twin.of_service(EAST, pool_service(EAST))}
    scale(EcsBackend(pools, print), EAST, 1)
    (left,) = project.twin.of_service(EAST, pool_service(EAST))
    assert left.id in before
    assert left.protected_until > time()
    assert project.twin.services[EAST, pool_service(EAST)].desired == 1
    (total,), _ = pools.compute(held.sum())
    assert total == 80
    assert len(project.twin.of_service(EAST, pool_service(EAST))) == 1


def test_the_last_instance_is_kept_while_its_results_are_needed(project: AwsProject, pools: EcsPools) -> None:
    held = pools.client().persist(pin(da.ones(4, chunks=2), EAST))
    assert eventually(lambda: sum(map(len, pools.client().has_what().values())) == 2, 30)
    with pytest.raises(PlacementError, match="cannot be drained"):
        scale(EcsBackend(pools, print), EAST, 0)
    assert project.number_of(EAST) == 1
    del held


def test_a_controller_continues_where_another_stopped_and_follows_a_person(
    project: AwsProject, pools: EcsPools
) -> None:
    now = [1000.0]

    def controller() -> PoolController:
        return PoolController(pools, EcsBackend(pools, print), print, clock=lambda: now[0])

    first = controller()
    first.step()
    now[0] += 290
    second = controller()
    second.remember(first.memory())
    assert second.step() == []
    project.twin.services[EAST, pool_service(EAST)].desired = 2  # by hand
    assert eventually(lambda: len(instances(pools)) == 2, 30), project.logs()
    now[0] += 100
    assert second.step() == [], "a pool that a person scaled cools down like any other"
    now[0] += 601
    third = controller()
    third.remember(second.memory())
    assert eventually(lambda: not third.step() and project.number_of(EAST) == 0, 30)
    assert project.twin.services[EAST, pool_service(EAST)].desired == 0


def instances(pools: EcsPools) -> dict[str, object]:
    return SchedulerRPC(pools.client()).instances()


def test_extra_workers_of_a_run_join_its_pool_and_leave_the_scheduler_alone(
    project: AwsProject, pools: EcsPools, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(extra_workers, "_POLL_SECONDS", 0.3)
    service_tasks = project.number_of(WEST)

    def fail() -> None:
        with pools_of_topology.extra_workers(pools, {WEST: 1}, print):
            assert eventually(lambda: any(name.startswith(WEST) for name in instances(pools)), 30), project.logs()
            (total,), _ = pools.compute(pin(da.ones(4, chunks=2), WEST).sum())
            assert total == 4
            assert [i for i in EcsBackend(pools, print).observe() if i.region == WEST] == [], (
                "they are not the service's"
            )
            raise ValueError("the run fails")

    with pytest.raises(ValueError, match="the run fails"):
        fail()
    assert eventually(lambda: not any(name.startswith(WEST) for name in instances(pools)), 20)
    assert project.number_of(WEST) == service_tasks
    assert pools.status().up
    asked = {operation for region, operation in project.twin.calls if region == WEST}
    assert asked <= {"DescribeServices", "ListTasks", "DescribeTasks", "RunTask", "StopTask", "UpdateService"}


def test_extra_workers_of_a_run_that_was_killed_are_ended(
    project: AwsProject, pools: EcsPools, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(extra_workers, "_POLL_SECONDS", 0.3)
    lines, rpc = list[str](), SchedulerRPC(pools.client())
    killed = project.pools()

    def joined() -> bool:
        return any(name.startswith(WEST) for name in instances(pools))

    cluster = extra_workers.ExtraCluster(killed, WEST, 1)
    try:
        assert eventually(joined, 30), project.logs()
        assert end_orphans(rpc, [WEST], (), lines.append) == [], "its client is connected"
        killed.client().close()  # as the scheduler sees it when the process is killed
        (away,) = end_orphans(rpc, [WEST], (), lines.append)
        assert joined(), "it may come back"
        assert end_orphans(rpc, [WEST], [away], lines.append) == [away]
        assert lines == [f"{WEST}: ended 1 extra instance of a run whose process is gone"]
        assert eventually(lambda: not joined(), 20)
        assert end_orphans(rpc, [WEST], [away], lines.append) == []
    finally:
        cluster.close()
    assert pools.status().up


def test_a_cluster_of_dask_cloudprovider_with_its_defaults_would_end_the_scheduler(
    project: AwsProject, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    defaults = {"shutdown_scheduler": True, "security": None}
    start = ECSCluster.__init__
    monkeypatch.setattr(ECSCluster, "__init__", lambda self, **given: start(self, **{**given, **defaults}))
    file, other = tmp_path / "scheduler.json", project.pools()
    words = [
        *dask_words("scheduler"),
        "--host",
        "127.0.0.1",
        "--port",
        "0",
        "--no-dashboard",
        "--scheduler-file",
        str(file),
    ]
    with subprocess.Popen(words, stderr=subprocess.DEVNULL) as scheduler:
        try:
            assert eventually(file.exists, 20)
            with Client(json.loads(file.read_text())["address"]) as other._client:
                cluster = extra_workers.ExtraCluster(other, WEST, 0)
            with pytest.raises(AttributeError, match="'SchedulerAddress' object has no attribute 'close'"):
                cluster.close()
            assert scheduler.wait(10) is not None
        finally:
            scheduler.kill()


def test_a_pool_that_ecs_cannot_place_fails_with_its_reason(
    project: AwsProject, pools: EcsPools, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(starting_pools, "_LOOK_SECONDS", 0.2)
    name = pool_service(WEST)
    monkeypatch.setattr(project.twin, "cannot_place", {name})
    monkeypatch.setattr(project.twin.services[WEST, name], "desired", 1)
    lines: list[str] = []
    with pytest.raises(EmptyPool, match=r'us-west-2 cannot start an instance.*"RESOURCE:ENI"'):
        pools.compute(pin(da.ones(4, chunks=2), WEST).sum(), tell=lines.append)
    assert any("1 instance wanted, none placed yet" in line for line in lines)
