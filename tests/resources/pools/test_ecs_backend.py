"""Sizes of ECS services: actions may be repeated, interrupted and overtaken, and no other task than the one meant ends."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from time import time

import pytest

from infra.rehearsal.account.recorded_calls import Refusal
from tests.support.aws_project import AwsProject, aws_project
from tests.support.ecs_twin import TwinTask
from tests.support.places import EAST, eventually
from xdask_pipelines.errors import AwsError, PlacementError
from xdask_pipelines.resources.pools.ecs_backend import EcsBackend
from xdask_pipelines.resources.pools.placement_settings import settings_of
from xdask_pipelines.resources.pools.reconcile import Protect, Start, Stop
from xdask_pipelines.topology import Topology
from xdask_pipelines.topology.aws_names import pool_service

NAME = pool_service(EAST)


@pytest.fixture
def project(tmp_path: Path) -> Iterator[AwsProject]:
    """Its tasks have no processes: they run when a test says so."""
    with aws_project(tmp_path) as found:
        found.twin.boot_seconds = 1e9
        yield found


def running(project: AwsProject, number: int) -> list[TwinTask]:
    project.twin.services[EAST, NAME].desired = number
    assert eventually(lambda: project.number_of(EAST) == number, 5)
    tasks = project.twin.of_service(EAST, NAME)
    for task in tasks:
        task.status = "RUNNING"
    return tasks


def backend(project: AwsProject) -> EcsBackend:
    return EcsBackend(project.pools(), print)


def stop(task: TwinTask) -> Stop:
    return Stop(EAST, f"{EAST}-{task.id}", "drained")


def desired(project: AwsProject) -> int:
    return project.twin.services[EAST, NAME].desired


def test_two_controllers_that_saw_the_same_start_what_is_missing_once(project: AwsProject) -> None:
    running(project, 1)
    both = backend(project), backend(project)
    for each in both:
        each._started()
    for each in both:
        each.carry_out(Start(EAST, 2))
        assert desired(project) == 3
        assert eventually(lambda: project.number_of(EAST) == 3, 5)


def test_a_task_that_is_lost_is_replaced_by_one(project: AwsProject) -> None:
    first, second = running(project, 2)
    controller = backend(project)
    controller._started()
    for action in (stop(first), Start(EAST, 1)):
        controller.carry_out(action)
    assert desired(project) == 2
    assert first.ends
    assert eventually(lambda: project.number_of(EAST) == 2, 5)
    assert not second.ends


def test_one_task_ends_and_no_other_can_be_chosen_meanwhile(project: AwsProject) -> None:
    first, *others = running(project, 12)
    seen: list[bool] = []

    def before(operation: str) -> None:
        if operation == "UpdateService":
            seen.append(all(task.protected_until > time() for task in others) and first.protected_until == 0)

    project.twin.before = before
    for _ in range(2):
        backend(project).carry_out(stop(first))
    assert desired(project) == 11
    assert seen == [True]
    assert eventually(lambda: first.ends and not any(task.ends for task in others), 2)


def test_protection_that_expired_is_renewed_before_the_count_falls(project: AwsProject) -> None:
    first, second = running(project, 2)
    backend(project).carry_out(Protect(EAST, (f"{EAST}-{first.id}",)))
    assert first.protected_until > time()
    first.protected_until = time() - 1
    backend(project).carry_out(stop(second))
    assert first.protected_until > time()
    assert not first.ends
    assert desired(project) == 1


def test_a_controller_that_dies_between_two_calls_is_finished_by_the_next(project: AwsProject) -> None:
    first, second = running(project, 2)
    project.twin.refuse["StopTask"] = Refusal("ServerBusy", "later")
    with pytest.raises(AwsError, match=r"AWS refused ecs:StopTask in us-east-1\. ServerBusy: later\."):
        backend(project).carry_out(stop(first))
    assert desired(project) == 1
    del project.twin.refuse["StopTask"]
    backend(project).carry_out(stop(first))
    assert desired(project) == 1
    assert first.ends
    assert not second.ends


def test_a_task_that_the_service_replaced_costs_no_other(project: AwsProject) -> None:
    first, second = running(project, 2)
    with project.twin.lock:
        project.twin._end(first, "spot interruption")
    assert eventually(lambda: project.number_of(EAST) == 2, 5)
    backend(project).carry_out(stop(first))
    assert desired(project) == 2
    assert not second.ends


def test_what_somebody_else_raised_meanwhile_stays_raised(project: AwsProject) -> None:
    first, _ = running(project, 2)
    project.twin.before = lambda operation: (
        setattr(project.twin.services[EAST, NAME], "desired", 3) if operation == "UpdateTaskProtection" else None
    )
    backend(project).carry_out(stop(first))
    project.twin.before = lambda operation: None
    assert desired(project) == 2, "three were wanted, one of which ended"
    assert eventually(lambda: project.number_of(EAST) == 2, 5)


def test_a_pool_stays_at_its_minimum_and_the_task_is_replaced(project: AwsProject) -> None:
    text = (project.folder / "regions.yaml").read_text().replace("max_workers: 3", "min_workers: 1, max_workers: 3")
    (project.folder / "regions.yaml").write_text(text)
    project.topology = Topology.load(project.folder / "regions.yaml")
    (only,) = running(project, 1)
    backend(project).carry_out(stop(only))
    assert only.ends
    assert desired(project) == 1
    assert eventually(lambda: project.number_of(EAST) == 1, 5)


def test_a_pool_is_not_made_smaller_while_ecs_protects_nothing(project: AwsProject) -> None:
    first, _ = running(project, 2)
    project.twin.refuse["UpdateTaskProtection"] = Refusal("AccessDeniedException", "no")
    with pytest.raises(PlacementError, match=r"Allow ecs:UpdateTaskProtection"):
        backend(project).carry_out(stop(first))
    assert not first.ends
    assert desired(project) == 2


def test_settings_have_prices_of_the_region_and_wait_for_pools_that_start(project: AwsProject) -> None:
    file = project.folder / "regions.yaml"
    file.write_text(
        file.read_text().replace("us-west-2", "sa-east-1").replace("max_workers: 2", "usd_per_vcpu_hour: 1")
    )
    settings = settings_of(Topology.load(file))
    assert settings.rates(EAST).usd_per_thread_second == pytest.approx(0.0565 / 3600)
    assert settings.rates("sa-east-1").usd_per_thread_second == pytest.approx(1 / 3600)
    file.write_text(file.read_text().replace("usd_per_vcpu_hour: 1", "spot: true"))
    settings = settings_of(Topology.load(file))
    assert settings.rates("sa-east-1").usd_per_thread_second == pytest.approx(1.6 * 0.0565 / 3600)
    assert (settings.scale_up_seconds, settings.start_command) == (600, "xdask pools scale REGION 1")


def test_down_ends_protected_tasks_too(project: AwsProject) -> None:
    tasks = running(project, 3)
    backend(project).carry_out(Protect(EAST, tuple(f"{EAST}-{task.id}" for task in tasks)))
    assert project.pools().down()
    assert eventually(lambda: project.number_of(EAST) == 0, 5)
    assert not project.pools().down()
