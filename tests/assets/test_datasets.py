"""Syncs as Dagster assets: what the UI shows, overrides, dry runs, launches of new months, alerts."""

import json
import shutil
import socket
import threading
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from types import SimpleNamespace
from typing import Any

import dagster as dg
import pytest

from tests.support.places import EAST, Cluster
from xdask_pipelines.assets import Source, analysis
from xdask_pipelines.assets.datasets import catalog_key, lustre_key
from xdask_pipelines.build import build_definitions
from xdask_pipelines.catalog import Catalog, open_catalog
from xdask_pipelines.errors import PlacementError, TopologyError, XdaskError
from xdask_pipelines.placement import compute
from xdask_pipelines.resources.alerts import send_alert
from xdask_pipelines.resources.pools.pools_of_topology import pools_of
from xdask_pipelines.resources.pools.standing_pools import borrowed_workers
from xdask_pipelines.synthetic import write_era5_month
from xdask_pipelines.topology import Topology

REGIONS = """
client: {{region: eu-west-2, cidr: 10.0.0.0/16}}
{alerts}
workers:
  - region: us-east-1
    cidr: 10.1.0.0/16
    datasets:
      - {{name: hours, layout: era5-pds, mount: {mount}}}
"""
NAME = "air_temperature_at_2_metres"
MONTHS = dg.MonthlyPartitionsDefinition(start_date="2011-01", end_date="2011-07", fmt="%Y-%m", timezone="UTC")


@analysis(sources={"hours": Source("hours", {"variable": NAME})}, partitions_def=MONTHS)
def month_of_hours(hours: Any) -> Any:
    """One month."""
    return hours.mean("time0")


@pytest.fixture
def folder(cluster: Cluster, tmp_path: Path) -> Iterator[Path]:
    folder = cluster.data[EAST] / tmp_path.name
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def topology(tmp_path: Path, folder: Path) -> Topology:
    (tmp_path / "regions.yaml").write_text(REGIONS.format(mount=folder.name, alerts=""))
    return Topology.load(tmp_path / "regions.yaml")


@pytest.fixture
def definitions(topology: Topology, cluster: Cluster) -> dg.Definitions:
    pools = SimpleNamespace(
        topology=topology,
        compute=partial(compute, cluster.client),
        read_only=False,
        status=lambda: SimpleNamespace(workers={EAST: 1}),
    )
    return build_definitions(topology, {"pools": pools}, [month_of_hours])


@pytest.fixture
def catalog(topology: Topology) -> Catalog:
    return open_catalog(topology.catalog_url)


def month(folder: Path, number: int, **options: Any) -> Path:
    write_era5_month(folder, 2011, number, shape=(5, 8), hours=24, chunks=(24, 5, 8), **options)
    return folder / f"2011/{number:02}/data/{NAME}.nc"


def run(definitions: dg.Definitions, instance: dg.DagsterInstance, **config: Any) -> dg.ExecuteInProcessResult:
    """One night's sync, with config for the catalog's asset."""
    keys = [lustre_key("hours", EAST), catalog_key("hours", EAST)]
    return definitions.resolve_implicit_global_asset_job_def().execute_in_process(
        instance=instance,
        asset_selection=keys,
        run_config={"ops": {"hours_catalog_us_east_1": {"config": config}}} if config else None,
        raise_on_error=False,
    )


def test_a_sync_shows_counts_and_quarantine_and_its_version_changes_with_the_data(
    definitions: dg.Definitions, folder: Path, catalog: Catalog
):
    instance = dg.DagsterInstance.ephemeral()
    month(folder, 1)
    (folder / "2011/01/data/broken.nc").write_bytes(b"no file of any kind")
    (folder / "notes.txt").write_text("mine")
    first = run(definitions, instance)
    assert first.success
    (made,) = first.asset_materializations_for_node("hours_catalog_us_east_1")
    assert made.metadata["added"].value == made.metadata["entries"].value == catalog.count() == 1
    assert made.metadata["quarantined"].value == 2
    reasons = {r.data["key"].rpartition("/")[2]: r.data["reason"] for r in made.metadata["quarantine"].value.records}
    assert "is not a netCDF file" in str(reasons["broken.nc"])
    assert "its path is not" in str(reasons["notes.txt"])

    def version() -> str:
        return instance.get_latest_materialization_event(catalog_key("hours", EAST)).asset_materialization.tags[
            "dagster/data_version"
        ]

    before = version()
    run(definitions, instance)
    assert version() == before, "nothing is new: what follows stays as it is"
    month(folder, 2)
    run(definitions, instance)
    assert version() != before


def test_a_suspicious_plan_fails_with_its_digest_and_passes_when_that_is_accepted(
    definitions: dg.Definitions, folder: Path, catalog: Catalog
):
    instance = dg.DagsterInstance.ephemeral()
    paths = [month(folder, number) for number in range(1, 13)]
    assert run(definitions, instance).success
    for path in paths[1:]:
        path.unlink()
    refused = run(definitions, instance)
    assert not refused.success
    (failure,) = [e for e in refused.all_events if e.is_step_failure]
    said = failure.step_failure_data.user_failure_data.description
    assert "11 of 12 entries would be removed" in said
    assert "accept the plan: `xdask sync hours --accept " in said
    assert catalog.count() == 12
    assert not run(definitions, instance, accept="of another plan").success
    assert run(definitions, instance, accept=said.rpartition(" ")[2].strip("`")).success
    assert catalog.count() == 1


def test_a_dry_run_shows_the_plan_and_materializes_nothing(definitions: dg.Definitions, folder: Path, catalog: Catalog):
    instance = dg.DagsterInstance.ephemeral()
    month(folder, 1)
    done = run(definitions, instance, dry_run=True)
    assert done.success
    assert not done.asset_materializations_for_node("hours_catalog_us_east_1")
    (shown,) = instance.fetch_observations(catalog_key("hours", EAST), limit=9).records
    observed = shown.asset_observation.metadata
    assert observed["added"].value == 1
    assert observed["added_keys"].value == [f"{folder.name}/2011/01/data/{NAME}.nc"]
    assert catalog.generation("hours", EAST) == 0


def test_syncs_of_a_region_take_turns_and_are_watched_for_freshness(definitions: dg.Definitions):
    for key in (lustre_key("hours", EAST), catalog_key("hours", EAST)):
        asset = definitions.resolve_assets_def(key)
        assert asset.op.pool == "sync-us-east-1"
        assert asset.get_asset_spec(key).freshness_policy is not None


def test_new_months_launch_what_reads_them_once_for_each_version(
    definitions: dg.Definitions, folder: Path, catalog: Catalog
):
    instance = dg.DagsterInstance.ephemeral()
    month(folder, 1)
    run(definitions, instance)

    def look(cursor: Any = None) -> tuple[set[str], Any]:
        found = dg.evaluate_automation_conditions(definitions, instance, cursor=cursor)
        return set(found.get_requested_partitions(dg.AssetKey("month_of_hours"))), found.cursor

    requested, cursor = look()
    assert requested == set(), "the first look remembers"
    month(folder, 2)
    month(folder, 4)
    run(definitions, instance)
    requested, cursor = look(cursor)
    assert requested == {"2011-02", "2011-04"}
    requested, cursor = look(cursor)
    assert requested == set(), "what was launched, or failed, is not launched for ever"
    month(folder, 4, seed=7)
    run(definitions, instance)
    requested, cursor = look(cursor)
    assert requested == {"2011-04"}, "another version of the same month"


# ---- alerts -----------------------------------------------------------------------------------------------------


@contextmanager
def receiver() -> Iterator[tuple[str, list[tuple[str, bytes]]]]:
    """A server that takes what is posted to it, as chat services do, and as SNS does."""
    got: list[tuple[str, bytes]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            got.append((self.path, self.rfile.read(int(self.headers["Content-Length"]))))
            answer = b"<PublishResponse><PublishResult><MessageId>1</MessageId></PublishResult></PublishResponse>"
            self.send_response({"/nowhere": 404, "/moved": 307, "/found": 302, "/odd": 304}.get(self.path, 200))
            self.send_header("Location", "/hook")
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *args: object) -> None:
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", got
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def test_a_sync_that_failed_is_told_to_whom_the_topology_names(tmp_path: Path, cluster: Cluster, folder: Path):
    with receiver() as (url, got):
        (tmp_path / "regions.yaml").write_text(REGIONS.format(mount=folder.name, alerts=f"alerts: {url}/hook"))
        topology = Topology.load(tmp_path / "regions.yaml")
        pools = SimpleNamespace(
            topology=topology,
            compute=partial(compute, cluster.client),
            read_only=False,
            status=lambda: SimpleNamespace(workers={EAST: 1}),
        )
        definitions = build_definitions(topology, {"pools": pools})
        sensor = next(s for s in definitions.sensors if s.name == "failed_syncs")
        assert sensor.default_status is dg.DefaultSensorStatus.RUNNING
        instance = dg.DagsterInstance.ephemeral()
        failed = run(definitions, instance)
        (event,) = [e for e in failed.all_events if e.is_run_failure]
        context = dg.build_run_status_sensor_context(
            "failed_syncs", event, instance, failed.dagster_run
        ).for_run_failure()
        sensor(context)
        ((path, body),) = got
        assert path == "/hook"
        document = json.loads(body)
        assert document["text"] == "xdask: sync failed: hours in us-east-1"
        assert f"The folder {folder.name} of us-east-1 contains no files" in document["failed"]["hours in us-east-1"]


def test_alerts_go_to_topics_and_a_dead_address_is_an_error(monkeypatch: pytest.MonkeyPatch):
    with receiver() as (url, got):
        monkeypatch.setenv("AWS_ENDPOINT_URL_SNS", url)
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "a")
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "b")
        send_alert("arn:aws:sns:eu-west-2:123456789012:xdask", "one line", {"failed": {"x": "why"}})
        ((_, body),) = got
        assert b"Subject=one+line" in body
        assert b"arn%3Aaws%3Asns" in body
        with pytest.raises(XdaskError, match="could not be sent to http"):
            send_alert(f"{url}/nowhere", "one line", {})


SECRET = "T0KEN"


@pytest.mark.parametrize("path", ["nowhere", "moved", "found", "odd"])
def test_only_an_answer_of_2xx_counts_and_no_redirect_is_followed(path: str):
    with receiver() as (url, got):
        with pytest.raises(XdaskError, match=r"could not be sent to http://127\.0\.0\.1/….*status \d+") as caught:
            send_alert(f"{url}/{path}", "one line", {})
        assert ("redirect" in str(caught.value)) == (path != "nowhere")
        assert [where for where, _ in got] == [f"/{path}"]


@pytest.mark.parametrize(
    "url",
    [
        f"http://127.0.0.1:9/{SECRET}?key={SECRET}",
        f"http://user:{SECRET}@127.0.0.1:9/",
        f"http://127.0.0.1:9/a b{SECRET}",
        f"http://[bad/{SECRET}",
        f"http://127.0.0.1:port/{SECRET}",
        f"http://{'x' * 70}.example/{SECRET}",
        f"ftp://127.0.0.1/{SECRET}",
    ],
)
def test_no_error_shows_the_secret_of_an_address(url: str, tmp_path: Path):
    with pytest.raises(XdaskError, match="could not be sent") as caught:
        send_alert(url, "one line", {})
    assert SECRET not in "".join(traceback.format_exception(caught.value))
    (tmp_path / "regions.yaml").write_text(REGIONS.format(mount="m", alerts=f"alerts: 'x{url} y'"))
    with pytest.raises(TopologyError, match="is neither") as refused:
        Topology.load(tmp_path / "regions.yaml")
    assert SECRET not in str(refused.value)


def test_the_ui_does_not_show_the_secret_of_an_address(tmp_path: Path):
    (tmp_path / "regions.yaml").write_text(REGIONS.format(mount="m", alerts=f"alerts: https://x.example/{SECRET}"))
    definitions = build_definitions(Topology.load(tmp_path / "regions.yaml"))
    (description,) = [s.description for s in definitions.sensors if s.name == "failed_syncs"]
    assert "https://x.example/…" in str(description)
    assert SECRET not in str(description)


def test_an_address_that_answers_byte_by_byte_is_given_up():
    with socket.create_server(("127.0.0.1", 0)) as server:

        def drip() -> None:
            connection, _ = server.accept()
            with connection, suppress(OSError):
                for _ in range(200):
                    connection.sendall(b"H")
                    time.sleep(0.1)

        Thread(target=drip, daemon=True).start()
        with pytest.raises(XdaskError, match=r"no answer within 0\.5 s"):
            send_alert(f"http://127.0.0.1:{server.getsockname()[1]}/", "one line", {}, seconds=0.5)


def test_on_aws_no_worker_of_this_machine_stands_in_for_a_pool_that_is_down(topology: Topology):
    aws = topology.model_copy(update={"profile": "aws"})
    with (
        pytest.raises(PlacementError, match=r"This process has no TLS certificates.*XDASK_CERTS"),
        borrowed_workers(pools_of(aws), [EAST], print),
    ):
        pass
