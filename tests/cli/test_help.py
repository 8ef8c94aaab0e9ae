"""Help: whole sentences, and no wait for libraries that it does not need."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator

import click
import pytest
from click.testing import CliRunner

from xdask_pipelines.cli import main

LATE = ("dagster", "xarray", "dask", "distributed", "numpy", "importlib.metadata")


def groups(group: click.Group, words: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], click.Group]]:
    yield words, group
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            yield from groups(command, (*words, name))


@pytest.mark.parametrize("words", [words for words, _ in groups(main)])
def test_each_command_is_listed_with_a_whole_sentence(words: tuple[str, ...]):
    shown = CliRunner().invoke(main, [*words, "--help"]).output
    assert "..." not in shown.replace("[ARGS]...", "")
    text = " ".join(shown.split())
    shown = {name: each for name, each in dict(groups(main))[words].commands.items() if not each.hidden}
    for name, command in shown.items():
        first, _, _ = (command.help or "").partition("\n\n")
        assert f"{name} {' '.join(first.split()).removesuffix('.')}" in text


def test_help_imports_no_library_of_data():
    script = (
        "import json, sys\n"
        "from xdask_pipelines.cli import main\n"
        "try:\n    main(['--help'])\nexcept SystemExit:\n    pass\n"
        f"print(json.dumps([name for name in {LATE} if name in sys.modules]))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert "Usage" in done.stdout
    assert json.loads(done.stdout.splitlines()[-1]) == []


def test_a_search_imports_neither_dagster_nor_dask_nor_xarray(tmp_path):
    regions = "client: {region: eu-west-2, cidr: 10.0.0.0/16}\nworkers: [{region: us-east-1, cidr: 10.1.0.0/16}]\n"
    (tmp_path / "regions.yaml").write_text(regions)
    script = (
        "import json, sys\n"
        "from xdask_pipelines.cli import main\n"
        "try:\n    main(['catalog', 'search'])\nexcept SystemExit:\n    pass\n"
        f"print(json.dumps([name for name in {LATE[:4]} if name in sys.modules]))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=tmp_path)
    assert "0 entries" in done.stdout
    assert json.loads(done.stdout.splitlines()[-1]) == []
