"""The commands that create a project, and an analysis in it.

Belongs here: options and output. Does not belong here: creating the files (operations.new_project,
own_analyses.new_analysis).
"""

from __future__ import annotations

from pathlib import Path

import click

from xdask_pipelines.cli.common import JSON, echo, give, topology_with_catalog


@click.command()
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--sample", is_flag=True, help="Copy the sample data (3 MB), so that `xdask demo` works.")
@JSON
def init(folder: Path, sample: bool, as_json: bool) -> None:
    """Create a project in a new folder."""
    from xdask_pipelines.operations.new_project import create_project

    paths = create_project(folder, sample=sample)

    def text() -> None:
        echo(f"created {folder}:")
        for path in paths:
            echo(f"  {path.name}{'/' if path.is_dir() else ''}")
        echo("next:")
        echo(f"  cd {folder}")
        if sample:
            echo("  xdask demo      # computes the example on the sample data")
        else:
            echo("  # put files into data/us-east-1/my-data, or edit regions.yaml; then:")
            echo("  xdask sync && xdask pools up && xdask run temperature_pattern")

    give(as_json, {"folder": str(folder.resolve()), "files": [path.name for path in paths]}, text)


@click.command("new")
@click.argument("name")
@JSON
def new_analysis(name: str, as_json: bool) -> None:
    """Create an analysis with a working example, and its test.

    The files are analyses/NAME.py and tests/test_NAME.py.
    """
    where = topology_with_catalog()
    from xdask_pipelines.build import assemble
    from xdask_pipelines.catalog import open_catalog
    from xdask_pipelines.own_analyses.new_analysis import create_analysis

    assembly = assemble(where)
    taken = {key.to_user_string() for key in assembly.definitions.resolve_all_asset_keys()}
    analysis, test = create_analysis(where, open_catalog(where.catalog_url), name, taken)

    def text() -> None:
        echo(f"created {analysis}")
        echo(f"        {test}")
        echo(f"next: pytest {test.relative_to(where.root)}   # then `xdask plan {name}` and `xdask run {name}`")

    give(as_json, {"analysis": str(analysis), "test": str(test)}, text)
