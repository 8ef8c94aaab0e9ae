"""What operators type: selections on the mounts, dry runs, plans that tell what lies in a bucket only."""

import json
from types import SimpleNamespace
from typing import Any

import pytest
from click.testing import CliRunner

from tests.jobs.lab import Project
from xdask_pipelines.cli import main
from xdask_pipelines.lustre import Residency
from xdask_pipelines.operations import planning


def run(*words: str) -> Any:
    done = CliRunner().invoke(main, [*words, "--json"])
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)


def test_a_selection_is_looked_at_and_warmed_by_region(project: Project) -> None:
    there = run("lustre", "status", "--dataset", "hourly", "--time", "2011-01", "2011-02")
    files = [project.data("us-east-1") / f"hourly/2011/0{m}/data/air_temperature_at_2_metres.nc" for m in (1, 2)]
    size = sum(file.stat().st_size for file in files)
    assert there == {
        "us-east-1": {"resident_files": 2, "resident_bytes": size, "released_files": 0, "released_bytes": 0}
    }
    assert run("lustre", "warm", "--dataset", "hourly", "--time", "2011-01", "2011-02") == there
    nothing = CliRunner().invoke(main, ["lustre", "warm", "--dataset", "hourly", "--month", "12"])
    assert nothing.exit_code == 1
    assert "No files of datasets match" in nothing.output


def test_a_dry_run_lists_what_would_change(project: Project) -> None:
    extra = project.data("us-east-1") / "hourly/2011/01/data/notes.txt"
    extra.write_text("mine")
    try:
        (plan,) = run("sync", "hourly", "--dry-run")
    finally:
        extra.unlink()
    assert (plan["added"], plan["changed"], plan["removed"]) == ([], [], [])
    assert plan["counts"]["unchanged"] == 4
    assert [key.rpartition("/")[2] for key in plan["quarantined"]] == ["notes.txt"]


def test_a_sync_that_fails_keeps_no_other_from_its_turn(project: Project) -> None:
    away = project.data("us-east-1") / "faulty"
    away.rename(away.with_name("away"))
    try:
        done = CliRunner().invoke(main, ["sync", "faulty", "hourly"])
        told = CliRunner().invoke(main, ["sync", "faulty", "hourly", "--json"])
    finally:
        away.with_name("away").rename(away)
    assert (done.exit_code, told.exit_code) == (1, 1)
    assert "xdask: The mount faulty cannot be listed, because the folder" in done.stderr
    assert "hourly in us-east-1: 0 added, 0 changed, 0 removed, 4 unchanged, 0 quarantined, 0 B to read" in done.stdout
    failed, synced = json.loads(told.stdout)
    assert (failed["dataset"], failed["error"]) == ("faulty", "CatalogError")
    assert synced["counts"]["unchanged"] == 4


def test_a_plan_tells_what_lies_in_a_bucket_only(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    standing = SimpleNamespace(
        status=lambda: SimpleNamespace(workers={"us-east-1": 1}),
        compute=None,
        close=lambda: None,
        settings=project.pools.settings,
    )
    monkeypatch.setattr(planning, "pools_of", lambda topology: standing)
    entry = SimpleNamespace(layout="era5-pds", region="us-east-1", key="hourly/x.nc")
    topology = project.topology.model_copy(update={"profile": "aws"})
    lustre = SimpleNamespace(imports=True, residency=lambda region, keys: Residency(1, 10, 2, 5_000_000_000))
    (said,) = planning._to_fetch(topology, lambda compute: lustre, [entry])
    assert said.startswith("5.0 GB of 2 files in us-east-1 are in the bucket only; `xdask lustre warm`")
    folders = SimpleNamespace(imports=False)
    assert not list(planning._to_fetch(project.topology, lambda compute: folders, [entry]))
