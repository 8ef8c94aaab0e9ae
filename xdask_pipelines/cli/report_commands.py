"""Commands about stored results: report, provenance, reproduce.

Belongs here: options, output and exit codes. Does not belong here: the work of the commands (operations.records).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

# Each command imports what it needs, so that `xdask --help` does not wait for Dask.
import click

from xdask_pipelines.cli.common import JSON, columns, echo, give, pairs, tell, topology_with_catalog

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


@click.command()
@click.argument("asset")
@_PARTITION
@click.option("--prov", type=click.Path(dir_okay=False, path_type=Path), help="Also write W3C PROV-JSON to this file.")
@JSON
def provenance(asset: str, partition: str, prov: Path | None, as_json: bool) -> None:
    """Show what a result was made from: entries, code, config.

    ASSET is the name of an asset, or the address of a store that `xdask run` prints.
    """
    where = topology_with_catalog()
    from xdask_pipelines.operations.records.shown_provenance import provenance_of

    found = provenance_of(where, asset, partition, prov)
    give(as_json, found, lambda: _print_provenance(found))


def _print_provenance(found: Mapping[str, Any]) -> None:
    for each in found["results"]:
        echo(f"{each['asset']} {each['partition']}".rstrip(), bold=True)
        echo(f"  store       {each['address']}")
        echo(f"  digest      {each['digest']}")
        echo(f"  run         {each['run_id']}")
        echo(f"  code        {each['code_version']}")
        echo(f"  packages    {_texts(each['packages']) or 'unknown'}")
        if each["config"]:
            echo(f"  config      {_texts(each['config'])}")
        for step in each["processing"]:
            echo(f"  {step['kind']:<11} {_texts({name: value for name, value in step.items() if name != 'kind'})}")
        if each["sources"] > each["recorded_sources"]:
            echo(f"  sources     {each['recorded_sources']:,} of {each['sources']:,} are recorded", fg="yellow")
    rows: list[tuple[str, ...]] = [("DATASET", "REGION", "VERSION", "DIGEST", "TRACKING_ID", "STATE", "KEY")]
    names = ("dataset", "region", "version", "digest", "tracking_id", "state", "key")
    rows += [tuple(str(each[name]) for name in names) for each in found["sources"]]
    echo("\n".join(columns(rows)))
    if found["bibtex"]:
        echo()
        echo(found["bibtex"])
    if found["prov"]:
        echo(f"W3C PROV-JSON {found['prov']}")


def _texts(values: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {value}" for name, value in values.items())


@click.command()
@click.argument("result", metavar="ASSET_OR_STORE")
@_PARTITION
@JSON
@click.pass_context
def reproduce(ctx: click.Context, result: str, partition: str, as_json: bool) -> None:
    """Compute a stored result again from what it was made from, and compare.

    Nothing is stored. The exit code is 1 if a value differs.
    """
    where = topology_with_catalog()
    from xdask_pipelines.operations.progress import bars
    from xdask_pipelines.operations.records import reproduce as reproducing

    with bars() as watch:
        done = reproducing.reproduce(where, result, partition, watch, tell(as_json))

    def show() -> None:
        echo(done.result)
        for line in done.changed:
            echo(f"changed               {line}", fg="yellow")
        if done.identical:
            echo("every value has the same bits", bold=True)
        for name, count in done.different_values.items():
            if count:
                echo(f"{name}: {count:,} values differ, by at most {done.largest_difference[name]:.6g}", bold=True)
        echo(f"tasks by Region       {pairs(done.evidence.tasks_by_region)}; misplaced {done.evidence.misplaced_tasks}")

    give(as_json, {**asdict(done), "evidence": done.evidence.as_dict()}, show)
    ctx.exit(0 if done.identical else 1)
