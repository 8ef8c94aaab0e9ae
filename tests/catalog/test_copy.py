"""A catalog copied to another store: the same answers, the same generations, and nothing half-way."""

from __future__ import annotations

import json
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner

from tests.support.catalog_helpers import cmip6, era5, stored
from tests.support.node_requests import another
from xdask_pipelines.catalog import Catalog, Change, ManifestChange, copy_catalog, open_catalog
from xdask_pipelines.cli import main
from xdask_pipelines.errors import CatalogError, StaleWriter

PAIRS = [
    pytest.param(("sqlite", "sqlite"), id="sqlite-sqlite"),
    pytest.param(("sqlite", "opensearch"), id="sqlite-opensearch", marks=pytest.mark.opensearch),
    pytest.param(("opensearch", "sqlite"), id="opensearch-sqlite", marks=pytest.mark.opensearch),
    pytest.param(("opensearch", "opensearch"), id="opensearch-opensearch", marks=pytest.mark.opensearch),
]
ERA5, CMIP6 = ("era5", "us-east-1"), ("cmip6", "us-west-2")


@pytest.fixture
def addresses(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[str, str]:
    """Of two catalogs that do not exist yet."""
    made = []
    for i, kind in enumerate(getattr(request, "param", ("sqlite", "sqlite"))):
        if kind == "sqlite":
            made.append(f"sqlite://{tmp_path}/{i} of two%?.sqlite")
        else:
            made.append(another(request.getfixturevalue("node_address"), str(i)))
    return made[0], made[1]


def fill(catalog: Catalog) -> None:
    """Five commits: entries of several versions, a header, manifests, tombstones, a place that lost all of its entries."""
    months = [era5(f"2011-{m:02}", attributes={"run_id": f"r{m}"}) for m in range(1, 7)]
    described = months[0].with_header({"time_range": [20110101000000, 20110201000000], "extent": [0.0, -90, 10, 90]})
    objects = [stored(e.key, size=i + 1) for i, e in enumerate(months)]
    place = dict(zip(("dataset", "region"), ERA5, strict=True))
    catalog.commit(Change([described, *months[1:]], **place, manifest=ManifestChange(put=objects), holdings="first"))
    catalog.commit(Change([cmip6(version=v) for v in ("v20190101", "v20200101")]))
    catalog.commit(
        Change(removals=[months[5].id], **place, manifest=ManifestChange(drop=[months[5].key]), holdings="second")
    )
    gone = era5("2011-01", dataset="gone", region="eu-west-1")
    catalog.commit(Change([gone]))
    catalog.commit(Change(removals=[gone.id]))


def everything(catalog: Catalog) -> object:
    """What a catalog answers to all that can be asked."""
    places = [ERA5, CMIP6, ("gone", "eu-west-1")]
    manifests = [catalog.manifest(*place) for place in places]
    return (
        [(e, e.generation) for e in catalog.search(superseded=True)],
        [e.id for e in catalog.search()],
        catalog.facets(),
        catalog.names(),
        [catalog.generation(*place) for place in places],
        [(list(m.objects), m.entries, m.holdings, dict(m.digests)) for m in manifests],
        [catalog.tombstones(*place) for place in places],
        [e.id for e in catalog.search(time="2011-02")],
        [e.id for e in catalog.search(bbox=(1, 0, 2, 1))],
    )


@pytest.mark.parametrize("addresses", PAIRS, indirect=True)
def test_a_copy_answers_as_its_source_does(addresses: tuple[str, str]):
    source, target = map(open_catalog, addresses)
    fill(source)
    said: list[str] = []
    done = copy_catalog(*addresses, said.append)
    assert everything(target) == everything(source)
    assert {place: (held.entries, held.objects, held.tombstones) for place, held in done.items()} == {
        ERA5: (5, 5, 1),
        CMIP6: (2, 0, 0),
        ("gone", "eu-west-1"): (0, 0, 1),
    }
    assert "2 of 3: era5 in us-east-1: 5 entries of 5 files, generation 3" in said
    newest = max(source.generation(*place) for place in (ERA5, CMIP6, ("gone", "eu-west-1")))
    with pytest.raises(StaleWriter):
        target.commit(Change([era5("2012-01")], dataset="era5", region="us-east-1", base_generation=newest))
    number = target.commit(
        Change([era5("2012-01")], dataset="era5", region="us-east-1", base_generation=source.generation(*ERA5))
    )
    assert number > newest, "the next commit has a higher generation than all before"
    target.commit(Change([cmip6(version="v20210101")]))
    assert [e.version for e in target.search(dataset="cmip6")] == ["v20210101"]
    assert target.commit(Change([era5("2011-06")])) > number, "what was removed can come back"
    assert target.tombstones(*ERA5) == []


@pytest.mark.parametrize("addresses", PAIRS, indirect=True)
def test_a_store_that_holds_something_is_refused_and_stays_as_it_is(addresses: tuple[str, str]):
    source, target = map(open_catalog, addresses)
    with pytest.raises(CatalogError, match="to copy from is empty"):
        copy_catalog(*addresses)
    fill(source)
    target.commit(Change([era5("1999-01")]))
    before = everything(target)
    with pytest.raises(
        CatalogError, match=r"to copy to is not empty: it contains era5 in us-east-1\. Nothing was written"
    ):
        copy_catalog(*addresses)
    assert everything(target) == before
    with pytest.raises(CatalogError, match="cannot be copied to itself"):
        copy_catalog(addresses[0], addresses[0])


@pytest.mark.parametrize("addresses", PAIRS, indirect=True)
def test_a_killed_copy_leaves_nothing_and_can_be_run_again(addresses: tuple[str, str]):
    source, target = map(open_catalog, addresses)
    fill(source)
    code = """
        import os, signal, sys
        from xdask_pipelines.catalog import copy_catalog
        def tell(line):
            if line.startswith("3 of 3"):
                os.kill(os.getpid(), signal.SIGKILL)
        copy_catalog(*sys.argv[1:], tell)
    """
    killed = subprocess.run([sys.executable, "-c", textwrap.dedent(code), *addresses], check=False, timeout=60)
    assert killed.returncode == -9
    assert target.search(superseded=True) == []
    assert target.generation(*ERA5) == 0
    assert list(target.manifest(*ERA5).objects) == []
    copy_catalog(*addresses)
    assert everything(target) == everything(source)


@pytest.mark.parametrize("addresses", PAIRS, indirect=True)
def test_a_source_that_changes_meanwhile_stops_the_copy(addresses: tuple[str, str]):
    source, target = map(open_catalog, addresses)
    fill(source)

    def tell(line: str) -> None:
        if line.startswith("3 of 3"):
            source.commit(Change([era5("2012-01")]))

    with pytest.raises(CatalogError, match=r"changed while it was copied: era5 in us-east-1\. Nothing was written"):
        copy_catalog(*addresses, tell)
    assert target.search(superseded=True) == []
    copy_catalog(*addresses)
    assert everything(target) == everything(source)


def test_a_copy_that_differs_is_an_error(addresses: tuple[str, str], monkeypatch: pytest.MonkeyPatch):
    from xdask_pipelines.catalog.sqlite import sqlite_write

    fill(open_catalog(addresses[0]))
    monkeypatch.setattr(sqlite_write, "write_manifest", lambda *_: 0)
    with pytest.raises(CatalogError, match=r"differs from its source: era5 in us-east-1.*delete it, then copy again"):
        copy_catalog(*addresses)


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[int, str]]:
    monkeypatch.chdir(tmp_path)

    def call(*words: str) -> tuple[int, str]:
        done = CliRunner().invoke(main, words)
        assert done.exception is None or isinstance(done.exception, SystemExit)
        return done.exit_code, done.output

    return call


def test_the_command_takes_paths_and_addresses_and_says_what_to_do_next(
    tmp_path: Path, run: Callable[..., tuple[int, str]]
):
    fill(open_catalog(f"sqlite://{tmp_path}/from.sqlite"))
    code, said = run("catalog", "copy", "from.sqlite", f"sqlite://{tmp_path}/to.sqlite")
    assert code == 0, said
    assert "copied and compared: 7 entries of 3 datasets and Regions" in said
    assert f"write `catalog: sqlite://{tmp_path}/to.sqlite` into regions.yaml" in said
    code, said = run("catalog", "copy", "to.sqlite", "third.sqlite", "--json")
    assert json.loads(said[said.index("{\n") :])["copied"][0]["entries"] == 2
    for words, wrong in (
        (("nowhere.sqlite", "x.sqlite"), "The catalog file to copy from"),
        (("from.sqlite", "to.sqlite"), "is not empty"),
        (("from.sqlite", "from.sqlite"), "cannot be copied to itself"),
        (("from.sqlite", "http://x"), "is not a catalog address"),
        (("regions.yaml", "y.sqlite"), "The catalog file to copy from"),
    ):
        code, said = run("catalog", "copy", *words)
        assert code == 1
        assert wrong in said
    (tmp_path / "text.sqlite").write_text("no catalog, but text of more than a hundred bytes" * 30)
    code, said = run("catalog", "copy", "text.sqlite", "y.sqlite")
    assert code == 1
    assert "text.sqlite cannot be read" in said
