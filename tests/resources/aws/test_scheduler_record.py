"""The scheduler's name leads to the task that runs, and changes only when that does."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.aws_project import CLIENT, AwsProject, aws_project
from tests.support.places import EAST, eventually
from xdask_pipelines.errors import AwsError
from xdask_pipelines.placement.scheduler.backlog import EMPTY
from xdask_pipelines.resources.aws.pool_metrics import PoolFigures, received
from xdask_pipelines.resources.aws.scheduler_record import SchedulerRecord
from xdask_pipelines.topology.aws_names import SCHEDULER_HOST, SCHEDULER_SERVICE


@pytest.fixture
def project(tmp_path: Path) -> Iterator[AwsProject]:
    with aws_project(tmp_path) as found:
        found.twin.boot_seconds = 1e9
        yield found


def test_the_record_follows_the_task(project: AwsProject) -> None:
    record, route53 = SchedulerRecord(CLIENT), project.twin.route53
    with pytest.raises(AwsError, match=r"There are 0 private zones xdask\.internal.*`make infra-deploy`"):
        record.set("10.0.0.9")
    route53.zones |= {"xdask.internal": "Z1", "other.internal": "Z2"}
    assert record.task_address() == ""
    addresses = []
    for _ in range(2):
        project.twin.services[CLIENT, SCHEDULER_SERVICE].desired = 1
        assert eventually(lambda: bool(project.twin.of_service(CLIENT, SCHEDULER_SERVICE)), 5)
        (task,) = project.twin.of_service(CLIENT, SCHEDULER_SERVICE)
        assert record.task_address() == "", "it does not run yet"
        task.status = "RUNNING"
        addresses.append(record.task_address())
        assert [record.set(addresses[-1]), record.set(addresses[-1])] == [True, False]
        assert route53.records == {("Z1", SCHEDULER_HOST): (addresses[-1], 10)}
        with project.twin.lock:
            project.twin._end(task, "replaced")
    assert addresses[0] != addresses[1]
    assert route53.changes == 2


def test_bytes_are_counted_by_the_region_that_receives_them_also_after_a_new_scheduler() -> None:
    before = {"us-east-1->us-west-2": 100, "us-west-2->us-east-1": 70}
    now = {"us-east-1->us-west-2": 130, "us-west-2->us-east-1": 7, "us-west-2->eu-west-2": 5}
    assert received(before, now) == {"us-west-2": 30, "us-east-1": 7, "eu-west-2": 5}


def test_a_pool_without_workers_has_no_figures_of_them() -> None:
    names = {each["MetricName"] for each in PoolFigures(0, 2, EMPTY).metrics(EAST)}
    assert names == {
        "Instances",
        "DesiredInstances",
        "MissingInstances",
        "QueuedTasks",
        "RunningTasks",
        "BytesReceived",
    }
    backlog = {**EMPTY, "workers": 2, "threads": 4, "cpu_percent": 200.0, "used_bytes": 3, "memory_bytes": 4}
    figures = {each["MetricName"]: each["Value"] for each in PoolFigures(1, 1, backlog, 9, 2.5).metrics(EAST)}
    assert (figures["CpuPercent"], figures["MemoryPercent"], figures["HoursSinceSync"]) == (50, 75, 2.5)
