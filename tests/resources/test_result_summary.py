"""The summary that the UI shows in place is short whatever the result, and its picture is found by the UI's server."""

from __future__ import annotations

import base64
import io
from pathlib import Path

import dagster as dg
import pytest
from PIL import Image

from xdask_pipelines.operations.webserver import picture_of_run
from xdask_pipelines.placement import Evidence
from xdask_pipelines.resources.result_summary import PICTURES, figure_text, picture_in, summary
from xdask_pipelines.topology import Topology

RUN = "0f55c979-0d9f-4b47-9e5f-688e2f01c0a8"
EVIDENCE = Evidence({"us-east-1": 1, "us-west-2": 2}, bytes_read_by_region={"us-east-1": 2_900_000})


def png() -> bytes:
    content = io.BytesIO()
    Image.new("RGB", (1200, 740), "red").save(content, "PNG")
    return content.getvalue()


def markdown_of(content: bytes) -> str:
    return f"![a](data:image/png;base64,{base64.b64encode(content).decode()})"


def test_the_picture_is_first_and_the_table_says_where_it_ran() -> None:
    text = summary("warming", RUN, True, {"area-weighted mean": "3.40 K", "excerpt": ""}, EVIDENCE)
    lines = text.splitlines()
    assert lines[0] == f"![warming]({PICTURES}/warming/{RUN}.png)"
    assert r"| area-weighted mean | 3\.40 K |" in lines
    assert "| us-east-1 | 1 task, read 2.9 MB, sent 0 B |" in lines
    assert not any("excerpt" in line for line in lines)
    assert "![" not in summary("warming", RUN, False, {}, EVIDENCE)


@pytest.mark.parametrize("characters", [10, 200, 5000])
def test_it_stays_below_the_length_that_is_shown_in_place(characters: int) -> None:
    facts = {f"name {i}": "|" * characters for i in range(30)}
    assert 0 < len(summary("a" * 80, RUN, True, facts, EVIDENCE)) < 1000


def test_text_of_data_cannot_end_a_cell_or_become_a_picture() -> None:
    text = summary("a", RUN, False, {"scenario": "x | y ![z](http://example.org/z.png) <img src=x>"}, EVIDENCE)
    (line,) = [line for line in text.splitlines() if "scenario" in line]
    assert r"\|" in line
    assert r"\!" in line
    assert r"\<img" in line


def test_dimensionless_numbers_have_no_units() -> None:
    assert (figure_text(0.1, "1"), figure_text(-3.4, "K"), figure_text("nan", "K")) == ("0.10", "−3.40 K", "nan")


@pytest.fixture
def topology(tmp_path: Path) -> Topology:
    file = tmp_path / "regions.yaml"
    file.write_text("client: {region: eu-west-2}\nworkers: [{region: us-east-1}]\n")
    return Topology.load(file)


def test_a_picture_is_that_of_the_file_or_else_of_the_history(topology: Topology) -> None:
    with dg.DagsterInstance.ephemeral() as history:

        @dg.asset(metadata={})
        def warming() -> dg.MaterializeResult:
            return dg.MaterializeResult(metadata={"map": dg.MetadataValue.md(markdown_of(png()))})

        run_id = dg.materialize([warming], instance=history).run_id
        assert picture_of_run(topology, history, "warming", run_id) == png()
        assert picture_of_run(topology, history, "other", run_id) is None
        assert picture_of_run(topology, history, "warming", RUN) is None
        folder = topology.var / "pictures" / "warming"
        folder.mkdir(parents=True)
        (folder / f"{run_id}.png").write_bytes(b"newer")
        assert picture_of_run(topology, history, "warming", run_id) == b"newer"


@pytest.mark.parametrize(("asset", "run_id"), [("..", RUN), ("a/b", RUN), ("a", "../../secret"), ("a", RUN[:-1])])
def test_no_other_file_is_given_away(topology: Topology, asset: str, run_id: str) -> None:
    (topology.var / "pictures").mkdir(parents=True)
    (topology.root / "secret.png").write_bytes(b"secret")
    with dg.DagsterInstance.ephemeral() as history:
        assert picture_of_run(topology, history, asset, run_id) is None


def test_metadata_without_a_picture_have_none() -> None:
    assert picture_in({"map": "no picture", "value": 1.0}) == ""
