"""What a result was made from is one record: what is written with an entry is what is read back."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from pydantic import ValidationError

from tests.support.catalog_helpers import era5
from xdask_pipelines.access.completeness import Steps
from xdask_pipelines.catalog import Change, Entry, open_catalog
from xdask_pipelines.errors import MissingEntries
from xdask_pipelines.resources.io_manager import saved_picture
from xdask_pipelines.resources.provenance import MOST_SOURCES, Provenance, UsedEntry, inherited
from xdask_pipelines.resources.results import LAYOUT, Results

MADE_FROM = Provenance(
    code_version="c0de",
    config={"experiment_id": "ssp245", "levels": [850, 500]},
    sources=(UsedEntry.of(era5("2011-01")), UsedEntry.of(era5("2011-02"))),
    replicas=("era5: us-east-1, where less is shipped",),
    upstream={"monthly": "5ee7"},
    steps={"era5 2011-01": Steps(24, 744, True)},
    uncounted=("cmip6, all of it",),
    time_steps=24,
    excerpted=True,
    excerpts=("excerpt, 24 of 744 h",),
    experiments=("historical", "ssp245"),
    attributions=("Copernicus (CC-BY-4.0)", "a name, with a comma; and more (licence unknown)"),
)


def carrying(made_from: Provenance) -> Entry:
    return era5("2011-01", header={"dims": {}, **made_from.in_header()})


def test_what_is_written_is_read_back_through_the_catalogs_json() -> None:
    entry = Entry.from_json(carrying(MADE_FROM).to_json())
    assert Provenance.of(entry) == MADE_FROM


def test_an_entry_that_is_no_result_carries_an_empty_record() -> None:
    assert Provenance.of(era5("2011-01")) == Provenance()


def test_of_many_sources_the_first_are_kept_and_a_digest_of_all() -> None:
    many = replace(
        MADE_FROM, sources=tuple(UsedEntry.of(era5(f"{y}-01")) for y in range(1000, 1000 + MOST_SOURCES + 5))
    )
    kept = Provenance.of(carrying(many))
    assert kept.sources == many.sources[:MOST_SOURCES]
    assert kept.source_count == MOST_SOURCES + 5
    other = replace(many, sources=(*many.sources[:-1], replace(many.sources[-1], digest="other")))
    assert Provenance.of(carrying(other)).source_digest != kept.source_digest


def test_what_is_no_record_is_refused() -> None:
    with pytest.raises(ValidationError):
        Provenance.of(era5("2011-01", header={"provenance": {"steps": "all"}}))


def test_names_with_commas_stay_whole_from_result_to_result() -> None:
    licensed = era5("2011-02", attributes={"attribution": "ECMWF, Reading", "license": "CC-BY-4.0"})
    excerpts, experiments, attributions = inherited([carrying(MADE_FROM), licensed])
    assert excerpts == set(MADE_FROM.excerpts)
    assert experiments == {"historical", "ssp245"}
    assert attributions == {*MADE_FROM.attributions, "ECMWF, Reading (CC-BY-4.0)"}


def test_a_result_of_a_version_without_records_is_not_there_and_so_is_computed_again(tmp_path: Path) -> None:
    catalog = open_catalog(f"sqlite:///{tmp_path}/catalog.sqlite")
    results = Results(None, catalog, None)  # type: ignore[arg-type]
    about = {"dataset": "mean", "layout": LAYOUT, "facets": {}, "attributes": {"data_version": "v1"}}
    catalog.commit(Change([era5("2011-01", key="results/mean/1.zarr", version="1", header={"dims": {}}, **about)]))
    assert results.versions("mean") == {}
    with pytest.raises(MissingEntries, match="Not materialized yet: mean"):
        results.find("mean")
    kept = era5("2011-01", key="results/mean/2.zarr", version="2", header=MADE_FROM.in_header(), **about)
    catalog.commit(Change([kept]))
    assert results.versions("mean") == {"": "v1"}


def test_a_picture_that_cannot_be_written_costs_the_file_alone(tmp_path: Path) -> None:
    (tmp_path / "pictures").write_text("a file where a folder should be")
    assert saved_picture(b"png", tmp_path / "pictures" / "mean" / "run.png") == {}
    file = tmp_path / "others" / "mean" / "run.png"
    assert saved_picture(b"png", file)["picture_file"].value == str(file)
    assert file.read_bytes() == b"png"
