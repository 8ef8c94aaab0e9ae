"""Text from data is shown as text: by a terminal, by Markdown, by HTML, in a picture."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import xarray as xr
from click.testing import CliRunner
from markdown_it import MarkdownIt

from tests.support.catalog_helpers import era5
from xdask_pipelines import checks
from xdask_pipelines.access.syncing.sync_place import Synced
from xdask_pipelines.assets.datasets import synced
from xdask_pipelines.catalog import Change, open_catalog
from xdask_pipelines.catalog.layouts import Quarantined
from xdask_pipelines.cli import main
from xdask_pipelines.climate.drawing.plots import draw
from xdask_pipelines.errors import AccessError, XdaskError
from xdask_pipelines.placement import Evidence
from xdask_pipelines.placement.dashboard.panels import table
from xdask_pipelines.placement.dashboard.samples import Load
from xdask_pipelines.system.safe_text import from_markdown, html, markdown, one_line, terminal, without_secrets
from xdask_pipelines.topology.place import Place

NASTY = (
    "\x1b]0;title\x07\x1b[2J\x9b31m\r\n\u202egpj.exe",
    "<script>alert(1)</script><img src=x onerror=alert(1)>",
    "![x](https://evil.example/x.png) [y](javascript:alert(1)) <https://evil.example>",
    "# head",
    "- item",
    "+ item",
    "1. one",
    "123456) many",
    "    indented",
    "=== ---",
    "__a__ _b c_ snake_case a_ _b",
    "# head\n- item\n1. one\n> quote\n```\ncode\n```\n| a |\n|---|\n---\n    indented",
    "*a* _b_ ~~c~~ `d` \\e &lt; &#60; $f$ @g a:b",
    "  ",
)


@pytest.mark.parametrize("text", NASTY)
def test_markdown_shows_the_text_itself(text: str) -> None:
    tokens = MarkdownIt("gfm-like", {"linkify": False, "html": True}).parse(f"- {markdown(text)}")
    assert [t.type for t in tokens if t.type.endswith("_open")] in (
        ["bullet_list_open", "list_item_open", "paragraph_open"],
        ["bullet_list_open", "list_item_open"],  # of blanks nothing is left
    )
    shown = [child for t in tokens if t.type == "inline" for child in t.children or ()]
    assert {child.type for child in shown} <= {"text", "text_special"}
    assert "".join(child.content for child in shown) == one_line(text).strip()
    assert from_markdown(markdown(text)) == one_line(text).strip()


@pytest.mark.parametrize("text", NASTY)
def test_terminals_and_html_get_no_control_character_and_no_tag(text: str) -> None:
    for shown in (terminal(text), html(text), markdown(text)):
        assert all(c.isprintable() or c == "\n" for c in shown)
    assert "\n" not in one_line(text)
    assert not set("<>\"'") & set(html(text))


def test_common_text_stays_as_it_is() -> None:
    for text in ("© Crown copyright, Météo-France 日本 °C", "two\nlines"):
        assert terminal(text) == text
    assert str(XdaskError("era5: 2011-03 is missing.\nSync it.")) == "era5: 2011-03 is missing.\nSync it."


def test_errors_carry_no_control_character() -> None:
    assert str(AccessError("a\x1b[31m.nc cannot be read", key="a\x1b")) == "a\\x1b[31m.nc cannot be read"


def test_the_dashboard_s_table_shows_names_as_text() -> None:
    shown = table({"<b>\x1b": Load(1, 1)}, {})
    assert "&lt;b&gt;\\x1b" in shown


@pytest.mark.parametrize("options", [(), ("--json",)])
def test_commands_print_keys_and_facets_as_text(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: Any) -> None:
    (tmp_path / "regions.yaml").write_text((Path(__file__).parents[2] / "regions.yaml").read_text())
    monkeypatch.setenv("XDASK_TOPOLOGY", str(tmp_path / "regions.yaml"))
    key = "era5-pds/\x1b[2J\x9b\u202e/x.nc"
    open_catalog(f"sqlite://{tmp_path}/var/catalog.sqlite").commit(
        Change([era5("2011-01", key=key, facets={"model": "m\x1b[5m"})])
    )
    for command in ("search", "facets"):
        done = CliRunner().invoke(main, ["catalog", command, "--dataset", "era5", *options])
        assert done.exit_code == 0, done.output
        assert all(c.isprintable() or c == "\n" for c in done.output)
        assert "1b[" in done.output
        if options and command == "search":
            assert json.loads(done.stdout)[0]["key"] == key


def test_warnings_of_a_sync_are_markdown_that_shows_them() -> None:
    done = Synced(
        place=Place("era5", "us-east-1"),
        generation=1,
        counts={"added": 0, "changed": 0, "unchanged": 0},
        quarantined=(Quarantined("a", "b"),),
        warnings=NASTY[:3],
        digest="d",
        evidence=Evidence(),
    )
    shown = str(synced(done).event.metadata["warnings"].value)
    assert shown == "\n".join(f"- {markdown(text)}" for text in NASTY[:3])


def test_what_a_check_says_is_markdown_that_shows_it(monkeypatch: pytest.MonkeyPatch) -> None:
    def judge(*_: Any) -> Any:
        return {name: {"": checks.Verdict(f"Units are {NASTY[1]}")} for name in checks.NAMES}, Evidence(), {}

    monkeypatch.setattr(checks, "_judge", judge)
    monkeypatch.setattr(checks, "_entries", lambda *_: [])
    context: Any = SimpleNamespace(
        resources=SimpleNamespace(
            results=SimpleNamespace(results=SimpleNamespace(topology=SimpleNamespace(reports=None)))
        ),
        run=SimpleNamespace(run_id="r"),
        log=SimpleNamespace(info=print),
    )
    definition = checks.checks_of(SimpleNamespace(name="result"), {})  # type: ignore[arg-type]
    for result in definition.op.compute_fn.decorated_fn(context):  # type: ignore[union-attr]
        assert result.description == markdown(f"Units are {NASTY[1]}")
        assert "<script>" not in result.description


def test_a_picture_shows_dollars_of_units_and_names() -> None:
    """Matplotlib would read them as a formula, and fail."""
    lat, lon = np.arange(-85.0, 90, 10), np.arange(0.0, 360, 10)
    coords = {"lat": ("lat", lat, {"units": "degrees_north"}), "lon": ("lon", lon, {"units": "degrees_east"})}
    bad = r"$\frac{ $ \x1b"
    attrs = {"units": bad, "long_name": bad, "attribution": bad}
    field = xr.DataArray(np.random.default_rng(0).random((18, 36)), coords, ("lat", "lon"), "t", attrs)
    assert draw(field, bad, bad).startswith(b"\x89PNG")
    line = field.isel(lon=0).assign_coords(lat=("lat", lat, {"long_name": bad, "units": bad}))
    assert draw(line, bad, bad).startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        ("https://user:T0KEN@hooks.example:8443/T0KEN?x=T0KEN#T0KEN", "https://hooks.example/…"),
        ("arn:aws:sns:eu-west-2:123456789012:xdask", "arn:aws:sns:eu-west-2:123456789012:xdask"),
        ("http://[bad/T0KEN", "a URL that cannot be read"),
    ],
)
def test_addresses_are_shown_without_secrets(address: str, shown: str) -> None:
    assert without_secrets(address) == shown
