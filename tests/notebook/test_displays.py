"""What objects show in a notebook: complete, escaped, self-contained, and readable on any theme."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from tests.support.catalog_helpers import cmip6
from xdask_pipelines import open_project
from xdask_pipelines.catalog import Catalog, Change, open_catalog
from xdask_pipelines.notebook import Project
from xdask_pipelines.notebook.entry_table import EntryTable
from xdask_pipelines.placement import Evidence
from xdask_pipelines.placement.prediction.transfers_drawing import transfers_drawing
from xdask_pipelines.resources.pools.standing_pools import Status
from xdask_pipelines.system import markup

NASTY = '<script>alert("1")</script>&'
EAST, WEST, CLIENT = "us-east-1", "us-west-2", "eu-west-2"


class Page(HTMLParser):
    """Elements of a page, which must be closed in order."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.addresses: list[str] = []
        self.text = ""
        self._open: list[str] = []
        self.feed(html)
        assert self._open == [], f"not closed: {self._open}"

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.tags.append(tag)
        names = dict(attrs)
        assert not [name for name in names if name.startswith("on")]
        self.addresses += [str(names[n]) for n in ("src", "href") if n in names]
        style = names.get("style") or ""
        assert not re.search(r"(?<![-\w])color:(?!inherit)|background:(?!none)", style), f"<{tag} style={style}>"
        if tag not in ("img", "br", "input"):
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: Any) -> None:
        self.handle_starttag(tag, attrs)
        if self._open and self._open[-1] == tag:
            self._open.pop()

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data + "\n"


def page(shown: Any) -> Page:
    found = Page(shown._repr_html_())
    assert not {"script", "iframe", "object", "link", "style"} & set(found.tags)
    return found


@pytest.fixture
def evidence(project: Project) -> Evidence:
    field = project.open(dataset="models", member_id="r2i1p1f2")
    field.mean("time").compute()
    return project.evidence


def test_evidence_is_a_table_and_a_drawing_of_what_crossed(evidence: Evidence) -> None:
    shown = page(evidence)
    assert {"table", "svg", "path"} <= set(shown.tags)
    for words in (WEST, "0 misplaced", "read at home", "across Regions", "USD"):
        assert words in shown.text, words
    (crossed,) = evidence.bytes_across
    assert crossed == f"{WEST}->{CLIENT}"
    assert CLIENT in shown.text
    assert repr(evidence).startswith(f"<Evidence: tasks {WEST} ")
    assert "nothing was computed" in page(Evidence()).text


def test_each_pair_of_a_drawing_has_its_arrow_between_its_boxes() -> None:
    across = {f"{EAST}->{CLIENT}": 3_000, f"{WEST}->{CLIENT}": 2_000_000, f"{WEST}->{EAST}": 0, f"{EAST}->{WEST}": 9}
    drawing = ElementTree.fromstring(transfers_drawing({EAST: 1, WEST: 1_200}, {EAST: 10}, across))
    assert len(drawing.findall("path")) == 3
    assert [t.text for t in drawing.findall("text") if t.text and "B" in t.text and "read" not in t.text] == [
        "3.0 kB",
        "9 B",
        "2.0 MB",
    ]
    boxes = [tuple(float(box.get(n, "")) for n in ("x", "y", "width", "height")) for box in drawing.findall("rect")]
    left, top, width, height = map(float, drawing.get("viewBox", "").split())
    for x, y, w, h in boxes:
        assert left <= x
        assert x + w <= left + width
        assert top <= y
        assert y + h <= top + height
    for path in drawing.findall("path"):
        x, y = map(float, path.get("d", "")[1:].split(" Q")[0].split())
        assert not any(bx < x < bx + w and by < y < by + h for bx, by, w, h in boxes), "an arrow begins outside"
    assert drawing.get("aria-label", "").startswith("Crossed between Regions: us-east-1 to eu-west-2 3.0 kB")
    assert transfers_drawing({}, {}, {}) == ""
    names = {f"r{i}": 1 for i in range(6)}
    assert len(ElementTree.fromstring(transfers_drawing(names, {}, {})).findall("rect")) == 6


def test_a_plan_is_its_picture(project: Project) -> None:
    planned = project.plan(project.open(dataset="models", member_id="r2i1p1f2").mean("time"))
    shown = page(planned)
    (picture,) = shown.addresses
    assert picture.startswith("data:image/svg+xml;base64,")
    assert WEST in shown.text
    assert repr(planned).startswith(f"<Plan: tasks {WEST} ")


def test_a_project_lists_its_datasets_and_how_to_go_on(project: Project) -> None:
    shown = page(project)
    for words in ("models", "era5", "CC-BY-4.0", "project.search", "running"):
        assert words in shown.text, words
    assert [a for a in shown.addresses if a.startswith("http")] == [project.pools.dashboard]
    assert str(project.topology.root) in repr(project)


def test_pools_have_a_link_to_their_dashboard(project: Project) -> None:
    shown = page(project.pools)
    assert shown.addresses == [project.pools.dashboard]
    assert WEST in shown.text
    assert "not running" in page(Status("", "", {}, ("The pools are not running.",))).text
    hostile = Status("tcp://x:1", 'javascript:alert("1")', {WEST: 1}, ())
    assert page(hostile).addresses == []


def test_search_results_show_what_differs_and_become_a_data_frame(project: Project) -> None:
    found = project.search(dataset="models")
    assert isinstance(found, EntryTable)
    assert len(found) == 3
    frame = found.to_pandas()
    assert frame["member_id"].tolist() == ["r1i1p1f2", "r2i1p1f2", "r3i1p1f2"]
    assert frame["bytes"].sum() == found.nbytes
    shown = page(found)
    columns = re.findall(r"<th [^>]*>([^<]*)</th>", found._repr_html_())
    assert columns == ["member_id", "size", "key"]
    assert "All: dataset models" in shown.text
    assert "r3i1p1f2" in repr(found)
    assert found[1:] == list(found)[1:]
    assert page(project.search(dataset="models", member_id="r9")).text.startswith("0 entries")
    many = EntryTable(list(found) * 20)
    assert "and 30 more" in page(many).text
    assert "and 30 more" in repr(many)


def test_entries_and_the_catalog_show_themselves(project: Project, tmp_path: Path) -> None:
    entry = project.search(dataset="models")[0]
    shown = page(entry)
    for words in ("tas", "360_day" if "360_day" in shown.text else "time", "r1i1p1f2", "K", "CC-BY-4.0"):
        assert words in shown.text, words
    assert len(repr(entry)) < 200
    assert "models" in page(project.catalog).text
    assert "It is empty" in page(open_catalog(f"sqlite://{tmp_path}/none.sqlite")).text


def test_what_data_say_is_escaped(tmp_path: Path) -> None:
    catalog = open_catalog(f"sqlite://{tmp_path}/c.sqlite")
    entry = replace(cmip6("r1i1p1f1"), facets={"member_id": NASTY}, key=f"a/{NASTY}", attributes={"license": NASTY})
    catalog.commit(Change([entry, replace(cmip6("r2i1p1f1"), variable=NASTY)]))
    for shown in (entry, EntryTable(catalog.search()), EntryTable([entry]), catalog):
        assert NASTY in page(shown).text
    drawing = transfers_drawing({NASTY: 1}, {}, {f"{NASTY}->{EAST}": 5})
    ElementTree.fromstring(drawing)
    assert "<script" not in drawing
    assert NASTY in page(Evidence({NASTY: 1})).text


@pytest.mark.parametrize(
    ("made", "wanted"),
    [
        (lambda: markup.link("https://a/?x=1&y", "<b>"), "https://a/?x=1&amp;y"),
        (lambda: markup.link("javascript:x", "<b>"), "&lt;b&gt;"),
        (lambda: markup.picture(b"abc", "png", '"<'), "data:image/png;base64,YWJj"),
        (lambda: markup.items([]), ""),
        (lambda: markup.properties({"a": 0, "b": "", "c": None}), ">a<"),
    ],
)
def test_elements_of_markup(made: Callable[[], str], wanted: str) -> None:
    assert wanted in made()
    assert "javascript" not in made()
    Page(made())


def test_a_catalog_that_does_not_answer_shows_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, folder: Path
) -> None:
    from xdask_pipelines.errors import CatalogError

    def broken(self: Any, *args: Any, **query: Any) -> Any:
        raise CatalogError("The disk is full.")

    with open_project(folder / "regions.yaml") as project:
        monkeypatch.setattr(type(project.catalog.backend), "facets", broken)
        assert "The disk is full." in page(project).text
        assert isinstance(project.catalog, Catalog)
        assert "The disk is full." in page(project.catalog).text
