"""Citations say what the files and regions.yaml say, and "unknown" for the rest."""

from __future__ import annotations

import doctest
from pathlib import Path
from typing import Any

import pytest

from xdask_pipelines.catalog import Entry
from xdask_pipelines.errors import TopologyError
from xdask_pipelines.resources.reporting import citations
from xdask_pipelines.resources.reporting.citations import UNKNOWN, citations_of, doi_in
from xdask_pipelines.topology import Topology

REGIONS = """
client: {region: eu-west-2}
workers:
  - region: us-east-1
    datasets:
      - {name: era5, layout: era5-pds, mount: era5, doi: 10.24381/cds.adbb2d47, license: CC-BY-4.0}
      - {name: plain, layout: era5-pds, mount: plain}
"""


@pytest.fixture
def topology(tmp_path: Path) -> Topology:
    (tmp_path / "regions.yaml").write_text(REGIONS)
    return Topology.load(tmp_path / "regions.yaml")


def entry(dataset: str, attrs: dict[str, Any] | None = None, **more: Any) -> Entry:
    values = {"key": f"{dataset}/a.nc", "format": "netcdf4", "variable": "t", **more}
    return Entry(dataset=dataset, region="us-east-1", layout="era5-pds", header={"attrs": attrs or {}}, **values)


def test_examples_of_the_docstrings_run() -> None:
    assert doctest.testmod(citations).failed == 0


def test_what_nobody_says_is_unknown(topology: Topology) -> None:
    (found,) = citations_of(topology, [entry("plain")])
    assert {found.author, found.year, found.licence, found.attribution, found.doi} == {UNKNOWN}
    assert "note = {Licence: unknown. author, year, doi unknown}" in found.bibtex()
    assert "author =" not in found.bibtex()
    assert "doi =" not in found.bibtex()
    (undescribed,) = citations_of(topology, [Entry(dataset="plain", region="us-east-1", layout="era5-pds", key="plain/b",
                                                  format="netcdf4", variable="t")])  # fmt: skip
    assert undescribed.doi == UNKNOWN


def test_a_dataset_that_is_not_in_regions_yaml_any_more_is_cited_from_its_files(topology: Topology) -> None:
    (found,) = citations_of(topology, [entry("former", {"license": "CC0", "doi": "10.1234/x"})])
    assert (found.licence, found.doi) == ("CC0", "10.1234/x")


def test_regions_yaml_names_a_doi_and_the_file_goes_before_it(topology: Topology) -> None:
    (stated,) = citations_of(topology, [entry("era5")])
    assert (stated.doi, stated.licence) == ("10.24381/cds.adbb2d47", "CC-BY-4.0")
    (own,) = citations_of(topology, [entry("era5", {"references": "see https://doi.org/10.1002/qj.3803, and others"})])
    assert own.doi == "10.1002/qj.3803"


@pytest.mark.parametrize(
    "attrs", [{"doi": "no doi"}, {"references": "page 10.5"}, {"further_info_url": "https://x.org/a"}]
)
def test_text_without_a_doi_has_none(attrs: dict[str, str]) -> None:
    assert doi_in(attrs) == ""


def test_each_run_of_a_model_is_cited_once_with_its_page(topology: Topology) -> None:
    attrs = {"further_info_url": "https://furtherinfo.es-doc.org/CMIP6.MOHC.UKESM1", "institution": "Met Office"}
    facets = {"source_id": "UKESM1-0-LL", "experiment_id": "ssp245"}
    runs = [
        entry("plain", attrs, key=f"plain/{member}/{part}", facets={**facets, "member_id": member}, version="v20190507")
        for member in ("r1i1p1f2", "r2i1p1f2")
        for part in "ab"
    ]
    found = citations_of(topology, runs)
    assert [each.key for each in found] == ["plain-ukesm1-0-ll-ssp245-r1i1p1f2", "plain-ukesm1-0-ll-ssp245-r2i1p1f2"]
    assert "url = {https://furtherinfo.es-doc.org/CMIP6.MOHC.UKESM1}" in found[0].bibtex()
    assert "year = {2019}" in found[0].bibtex()


def test_bibtex_is_not_broken_by_what_a_file_says(topology: Topology) -> None:
    attrs = {"title": "50 % of {x} & $y_1$ \\ ~^#", "institution": "}, evil = {", "doi": "10.1234/a}{b"}
    text = citations_of(topology, [entry("plain", attrs)])[0].bibtex()
    assert r"title = {{50 \% of \{x\} \& \$y\_1\$ \textbackslash{} \textasciitilde{}\textasciicircum{}\#}}" in text
    without_escapes = text.replace(r"\{", "").replace(r"\}", "")
    assert without_escapes.count("{") == without_escapes.count("}")


def test_a_doi_in_regions_yaml_is_checked(tmp_path: Path) -> None:
    (tmp_path / "regions.yaml").write_text(REGIONS.replace("doi: 10.24381", "doi: https://doi.org/10.24381"))
    with pytest.raises(TopologyError, match="is not a DOI; write one such as"):
        Topology.load(tmp_path / "regions.yaml")
