"""Data that two Regions hold are read where the rest is, and the result says so."""

from __future__ import annotations

import dagster as dg
import pytest

from tests.jobs.lab import Project
from xdask_pipelines.assets.analysis import analyses_of
from xdask_pipelines.assets.reuse import due
from xdask_pipelines.build import build_definitions
from xdask_pipelines.catalog import open_catalog
from xdask_pipelines.operations.planning import plan_asset
from xdask_pipelines.operations.project import run_assets
from xdask_pipelines.resources.results import Results


@pytest.mark.parametrize(
    ("asset", "region", "other", "beside"),
    [
        ("copied_beside_models", "us-west-2", "us-east-1", "models"),
        ("copied_beside_hourly", "us-east-1", "us-west-2", "hourly"),
    ],
)
def test_a_replica_is_read_where_the_other_source_lies(
    project: Project, history: dg.DagsterInstance, asset: str, region: str, other: str, beside: str
) -> None:
    planned = plan_asset(project.topology, asset)
    assert other not in planned.bytes_read_by_region
    done = run_assets(project.topology, project.pools, history, [asset])
    metadata = done.metadata[asset]
    said = f"copied is held in us-east-1 and us-west-2; read in {region}, where {beside} is"
    assert metadata["replicas"] == said
    evidence = metadata["evidence"]
    assert set(evidence["bytes_read_by_region"]) == {region}
    assert evidence["misplaced_tasks"] == 0
    assert metadata["store"].startswith(f"{region}:results/{asset}/"), "all in one Region, so its result too"
    messages = [record.user_message for record in history.all_logs(done.run_id)]
    assert said in messages
    made = analyses_of(build_definitions(project.topology).resolve_all_asset_specs())[asset]
    catalog = open_catalog(project.topology.catalog_url)
    (after,) = due([made], catalog, Results(project.topology, catalog, project.pools), {})
    assert (after.run, after.reuse) == ((), ("",)), "the choice of Region is no reason to run again"
