"""The catalog beside those of others: exports.

Belongs here: options, words and exit codes. Does not belong here: what the commands do.
"""

from __future__ import annotations

from pathlib import Path

# Kept light: each command imports what it needs, for `xdask --help` should not wait for Dask.
import click

from xdask_pipelines.cli.catalog import Facets, query_of
from xdask_pipelines.cli.common import JSON, Group, give, tell, topology

TIME = click.option("--time", nargs=2, help="First and last period, such as 2026-01 2026-04.")


@click.group("export", cls=Group)
def catalog_export() -> None:
    """Write what the catalog knows in another form."""


@catalog_export.command("stac", cls=Facets)
@click.argument("folder", type=click.Path(file_okay=False, path_type=Path))
@TIME
@JSON
@click.pass_context
def export_stac(ctx: click.Context, folder: Path, time: tuple[str, str] | None, as_json: bool) -> None:
    """Write a static STAC catalog into FOLDER; filters as in search."""
    from xdask_pipelines.exchange import export_to_stac

    done = export_to_stac(topology(), folder.resolve(), {"time": time, **query_of(ctx)}, tell(as_json))

    def show() -> None:
        for name, count in done.items():
            click.echo(f"{name}: {count} items")
        click.echo(f"{folder / 'catalog.json'}")

    give(as_json, {"catalog": str(folder / "catalog.json"), "items": done}, show)
