"""The catalog in intake-esm's words: placed datastores for ourselves, plain ones for everybody."""

import shutil
import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from itertools import product
from pathlib import Path

import dask
import intake
import numpy as np
import pytest
import xarray as xr

from tests.support.catalog_helpers import era5
from tests.support.netcdf_files import field, times, written
from tests.support.places import EAST, WEST, Cluster
from xdask_pipelines.access.esm_datastore import PlacedDatastore, placed_datastore
from xdask_pipelines.access.syncing.sync_place import SyncContext, sync_place
from xdask_pipelines.assets.published import publish_datasets
from xdask_pipelines.catalog import Catalog, Change, open_catalog
from xdask_pipelines.catalog.export.esm import publish
from xdask_pipelines.errors import CatalogError
from xdask_pipelines.notebook import Project
from xdask_pipelines.placement import compute
from xdask_pipelines.placement.graph.homes import homes_of
from xdask_pipelines.resources.mounts import lustre_of
from xdask_pipelines.synthetic import write_cmip6_member, write_era5_month
from xdask_pipelines.topology import Topology

AWS = "aws: {account: '123456789012', alarms_to: ops@example.org}\n"
REGIONS = """
client: {{region: eu-west-2, cidr: 10.0.0.0/16}}
workers:
  - region: us-east-1
    cidr: 10.1.0.0/16
    datasets: [{{name: hours, layout: era5-pds, mount: {name}}}]
  - region: us-west-2
    cidr: 10.2.0.0/16
    datasets: [{{name: models, layout: cmip6-pds, mount: {name}}}]
"""
ONE_REGION = """
client: {{region: eu-west-2, cidr: 10.0.0.0/16}}
workers:
  - region: us-east-1
    cidr: 10.1.0.0/16
    datasets: {datasets}
"""


@pytest.fixture(scope="module")
def place(running: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Topology, Catalog]]:
    """Two months of hours in the east, three members of a model in the west, all synced."""
    folder = tmp_path_factory.mktemp("esm")
    (folder / "regions.yaml").write_text(REGIONS.format(name=folder.name))
    for region in (EAST, WEST):
        (folder / "data").mkdir(exist_ok=True)
        (folder / "data" / region).symlink_to(running.data[region])
    for month in (1, 2):
        write_era5_month(running.data[EAST] / folder.name, 2011, month, shape=(5, 8), hours=24, chunks=(24, 5, 8))
    for member in ("r1i1p1f2", "r2i1p1f2", "r3i1p1f2"):
        write_cmip6_member(
            running.data[WEST] / folder.name,
            member_id=member,
            shape=(6, 8),
            years=range(2015, 2017),
            seed=int(member[1]),
        )
    topology = Topology.load(folder / "regions.yaml")
    catalog, run = open_catalog(topology.catalog_url), partial(compute, running.client)
    context = SyncContext(topology=topology, catalog=catalog, compute=run, lustre=lustre_of(topology)(run))
    for place in topology.places:
        sync_place(context, place)
    yield topology, catalog
    for region in (EAST, WEST):
        shutil.rmtree(running.data[region] / folder.name)


def placed(catalog: Catalog, **query: str) -> PlacedDatastore:
    return placed_datastore(catalog.search(limit=None, **query))


def test_a_datastore_loads_lazily_and_placed_with_members_as_a_dimension(
    cluster: Cluster, place: tuple[Topology, Catalog]
):
    _, catalog = place
    store = placed(catalog, dataset="models", variable_id="tas")
    assert sorted(store.df.member_id) == ["r1i1p1f2", "r2i1p1f2", "r3i1p1f2"]
    (found,) = store.search(member_id=["r1i1p1f2", "r3i1p1f2"]).to_dataset_dict(progressbar=False).values()
    assert dict(found.sizes)["member_id"] == 2
    assert homes_of(found.tas.data) == {WEST}
    (mean,), evidence = compute(cluster.client, found.tas.mean())
    assert set(evidence.tasks_by_region) == {WEST}
    assert evidence.misplaced_tasks == 0
    with dask.config.set(scheduler="synchronous"):
        keys = [catalog.search(dataset="models", member_id=m)[0].key for m in ("r1i1p1f2", "r3i1p1f2")]
        truth = [float(xr.open_zarr(cluster.data[WEST] / key).tas.mean()) for key in keys]
    assert float(mean) == pytest.approx(np.mean(truth), rel=1e-6)


def test_months_are_joined_along_time(place: tuple[Topology, Catalog]):
    topology, _ = place
    (found,) = Project(topology).to_esm(dataset="hours").to_dataset_dict(progressbar=False).values()
    (name,) = found.data_vars
    assert found[name].shape == (48, 5, 8)
    assert homes_of(found[name].data) == {EAST}


def test_a_preprocessing_step_and_requested_variables_are_honoured(place: tuple[Topology, Catalog]):
    _, catalog = place
    store = placed(catalog, dataset="models", member_id="r1i1p1f2")
    (found,) = store.to_dataset_dict(progressbar=False, preprocess=lambda ds: ds.isel(time=slice(1))).values()
    assert found.sizes["time"] == 1


def test_layouts_are_not_mixed(place: tuple[Topology, Catalog]):
    _, catalog = place
    with pytest.raises(CatalogError, match=r"have the layouts cmip6-pds, era5-pds. Select one dataset"):
        placed(catalog)
    with pytest.raises(CatalogError, match="no entry matches"):
        placed(catalog, dataset="models", member_id="r9i1p1f2")


def test_the_published_catalog_is_opened_by_plain_intake(place: tuple[Topology, Catalog]):
    topology, catalog = place
    done = publish_datasets(topology, catalog)
    assert {name: count for name, (_, count) in done.items()} == {"hours": 2, "models": 3}
    plain = intake.open_esm_datastore(str(done["models"][0]))
    assert type(plain).__name__ == "esm_datastore"
    (ours,) = catalog.search(dataset="models", member_id="r2i1p1f2")
    with dask.config.set(scheduler="synchronous"):  # a stranger's, not our pools
        (found,) = plain.search(member_id="r2i1p1f2").to_dataset_dict(progressbar=False).values()
        here = xr.open_zarr(topology.data_folder(WEST) / ours.key)
        np.testing.assert_array_equal(found.tas.squeeze("member_id", drop=True), here.tas)
    publish_datasets(topology, catalog)
    folder: Path = done["models"][0].parent
    assert len(list(folder.iterdir())) == 2, "the pair, and nothing half-written or old"


def test_published_paths_are_those_of_the_bucket(place: tuple[Topology, Catalog], tmp_path: Path):
    _, catalog = place
    topology, _ = place
    text = (topology.root / "regions.yaml").read_text().replace("mount:", "source: s3://models-pds/all, mount:")
    (tmp_path / "regions.yaml").write_text(f"profile: aws\n{AWS}" + text)
    done = publish_datasets(Topology.load(tmp_path / "regions.yaml"), catalog)
    plain = intake.open_esm_datastore(str(done["models"][0]))
    assert all(path.startswith("s3://models-pds/all/") for path in plain.df.path)


def test_a_dataset_that_intake_cannot_open_keeps_no_other_from_being_published(tmp_path: Path):
    datasets = "[{name: forecasts, layout: grib, mount: forecasts}, {name: hours, layout: era5-pds, mount: hours}]"
    (tmp_path / "regions.yaml").write_text(ONE_REGION.format(datasets=datasets))
    topology = Topology.load(tmp_path / "regions.yaml")
    catalog = open_catalog(topology.catalog_url)
    forecast = {"layout": "grib", "format": "grib", "facets": {"file": "a.grib"}, "key": "forecasts/a.grib"}
    catalog.commit(Change([era5("2011-01", dataset="hours"), era5("2011-01", dataset="forecasts", **forecast)]))
    assert {name: count for name, (_, count) in publish_datasets(topology, catalog).items()} == {"hours": 1}


ONE_BY_ONE = """
import sys, intake
store = intake.open_esm_datastore(sys.argv[1], threaded=False)
datasets = {key: store[key].to_dask() for key in store.keys()}
print(len(datasets), *{ds.sizes["time"] for ds in datasets.values()})
"""


def test_many_netcdf_files_are_opened_one_dataset_after_the_other_as_the_documentation_says(tmp_path: Path):
    """Where datasets are opened side by side, the netCDF library crashes Python in every third run."""
    entries = []
    for model, month in product(range(6), range(1, 7)):
        key = f"m{model}/{month}.nc"
        path = written(
            tmp_path / key, field([1.0] * 4, time=times([31.0 * month + i for i in range(4)], "days since 2011"))
        )
        facets = {"model": f"m{model}", "month": f"{month:02}"}
        size = path.stat().st_size
        entries.append(era5(f"2011-{month:02}", "t2m", key=key, layout="generic", facets=facets, size_bytes=size))
    document, number = publish(entries, lambda entry: f"file://{tmp_path / entry.key}", tmp_path / "published", "many")
    assert number == 36
    command = [sys.executable, "-W", "ignore", "-c", ONE_BY_ONE, str(document)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert (done.returncode, done.stdout) == (0, "6 24\n"), done.stderr
