"""Provenance of real results: what they were made from, as W3C PROV too; and computing them again."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr

from tests.jobs.lab import Project
from xdask_pipelines.catalog import Change, Entry, open_catalog
from xdask_pipelines.errors import XdaskError
from xdask_pipelines.operations.materialize import materialize
from xdask_pipelines.operations.records.reproduce import difference, reproduce
from xdask_pipelines.operations.records.shown_provenance import provenance_of
from xdask_pipelines.operations.syncs.sync_by_hand import sync_datasets
from xdask_pipelines.resources.provenance import Provenance
from xdask_pipelines.resources.results import Results
from xdask_pipelines.system.version import VERSION

XDASK = Path(sys.executable).with_name("xdask")
ANALYSES = '''
import dagster as dg
import xarray as xr
from pydantic import Field
from xdask_pipelines.assets import Source, analysis
from xdask_pipelines.climate import mean_of_partials, regrid

MODEL = Source("models", {"member_id": "r2i1p1f2", "variable_id": "tas"})


class Shift(dg.Config):
    kelvin: float = Field(0.0, description="Added.")


@analysis(sources={"tas": MODEL}, units="K")
def traced(tas: xr.DataArray, config: Shift) -> xr.DataArray:
    """Mean on a coarse grid, K."""
    mean = tas.mean("time").where(tas.lat[0] < 0) + config.kelvin
    return regrid(mean, [60.0, 20.0, -20.0, -60.0], [0.0, 90.0, 180.0, 270.0]).assign_attrs(units="K")


@analysis(units="K")
def traced_twice(traced: xr.DataArray) -> xr.Dataset:
    """Two numbers, K."""
    return xr.Dataset({"least": traced.min(), "most": traced.max()}).map(lambda x: x.assign_attrs(units="K"))
'''


@pytest.fixture(scope="module")
def traced(project: Project) -> Project:
    (project.topology.root / "analyses" / "traced.py").write_text(ANALYSES)
    materialize(project.topology, "traced", config={"kelvin": "1.5"})
    materialize(project.topology, "traced_twice")
    materialize(project.topology, "hourly_mean", ("2011-02", "2011-03"))
    return project


def results(project: Project) -> Results:
    return Results(project.topology, open_catalog(project.topology.catalog_url), project.pools)


@pytest.fixture
def source(traced: Project) -> Iterator[Path]:
    """The store that `traced` reads, as it was again afterwards."""
    (used,) = Provenance.of(results(traced).find("traced")[0]).sources
    store = traced.data("us-west-2") / used.key
    shutil.copytree(store, kept := store.with_name("kept copy"))
    shutil.move(kept, kept := traced.topology.var / "kept copy")
    yield store
    shutil.rmtree(store, ignore_errors=True)
    shutil.copytree(kept, store, copy_function=shutil.copy2)
    shutil.rmtree(kept)
    sync_datasets(traced.topology, ["models"])


# ---- provenance -------------------------------------------------------------------------------------------------------


def test_a_record_names_entries_code_config_packages_and_processing(traced: Project) -> None:
    found = provenance_of(traced.topology, "traced_twice")
    (own, upstream) = found["results"]
    assert (own["asset"], upstream["asset"]) == ("traced_twice", "traced")
    assert upstream["config"] == {"kelvin": 1.5}
    assert upstream["packages"]["xdask_pipelines"] == VERSION
    assert {"python", "numpy", "xarray", "dask"} <= upstream["packages"].keys()
    (step,) = upstream["processing"]
    assert step["kind"] == "regridding"
    assert "conservative" in step["method"]
    assert step["target_cells"] == "4 x 4"
    (source,) = found["sources"]
    entry = open_catalog(traced.topology.catalog_url).search(dataset="models", key=source["key"])[0]
    assert source["digest"] == entry.etag
    assert source["tracking_id"] == (entry.header or {})["attrs"].get("tracking_id", "unknown")
    assert source["state"] == "unchanged"


def test_the_command_prints_the_record_and_writes_prov(traced: Project, tmp_path: Path) -> None:
    words = [XDASK, "provenance", "traced_twice", "--prov", tmp_path / "p.json"]
    done = subprocess.run(words, cwd=traced.topology.root, capture_output=True, text=True, timeout=120, check=True)
    assert "config      kelvin 1.5" in done.stdout
    assert "regridding" in done.stdout
    assert "@misc{models-" in done.stdout
    assert json.loads((tmp_path / "p.json").read_text())["activity"]


def prov_json(project: Project, name: str, file: Path) -> dict[str, Any]:
    provenance_of(project.topology, name, prov=file)
    document: dict[str, Any] = json.loads(file.read_text())
    return document


def test_prov_has_entities_activities_agents_and_only_relations_between_them(traced: Project, tmp_path: Path) -> None:
    document = prov_json(traced, "traced_twice", tmp_path / "p.json")
    kinds = Counter(each["prov:type"]["$"] for each in document["entity"].values())
    assert kinds == {"xdask:Result": 2, "xdask:Data": 1, "prov:Plan": 2}
    acts = Counter(each["prov:type"]["$"] for each in document["activity"].values())
    assert acts == {"xdask:Materialization": 2, "xdask:Regridding": 1}
    known = {kind: set(document[kind]) for kind in ("entity", "activity", "agent")}
    roles = {
        "prov:entity": "entity", "prov:generatedEntity": "entity", "prov:usedEntity": "entity", "prov:plan": "entity",
        "prov:activity": "activity", "prov:informed": "activity", "prov:informant": "activity", "prov:agent": "agent",
    }  # fmt: skip
    relations = {kind: each for kind, each in document.items() if kind not in {*known, "prefix"}}
    assert set(relations) == {
        "wasGeneratedBy", "wasAssociatedWith", "wasAttributedTo", "used", "wasDerivedFrom", "wasInformedBy",
    }  # fmt: skip
    for of_kind in relations.values():
        for members in of_kind.values():
            for role, name in members.items():
                assert name in known[roles[role]], (role, name)
    (data,) = (each for each in document["entity"].values() if each["prov:type"]["$"] == "xdask:Data")
    assert re.fullmatch(r"[0-9a-f]{16,}", data["xdask:digest"])


def test_the_reference_implementation_reads_prov_and_writes_the_same(traced: Project, tmp_path: Path) -> None:
    from prov.model import ProvDocument

    document = prov_json(traced, "traced_twice", tmp_path / "p.json")
    read = ProvDocument.deserialize(source=str(tmp_path / "p.json"), format="json")
    for kind in ("entity", "activity", "agent"):
        assert {
            str(each.identifier) for each in read.get_records() if each.get_type().localpart.lower() == kind
        } == set(document[kind])
    again = ProvDocument.deserialize(content=read.serialize(format="json"), format="json")
    assert again == read
    assert len(read.get_records()) == sum(len(each) for kind, each in document.items() if kind != "prefix")


def test_a_file_of_prov_that_cannot_be_written_is_one_clear_error(traced: Project, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(
        XdaskError, match=r"provenance of traced cannot be written to .*: (Not a directory|File exists)\. Check"
    ):
        provenance_of(traced.topology, "traced", prov=tmp_path / "file" / "p.json")


# ---- reproduce --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["traced", "traced_twice", "hourly_mean"])
def test_a_result_is_computed_again_with_the_same_bits_and_nothing_is_stored(traced: Project, name: str) -> None:
    before = {e.id for e in open_catalog(traced.topology.catalog_url).search(layout="result", superseded=True)}
    done = reproduce(traced.topology, name)
    assert done.identical
    assert done.changed == ()
    assert set(done.different_values.values()) == {0}
    assert done.evidence.misplaced_tasks == 0
    assert sum(done.evidence.bytes_across.values()) < 20_000
    after = {e.id for e in open_catalog(traced.topology.catalog_url).search(layout="result", superseded=True)}
    assert before == after


def test_any_stored_result_has_an_address(traced: Project) -> None:
    (first, _) = results(traced).find("hourly_mean", ["2011-02", "2011-03"])
    assert reproduce(traced.topology, f"{first.region}:{first.key}#2011-02").result.endswith("#2011-02")
    with pytest.raises(XdaskError, match=r"holds the partitions .*2011-02, 2011-03.*\. Choose one"):
        reproduce(traced.topology, f"{first.region}:{first.key}")


def test_a_store_that_something_else_changed_is_one_clear_error(traced: Project) -> None:
    (entry,) = results(traced).find("traced")
    store = traced.topology.results_folder(entry.region) / entry.key
    shutil.copytree(store, kept := traced.topology.var / "kept result")
    with xr.open_zarr(store, consolidated=False) as opened:
        values = opened.load()
    (name,) = values.data_vars
    values[name][0, 0] += 0.25
    values.to_zarr(store, mode="r+", consolidated=False)
    try:
        with pytest.raises(XdaskError, match=r"traced cannot be reproduced, because what is stored is not what was"):
            reproduce(traced.topology, "traced")
    finally:
        shutil.rmtree(store)
        shutil.move(kept, store)


def test_bits_are_compared_and_nan_is_equal_to_nan() -> None:
    nan, values = np.nan, np.array([1.0, 0.0, np.nan, 2.0, np.nan])
    other = np.array([1.0, -0.0, nan, nan, nan])
    for chunks in (None, 2):
        old, new = (xr.DataArray(each, dims="x") for each in (values, other))
        found = difference(*(x.chunk(x=chunks) if chunks else x for x in (old, new))).compute()
        assert int(found.different) == 2  # -0.0 has other bits than 0.0
        assert np.isnan(found.largest)
    number = difference(xr.DataArray(np.float32(1.5)), xr.DataArray(np.float32(1.0)))
    assert (int(number.different), float(number.largest)) == (1, 0.5)
    counts = difference(xr.DataArray([1, 2], dims="x"), xr.DataArray([1, 2], dims="x"))
    assert (int(counts.different), float(counts.largest)) == (0, 0.0)


def test_changed_code_is_computed_and_said(traced: Project) -> None:
    file = traced.topology.root / "analyses" / "traced.py"
    before = file.read_text()
    file.write_text(before.replace("+ config.kelvin", "+ 2 * config.kelvin"))
    words = [XDASK, "reproduce", "traced"]
    try:
        done = subprocess.run(words, cwd=traced.topology.root, capture_output=True, text=True, timeout=120, check=False)
    finally:
        file.write_text(before)
    assert done.returncode == 1, done.stderr
    assert "the code of traced is" in done.stdout
    assert re.search(r"16 values differ, by at most 1\.5", done.stdout), done.stdout


def test_changed_packages_are_said(traced: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    from xdask_pipelines.operations.records import reproduce as module

    now = {**module.deciding_versions(), "numpy": "9.9"}
    monkeypatch.setattr(module, "deciding_versions", lambda: now)
    (said,) = reproduce(traced.topology, "traced").changed
    assert said.startswith("numpy is 9.9, and was ")


def test_a_newer_version_of_the_data_does_not_count(traced: Project, source: Path) -> None:
    newer = source.with_name("v20991231")
    shutil.copytree(source, newer)
    try:
        sync_datasets(traced.topology, ["models"])
        assert reproduce(traced.topology, "traced").identical
    finally:
        shutil.rmtree(newer)


def test_a_source_with_another_digest_is_one_clear_error(traced: Project, source: Path) -> None:
    with xr.open_zarr(source) as opened:
        (opened.load() + 0).to_zarr(source, mode="w", zarr_format=2, consolidated=True)
    (source / ".zattrs").write_text('{"title": "another"}')
    sync_datasets(traced.topology, ["models"])
    with pytest.raises(XdaskError, match=r"models .* has the digest [0-9a-f]+, and had [0-9a-f]+\. Restore these"):
        reproduce(traced.topology, "traced")


def test_a_source_that_is_gone_is_one_clear_error(traced: Project) -> None:
    catalog = open_catalog(traced.topology.catalog_url)
    (entry,) = results(traced).find("traced_twice")
    (upstream,) = results(traced).find("traced")
    assert isinstance(upstream, Entry)
    catalog.commit(Change(removals=[upstream.id]))
    try:
        with pytest.raises(
            XdaskError, match=r"traced_twice cannot be computed .*traced .* is not in the catalog any more"
        ):
            reproduce(traced.topology, f"{entry.region}:{entry.key}")
        assert {each["state"] for each in provenance_of(traced.topology, "traced_twice")["sources"]} == {"gone"}
    finally:
        catalog.commit(Change(upserts=[upstream]))


def test_an_analysis_that_is_gone_is_one_clear_error(traced: Project) -> None:
    (entry,) = results(traced).find("traced")
    file = traced.topology.root / "analyses" / "traced.py"
    before = file.read_text()
    file.write_text("")
    try:
        with pytest.raises(XdaskError, match="defines no analysis traced any more"):
            reproduce(traced.topology, f"{entry.region}:{entry.key}")
    finally:
        file.write_text(before)
