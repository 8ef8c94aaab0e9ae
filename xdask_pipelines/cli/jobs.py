"""Computing: the demo, one asset, and what one would do.

Belongs here: options, words and exit codes. Does not belong here: what the commands do.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

# Kept light: each command imports what it needs, for `xdask --help` should not wait for Dask.
import click

from xdask_pipelines.cli.common import JSON, echo, give, pairs, tell, topology


@click.command()
@click.option("--experiment", default="A1B", show_default=True, help="Scenario of the projection (experiment_id).")
@JSON
def demo(experiment: str, as_json: bool) -> None:
    """Run the main job, the ERA5-CMIP6 temperature difference, on the data in data/."""
    from xdask_pipelines.operations.demo import refuse_other_projects, run_demo
    from xdask_pipelines.operations.progress import bars
    from xdask_pipelines.resources.pools import Pools

    where, say = topology(), tell(as_json)
    refuse_other_projects(where)
    with bars() as watch:
        pools = Pools(where, watch)
        ours = not pools.status().up
        say("starting scheduler and pools (about 15 s)" if ours else "using the pools that are up")
        try:
            pools.up(say)
            report = run_demo(where, pools, experiment, say)
        finally:
            pools.close()
            if ours:
                pools.down()
    give(as_json, report, lambda: _print_report(report))


def _print_report(report: Mapping[str, Any]) -> None:
    from xdask_pipelines.placement.footprint import in_words

    echo()
    for warning in report["warnings"]:
        echo(f"warning  {warning}", fg="yellow")
    if report["reused_assets"]:
        echo("reused   " + ", ".join(report["reused_assets"]))
    if report["excerpt"]:
        echo(f"note     {report['excerpt']}: a demonstration, not science; the bias is an offset")
    echo(
        f"temperature difference, {report['experiment_id']} minus ERA5   {report['mean_difference_K']:+.4f} K",
        bold=True,
    )
    echo(f"  = model offset {report['model_bias_K']:+.4f} K + climate signal {report['climate_signal_K']:+.4f} K")
    echo("area-weighted means with exact cell areas; temperature_difference and all its ancestors moved:")
    echo(f"tasks by Region       {pairs(report['tasks_by_region'])}; misplaced {report['misplaced_tasks']}")
    echo(f"bytes read by Region  {pairs(report['bytes_read_by_region'], 'B')}")
    echo(f"bytes across Regions  {pairs(report['bytes_across'], 'B')}")
    echo(f"cost, energy          {in_words(report)}")
    echo(f"map                   {report['map']}")
    echo("look at it all        xdask ui   (Dagster on http://127.0.0.1:3000)")


def _settings(words: tuple[str, ...]) -> dict[str, str]:
    """``name=value`` words as a config of texts; the asset's config knows which of them are numbers."""
    config: dict[str, str] = {}
    for word in words:
        name, equals, value = word.partition("=")
        if not equals or not name:
            raise click.UsageError(f"write config as name=value, such as experiment_id=E1; not {word!r}")
        if name in config:
            raise click.UsageError(f"config value {name} is given twice: {config[name]} and {value}; keep one")
        config[name] = value
    return config


_PARTITIONS = click.option("--partition", "partitions", multiple=True, help="Partition key; first and last of a range.")
_CONFIG = click.option("--config", "-c", multiple=True, metavar="NAME=VALUE", help="Config value of the asset.")


@click.command("run")
@click.argument("asset")
@_PARTITIONS
@_CONFIG
@JSON
def run_one(asset: str, partitions: tuple[str, ...], config: tuple[str, ...], as_json: bool) -> None:
    """Materialize one asset, with its checks, on the pools that are up."""
    from xdask_pipelines.operations.progress import bars
    from xdask_pipelines.operations.project import instance, run_assets
    from xdask_pipelines.placement.footprint import in_words
    from xdask_pipelines.resources.pools import Pools

    where = topology()
    with bars() as watch, instance(where) as history:
        pools = Pools(where, watch)
        done = run_assets(
            where,
            pools,
            history,
            [asset],
            configs={asset: _settings(config)} if config else {},
            partitions=partitions,
        )
    pools.close()
    shown = {k: v for k, v in done.metadata.get(asset, {}).items() if k not in ("map", "plot", "sources")}
    document = {"run_id": done.run_id, "asset": asset, "warnings": list(done.warnings), "metadata": shown}

    def show() -> None:
        for warning in done.warnings:
            echo(f"warning  {warning}", fg="yellow")
        evidence = shown.get("evidence")
        echo(f"{asset} is stored in {shown['store']}" if evidence else f"{asset} is done")
        if "value" in shown:
            echo(f"value                 {shown['value']} {shown['units']}".rstrip())
        if "picture" in shown:
            echo(shown["picture"])
        if "area_weighted_mean" in shown:
            echo(f"area-weighted mean    {shown['area_weighted_mean']:.4f} {shown['units']}")
        if evidence:
            echo(f"tasks by Region       {pairs(evidence['tasks_by_region'])}; misplaced {evidence['misplaced_tasks']}")
            echo(f"bytes read by Region  {pairs(evidence['bytes_read_by_region'], 'B')}")
            echo(f"bytes across Regions  {pairs(evidence['bytes_across'], 'B')}")
            echo(f"cost, energy          {in_words(evidence)}")
        if "replicas" in shown:
            echo(f"replicas              {shown['replicas']}")

    give(as_json, document, show)


@click.command("list")
@JSON
def list_assets(as_json: bool) -> None:
    """List assets: their state, the Regions that made them, and what they are."""
    from xdask_pipelines.operations.asset_list import listed_assets

    found = listed_assets(topology())

    def show() -> None:
        width = max((len(each["asset"]) for each in found), default=0)
        for each in found:
            when = each["made"][:16].replace("T", " ") if each["made"] else "never made"
            regions = ", ".join(each["regions"]) or "-"
            echo(f"{each['asset']:{width}}  {when:16}  {regions:22}  {each['description']}".rstrip())

    give(as_json, found, show)


@click.command()
@click.argument("asset")
@_PARTITIONS
@_CONFIG
@click.option("--svg", is_flag=True, help="Draw an SVG instead of a PNG.")
@JSON
def plan(asset: str, partitions: tuple[str, ...], config: tuple[str, ...], svg: bool, as_json: bool) -> None:
    """Say what materializing an asset would run, read and move; nothing runs. Draws a picture."""
    from xdask_pipelines.operations.planning import plan_asset

    where = topology()
    found = plan_asset(where, asset, partitions, _settings(config))
    form: Literal["svg", "png"] = "svg" if svg else "png"
    picture = where.var / "plans" / f"{asset}.{form}"
    picture.parent.mkdir(parents=True, exist_ok=True)
    picture.write_bytes(found.picture(form))

    def show() -> None:
        echo(f"{asset} would run, read and move about this much:")
        echo(f"tasks by Region       {pairs(found.tasks_by_region)}; neutral {found.neutral_tasks}")
        if found.assigned_tasks_by_region:
            echo(f"assigned, least bytes {pairs(found.assigned_tasks_by_region)}")
        echo(f"bytes read by Region  {pairs(found.bytes_read_by_region, 'B')}")
        echo(f"bytes across Regions  {pairs(found.bytes_across, 'B')}")
        echo(f"about                 {found.seconds:.1f} s; {sum(found.cost_usd.values()):.6f} USD at list prices")
        for warning in found.warnings:
            echo(f"warning  {warning}", fg="yellow")
        echo(f"picture               {picture}")

    give(as_json, {**found.as_dict(), "picture": str(picture)}, show)
