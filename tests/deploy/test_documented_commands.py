"""Every `xdask` command of the files and pages from which people start is one that the command line accepts."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import click
import pytest

from tests.deploy.documented import DEPLOY, FILES, PAGES, commands, mentioned, read

COMMANDS = [pytest.param(words, id=f"{name}: {' '.join(words)}") for name, words in commands()]
MENTIONED = [pytest.param(words, id=f"{name}: {' '.join(words)}") for name, words in mentioned()]


@pytest.mark.parametrize("words", COMMANDS)
def test_a_command_is_accepted(words: list[str]) -> None:
    read(words)


@pytest.mark.parametrize("words", MENTIONED)
def test_a_command_in_prose_exists(words: list[str]) -> None:
    with suppress(click.MissingParameter):
        read(words)


def test_a_wrong_command_is_not_accepted() -> None:
    with pytest.raises(click.UsageError):
        read(["worker", "--region", "exeter", "--dta", "/data"])


def test_each_page_and_each_way_has_commands() -> None:
    assert {name.partition(":")[0] for name, _ in commands()} >= {path.name for path in PAGES.glob("*.md")} - {
        "README.md"
    }


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_each_file_is_on_its_page(path: Path) -> None:
    way = path.relative_to(DEPLOY)
    page = PAGES / f"{way.parts[0]}.md"
    assert f"deploy/{way.as_posix()}" in page.read_text()


def test_the_overview_links_all_pages() -> None:
    overview = (PAGES / "README.md").read_text()
    assert [page.name for page in PAGES.glob("*.md") if f"({page.name})" not in overview] == ["README.md"]
