"""A range of partitions in batches: what a killed range repeats, and what one bad batch stops."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace

import pytest

from tests.jobs.lab import Project
from xdask_pipelines.assets.analysis import analysis_of
from xdask_pipelines.build import assemble
from xdask_pipelines.catalog import Change, Entry
from xdask_pipelines.errors import RunFailed, XdaskError
from xdask_pipelines.operations import materialize as module
from xdask_pipelines.operations.materialize import materialize
from xdask_pipelines.operations.partition_batches import unfinished
from xdask_pipelines.resources.results import Results

MONTHS = ["2011-01", "2011-02", "2011-03", "2011-04"]
MONTH_BY_MONTH = """
from xdask_pipelines.operations import materialize as module
from xdask_pipelines.topology import find_topology

module.partitions_of_a_run = lambda settings: 1
module.materialize(find_topology(), "hourly_mean", ["2011-01", "2011-04"], note=lambda line: print(line, flush=True))
"""


@pytest.fixture
def results(project: Project) -> Iterator[Results]:
    """The results of a project that has none of the partitioned assets."""
    found: Results = assemble(project.topology).definitions.resources["results"].results

    def clear() -> None:
        entries = [e for n in ("hourly_mean", "mixed_mean") for e in found.catalog.search(dataset=n, superseded=True)]
        found.catalog.commit(Change(removals=[entry.id for entry in entries]))

    clear()
    yield found
    clear()


@pytest.fixture
def one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "partitions_of_a_run", lambda settings: 1)


def stored(results: Results, name: str = "hourly_mean") -> dict[str, Entry]:
    return {entry.part: entry for entry in results.catalog.search(dataset=name)}


def test_a_killed_range_goes_on_after_the_last_finished_batch(project: Project, results: Results, one_by_one) -> None:
    process = subprocess.Popen([sys.executable, "-c", MONTH_BY_MONTH], stdout=subprocess.PIPE, text=True)
    for line in process.stdout:
        if line.startswith("batch 3 of 4: hourly_mean from 2011-03"):
            break
    process.send_signal(signal.SIGKILL)
    process.wait(30)
    process.stdout.close()
    first = stored(results)
    assert sorted(first)[:2] == MONTHS[:2]

    done = materialize(project.topology, "hourly_mean", (MONTHS[0], MONTHS[-1]))
    assert (done["computed"], done["reused"]) == (2, 2)
    assert len(done["runs"]) == 2
    assert set(done["checks"].values()) == {"passed"}
    now = stored(results)
    assert sorted(now) == MONTHS
    assert [now[month].id == first[month].id for month in MONTHS[:2]] == [True, True], "the finished months are kept"
    assert sum(done["metadata"]["evidence"]["bytes_read_by_region"].values()) > 0
    again = materialize(project.topology, "hourly_mean", (MONTHS[0], MONTHS[-1]))
    assert (again["computed"], again["reused"], again["run_id"], again["runs"]) == (0, 4, "", [])
    forced = materialize(project.topology, "hourly_mean", (MONTHS[0], MONTHS[-1]), again=True)
    assert (forced["computed"], forced["reused"]) == (4, 0)


def test_a_single_partition_is_always_computed(project: Project, results: Results) -> None:
    for _ in range(2):
        assert materialize(project.topology, "hourly_mean", ("2011-01",))["computed"] == 1


def test_only_checked_results_of_the_same_inputs_are_reused(project: Project, results: Results, history) -> None:
    materialize(project.topology, "hourly_mean", (MONTHS[0], MONTHS[-1]))
    definitions = assemble(project.topology).definitions
    made = analysis_of(definitions.resolve_assets_def("hourly_mean"))
    assert unfinished(made, results, history, {}, MONTHS) == []
    one, two, three, _ = (entry for _, entry in sorted(stored(results).items()))
    results.catalog.commit(
        Change(
            upserts=[
                replace(one, attributes={**one.attributes, "run_id": "a run that ended before its checks"}),
                replace(two, attributes={**two.attributes, "data_version": "of other inputs"}),
            ],
            removals=[three.id],
        )
    )
    assert unfinished(made, results, history, {}, MONTHS) == MONTHS[:3]
    assert unfinished(made, results, history, {}, ["2011-04", "2011-05"]) == ["2011-05"], "a month without inputs"


def test_a_batch_that_fails_does_not_stop_the_others(project: Project, results: Results, one_by_one) -> None:
    with pytest.raises(RunFailed, match=r"2011-03(.|\n)*2011-05: mixed: 743 of 744 h"):
        materialize(project.topology, "mixed_mean", ("2011-03", "2011-05"))
    assert list(stored(results, "mixed_mean")) == ["2011-04"]


def test_partitions_without_data_are_left_out_and_named(project: Project, results: Results) -> None:
    with pytest.raises(
        RunFailed, match=r"without data were left out: 2011-05\. Of 2011-05: .*time=2011-05.*xdask sync"
    ):
        materialize(project.topology, "hourly_mean", ("2011-03", "2011-05"))
    assert sorted(stored(results)) == ["2011-03", "2011-04"]
    with pytest.raises(XdaskError, match=r"does not have .*time=2011-05"):
        materialize(project.topology, "hourly_mean", ("2011-05", "2011-06"))


def test_what_failed_before_the_pools_were_gone_is_told_too(project: Project, one_by_one, monkeypatch, results) -> None:
    errors = [RunFailed("of a batch"), XdaskError("the pools are gone")]

    def failing(*_: object, **__: object) -> None:
        raise errors.pop(0)

    monkeypatch.setattr(module, "run_assets", failing)
    with pytest.raises(RunFailed, match=r"^of a batch\nthe pools are gone$"):
        materialize(project.topology, "hourly_mean", (MONTHS[0], MONTHS[-1]))


def test_pools_that_cannot_be_reached_end_the_range_at_once(project: Project, one_by_one, monkeypatch, results) -> None:
    said: list[str] = []

    def unreachable(*_: object, **__: object) -> None:
        raise XdaskError("the pools are gone")

    monkeypatch.setattr(module, "run_assets", unreachable)
    with pytest.raises(XdaskError, match="the pools are gone"):
        materialize(project.topology, "hourly_mean", (MONTHS[0], MONTHS[-1]), note=said.append)
    assert len([line for line in said if line.startswith("batch")]) == 1


def test_a_backfill_of_the_ui_takes_a_year_or_more_in_a_run(project: Project) -> None:
    definitions = assemble(project.topology).definitions
    policy = definitions.resolve_assets_def("hourly_mean").backfill_policy
    assert policy.max_partitions_per_run == 12
    assert definitions.resolve_assets_def("hourly_long_mean").backfill_policy is None
