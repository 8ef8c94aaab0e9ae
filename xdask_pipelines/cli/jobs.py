"""Commands that compute: the demo, one asset, and the plan of an asset.

Belongs here: options, output and exit codes. Does not belong here: the work of the commands (operations).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

# Each command imports what it needs, so that `xdask --help` does not wait for Dask.
import click

from xdask_pipelines.cli.common import (
    JSON,
    byte_pairs,
    columns,
    echo,
    echo_region_names,
    first_and_last,
    give,
    pairs,
    tell,
    topology_with_catalog,
)
from xdask_pipelines.system.units import counted, with_units


@click.command()
@click.option("--experiment", help="Scenario of the projection (experiment_id); A1B of the sample by default.")
@click.option("--preset", metavar="NAME", help="Values of regions.yaml, in place of those of the sample.")
@click.option("--no-sync", is_flag=True, help="Use the catalog as it is, without a sync before.")
@JSON
def demo(experiment: str | None, preset: str | None, no_sync: bool, as_json: bool) -> None:
    """Compute the temperature difference of ERA5 and CMIP6."""
    if experiment and preset:
        raise click.UsageError("a preset names its scenario itself; leave out --experiment or --preset")
    where, say = topology_with_catalog(), tell(as_json)
    from xdask_pipelines.operations.demo import configs_of, refuse_other_projects, run_demo
    from xdask_pipelines.operations.progress import bars
    from xdask_pipelines.resources.pools.pools_of_topology import pools_of

    refuse_other_projects(where)
    configs = configs_of(where, preset, experiment)
    with bars() as watch:
        pools = pools_of(where, watch, say)
        ours = pools.here and not pools.status().up
        say("starting scheduler and pools (about 15 s)" if ours else "using the running pools")
        try:
            pools.up(say)
            report = run_demo(where, pools, configs, say, sync=not no_sync)
        finally:
            pools.close()
            if ours:
                pools.down()
    give(as_json, report, lambda: _print_report(report, where.region_names))


def _print_report(report: Mapping[str, Any], names: Mapping[str, str]) -> None:
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
    echo(f"bytes read by Region  {byte_pairs(report['bytes_read_by_region'])}")
    echo(f"bytes across Regions  {byte_pairs(report['bytes_across'])}")
    echo_region_names(names)
    echo(f"cost, energy          {in_words(report)}")
    echo(f"map                   {report['map']}")
    echo("look at it all        xdask ui   (Dagster on http://127.0.0.1:3000)")


def _settings(words: tuple[str, ...]) -> dict[str, str]:
    """Parse ``name=value`` arguments as text; the asset's config class converts them."""
    config: dict[str, str] = {}
    for word in words:
        name, equals, value = word.partition("=")
        if not equals or not name:
            raise click.UsageError(f"write config as name=value, such as experiment_id=E1; not {word!r}")
        if name in config:
            raise click.UsageError(f"config value {name} is given twice: {config[name]} and {value}; keep one")
        config[name] = value
    return config


def _counts(words: tuple[str, ...]) -> dict[str, int]:
    """Parse ``REGION=COUNT`` arguments."""
    counts: dict[str, int] = {}
    for word in words:
        region, _, number = word.partition("=")
        if not region or not number.isdecimal() or not 1 <= int(number) <= 100:
            raise click.UsageError(f"write --extra REGION=COUNT, such as us-east-1=4; not {word!r}")
        counts[region] = int(number)
    return counts


class Ranged(click.Command):
    """A command that takes ``--partition FIRST [LAST]``."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parse the arguments: a word after the first key is the last key, unless it is the ASSET."""

        def is_last(words: list[str], word: str) -> bool:
            return bool(self.make_parser(ctx).parse_args(list(words))[1])

        return super().parse_args(ctx, first_and_last(args, "--partition", ("2026-01", "2026-04"), is_last))


_PARTITIONS = click.option(
    "--partition",
    "partitions",
    nargs=2,
    metavar="FIRST [LAST]",
    help="A partition key such as 2026-01, or first and last, such as 2026-01 2026-04.",
)
_CONFIG = click.option("--config", "-c", multiple=True, metavar="NAME=VALUE", help="Config value of the asset.")


@click.command("run", cls=Ranged)
@click.argument("asset")
@_PARTITIONS
@_CONFIG
@click.option("--extra", multiple=True, metavar="REGION=COUNT", help="Further instances for this run, on AWS.")
@click.option("--again", is_flag=True, help="Compute all partitions of a range, also those that are up to date.")
@JSON
def run_one(
    asset: str,
    partitions: tuple[str, str] | None,
    config: tuple[str, ...],
    extra: tuple[str, ...],
    again: bool,
    as_json: bool,
) -> None:
    """Materialize one asset and run its checks.

    A range of partitions is computed in batches. Partitions that are up to date are not computed again, so after an
    interruption the same command goes on with the batch that was under way.
    """
    where, values, more = topology_with_catalog(), _settings(config), _counts(extra)
    from xdask_pipelines.operations.materialize import materialize
    from xdask_pipelines.operations.progress import bars

    with bars() as watch:
        done = materialize(where, asset, partitions or (), values, watch, tell(as_json), more, again)
    give(as_json, done, lambda: _print_run(done))


def _print_run(done: Mapping[str, Any]) -> None:
    from xdask_pipelines.placement.footprint import in_words

    for warning in done["warnings"]:
        echo(f"warning  {warning}", fg="yellow")
    asset, metadata, evidence = done["asset"], done["metadata"], done["metadata"].get("evidence")
    if done["reused"]:
        up_to_date = f"{counted(done['reused'], 'partition')} of {asset} up to date"
        echo(
            f"{up_to_date}; {done['computed']} computed"
            if done["computed"]
            else f"all {up_to_date}; nothing to compute"
        )
    if not done["run_id"]:
        return
    echo(f"{asset} is stored in {metadata['store']}" if evidence else f"{asset} is done")
    if "value" in metadata:
        value = (
            metadata["value"] if isinstance(metadata["value"], str) else f"{metadata['value']:.6g}"
        )  # text: nan, inf
        echo(f"value                 {with_units(value, metadata['units'])}", bold=True)
    if "picture" in metadata:
        echo(metadata["picture"])
    if "area_weighted_mean" in metadata:
        mean = f"{metadata['area_weighted_mean']:z.4f}"
        echo(f"area-weighted mean    {with_units(mean, metadata['units'])}")
    if evidence:
        echo(f"tasks by Region       {pairs(evidence['tasks_by_region'])}; misplaced {evidence['misplaced_tasks']}")
        echo(f"bytes read by Region  {byte_pairs(evidence['bytes_read_by_region'])}")
        echo(f"bytes across Regions  {byte_pairs(evidence['bytes_across'])}")
        if "regions" in metadata:
            echo(f"Regions               {metadata['regions']}")
        echo(f"cost, energy          {in_words(evidence)}")
    if "replicas" in metadata:
        echo(f"replicas              {metadata['replicas']}")
    if done["checks"]:
        passed = [name for name, state in done["checks"].items() if state == "passed"]
        others = "".join(f"; {name}: {state}" for name, state in done["checks"].items() if state != "passed")
        echo(f"checks                {counted(len(done['checks']), 'check')}, {len(passed)} passed{others}")
    if done["picture"]:
        echo(f"picture               {done['picture']}")
    echo(f"in the UI             {done['page']}" + ("" if done["ui_is_up"] else ", after `xdask ui`"))


@click.command("list")
@JSON
def list_assets(as_json: bool) -> None:
    """List assets: their state, when and in which Regions they were computed."""
    where = topology_with_catalog()
    from xdask_pipelines.operations.asset_list import listed_assets

    assets = listed_assets(where)

    def show() -> None:
        rows = [("ASSET", "STATE", "MADE (UTC)", "REGIONS", "DESCRIPTION")]
        for each in assets:
            when = each["made"][:16].replace("T", " ") if each["made"] else "-"
            rows.append((each["asset"], each["state"], when, ", ".join(each["regions"]) or "-", each["description"]))
        echo("\n".join(columns(rows)))

    give(as_json, assets, show)


@click.command(cls=Ranged)
@click.argument("asset")
@_PARTITIONS
@_CONFIG
@click.option("--svg", is_flag=True, help="Draw an SVG instead of a PNG.")
@JSON
def plan(asset: str, partitions: tuple[str, str] | None, config: tuple[str, ...], svg: bool, as_json: bool) -> None:
    """Predict the tasks, reads and transfers of an asset.

    Nothing is computed. A picture of the plan is drawn.
    """
    where, values = topology_with_catalog(), _settings(config)
    from xdask_pipelines.operations.planning import plan_asset

    predicted = plan_asset(where, asset, partitions or (), values)
    form: Literal["svg", "png"] = "svg" if svg else "png"
    picture = where.var / "plans" / f"{asset}.{form}"
    picture.parent.mkdir(parents=True, exist_ok=True)
    picture.write_bytes(predicted.picture(form))

    def show() -> None:
        echo(f"prediction for {asset}:")
        echo(f"tasks by Region       {pairs(predicted.tasks_by_region)}; neutral {predicted.neutral_tasks}")
        if predicted.assigned_tasks_by_region:
            echo(f"assigned, least bytes {pairs(predicted.assigned_tasks_by_region)}")
        echo(f"bytes read by Region  {byte_pairs(predicted.bytes_read_by_region)}")
        echo(f"bytes across Regions  {byte_pairs(predicted.bytes_across)}")
        echo_region_names(predicted.region_names)
        echo(
            f"about                 {predicted.seconds:.1f} s; {sum(predicted.cost_usd.values()):.6f} USD at list prices"
        )
        for warning in predicted.warnings:
            echo(f"warning  {warning}", fg="yellow")
        echo(f"picture               {picture}")

    give(as_json, {**predicted.as_dict(), "picture": str(picture)}, show)
