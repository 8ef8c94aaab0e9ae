"""Exchange with other catalogs: exports, imports, and the missing headers of imports.

Belongs here: options, output and exit codes. Does not belong here: the work of the commands (operations).
"""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

# Each command imports what it needs, so that `xdask --help` does not wait for Dask.
import click

from xdask_pipelines.cli.catalog_commands import Facets, filters, query_of
from xdask_pipelines.cli.common import JSON, Group, echo, give, tell, topology_with_catalog
from xdask_pipelines.system.safe_text import one_line
from xdask_pipelines.system.units import counted

SHOWN = 3


@click.group("export", cls=Group)
def catalog_export() -> None:
    """Export the catalog in another format."""


@catalog_export.command("stac", cls=Facets)
@click.argument("folder", type=click.Path(file_okay=False, path_type=Path))
@filters
@JSON
@click.pass_context
def export_stac(ctx: click.Context, /, folder: Path, as_json: bool, **given: Any) -> None:
    """Write a static STAC catalog into FOLDER; filters as in search."""
    where = topology_with_catalog()
    from xdask_pipelines.operations.exchange import export_to_stac

    done = export_to_stac(where, folder.resolve(), query_of(ctx, given), tell(as_json))

    def show() -> None:
        for name, count in done.items():
            echo(f"{name}: {counted(count, 'item')}")
        echo(f"{folder / 'catalog.json'}")

    give(as_json, {"catalog": str(folder / "catalog.json"), "items": done}, show)


@click.command("import")
@click.argument("file", type=click.Path(dir_okay=False, exists=True, path_type=Path))
@JSON
def catalog_import(file: Path, as_json: bool) -> None:
    """Import FILE, a table of Zarr stores such as pangeo-cmip6.csv.

    Existing entries are not changed.
    """
    where = topology_with_catalog()
    from xdask_pipelines.operations.exchange import import_table

    done = import_table(where, file, tell(as_json))

    def show() -> None:
        for place, count in done["imported"].items():
            echo(f"{place}: {counted(count, 'entry', 'entries')} imported, {done['known'][place]:,} known before")
        for reason, rows in done["refused"].items():
            echo(f"{counted(rows['rows'], 'row')} not imported: {reason}", fg="yellow")
            for example in rows["examples"][:SHOWN]:
                echo(f"  {one_line(example)}")
        if any(done["imported"].values()):
            echo("They have no headers yet. Read selected ones with `xdask catalog describe`, or all with a sync.")

    give(as_json, done, show)


@click.command("copy")
@click.argument("source", metavar="FROM")
@click.argument("target", metavar="TO")
@JSON
def catalog_copy(source: str, target: str, as_json: bool) -> None:
    """Copy the catalog FROM one store TO another that is empty.

    Each is a SQLite file or an opensearch+… address.
    """
    from xdask_pipelines.catalog import copy_catalog
    from xdask_pipelines.errors import CatalogError

    urls = [_address(word) for word in (source, target)]
    if urls[0].startswith("sqlite://") and not Path(urls[0].removeprefix("sqlite://")).is_file():
        raise CatalogError(f"The catalog file to copy from, {urls[0].removeprefix('sqlite://')}, does not exist.")
    done = copy_catalog(urls[0], urls[1], tell(as_json))
    entries = sum(held.entries for held in done.values())
    documents = [{"dataset": d, "region": r, **asdict(held)} for (d, r), held in done.items()]

    def show() -> None:
        places = counted(len(done), "dataset and Region", "datasets and Regions")
        echo(f"copied and compared: {counted(entries, 'entry', 'entries')} of {places}")
        echo(f"To use the copy, write `catalog: {urls[1]}` into regions.yaml.")

    give(as_json, {"catalog": urls[1], "copied": documents}, show)


def _address(word: str) -> str:
    from xdask_pipelines.topology import absolute_address, project_folder

    if "://" in word:
        return absolute_address(word, project_folder() or Path.cwd())
    return f"sqlite://{Path(word).expanduser().absolute()}"


@click.command("describe", cls=Facets)
@filters
@JSON
@click.pass_context
def catalog_describe(ctx: click.Context, /, as_json: bool, **given: Any) -> None:
    """Read the headers of entries without header; filters as in search."""
    where = topology_with_catalog()
    from xdask_pipelines.operations.exchange import describe_entries

    done = describe_entries(where, query_of(ctx, given), tell(as_json))

    def show() -> None:
        for place, count in done["described"].items():
            echo(f"{place}: {counted(count, 'entry', 'entries')} described")
        for entry, reason in done["unreadable"].items():
            echo(f"  not described: {one_line(entry)}: {one_line(reason)}", fg="yellow")
        if not done["described"]:
            echo("nothing to do: all matching entries have headers")

    give(as_json, done, show)
    ctx.exit(1 if done["unreadable"] else 0)
