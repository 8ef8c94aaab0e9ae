"""Commands about stored results: report, provenance, reproduce.

Belongs here: options, output and exit codes. Does not belong here: the work of the commands (operations.records).
"""

from __future__ import annotations

# Each command imports what it needs, so that `xdask --help` does not wait for Dask.
import click

from xdask_pipelines.cli.common import JSON, echo, give, topology_with_catalog

_PARTITION = click.option("--partition", metavar="KEY", default="", help="Partition; by default the one computed last.")


@click.command()
@click.argument("asset")
@_PARTITION
@click.option("--to", "folder", metavar="FOLDER", default="", help="Folder or s3://bucket/prefix; default var/reports.")
@JSON
def report(asset: str, partition: str, folder: str, as_json: bool) -> None:
    """Write a web page about the result of an asset.

    The page is one file without scripts that can be sent to anybody; an index of all pages is next to it.
    """
    where = topology_with_catalog()
    from xdask_pipelines.operations.records.written_report import report_result

    page = report_result(where, asset, partition, folder)
    give(as_json, {"asset": asset, "page": page}, lambda: echo(f"report                {page}"))
