"""The catalog beside those of others, as the command line does it: exports, imports, and headers that imports lack."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pystac
import pytest
import xarray as xr
from click.testing import CliRunner, Result

from tests.support.places import EAST, WEST, Cluster
from xdask_pipelines.access import open_entries
from xdask_pipelines.access.syncing import lease_holder
from xdask_pipelines.access.syncing.sync_place import SyncContext, sync_place
from xdask_pipelines.catalog import Catalog, open_catalog
from xdask_pipelines.catalog.sources.pangeo import COLUMNS
from xdask_pipelines.cli import main
from xdask_pipelines.errors import AccessError
from xdask_pipelines.placement import compute
from xdask_pipelines.resources.mounts import lustre_of
from xdask_pipelines.synthetic import write_cmip6_member, write_era5_month
from xdask_pipelines.topology import Topology
from xdask_pipelines.topology.place import Place

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
    context = SyncContext(topology=topology, catalog=catalog, compute=run, lustre=lustre_of(topology)(run))
    for place in topology.places:
        sync_place(context, place)
    return catalog


def xdask(*words: str) -> Result:
    return CliRunner().invoke(main, words)


def test_the_command_exports_what_filters_name(topology: Topology, cluster: Cluster, tmp_path: Path):
    catalog = synced(topology, cluster)
    done = xdask("catalog", "export", "stac", str(tmp_path / "all.stac"))
    assert done.exit_code == 0, done.output
    assert "cmip6: 2 items\nhours: 1 item\n" in done.output
    found = pystac.Catalog.from_file(str(tmp_path / "all.stac" / "catalog.json"))
    assert {item.id for item in found.get_items(recursive=True)} == {entry.id for entry in catalog.search()}
    one = xdask("catalog", "export", "stac", str(tmp_path / "all.stac"), "--member_id", "r2i1p1f2", "--json")
    assert json.loads(one.stdout)["items"] == {"cmip6": 1}
    (item,) = pystac.Catalog.from_file(str(tmp_path / "all.stac" / "catalog.json")).get_items(recursive=True)
    (entry,) = catalog.search(member_id="r2i1p1f2")
    assert item.assets["data"].href == f"file://{topology.data_folder(WEST) / entry.key}"
    refused = xdask("catalog", "export", "stac", str(tmp_path / "data"))
    assert refused.exit_code == 1
    assert "is not a STAC export" in refused.output


HEAD = ",".join(COLUMNS)
MODEL = "ScenarioMIP/MOHC/UKESM1-0-LL/ssp245/{member}/Amon/tas/gn"


def row(
    member: str = "r1i1p1f2", *, bucket: str = "s3://cmip6-pds/CMIP6", version: str = "20190507", **other: str
) -> str:
    """A line of the table; what its columns say may be given apart from its path."""
    path = other.get("path", MODEL.format(member=member))
    said = [other.get("said", member) if part == member else part for part in MODEL.format(member=member).split("/")]
    return ",".join([*said, f"{bucket}/{path}/v{version}/", other.get("year", ""), other.get("column", version)])


def table(folder: Path, *rows: str) -> str:
    (folder / "pangeo-cmip6.csv").write_text("\n".join([HEAD, *rows]) + "\n")
    return str(folder / "pangeo-cmip6.csv")


def test_rows_become_the_entries_that_a_sync_would_make_and_a_sync_takes_them_over(
    topology: Topology, cluster: Cluster, tmp_path: Path
):
    file = table(tmp_path, row("r1i1p1f2"), row("r2i1p1f2"), row("r3i1p1f2"))
    done = json.loads(xdask("catalog", "import", file, "--json").stdout)
    assert (done["rows"], done["imported"], done["refused"]) == (3, {"cmip6/us-west-2": 3}, {})
    catalog = open_catalog(topology.catalog_url)
    before = {entry.key: entry for entry in catalog.search(dataset="cmip6")}
    assert len({entry.generation for entry in before.values()}) == 1, "one commit"
    assert {entry.attributes["license"] for entry in before.values()} == {"CC-BY-4.0"}
    gone = next(key for key in before if "r3i1p1f2" in key)
    synced(topology, cluster)
    after = {entry.key: entry for entry in catalog.search(dataset="cmip6")}
    assert after.keys() == before.keys() - {gone}, "what lies in no folder leaves with the first sync"
    for key, entry in after.items():
        was = before[key]
        assert (entry.id, entry.facets, entry.version, entry.format) == (was.id, was.facets, was.version, was.format)
        assert was.header is None
        assert entry.header is not None
        assert entry.etag
    again = json.loads(xdask("catalog", "import", file, "--json").stdout)
    assert (again["imported"], again["known"]) == ({"cmip6/us-west-2": 1}, {"cmip6/us-west-2": 2})
    assert {e.key: e for e in catalog.search(dataset="cmip6", member_id=["r1i1p1f2", "r2i1p1f2"])} == after
    synced(topology, cluster)
    assert {e.key: e for e in catalog.search(dataset="cmip6")} == after, "and with any later one"


def test_rows_that_are_no_entries_are_counted_by_reason_and_never_guessed(topology: Topology, tmp_path: Path):
    google = "gs://cmip6/CMIP6"
    file = table(
        tmp_path,
        row("r1i1p1f2"),
        row("r1i1p1f2"),
        row("r1i1p1f2", bucket=google),
        row("r1i1p1f2", bucket="s3://another-bucket/CMIP6"),
        row("r1i1p1f2", bucket="s3://cmip6-pds/CMIP6-other"),
        row("r4i1p1f2", said="r5i1p1f2"),
        row("r4i1p1f2", column="20200101"),
        row("s1960-r4i1p1f2", said="r4i1p1f2", year="1960.0"),
        row("s1960-r5i1p1f2", said="r5i1p1f2", year="1961.0"),
        row("s1960-r6i1p1f2", said="r6i1p1f2"),
        row("r9i1p1f2"),
        row("r4i1p1f2", path="ScenarioMIP/MOHC/tas"),
        row("r4i1p1f2", path="ScenarioMIP/../tas"),
        row("r4i1p1f2", bucket=""),
        HEAD.replace("zstore", "").translate(str.maketrans("", "", "abcdefghijklmnopqrstuvwxyz_")),
    )
    done = json.loads(xdask("catalog", "import", file, "--json").stdout)
    assert {reason: rows["rows"] for reason, rows in done["refused"].items()} == {
        "a copy in Google Cloud (gs://), from which no mount is imported": 1,
        "below no source of regions.yaml": 2,
        "not the path of a Zarr store": 4,
        "on the exclude list": 1,
        "there twice": 1,
        "the row and its path contradict each other": 4,
    }
    differ = done["refused"]["the row and its path contradict each other"]["examples"]
    assert differ[0].startswith("line 7: ")
    assert "member_id 'r5i1p1f2' and 'r4i1p1f2'" in differ[0]
    found = open_catalog(topology.catalog_url).search()
    assert [entry.facets["member_id"] for entry in found] == ["r1i1p1f2", "s1960-r4i1p1f2"]
    shown = xdask("catalog", "import", file).output
    assert "4 rows not imported: the row and its path" in shown


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "Empty CSV file"),
        (HEAD.replace(",zstore", "").encode() + b"\n" + b"a," * 9 + b"a\n", "'zstore'"),
        (HEAD.encode() + b"\na,b,c\n", "Expected 11 columns, got 3"),
        (f"{HEAD}\n{row()}\n".replace("MOHC", "Météo").encode("latin-1"), "invalid UTF8"),
        (HEAD.encode("utf-16"), "columns"),
        (b"\x1f\x8b no gzip", "is not a table of stores"),
    ],
)
def test_a_malformed_table_changes_nothing(topology: Topology, tmp_path: Path, content: bytes, said: str):
    (tmp_path / "bad.csv").write_bytes(content)
    done = xdask("catalog", "import", str(tmp_path / "bad.csv"))
    assert done.exit_code == 1
    assert said in done.output
    assert "Nothing was imported" in done.output
    assert not topology.var.exists()


def test_a_table_without_rows_and_a_topology_without_sources(topology: Topology, tmp_path: Path):
    assert json.loads(xdask("catalog", "import", table(tmp_path), "--json").stdout)["rows"] == 0
    file = topology.root / "regions.yaml"
    file.write_text(re.sub(r"source: s3://[\w/-]+,?", "", file.read_text()))
    done = xdask("catalog", "import", table(tmp_path, row()))
    assert done.exit_code == 1
    assert "No mount in regions.yaml has a source" in done.output


def test_headers_that_imports_lack_are_read_at_home_and_kept(topology: Topology, cluster: Cluster, tmp_path: Path):
    xdask("catalog", "import", table(tmp_path, row("r1i1p1f2"), row("r2i1p1f2"), row("r3i1p1f2")))
    catalog = open_catalog(topology.catalog_url)
    (bare,) = catalog.resolve(dataset="cmip6", member_id="r1i1p1f2")
    with pytest.raises(AccessError, match="no header") as refused:
        open_entries([bare])
    command = re.search(r"`xdask (.+?)`", str(refused.value)).group(1)
    done = xdask(*command.split(), "--json")  # the pools are down: a worker is borrowed_workers
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout) == {"described": {"cmip6/us-west-2": 1}, "unreadable": {}}
    (entry,) = catalog.resolve(dataset="cmip6", member_id="r1i1p1f2")
    assert entry.size_bytes > 0
    assert entry.extent == (-180, -90, 180, 90)
    (mean,), evidence = compute(cluster.client, open_entries([entry]).tas.mean())
    assert set(evidence.tasks_by_region) == {WEST}
    truth = (
        xr.open_zarr(topology.data_folder(WEST) / entry.key).tas.astype("f8").mean().compute(scheduler="synchronous")
    )
    assert float(mean) == pytest.approx(float(truth), rel=1e-6)
    rest = xdask("catalog", "describe", "--dataset", "cmip6", "--json")
    assert rest.exit_code == 1, "one is named by the table, and lies in no folder"
    said = json.loads(rest.stdout)
    assert said["described"] == {"cmip6/us-west-2": 1}
    ((which, why),) = said["unreadable"].items()
    assert "r3i1p1f2" in which
    assert "not on the mount" in why
    assert "nothing to do" in xdask("catalog", "describe", "--member_id", "r1i1p1f2").output
    nothing = xdask("catalog", "describe", "--dataset", "cmip")
    assert nothing.exit_code == 1
    assert "No entries match" in nothing.output


def test_neither_import_nor_describe_comes_between_a_sync(
    topology: Topology, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(lease_holder, "PATIENCE_SECONDS", 0.4)
    catalog = open_catalog(topology.catalog_url)
    file = table(tmp_path, row("r1i1p1f2"))
    with lease_holder.held(catalog, Place("cmip6", WEST)):  # a sync at work
        said = xdask("catalog", "import", file).output
        assert "another sync holds the lease, and may have died; waiting" in said
        assert "is being synced by" in said
        assert catalog.count() == 0
    assert xdask("catalog", "import", file).exit_code == 0
    with lease_holder.held(catalog, Place("cmip6", WEST)):
        assert "is being synced by" in xdask("catalog", "describe", "--dataset", "cmip6").output
