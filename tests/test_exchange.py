"""The catalog beside those of others, as the command line does it: exports, imports, and headers that imports lack."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pystac
import pytest
from click.testing import CliRunner, Result
from places import EAST, WEST, Cluster

from xdask_pipelines.access.sync import sync
from xdask_pipelines.catalog import Catalog, open_catalog
from xdask_pipelines.cli import main
from xdask_pipelines.placement import compute
from xdask_pipelines.resources.mounts import lustre_of
from xdask_pipelines.synthetic import write_cmip6_member, write_era5_month
from xdask_pipelines.topology import Topology

REGIONS = """
client: {{region: eu-west-2, cidr: 10.0.0.0/16}}
workers:
  - region: us-east-1
    cidr: 10.1.0.0/16
    datasets: [{{name: hours, layout: era5-pds, source: s3://era5-pds, mount: {name}}}]
  - region: us-west-2
    cidr: 10.2.0.0/16
    datasets:
      - name: cmip6
        layout: cmip6-pds
        source: s3://cmip6-pds/CMIP6
        mount: {name}
        exclude: [ScenarioMIP/MOHC/UKESM1-0-LL/ssp245/r9i1p1f2]
        license: CC-BY-4.0
"""


@pytest.fixture
def topology(cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Topology]:
    """A month of hours in the east, two members of a model in the west; nothing is synced."""
    name = tmp_path.name
    (tmp_path / "regions.yaml").write_text(REGIONS.format(name=name))
    (tmp_path / "data").mkdir()
    for region in (EAST, WEST):
        (tmp_path / "data" / region).symlink_to(cluster.data[region])
    write_era5_month(cluster.data[EAST] / name, 2011, 1, shape=(5, 8), hours=24, chunks=(24, 5, 8))
    for member in ("r1i1p1f2", "r2i1p1f2"):
        write_cmip6_member(cluster.data[WEST] / name, member_id=member, shape=(6, 8), years=range(2015, 2016))
    monkeypatch.setenv("XDASK_TOPOLOGY", str(tmp_path / "regions.yaml"))
    yield Topology.load(tmp_path / "regions.yaml")
    for region in (EAST, WEST):
        shutil.rmtree(cluster.data[region] / name)


def synced(topology: Topology, cluster: Cluster) -> Catalog:
    catalog, run = open_catalog(topology.catalog_url), partial(compute, cluster.client)
    for dataset, region in topology.places:
        sync(topology, catalog, run, lustre_of(topology)(run), dataset, region)
    return catalog


def xdask(*words: str) -> Result:
    return CliRunner().invoke(main, words)


def test_the_command_exports_what_filters_name(topology: Topology, cluster: Cluster, tmp_path: Path):
    catalog = synced(topology, cluster)
    done = xdask("catalog", "export", "stac", str(tmp_path / "all.stac"))
    assert done.exit_code == 0, done.output
    assert "cmip6: 2 items\nhours: 1 items" in done.output
    found = pystac.Catalog.from_file(str(tmp_path / "all.stac" / "catalog.json"))
    assert {item.id for item in found.get_items(recursive=True)} == {entry.id for entry in catalog.search()}
    one = xdask("catalog", "export", "stac", str(tmp_path / "all.stac"), "--member", "r2i1p1f2", "--json")
    assert json.loads(one.stdout)["items"] == {"cmip6": 1}
    (item,) = pystac.Catalog.from_file(str(tmp_path / "all.stac" / "catalog.json")).get_items(recursive=True)
    (entry,) = catalog.search(member_id="r2i1p1f2")
    assert item.assets["data"].href == f"file://{topology.data_folder(WEST) / entry.key}"
    refused = xdask("catalog", "export", "stac", str(tmp_path / "data"))
    assert refused.exit_code == 1
    assert "is no export of STAC" in refused.output
