"""Syncs by hand in Dagster's history: the same events as those of the nightly assets, seen by freshness and lineage."""

from __future__ import annotations

import shutil
import sqlite3
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import dagster as dg
import pytest
from dagster._core.definitions.data_version import CachingStaleStatusResolver, StaleStatus
from dagster._core.loader import LoadingContextForTest

from tests.support.places import EAST, Cluster
from xdask_pipelines.assets import Source, analysis
from xdask_pipelines.assets.datasets import catalog_key, lustre_key
from xdask_pipelines.build import build_definitions
from xdask_pipelines.catalog import open_catalog
from xdask_pipelines.errors import CatalogError, MissingEntries
from xdask_pipelines.lustre import ImportReport
from xdask_pipelines.operations.project import instance
from xdask_pipelines.operations.syncs import sync_by_hand as upkeep
from xdask_pipelines.operations.syncs.sync_by_hand import sync_datasets
from xdask_pipelines.placement import compute
from xdask_pipelines.synthetic import write_era5_month
from xdask_pipelines.topology import Topology

REGIONS = """
client: {{region: eu-west-2, cidr: 10.0.0.0/16}}
workers:
  - region: us-east-1
    cidr: 10.1.0.0/16
    datasets:
      - {{name: hours, layout: era5-pds, mount: {mount}, excerpt: true}}
"""
NAME = "air_temperature_at_2_metres"
CATALOG, LUSTRE = catalog_key("hours", EAST), lustre_key("hours", EAST)


@analysis(sources={"hours": Source("hours", {"variable": NAME, "month": "01"})}, units="K")
def january_of_hours(hours: Any) -> Any:
    """Mean of one month."""
    return hours.mean("time0", keep_attrs=True)


class Site:
    """A project whose syncs and runs use the cluster of the tests."""

    def __init__(self, topology: Topology, cluster: Cluster, folder: Path) -> None:
        self.topology, self.folder = topology, folder
        self.pools = SimpleNamespace(
            topology=topology,
            compute=lambda *xs, tell=None: compute(cluster.client, *xs),
            dashboard="",
            read_only=False,
            status=lambda: SimpleNamespace(workers={EAST: 1}),
            close=lambda: None,
        )
        self.definitions = build_definitions(topology, {"pools": self.pools}, [january_of_hours])

    def month(self, number: int, **options: Any) -> Path:
        write_era5_month(self.folder, 2011, number, shape=(5, 8), hours=24, chunks=(24, 5, 8), **options)
        return self.folder / f"2011/{number:02}/data/{NAME}.nc"

    def sync(self, **options: Any) -> list[dict[str, Any]]:
        return sync_datasets(self.topology, **options)

    def run(self, *keys: dg.AssetKey) -> dg.ExecuteInProcessResult:
        job = self.definitions.resolve_implicit_global_asset_job_def()
        with instance(self.topology) as history:
            return job.execute_in_process(instance=history, asset_selection=list(keys), raise_on_error=False)

    def latest(self, key: dg.AssetKey) -> dg.AssetMaterialization | None:
        with instance(self.topology) as history:
            event = history.get_latest_materialization_event(key)
        return event.asset_materialization if event else None

    def freshness(self, name: str) -> StaleStatus:
        with instance(self.topology) as history:
            resolver = CachingStaleStatusResolver(
                history, self.definitions.resolve_asset_graph(), LoadingContextForTest(history)
            )
            return resolver.get_status(dg.AssetKey(name))


@pytest.fixture
def site(cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    folder = cluster.data[EAST] / tmp_path.name
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path / "elsewhere"))
    (tmp_path / "regions.yaml").write_text(REGIONS.format(mount=folder.name))
    made = Site(Topology.load(tmp_path / "regions.yaml"), cluster, folder)
    monkeypatch.setattr(upkeep, "pools_of", lambda topology: made.pools)
    yield made
    shutil.rmtree(folder, ignore_errors=True)


def test_a_sync_by_hand_leaves_what_the_asset_leaves(site: Site):
    site.month(1)
    (site.folder / "notes.txt").write_text("mine")
    site.sync()
    by_hand = site.latest(CATALOG)
    assert site.run(CATALOG).success
    by_asset = site.latest(CATALOG)
    assert by_hand is not None
    assert by_asset is not None
    assert by_hand.metadata.keys() == by_asset.metadata.keys()
    assert by_hand.metadata["added"].value == by_hand.metadata["entries"].value == 1
    assert by_asset.metadata["unchanged"].value == 1
    assert by_hand.metadata["quarantine"] == by_asset.metadata["quarantine"]
    version = "dagster/data_version"
    assert by_hand.tags[version] == by_asset.tags[version], "the same data have the same version, by hand or by asset"
    assert site.latest(LUSTRE) is None, "there is nothing to import into a folder"


def test_a_result_whose_input_a_sync_changed_or_removed_is_not_fresh(site: Site):
    january, february = site.month(1), site.month(2)
    site.sync()
    assert site.run(january_of_hours.key).success
    assert site.freshness("january_of_hours") is StaleStatus.FRESH
    site.sync()
    assert site.freshness("january_of_hours") is StaleStatus.FRESH, "nothing is new"
    february.unlink()
    site.sync()
    assert site.freshness("january_of_hours") is StaleStatus.STALE
    assert site.run(january_of_hours.key).success
    assert site.freshness("january_of_hours") is StaleStatus.FRESH
    january.unlink()
    site.month(3)
    site.sync()
    assert site.freshness("january_of_hours") is StaleStatus.STALE
    with pytest.raises(MissingEntries):
        open_catalog(site.topology.catalog_url).resolve(dataset="hours", month="01")


def test_a_dry_run_by_hand_is_an_observation(site: Site):
    site.month(1)
    site.sync(dry_run=True)
    assert site.latest(CATALOG) is None
    with instance(site.topology) as history:
        (seen,) = history.fetch_observations(CATALOG, limit=9).records
    assert seen.asset_observation is not None
    assert seen.asset_observation.metadata["added"].value == 1
    assert "digest" in seen.asset_observation.metadata


def test_imports_to_the_mounts_are_recorded_where_they_ran(site: Site, monkeypatch: pytest.MonkeyPatch):
    site.month(1)
    report = ImportReport(region=EAST, mount=site.folder.name, state="SUCCEEDED", files=7, failed=1, detail="one fails")
    lustre = SimpleNamespace(imports=True, import_changes=lambda *_: report, forget=lambda *_: 0)
    monkeypatch.setattr(upkeep, "lustre_of", lambda topology: lambda compute: lustre)
    site.topology = site.topology.model_copy(update={"profile": "attached"})
    site.sync()
    seen = site.latest(LUSTRE)
    assert seen is not None
    assert {name: value.value for name, value in seen.metadata.items()} == {
        "state": f"{site.folder.name} SUCCEEDED",
        "files": 7,
        "failed": 1,
        "detail": "one fails",
    }


def test_a_failed_sync_leaves_no_materialization_and_the_others_are_recorded(site: Site):
    (done,) = site.sync()
    assert "error" in done
    assert site.latest(CATALOG) is None


def test_without_a_usable_history_a_sync_works_and_says_so(site: Site):
    site.month(1)
    (site.topology.var).mkdir(exist_ok=True)
    (site.topology.var / "dagster").write_text("a file where the folder should be")
    said: list[str] = []
    (done,) = site.sync(tell=said.append)
    assert done["counts"]["added"] == 1
    assert any("not recorded in Dagster's history" in line and "`xdask doctor`" in line for line in said)


def test_a_full_sync_repairs_a_damaged_catalog_and_reads_what_was_lost_again(site: Site):
    site.month(1)
    site.month(2)
    site.sync()
    assert site.run(january_of_hours.key).success
    catalog = open_catalog(site.topology.catalog_url)
    before = {e.key: e.header for e in catalog.search(dataset="hours")}
    with sqlite3.connect(site.topology.var / "catalog.sqlite") as db:
        db.execute("UPDATE entries SET document = replace(document, 'degrees', 'radians') WHERE key LIKE '%/2011/01/%'")
    db.close()
    with pytest.raises(CatalogError, match=r"the entry hours .*/2011/01/.* Run `xdask sync --full`"):
        catalog.resolve(dataset="hours", month="01")
    (planned,) = site.sync(full=True, dry_run=True)
    assert (len(planned["changed"]), planned["removed"]) == (2, [])
    said: list[str] = []
    (done,) = site.sync(full=True, tell=said.append)
    assert (done["counts"]["added"], done["counts"]["changed"]) == (1, 1)
    assert "the catalog was damaged, and is repaired: 1 entry of hours in us-east-1 lost" in said
    assert {e.key: e.header for e in catalog.search(dataset="hours")} == before
    assert site.freshness("january_of_hours") is StaleStatus.FRESH, "the data are the same"


def test_a_sync_brings_back_an_entry_that_was_lost_and_says_so(site: Site):
    site.month(1)
    site.month(2)
    site.sync()
    with sqlite3.connect(site.topology.var / "catalog.sqlite") as db:
        db.execute("DELETE FROM entries WHERE key LIKE '%/2011/01/%'")
    db.close()
    said: list[str] = []
    (done,) = site.sync(tell=said.append)
    assert (done["counts"]["added"], done["counts"]["unchanged"]) == (1, 1)
    assert any("holds 1 entry where the last commit left 2. All files are compared" in line for line in said)
    assert open_catalog(site.topology.catalog_url).resolve(dataset="hours", month="01")
    (again,) = site.sync()
    assert (again["counts"]["added"], again["counts"]["unchanged"]) == (0, 2)


def test_a_refused_dry_run_lists_what_it_would_remove(site: Site):
    paths = [site.month(number) for number in range(1, 13)]
    site.sync()
    for path in paths[1:]:
        path.unlink()
    (refused,) = site.sync(dry_run=True)
    assert refused["error"] == "SuspiciousPlan"
    assert f"`xdask sync hours --accept {refused['plan']}`" in refused["message"]
    assert [Path(key).parts[2] for key in refused["removed"]] == [f"{number:02}" for number in range(2, 13)]
    assert refused["counts"]["removed"] == 11
    (failed,) = site.sync()
    assert "removed" not in failed
    (done,) = site.sync(accept=refused["plan"])
    assert done["counts"]["removed"] == 11
