"""Analyses of one's own: a broken file is named, and keeps nothing else from working."""

from __future__ import annotations

import logging
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import dagster as dg
import pytest
from click.testing import CliRunner

from xdask_pipelines.assets.analysis import analyses_of
from xdask_pipelines.assets.analysis_definition import run
from xdask_pipelines.build import assemble
from xdask_pipelines.catalog import open_catalog
from xdask_pipelines.cli import main
from xdask_pipelines.definitions import definitions
from xdask_pipelines.errors import XdaskError
from xdask_pipelines.operations.health.doctor import examine
from xdask_pipelines.topology import Topology

REPO = Path(__file__).parents[2]
IMPORT = "import dagster as dg\nfrom xdask_pipelines.assets import analysis\n"
Write = Callable[..., None]


def made(name: str, upstream: str = "climate_signal", **options: str) -> str:
    given = ", ".join(f"{option}={value}" for option, value in options.items())
    return f"@analysis({given})\ndef {name}({upstream}):\n    return {upstream.partition(',')[0].partition(':')[0]}\n"


@pytest.fixture
def topology(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Topology:
    shutil.copy(REPO / "regions.yaml", tmp_path)
    monkeypatch.setenv("XDASK_TOPOLOGY", str(tmp_path / "regions.yaml"))
    return Topology.load(tmp_path / "regions.yaml")


@pytest.fixture
def write(topology: Topology) -> Write:
    """Writes files of ``analyses``: name to what follows the imports."""

    def files(**texts: str) -> None:
        (topology.root / "analyses").mkdir(exist_ok=True)
        for name, text in texts.items():
            (topology.root / "analyses" / f"{name}.py").write_text(IMPORT + text)

    return files


BROKEN = {
    "a missing module": ("import nothing_of_that_name\n" + made("bad"), "ModuleNotFoundError: No module named"),
    "a syntax error": (made("bad") + "def (:\n", "SyntaxError: invalid syntax"),
    "an error on import": (made("bad") + "1 / 0\n", r"ZeroDivisionError: division by zero \(line 6\)"),
    "an exit": (made("bad") + "raise SystemExit('no data')\n", "SystemExit: no data"),
    "an unknown option": (made("bad", colour="'red'"), "TypeError: .*colour"),
    "a source without parameter": (
        "from xdask_pipelines.assets import Source\n" + made("bad", sources="{'tas': Source('cmip6')}"),
        "no parameter for its source tas",
    ),
    "a misspelt parameter": (made("bad", "climate_signl"), r"climate_signl: did you mean climate_signal\?"),
    "a parameter like no asset": (
        made("bad", "climate_signal, zzz"),
        "no asset or source is named zzz. Annotate zzz with a subclass of dagster.Config",
    ),
    "itself as parameter": (made("bad", "bad"), "Asset .bad. depends on itself"),
    "an asset of the project": (made("bad") + made("model_bias"), "the project itself has an asset model_bias"),
    "a resource that is not there": (
        "@dg.asset(required_resource_keys={'nowhere'})\ndef bad(context):\n    pass\n",
        "Dagster cannot load it: .*nowhere",
    ),
    "an asset that reads what is not there": (
        "@dg.asset\ndef bad(climate_signl):\n    pass\n",
        "Dagster cannot load it: .*climate_signl",
    ),
    "partitions that do not fit": (
        made("bad", "era5_monthly_mean", partitions_def="dg.StaticPartitionsDefinition(['a'])"),
        "Dagster cannot load it|cannot be loaded",
    ),
}


@pytest.mark.parametrize(("text", "reason"), BROKEN.values(), ids=BROKEN)
def test_a_broken_file_is_named_and_all_else_works(topology: Topology, write: Write, text: str, reason: str):
    write(broken=text, good=made("good"), zlast=made("last", "good"))
    assembly = assemble(topology)
    dg.Definitions.validate_loadable(assembly.definitions)
    keys = {key.to_user_string() for key in assembly.definitions.resolve_all_asset_keys()}
    assert {"good", "last", "climate_signal", "model_bias"} <= keys
    assert {str(broken.file) for broken in assembly.own.broken} == {"analyses/broken.py"}
    assert re.search(reason, "; ".join(map(str, assembly.own.broken)))
    if "model_bias" not in text:
        with pytest.raises(XdaskError, match=r"analyses/broken.py: "):
            assembly.refuse_unknown(["bad"])


def test_what_is_computed_from_a_broken_one_fails_with_it_and_names_it(topology: Topology, write: Write):
    write(
        one=made("last", "between"), two=made("between", "bad"), wrong=made("bad", "climate_signl"), good=made("good")
    )
    assembly = assemble(topology)
    assert assembly.own.names() == {"good"}
    with pytest.raises(XdaskError) as caught:
        assembly.refuse_unknown(["last"])
    for part in (
        "analyses/one.py: last is computed from between, which is broken (analyses/two.py",
        "climate_signl: did",
    ):
        assert part in str(caught.value)
    write(wrong="import nothing_of_that_name\n" + made("bad"))
    with pytest.raises(
        XdaskError, match=r"between is computed from bad, which is broken \(analyses/wrong.py: it cannot be"
    ):
        assemble(topology).refuse_unknown(["between"])
    write(wrong=made("bad"))
    assert assemble(topology).own.names() == {"good", "bad", "between", "last"}


def test_of_two_files_that_define_one_asset_neither_is_taken(topology: Topology, write: Write):
    write(one=made("same") + made("fine"), two=made("same", "model_bias"), three=made("after", "same"))
    assembly = assemble(topology)
    assert assembly.own.names() == {"fine"}
    assert sorted(str(b.file) for b in assembly.own.broken) == [f"analyses/{n}.py" for n in ("one", "three", "two")]
    with pytest.raises(XdaskError, match=r"analyses/one.py and analyses/two.py both define the asset same; rename"):
        assembly.refuse_unknown(["same"])
    assert "model_bias" in analyses_of(assembly.definitions.resolve_all_asset_specs())


def test_assets_computed_in_a_circle_are_named(topology: Topology, write: Write):
    write(one=made("first", "second"), two=made("second", "first"), three=made("after", "first"), good=made("good"))
    assembly = assemble(topology)
    assert assembly.own.names() == {"good"}
    assert [str(broken) for broken in assembly.own.broken] == [
        "analyses/one.py: first depends on itself, through second",
        "analyses/three.py: after is computed from first, second, which depend on each other in a circle",
        "analyses/two.py: second depends on itself, through first",
    ]


def test_an_own_asset_does_not_replace_one_of_the_project(topology: Topology, write: Write):
    before = analyses_of(assemble(topology).definitions.resolve_all_asset_specs())["climate_signal"]
    write(one=made("climate_signal", "model_bias"), two=made("good"))
    assembly = assemble(topology)
    assert assembly.own.names() == {"good"}
    now = analyses_of(assembly.definitions.resolve_all_asset_specs())["climate_signal"]
    assert now.upstream == before.upstream


def test_the_command_line_says_which_file_and_why(topology: Topology, write: Write):
    write(broken=made("bad", "climate_signl"), unread="import nothing_of_that_name\n" + made("worse"))
    for command in ("plan", "run"):
        for name, reason in (
            ("bad", "analyses/broken.py: bad: no asset or source is named climate_signl: did you mean climate_signal?"),
            ("worse", "analyses/unread.py: it cannot be loaded: ModuleNotFoundError"),
            ("model_bais", "There is no asset model_bais: did you mean model_bias?"),
        ):
            done = CliRunner().invoke(main, [command, name])
            assert done.exit_code == 1
            assert reason in done.output
    found = {finding.said: finding for finding in examine() if finding.about == "code"}
    (unread,) = [f for said, f in found.items() if said.startswith("analyses/unread.py: it cannot be loaded")]
    assert unread.state == "problem"
    assert any(said.startswith("analyses/broken.py: bad: no asset") for said in found)
    assert any("assets in the code location" in said for said in found)


def test_the_code_location_loads_and_logs_what_it_left_out(
    topology: Topology, write: Write, caplog: pytest.LogCaptureFixture
):
    write(broken=made("bad", "climate_signl"), good=made("good"))
    with caplog.at_level(logging.WARNING):
        loaded = definitions()
    assert dg.AssetKey("good") in loaded.resolve_all_asset_keys()
    assert "left out: analyses/broken.py: bad: no asset or source is named climate_signl" in caplog.text
    assert "climate_signl" in str(loaded.metadata["broken_analyses"])


def test_a_function_that_returns_no_xarray_object_is_named_by_plan_and_run(topology: Topology, write: Write):
    write(one="@analysis()\ndef number():\n    return 5\n")
    done = CliRunner().invoke(main, ["plan", "number"])
    assert done.exit_code == 1
    assert "number returned int, and a result is an xarray.DataArray or xarray.Dataset" in done.output
    made = analyses_of(assemble(topology).own.assets)["number"]
    with pytest.raises(XdaskError, match="number returned int"):
        run(made, topology, open_catalog(topology.catalog_url), None, [""], {})
