"""Odd characters in names and values: one line each, nothing that a terminal obeys, and typed again they mean the same."""

from __future__ import annotations

import subprocess
from ast import literal_eval
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import url2pathname

import pytest
from click.testing import CliRunner

from tests.support.catalog_helpers import era5
from xdask_pipelines.catalog import Change, open_catalog
from xdask_pipelines.catalog.export.stac import link_to
from xdask_pipelines.cli import main
from xdask_pipelines.errors import AmbiguousEntries, MissingEntries
from xdask_pipelines.system.quoting import in_python, in_shell
from xdask_pipelines.system.safe_text import one_line
from xdask_pipelines.topology import Topology

ODD = [
    "plain-1.0",
    "a b",
    "a, b (2)",
    "100%",
    "$HOME `id` \\",
    'it\'s "quoted"',
    "two\nlines\r",
    "tab\there",
    "\x1b[31mred\x1b[0m",
    "\u2028line\u2029paragraph\x85next",
    "Zürich/東京",
    "\U000e0001tag",
    "*",
    "~",
    "-x",
    "",
]
REGIONS = """
client: {region: eu-west-2, cidr: 10.0.0.0/16}
workers:
  - region: us-east-1
    cidr: 10.1.0.0/16
    datasets: [{name: obs, layout: generic, mount: obs, pattern: "{model}/{variable}.nc"}]
"""


def _typed(words: str) -> str:
    """What a program gets that bash starts with these words."""
    done = subprocess.run(["bash", "-c", f"printf '%s' {words}"], capture_output=True, check=True)
    return done.stdout.decode()


@pytest.mark.parametrize("value", ODD)
def test_a_quoted_value_is_one_line_and_means_itself(value: str) -> None:
    for quoted in (in_shell(value), in_python(value), one_line(value)):
        assert quoted.isprintable()
        assert len(quoted.splitlines()) <= 1
    assert _typed(in_shell(value)) == value
    assert in_python(value) == value or literal_eval(in_python(value)) == value
    assert in_shell("r1i1p1f1") == in_python("r1i1p1f1") == "r1i1p1f1"


@pytest.fixture
def topology(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Topology:
    """An entry for each odd value, as facet, key and part."""
    (tmp_path / "regions.yaml").write_text(REGIONS)
    monkeypatch.setenv("XDASK_TOPOLOGY", str(tmp_path / "regions.yaml"))
    made = Topology.load(tmp_path / "regions.yaml")
    open_catalog(made.catalog_url).commit(
        Change(
            era5("2011-01", dataset="obs", key=f"obs/{i}{value}", part=value, facets={"model": value})
            for i, value in enumerate(ODD)
            if value
        )
    )
    return made


@pytest.mark.usefixtures("topology")
def test_facets_that_are_printed_can_be_typed_again_as_filters() -> None:
    printed = CliRunner().invoke(main, ["catalog", "facets"]).output
    assert len(printed.split("\n")) == len(printed.splitlines()) + 1
    (line,) = [line for line in printed.splitlines() if line.startswith("model ")]
    for value in filter(None, ODD):
        quoted = in_shell(value)
        assert f"{quoted} (1)" in line
        found = CliRunner().invoke(main, ["catalog", "search", f"--model={_typed(quoted)}"]).output
        assert found.splitlines()[-1] == "1 entry", value
        assert len(found.splitlines()) == 4  # a header, the entry, an empty line, the count
        assert found.replace("\n", "").isprintable()


@pytest.mark.usefixtures("topology")
def test_hints_and_errors_are_one_line_and_printable(topology: Topology) -> None:
    hint = CliRunner().invoke(main, ["catalog", "search", "--model", "none", "--dataset", "obs"]).output
    assert hint.count("\n") == 1
    assert hint.strip("\n").isprintable()
    assert in_shell(sorted(ODD)[1]) in hint
    catalog = open_catalog(topology.catalog_url)
    with pytest.raises(MissingEntries) as missing:
        catalog.resolve(dataset="obs", model="\x1b[2J")
    with pytest.raises(AmbiguousEntries) as ambiguous:
        catalog.resolve(dataset="obs")
    for error in (missing.value, ambiguous.value):
        assert str(error).isprintable(), str(error)
    assert "model='\\x1b[2J'" in str(missing.value)


@pytest.mark.parametrize("name", [value for value in ODD if value] + ["a#b?c%20d", "a;b&c=d"])
def test_links_to_files_are_percent_encoded_and_lead_there(tmp_path: Path, name: str) -> None:
    path = tmp_path / "data" / name
    link = link_to(f"file://{path}")
    assert link.isascii()
    parts = urlsplit(link)
    assert (parts.scheme, parts.query, parts.fragment) == ("file", "", "")
    assert url2pathname(parts.path) == str(path)
    assert link_to(f"s3://bucket/{name}") == f"s3://bucket/{name}"
