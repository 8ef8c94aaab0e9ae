"""Config values of a run, from text to typed values: what does not fit is one clear error."""

from __future__ import annotations

import enum
import shutil
from pathlib import Path
from typing import Any, Literal

import dagster as dg
import pytest
from click.testing import CliRunner
from pydantic import Field, field_validator

from xdask_pipelines.assets.config_values import typed_config
from xdask_pipelines.build import assemble
from xdask_pipelines.cli import main
from xdask_pipelines.errors import XdaskError
from xdask_pipelines.operations.project import check_request
from xdask_pipelines.topology import Topology

REPO = Path(__file__).parents[2]


class Colour(enum.Enum):
    red = "r"
    blue = "b"


class Box(dg.Config):
    west: float = 0.0


class Settings(dg.Config):
    threshold: float = 1.5
    years: int
    member: str = "r1"
    strict: bool = False
    levels: list[int] = Field(default_factory=lambda: [850])
    season: Literal["DJF", "JJA"] = "DJF"
    colour: Colour = Colour.red
    box: Box = Box()
    window: int | None = None
    percent: float = Field(50, gt=0, lt=100)
    regions: list[str] = Field(default_factory=lambda: ["global"])
    members: list[str] | None = None

    @field_validator("member")
    @classmethod
    def _known(cls, value: str) -> str:
        if value == "r0":
            raise ValueError("members are counted from 1")
        return value


def typed(**values: Any) -> Any:
    return typed_config("drought", Settings, {"years": "30", **values})


def test_text_becomes_what_the_type_of_its_key_says():
    got = typed(
        threshold="2", member="01", strict="true", levels="[500, 850]", season="JJA", colour="blue", box='{"west": 5}'
    )
    assert (got.years, got.threshold, got.member, got.strict) == (30, 2.0, "01", True)
    assert (got.levels, got.season, got.colour, got.box.west) == ([500, 850], "JJA", Colour.blue, 5.0)
    assert typed(member="1e3").member == "1e3", "text stays as it is written"
    assert typed(member="true").member == "true"
    assert typed(window="7").window == 7
    assert typed(window="null").window is None
    assert typed(years=30, threshold=2, member="r2").threshold == 2.0, "values of the launchpad are typed already"


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"threshold": "hello"}, r"drought: threshold = 'hello' does not fit the type float: .*valid number"),
        ({"years": "2.5"}, r"years = '2.5' does not fit the type int: .*fractional part"),
        ({"years": "hello"}, r"years = 'hello' does not fit the type int"),
        ({"years": "true"}, r"years = 'true' does not fit the type int: true and false are no numbers"),
        ({"threshold": True}, r"threshold = True does not fit the type float: true and false are no numbers"),
        ({"years": "[1]"}, r"years = '\[1\]' does not fit the type int"),
        ({"years": ""}, r"years = '' does not fit the type int"),
        ({"strict": "perhaps"}, r"strict = 'perhaps' does not fit the type bool"),
        ({"levels": "850"}, r"levels = '850' does not fit the type list\[int\]"),
        ({"levels": '["a"]'}, r"levels = .* does not fit the type list\[int\]: 0: .*valid integer"),
        ({"levels": "[true]"}, r"levels = .* does not fit the type list\[int\]: true and false are no numbers"),
        ({"season": "MAM"}, r"season = 'MAM' does not fit the type 'DJF' \| 'JJA'"),
        ({"colour": "green"}, r"colour = 'green' does not fit the type red \| blue"),
        ({"box": '{"west": "x"}'}, r"box = .* does not fit the type Box: west: .*valid number"),
        ({"percent": "100"}, r"percent = '100' does not fit the type float: .*less than 100"),
        ({"member": "r0"}, r"member = 'r0' does not fit the type str: .*counted from 1"),
        ({"member": 5}, r"member = 5 does not fit the type str"),
        (
            {"treshold": "1"},
            r"drought has no config value treshold\. There is .*threshold \(float, 1\.5 if not given\)",
        ),
    ],
)
def test_a_value_that_does_not_fit_is_named_with_its_key_its_type_and_all_keys(values: dict[str, Any], words: str):
    with pytest.raises(XdaskError, match=words) as caught:
        typed(**values)
    assert "years (int, required)" in str(caught.value)
    assert "season ('DJF' | 'JJA', 'DJF' if not given)" in str(caught.value)


def test_a_missing_value_is_named():
    with pytest.raises(XdaskError, match=r"drought needs the config value years: give it with `-c years=…`\. There is"):
        typed_config("drought", Settings, {})
    with pytest.raises(XdaskError, match=r"drought has no config value n\. It takes none\."):
        typed_config("drought", None, {"n": 1})


@pytest.fixture
def topology(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Topology:
    shutil.copy(REPO / "regions.yaml", tmp_path)
    monkeypatch.setenv("XDASK_TOPOLOGY", str(tmp_path / "regions.yaml"))
    (tmp_path / "analyses").mkdir()
    (tmp_path / "analyses" / "hot.py").write_text(
        "import dagster as dg\nfrom xdask_pipelines.assets import analysis\n"
        "class Hot(dg.Config):\n    threshold: float = 1.0\n"
        "@analysis()\ndef hot(climate_signal, config: Hot):\n    return climate_signal\n"
    )
    return Topology.load(tmp_path / "regions.yaml")


@pytest.mark.usefixtures("topology")
@pytest.mark.parametrize("command", ["run", "plan"])
def test_the_command_line_says_it_before_anything_starts(command: str):
    for words, said in (
        (["-c", "threshold=hello"], "hot: threshold = 'hello' does not fit the type float"),
        (["-c", "treshold=1"], "hot has no config value treshold. There is threshold (float, 1.0 if not given)"),
        (["-c", "threshold=1", "-c", "threshold=2"], "threshold is given twice: 1 and 2"),
        (["-c", "threshold"], "write config as name=value"),
    ):
        done = CliRunner().invoke(main, [command, "hot", *words])
        assert said in done.output
        assert done.exit_code in (1, 2)
        assert done.exception is None or isinstance(done.exception, SystemExit)


def test_a_request_gives_the_values_in_the_form_of_dagster(topology: Topology):
    definitions = assemble(topology).definitions
    assert check_request(definitions, "hot", {"threshold": "2"}, ()) == {"threshold": 2.0}
    assert check_request(definitions, "hot", {}, ()) == {"threshold": 1.0}
    sync = "era5_catalog_us-east-1"
    assert check_request(definitions, sync, {"dry_run": "true"}, ()) == {"dry_run": True, "accept": ""}
    with pytest.raises(XdaskError, match=r"dry_run = 'perhaps' does not fit the type bool"):
        check_request(definitions, sync, {"dry_run": "perhaps"}, ())
    with pytest.raises(XdaskError, match=r"era5_lustre_us-east-1 has no config value dry_run\. It takes none"):
        check_request(definitions, "era5_lustre_us-east-1", {"dry_run": "true"}, ())


def test_lists_of_text_are_written_as_json():
    got = typed(regions='["MED & land", "1"]', members='["r1"]')
    assert (got.regions, got.members) == (["MED & land", "1"], ["r1"])
    assert typed(members="null").members is None
    for text in ("land", '"land"', "[1, 2]"):
        with pytest.raises(XdaskError, match=r"regions = .* does not fit the type list\[str\]"):
            typed(regions=text)
