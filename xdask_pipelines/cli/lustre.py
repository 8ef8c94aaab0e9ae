"""Lustre: checking which files are on the mounts, and fetching them before an analysis.

Belongs here: options, output and exit codes. Does not belong here: the work of the commands (operations).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

# Each command imports what it needs, so that `xdask --help` does not wait for Dask.
import click

from xdask_pipelines.cli.catalog_commands import Facets, filters, query_of
from xdask_pipelines.cli.common import JSON, Group, echo, give, tell, topology, topology_with_catalog
from xdask_pipelines.system.units import counted, format_bytes


@click.group(cls=Group)
def lustre() -> None:
    """Check which files are on the mounts, and fetch others.

    Files that are not on a mount are in its bucket, and are fetched when they are read.
    """


@lustre.command("status", cls=Facets)
@filters
@JSON
@click.pass_context
def lustre_status(ctx: click.Context, /, as_json: bool, **given: Any) -> None:
    """Report which files are on the mounts; filters as in catalog search."""
    _run(query_of(ctx, given), as_json, warm=False)


@lustre.command("warm", cls=Facets)
@filters
@JSON
@click.pass_context
def lustre_warm(ctx: click.Context, /, as_json: bool, **given: Any) -> None:
    """Fetch files before they are read; filters as in catalog search."""
    _run(query_of(ctx, given), as_json, warm=True)


def _run(query: Mapping[str, Any], as_json: bool, *, warm: bool) -> None:
    where = topology_with_catalog()
    from xdask_pipelines.operations.syncs.residency import residency_of

    residency = residency_of(where, query, warm=warm, tell=tell(as_json))
    give(as_json, {region: asdict(each) for region, each in residency.items()}, lambda: _show(residency, warm))


def _show(residency: Mapping[str, Any], warm: bool) -> None:
    for region, each in residency.items():
        word = "fetched" if warm else "in the bucket only"
        echo(
            f"{region:12} {counted(each.resident_files, 'file')}, {format_bytes(each.resident_bytes)} on the mount; "
            f"{counted(each.released_files, 'file')}, {format_bytes(each.released_bytes)} {word}"
        )


@lustre.command("up")
@click.argument("region")
def lustre_up(region: str) -> None:
    """Create the file system of a Region on AWS (stage full)."""
    from xdask_pipelines.operations.aws.file_systems import up

    up(topology(), region, echo)


@lustre.command("down")
@click.argument("region")
def lustre_down(region: str) -> None:
    """Delete the file system of a Region on AWS; its data are in their buckets."""
    from xdask_pipelines.operations.aws.file_systems import down

    down(topology(), region, echo)
