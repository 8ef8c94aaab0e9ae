"""`xdask`: the command line.

Belongs here: options, words and exit codes. Does not belong here: what the commands do.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

# Kept light: each command imports what it needs, for `xdask --help` should not wait for Dask.
import click

from xdask_pipelines.errors import XdaskError

_JSON = click.option("--json", "as_json", is_flag=True, help="Print one JSON document instead of text.")


class _Group(click.Group):
    """Shows our errors as one message, not as a traceback."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except XdaskError as error:
            if "--json" in sys.argv:
                click.echo(json.dumps({"error": type(error).__name__, "message": str(error)}))
            click.secho(f"xdask: {error}", fg="red", err=True)
            ctx.exit(1)


@click.group(cls=_Group, context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--topology", type=click.Path(dir_okay=False, path_type=Path), help="Topology file; default ./regions.yaml."
)
def main(topology: Path | None) -> None:
    """Compute where the climate data lives."""
    if topology:
        os.environ["XDASK_TOPOLOGY"] = str(topology.resolve())


def _topology() -> Any:
    from xdask_pipelines.topology import find_topology

    found = find_topology()
    os.environ.setdefault("XDASK_TOPOLOGY", str(found.root / "regions.yaml"))
    return found


def _tell(as_json: bool) -> Callable[[str], None]:
    return (lambda line: click.echo(line, err=True)) if as_json else click.echo


def _give(as_json: bool, document: Any, text: Callable[[], None]) -> None:
    if as_json:
        click.echo(json.dumps(document, indent=2, ensure_ascii=False))
    else:
        text()


# ---- demo -------------------------------------------------------------------------------------------------------


@main.command()
@click.option("--experiment", default="A1B", show_default=True, help="Scenario of the projection (experiment_id).")
@_JSON
def demo(experiment: str, as_json: bool) -> None:
    """Run the main job, the ERA5-CMIP6 temperature difference, on the data in data/."""
    from xdask_pipelines.bars import bars
    from xdask_pipelines.demo import run_demo
    from xdask_pipelines.resources.pools import Pools

    topology, tell = _topology(), _tell(as_json)
    with bars() as watch:
        pools = Pools(topology, watch)
        ours = not pools.status().up
        tell("starting scheduler and pools (about 15 s)" if ours else "using the pools that are up")
        try:
            pools.up(tell)
            report = run_demo(topology, pools, experiment, tell)
        finally:
            pools.close()
            if ours:
                pools.down()
    _give(as_json, report, lambda: _print_report(report))


def _print_report(report: Mapping[str, Any]) -> None:
    click.echo()
    for warning in report["warnings"]:
        click.secho(f"warning  {warning}", fg="yellow")
    if report["reused_assets"]:
        click.echo("reused   " + ", ".join(report["reused_assets"]))
    if report["excerpt"]:
        click.echo(f"note     {report['excerpt']}: a demonstration, not science; the bias is an offset")
    click.secho(
        f"temperature difference, {report['experiment_id']} minus ERA5   {report['mean_difference_K']:+.4f} K",
        bold=True,
    )
    click.echo(f"  = model offset {report['model_bias_K']:+.4f} K + climate signal {report['climate_signal_K']:+.4f} K")
    click.echo("area-weighted means with exact cell areas; temperature_difference and all its ancestors moved:")
    click.echo(f"tasks by Region       {_pairs(report['tasks_by_region'])}; misplaced {report['misplaced_tasks']}")
    click.echo(f"bytes read by Region  {_pairs(report['bytes_read_by_region'], 'B')}")
    click.echo(f"bytes across Regions  {_pairs(report['bytes_across'], 'B')}")
    click.echo(f"map                   {report['map']}")
    click.echo("look at it all        make ui    (Dagster on http://127.0.0.1:3000)")


def _pairs(values: Mapping[str, int], unit: str = "") -> str:
    return ", ".join(f"{k} {v:,} {unit}".rstrip() for k, v in values.items()) or "0"


# ---- one asset --------------------------------------------------------------------------------------------------


def _settings(words: tuple[str, ...]) -> dict[str, Any]:
    """``name=value`` words as a config; values are JSON where they read as JSON."""
    config: dict[str, Any] = {}
    for word in words:
        name, equals, value = word.partition("=")
        if not equals:
            raise click.UsageError(f"write config as name=value, such as experiment_id=E1; not {word!r}")
        try:
            config[name] = json.loads(value)
        except ValueError:
            config[name] = value
    return config


_PARTITIONS = click.option("--partition", "partitions", multiple=True, help="Partition key; first and last of a range.")
_CONFIG = click.option("--config", "-c", multiple=True, metavar="NAME=VALUE", help="Config value of the asset.")


@main.command("run")
@click.argument("asset")
@_PARTITIONS
@_CONFIG
@_JSON
def run_one(asset: str, partitions: tuple[str, ...], config: tuple[str, ...], as_json: bool) -> None:
    """Materialize one asset, with its checks, on the pools that are up."""
    from xdask_pipelines.bars import bars
    from xdask_pipelines.project import instance, run_assets
    from xdask_pipelines.resources.pools import Pools

    topology = _topology()
    with bars() as watch, instance(topology) as history:
        pools = Pools(topology, watch)
        pools.client()
        done = run_assets(
            topology,
            pools,
            history,
            [asset],
            configs={asset: _settings(config)} if config else {},
            partitions=partitions,
        )
    pools.close()
    shown = {k: v for k, v in done.metadata.get(asset, {}).items() if k not in ("map", "sources")}
    document = {"run_id": done.run_id, "asset": asset, "warnings": list(done.warnings), "metadata": shown}

    def show() -> None:
        for warning in done.warnings:
            click.secho(f"warning  {warning}", fg="yellow")
        evidence = shown.get("evidence")
        click.echo(f"{asset} is stored in {shown['store']}" if evidence else f"{asset} is done")
        if "area_weighted_mean" in shown:
            click.echo(f"area-weighted mean    {shown['area_weighted_mean']:.4f} {shown['units']}")
        if evidence:
            click.echo(
                f"tasks by Region       {_pairs(evidence['tasks_by_region'])}; misplaced {evidence['misplaced_tasks']}"
            )
            click.echo(f"bytes read by Region  {_pairs(evidence['bytes_read_by_region'], 'B')}")
            click.echo(f"bytes across Regions  {_pairs(evidence['bytes_across'], 'B')}")

    _give(as_json, document, show)


# ---- pools ------------------------------------------------------------------------------------------------------


@main.group(cls=_Group)
def pools() -> None:
    """Scheduler and workers of every Region on this machine."""


def _status_document(status: Any) -> dict[str, Any]:
    return {"up": status.up, "address": status.address, "workers": status.workers, "problems": list(status.problems)}


def _print_status(status: Any) -> None:
    if status.address:
        click.echo(f"scheduler {status.address}, dashboard {status.dashboard}")
    for region, n in sorted(status.workers.items()):
        click.echo(f"pool of {region}: {n} worker process(es)")
    for problem in status.problems:
        click.secho(problem, fg="red")


@pools.command("up")
@_JSON
def pools_up(as_json: bool) -> None:
    """Start what is not running."""
    from xdask_pipelines.resources.pools import Pools

    status = Pools(_topology()).up(_tell(as_json))
    _give(as_json, _status_document(status), lambda: _print_status(status))


@pools.command("status")
@_JSON
def pools_status(as_json: bool) -> None:
    """Say which pools can take tasks; exit code 1 if one cannot."""
    from xdask_pipelines.resources.pools import Pools

    status = Pools(_topology()).status()
    _give(as_json, _status_document(status), lambda: _print_status(status))
    sys.exit(0 if status.up else 1)


@pools.command("down")
@_JSON
def pools_down(as_json: bool) -> None:
    """Stop all."""
    from xdask_pipelines.resources.pools import Pools

    stopped = Pools(_topology()).down()
    _give(as_json, {"stopped": stopped}, lambda: click.echo("stopped" if stopped else "nothing was running"))


# ---- UI and doctor ----------------------------------------------------------------------------------------------


@main.command()
@click.option("--port", type=click.IntRange(1, 65535), default=3000, show_default=True, help="Port on 127.0.0.1.")
def ui(port: int) -> None:
    """Start pools and Dagster on this machine; Ctrl-C stops everything."""
    from xdask_pipelines.ui import serve

    serve(_topology(), port, click.echo)


@main.command()
@_JSON
def doctor(as_json: bool) -> None:
    """Say what is wrong on this machine and how to mend it; exit code 1 if something blocks."""
    from dataclasses import asdict

    from xdask_pipelines.doctor import examine

    found = examine()
    problems = [f for f in found if f.state == "problem"]

    def show() -> None:
        for f in found:
            click.secho(
                f"{f.state:8} {f.about:9} {f.said}", fg={"ok": None, "note": "yellow", "problem": "red"}[f.state]
            )
            if f.mend:
                click.echo(f"{'':18} {f.mend}")
        click.echo(f"{len(problems)} problems" if problems else "nothing blocks")

    _give(as_json, {"ok": not problems, "findings": [asdict(f) for f in found]}, show)
    sys.exit(1 if problems else 0)


# ---- catalog ----------------------------------------------------------------------------------------------------


@main.command()
@click.argument("datasets", nargs=-1)
@click.option("--accept", help="Digest of a suspicious plan that you have looked at.")
@click.option("--dry-run", is_flag=True, help="Show the plan and change nothing.")
@_JSON
def sync(datasets: tuple[str, ...], accept: str | None, dry_run: bool, as_json: bool) -> None:
    """Make the catalog say what lies in the folders, for all datasets or those named."""
    from xdask_pipelines.upkeep import sync_datasets

    done = sync_datasets(_topology(), datasets, accept=accept, dry_run=dry_run, tell=_tell(as_json))

    def show() -> None:
        for each in done:
            counts = ", ".join(f"{v} {k}" for k, v in each["counts"].items())
            click.echo(f"{each['dataset']} in {each['region']}: {counts}" + (" (dry run)" if dry_run else ""))
            for key, reason in each["quarantined"].items():
                click.secho(f"  not catalogued: {key}: {reason}", fg="yellow")

    _give(as_json, done, show)


@main.group(cls=_Group)
def catalog() -> None:
    """What there is, and where."""


class _Facets(click.Command):
    """Takes any ``--facet-name value`` as a filter."""

    ignore_unknown_options = True
    allow_extra_args = True


def _query(ctx: click.Context) -> dict[str, Any]:
    words, query = list(ctx.args), {}
    aliases = {"experiment": "experiment_id", "model": "source_id", "member": "member_id"}
    while words:
        name, _, value = words.pop(0).partition("=")
        if not name.startswith("--") or not (value or words):
            raise click.UsageError(f"write filters as --name value, such as --experiment_id A1B; not {name!r}")
        name = name.removeprefix("--").replace("-", "_")
        query[aliases.get(name, name)] = value or words.pop(0)
    return query


@catalog.command("search", cls=_Facets)
@click.option("--time", nargs=2, help="First and last period, such as 2026-01 2026-04.")
@click.option("--limit", type=int, default=100, show_default=True)
@_JSON
@click.pass_context
def catalog_search(ctx: click.Context, time: tuple[str, str] | None, limit: int, as_json: bool) -> None:
    """List entries; any facet is a filter: --dataset era5 --variable tas --experiment A1B."""
    from xdask_pipelines.catalog import open_catalog

    found = open_catalog(_topology().catalog_url).search(time=time, limit=limit, **_query(ctx))
    documents = [{k: v for k, v in json.loads(e.to_json()).items() if k != "header"} for e in found]

    def show() -> None:
        for e in found:
            click.echo(
                f"{e.region:12} {e.size_bytes / 1e6:9.2f} MB  {e.etag[:12]}  {e.dataset}  {e.key}"
                + (f"  [{e.part}]" if e.part else "")
            )
        click.echo(f"{len(found)} entries" + (", more may match: raise --limit" if len(found) == limit else ""))

    _give(as_json, documents, show)


@catalog.command("facets", cls=_Facets)
@_JSON
@click.pass_context
def catalog_facets(ctx: click.Context, as_json: bool) -> None:
    """Count values of every facet; filters as in search."""
    from xdask_pipelines.catalog import open_catalog

    found = open_catalog(_topology().catalog_url).facets(**_query(ctx))

    def show() -> None:
        for name, counts in found.items():
            click.echo(f"{name:16} " + ", ".join(f"{value} ({n})" for value, n in counts.items()))

    _give(as_json, found, show)


if __name__ == "__main__":
    main()
