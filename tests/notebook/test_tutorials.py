"""The tutorials run as they are written, in the project that their overview prepares."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.notebook.real_kernel import Kernel, kinds, texts

TUTORIALS = Path(__file__).parents[2] / "docs" / "tutorials"
XDASK = Path(sys.executable).with_name("xdask")


def blocks(page: str, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", (TUTORIALS / page).read_text(), re.S)


def shell(folder: Path, line: str) -> str:
    words = shlex.split(line)
    assert words[0] == "xdask"
    done = subprocess.run([XDASK, *words[1:]], cwd=folder, capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The project of the tutorials, with pools and catalog, as the overview says."""
    folder = tmp_path_factory.mktemp("tutorials")
    (settings,), (writing,), (commands,) = (blocks("README.md", language) for language in ("yaml", "python", "sh"))
    (folder / "regions.yaml").write_text(settings)
    subprocess.run([sys.executable, "-c", writing], cwd=folder, check=True, timeout=240)
    try:
        for line in commands.strip().splitlines():
            said = shell(folder, line)
        assert "240 added" in said
        yield folder
    finally:
        shell(folder, "xdask pools down")


def run(folder: Path, page: str) -> dict[str, str]:
    """Run a page; return the text that each block of Python or each command showed."""
    cells = blocks(page, "python")
    outputs = Kernel(folder).run(*cells)
    shown = {cell: texts(output) + " ".join(sorted(kinds(output))) for cell, output in zip(cells, outputs, strict=True)}
    (evidence,) = [text for cell, text in shown.items() if cell.rstrip().endswith("project.evidence")]
    assert " 0 misplaced" in evidence
    for line in "".join(blocks(page, "sh")).strip().splitlines():
        shown[line] = shell(folder, line)
        assert "misplaced 0" in shown[line]
    return shown


def of(shown: dict[str, str], words: str) -> str:
    """Return what the one block with these words showed."""
    (text,) = [text for source, text in shown.items() if words in source]
    return text


def numbers(text: str) -> list[float]:
    return [float(number) for number in re.findall(r"(?<![\w.])[+-]?\d+\.\d+", text)]


def test_an_ensemble_warms_as_its_models_were_written(prepared: Path) -> None:
    shown = run(prepared, "ensemble.md")
    assert of(shown, "project.ensemble(").count("1272") == 4, "106 years of four runs"
    warming, spread = numbers(of(shown, "ensemble_spread"))
    assert warming == pytest.approx(86 * (0.016 + 0.012 + 0.010) / 3, abs=0.02)
    assert spread == pytest.approx(0.26, abs=0.05)
    assert "over 3 models" in of(shown, "ensemble_spread")
    assert "image/png" in of(shown, "ensemble_mean.plot()")
    assert "100 % of the globe" in of(shown, "sign_agreement")
    assert "results/cmip6_ensemble_change" in of(shown, "xdask run cmip6_ensemble_change")


def test_regions_warm_and_reach_levels_when_they_must(prepared: Path) -> None:
    shown = run(prepared, "regional-series.md")
    assert "58 AR6 regions" in of(shown, "ar6_acronyms")
    slopes = re.findall(r"([+-]\d\.\d{3}) K decade-1", of(shown, "sen_trend"))
    assert len(slopes) == 7
    assert [float(slope) for slope in slopes] == pytest.approx([0.16] * 7, abs=0.01)
    assert "image/png" in of(shown, "pyplot")
    levels = re.findall(r"(\d\.\d) +(\d{4}\.0|NaN)", of(shown, "warming_level_crossing"))
    assert [level for level, _ in levels] == ["1.5", "2.0", "3.0", "4.0"]
    years = [float(year) for _, year in levels]
    # A window whose central year is c has its mean at the beginning of c; the baseline's is the middle of 1875.
    assert years[:3] == pytest.approx([1875.5 + level / 0.016 for level in (1.5, 2.0, 3.0)], abs=1.5)
    assert levels[3][1] == "NaN"


def test_bias_adjustment_removes_the_bias_and_changes_the_warming(prepared: Path) -> None:
    shown = run(prepared, "bias-adjustment.md")
    raw_mean, mean, raw_spread, spread = numbers(of(shown, "def error("))
    assert raw_mean > 1.0
    assert mean < 0.05 * raw_mean
    assert spread < 0.05 * raw_spread
    raw, adjusted = numbers(of(shown, "def warming("))
    assert raw == pytest.approx(86 * 0.012, abs=0.02)
    assert abs(adjusted - raw) > 0.05, "the page says that the mapping changes trends"
