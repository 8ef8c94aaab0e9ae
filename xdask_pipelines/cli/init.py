"""The command that creates a project.

Belongs here: options and output. Does not belong here: creating the files (operations.new_project).
"""

from __future__ import annotations

from pathlib import Path

import click

from xdask_pipelines.cli.common import JSON, echo, give


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
