"""The topology file: what it accepts, what it refuses and in which words, and the names that follow from it."""

import pickle
from pathlib import Path

import pytest
import yaml

from xdask_pipelines.catalog.layouts import layout_named
from xdask_pipelines.errors import TopologyError
from xdask_pipelines.resources.pools.placement_settings import settings_of
from xdask_pipelines.topology import Topology, find_topology
from xdask_pipelines.topology.aws_facts import INSTANCE_TYPES, region_partitions, usd_per_vcpu_second
from xdask_pipelines.topology.layout_names import layout_names

GOOD = """\
client: {region: eu-west-2, cidr: 10.0.0.0/16}
workers:
  - region: us-east-1
    cidr: 10.1.0.0/16
    pool: {instance_type: m5d.4xlarge, min_workers: 0, max_workers: 12}
    datasets:
      - name: era5
        layout: era5-pds
        mount: era5-pds
        source: s3://era5-pds
        excerpt: true
  - region: us-west-2
    cidr: 10.2.0.0/16
    datasets:
      - {name: cmip6, layout: cmip6-pds, source: s3://cmip6-pds/CMIP6/CMIP, mount: CMIP6/CMIP}
      - {name: cmip6, layout: cmip6-pds, mount: CMIP6/ScenarioMIP}
"""


@pytest.fixture
def topology(tmp_path: Path) -> Topology:
    path = tmp_path / "regions.yaml"
    path.write_text(GOOD)
    return Topology.load(path)


def refusal(tmp_path: Path, old: str, new: str) -> str:
    """What is said, without the folder, when one piece of the good file is replaced."""
    assert GOOD.count(old) == 1, old
    path = tmp_path / "regions.yaml"
    path.write_text(GOOD.replace(old, new))
    with pytest.raises(TopologyError) as caught:
        Topology.load(path)
    return str(caught.value).replace(f"{tmp_path}/", "")


def test_the_repository_s_own_file_loads():
    topology = Topology.load(Path(__file__).parents[2] / "regions.yaml")
    assert topology.regions == ("eu-west-2", "us-east-1", "us-west-2")
    assert topology.dataset_names == ("cmip6", "era5")
    assert [d.excerpt for _, d in topology.datasets("era5")] == [True]
    for name in topology.dataset_names:
        for region, dataset in topology.datasets(name):
            assert (topology.data_folder(region) / dataset.mount).is_dir()


def test_derived_names_are_defined_once(topology: Topology, tmp_path: Path):
    assert topology.root == tmp_path
    assert topology.worker_regions == ("us-east-1", "us-west-2")
    assert topology.pool_name("us-east-1") == "pool-us-east-1"
    assert topology.data_folder("us-west-2") == tmp_path / "data" / "us-west-2"
    assert topology.results_folder("eu-west-2") == tmp_path / "var" / "regions" / "eu-west-2"
    assert topology.catalog_url == f"sqlite://{tmp_path}/var/catalog.sqlite"
    named = topology.model_copy(update={"catalog": "opensearch+https://search.example.org/xdask"})
    assert named.catalog_url == "opensearch+https://search.example.org/xdask"
    node = "opensearch+https://127.0.0.1:9201/xdask?certs="
    for written, found in (("var/c%20d", f"{tmp_path}/var/c%20d"), ("/etc/c", "/etc/c"), ("", "")):
        assert topology.model_copy(update={"catalog": node + written}).catalog_url == node + found
    assert [region for region, _ in topology.datasets("cmip6")] == ["us-west-2", "us-west-2"]


def test_a_topology_survives_pickling_with_its_root(topology: Topology):
    copy = pickle.loads(pickle.dumps(topology))
    assert copy == topology
    assert copy.root == topology.root


def test_a_region_without_a_pool_is_refused_by_name(topology: Topology):
    with pytest.raises(
        TopologyError, match=r"'eu-west-2' is not a worker Region of this topology. Available: us-east-1, us-west-2"
    ):
        topology.pool_name("eu-west-2")
    with pytest.raises(
        TopologyError, match=r"'us-east-2' is not a Region of this topology. Available: eu-west-2, us-east-1"
    ):
        topology.results_folder("us-east-2")
    with pytest.raises(TopologyError, match=r"'era6' is not a dataset of this topology. Available: cmip6, era5"):
        topology.datasets("era6")


def test_price_follows_the_sender_and_is_nothing_at_home(topology: Topology):
    assert topology.price("us-east-1", "us-east-1") == 0
    assert topology.price("us-east-1", "eu-west-2") == pytest.approx(0.02e-9)
    with pytest.raises(TopologyError, match="'mars' is not a Region"):
        topology.price("mars", "us-east-1")


def test_the_file_names_the_catalog_before_the_environment(tmp_path, monkeypatch):
    file = tmp_path / "regions.yaml"
    file.write_text(GOOD)
    monkeypatch.setenv("XDASK_CATALOG", "opensearch+https://domain.example:443/xdask?aws_region=eu-west-2")
    assert Topology.load(file).catalog_url == "opensearch+https://domain.example:443/xdask?aws_region=eu-west-2"
    named = Topology.load(file).model_copy(update={"catalog": "opensearch+https://other.example/xdask"})
    assert named.catalog_url == "opensearch+https://other.example/xdask"
    monkeypatch.setenv("XDASK_CATALOG", "search.example")
    with pytest.raises(TopologyError, match=r"XDASK_CATALOG='search\.example' is not the address of a catalog"):
        _ = Topology.load(file).catalog_url


def test_links_have_defaults_and_hold_both_ways():
    links = "links:\n  - {between: [us-east-1, us-west-2], rtt_ms: 62}\n"
    topology = Topology.model_validate(yaml.safe_load(GOOD + links))
    for pair in (("us-east-1", "us-west-2"), ("us-west-2", "us-east-1")):
        assert (topology.link(*pair).rtt_ms, topology.link(*pair).mbit) == (62.0, 1000.0)
    assert topology.link("eu-west-2", "us-east-1").rtt_ms == 80.0
    known = settings_of(topology)
    assert known.link("us-west-2", "us-east-1").rtt_seconds == pytest.approx(0.062)
    assert known.rates("us-east-1").threads == 12 * 16
    assert known.rates("us-east-1").usd_per_thread_second == pytest.approx(0.0565 / 3600)
    assert known.rates("eu-west-2").co2e_kg_per_kwh == 0.225


@pytest.mark.parametrize(
    ("links", "message"),
    [
        ("[{between: [us-east-1, us-east-2]}]", "us-east-2 is not a Region of this topology"),
        ("[{between: [us-east-1, us-east-1]}]", "not us-east-1 with itself"),
        ("[{between: [us-east-1, us-west-2]}, {between: [us-west-2, us-east-1]}]", "linked twice"),
        ("[{between: [us-east-1, us-west-2], rtt_ms: 0}]", "greater than 0"),
    ],
)
def test_a_link_that_joins_nothing_is_refused_with_its_line(tmp_path: Path, links: str, message: str):
    (tmp_path / "regions.yaml").write_text(GOOD + f"links: {links}\n")
    with pytest.raises(TopologyError, match=rf"regions.yaml:\d+: links.*{message}"):
        Topology.load(tmp_path / "regions.yaml")


def test_every_instance_type_has_a_price():
    assert all(1e-5 < usd_per_vcpu_second(name) < 1e-4 for name in INSTANCE_TYPES)


def test_a_topology_without_a_file_says_that_it_has_no_root():
    topology = Topology.model_validate(yaml.safe_load(GOOD))
    with pytest.raises(TopologyError, match=r"Topology\.load"):
        _ = topology.var


@pytest.mark.parametrize("name", INSTANCE_TYPES)
def test_a_pool_uses_every_cpu_and_three_quarters_of_the_memory(name: str):
    pool = Topology.model_validate(yaml.safe_load(GOOD.replace("m5d.4xlarge", name))).workers[0].pool
    assert pool.processes * pool.threads == pool.instance.vcpus
    assert pool.processes * pool.memory_limit_bytes == pytest.approx(0.75 * pool.instance.memory_gib * 2**30)
    assert pool.spill_folder.startswith("/")


def test_the_standard_instance_gives_four_processes_of_four_threads_and_twelve_gib(topology: Topology):
    pool = topology.worker("us-west-2").pool
    assert (pool.processes, pool.threads, pool.memory_limit_bytes) == (4, 4, 12 * 2**30)


def test_regions_of_all_public_partitions_are_known_and_pseudo_regions_are_not():
    known = region_partitions()
    assert known["eu-west-2"] == "aws"
    assert known["cn-north-1"] == "aws-cn"
    assert known["us-gov-west-1"] == "aws-us-gov"
    assert not any(name.endswith("-global") for name in known)


def test_layouts_that_the_file_may_name_are_those_that_the_catalog_reads():
    names = ("arco-zarr", "cmip6-pds", "era5-pds", "generic", "grib", "ncar-era5")
    assert layout_names() == names
    assert len({type(layout_named(name)) for name in names}) == len(names)


REFUSALS = {
    "misspelt key": (
        "    pool:",
        "    poool:",
        "regions.yaml:5: workers[0].poool: unknown key (did you mean pool?); "
        "known here: region, name, country, co2e_kg_per_kwh, cidr, vpc, zones, pool, lustre, datasets",
    ),
    "unknown key in a dataset": (
        "excerpt: true",
        "colour: red",
        "regions.yaml:11: workers[0].datasets[0].colour: unknown key; known here: name, layout, mount, "
        "pattern, variable, exclude, source, anonymous, inventory, excerpt, license, attribution",
    ),
    "unknown Region": (
        "region: us-east-1",
        "region: us-est-1",
        "regions.yaml:3: workers[0].region: 'us-est-1' is not an AWS Region (did you mean us-west-1 or us-east-1",
    ),
    "same Region twice": (
        "region: us-west-2",
        "region: us-east-1",
        "regions.yaml:12: workers[1].region: us-east-1 occurs twice, first as workers[0]; put its datasets together",
    ),
    "client as worker": (
        "region: us-west-2",
        "region: eu-west-2",
        "regions.yaml:12: workers[1].region: eu-west-2 occurs twice, first as client; the client Region holds no data",
    ),
    "two partitions": (
        "region: us-west-2",
        "region: cn-north-1",
        "regions.yaml:12: workers[1].region: cn-north-1 and the client's eu-west-2 are in different AWS partitions",
    ),
    "overlapping networks": (
        "10.2.0.0/16",
        "10.1.128.0/17",
        "regions.yaml:13: workers[1].cidr: 10.1.128.0/17 of us-west-2 overlaps 10.1.0.0/16 of us-east-1 "
        "(workers[0]); peered networks need separate addresses, such as 10.2.0.0/16",
    ),
    "network that overlaps the client's": (
        "10.1.0.0/16",
        "10.0.0.0/20",
        "regions.yaml:4: workers[0].cidr: 10.0.0.0/20 of us-east-1 overlaps 10.0.0.0/16 of eu-west-2 (client)",
    ),
    "not a network": ("10.1.0.0/16", "10.1.0.7/16", "regions.yaml:4: workers[0].cidr: '10.1.0.7/16' is not an IPv4"),
    "too large a network": ("10.1.0.0/16", "10.0.0.0/8", "write one of /16 to /28"),
    "unknown layout": (
        "layout: era5-pds",
        "layout: era5-pdf",
        "regions.yaml:8: workers[0].datasets[0].layout: 'era5-pdf' is not a layout (did you mean era5-pds",
    ),
    "same mount twice": (
        "mount: CMIP6/ScenarioMIP",
        "mount: CMIP6/CMIP",
        "regions.yaml:16: workers[1].datasets[1].mount: CMIP6/CMIP and CMIP6/CMIP in us-west-2 are the same folder",
    ),
    "nested mounts": (
        "CMIP6/ScenarioMIP",
        "CMIP6",
        "CMIP6 and CMIP6/CMIP in us-west-2 are the same folder or one inside",
    ),
    "absolute mount": ("mount: era5-pds", "mount: /era5-pds", "'/era5-pds' must be a plain path below the Region's"),
    "mount that climbs out": ("mount: era5-pds", "mount: a/../../b", "without . or .."),
    "dataset name": ("name: era5", "name: ERA 5", "'ERA 5' is not a dataset name; use a-z, 0-9"),
    "two layouts of one dataset": (
        "name: cmip6, layout: cmip6-pds, mount",
        "name: cmip6, layout: era5-pds, mount",
        "cmip6 has layout era5-pds here and cmip6-pds in us-west-2; a dataset has one layout",
    ),
    "an excerpt in part": (
        "mount: CMIP6/ScenarioMIP",
        "mount: CMIP6/ScenarioMIP, excerpt: true",
        "excerpt of cmip6 differs between its mounts CMIP6/CMIP and CMIP6/ScenarioMIP in us-west-2",
    ),
    "unknown instance type": (
        "m5d.4xlarge",
        "m5.4xlarge",
        "regions.yaml:5: workers[0].pool.instance_type: 'm5.4xlarge' is not a known instance type (did you mean m5d.4x",
    ),
    "more at least than at most": (
        "min_workers: 0",
        "min_workers: 13",
        "regions.yaml:5: workers[0].pool.min_workers: 13 is more than max_workers, 12",
    ),
    "negative count": ("min_workers: 0", "min_workers: -1", "greater than or equal to 0, not -1"),
    "number in quotes": ("max_workers: 12", 'max_workers: "12"', "must be a whole number without quotes, not '12'"),
    "truth in words": ("excerpt: true", "excerpt: maybe", "must be true or false, not 'maybe'"),
    "text that is a number": ("name: era5", "name: 5", "must be text, not 5; put it in quotes"),
    "missing key": (
        "        mount: era5-pds\n",
        "",
        "regions.yaml:7: workers[0].datasets[0].mount: is missing; add it",
    ),
    "a list where a mapping belongs": (
        "{instance_type: m5d.4xlarge, min_workers: 0, max_workers: 12}",
        "[1]",
        "regions.yaml:5: workers[0].pool: must be a mapping with some of the keys instance_type, min_workers, max_w",
    ),
    "a mapping where a list belongs": (
        "      - {name: cmip6, layout: cmip6-pds, mount: CMIP6/ScenarioMIP}\n",
        "  - region: eu-west-1\n    cidr: 10.3.0.0/16\n    datasets: {name: own}\n",
        "regions.yaml:18: workers[2].datasets: must be a list",
    ),
    "duplicate key": (
        "    cidr: 10.1.0.0/16\n",
        "    cidr: 10.1.0.0/16\n    cidr: 10.9.0.0/16\n",
        "regions.yaml:4: workers[0].cidr: occurs twice, in lines 4 and 5; keep one",
    ),
    "source that is no bucket": ("source: s3://era5-pds\n", "source: https://x.org\n", "is not an S3 address"),
    "odd capacity": (
        "    pool:",
        "    lustre: {capacity_gib: 2000}\n    pool:",
        "workers[0].lustre.capacity_gib: 2000 GiB cannot be had from FSx for Lustre; write 1200 or a multiple of 2400",
    ),
    "not YAML": ("client: {region", "client: {{region", "is not YAML"),
    "a tab": ("  - region: us-west-2", "\t- region: us-west-2", "regions.yaml:12: is not YAML"),
    "a key that is a list": ("excerpt: true", "[a]: b", "has a key that is not text; use plain keys"),
}


@pytest.mark.parametrize("case", REFUSALS)
def test_a_mistake_is_refused_with_line_key_and_remedy(tmp_path: Path, case: str):
    old, new, expected = REFUSALS[case]
    assert expected in refusal(tmp_path, old, new)


def test_all_mistakes_are_told_at_once_in_the_order_of_the_file(tmp_path: Path):
    path = tmp_path / "regions.yaml"
    path.write_text(GOOD.replace("us-east-1", "us-east-7").replace("name: era5", "name: ERA5"))
    with pytest.raises(TopologyError) as caught:
        Topology.load(path)
    assert [line.split(":")[1] for line in str(caught.value).splitlines()] == ["3", "7"]


@pytest.mark.parametrize(
    "text", ["", "# nothing\n", "[]", "hello", "client: &a [*a]\nworkers: *a\n", "a: !!python/object:x {}"]
)
def test_a_file_that_is_no_topology_is_refused_in_words(tmp_path: Path, text: str):
    path = tmp_path / "regions.yaml"
    path.write_text(text)
    with pytest.raises(TopologyError, match=r"regions\.yaml"):
        Topology.load(path)


def test_a_file_that_is_no_text_is_refused_in_words(tmp_path: Path):
    (tmp_path / "regions.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(TopologyError, match="cannot be read as UTF-8 text"):
        Topology.load(tmp_path / "regions.yaml")


def test_find_topology_prefers_the_environment_and_says_what_to_do_when_there_is_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("XDASK_TOPOLOGY", raising=False)
    with pytest.raises(
        TopologyError,
        match=r"The topology file .*regions.yaml .*--topology or XDASK_TOPOLOGY",
    ):
        find_topology()
    (tmp_path / "regions.yaml").write_text(GOOD)
    assert find_topology().client.region == "eu-west-2"
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "other.yaml").write_text(GOOD.replace("eu-west-2", "eu-west-1"))
    monkeypatch.setenv("XDASK_TOPOLOGY", str(tmp_path / "elsewhere" / "other.yaml"))
    assert find_topology().client.region == "eu-west-1"
    assert find_topology().root == tmp_path / "elsewhere"
    monkeypatch.setenv("XDASK_TOPOLOGY", str(tmp_path / "gone.yaml"))
    with pytest.raises(TopologyError, match=r"gone\.yaml does not exist .from XDASK_TOPOLOGY or --topology"):
        find_topology()


def test_ui_hosts_are_hosts_as_a_browser_names_them(tmp_path: Path):
    path = tmp_path / "regions.yaml"
    path.write_text(GOOD + "ui_hosts: [localhost:8080, dagster.example.org, '[::1]:80']\n")
    assert Topology.load(path).ui_hosts == ("localhost:8080", "dagster.example.org", "[::1]:80")
    assert Topology.load(Path(__file__).parents[2] / "regions.yaml").ui_hosts == ()
    for wrong in ("http://localhost:8080", "localhost/path", "*", "a b", "", "host:"):
        path.write_text(GOOD + f"ui_hosts: ['{wrong}']\n")
        with pytest.raises(TopologyError, match="not a host as a browser names it"):
            Topology.load(path)
