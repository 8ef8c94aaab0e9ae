"""Commands for a deployment on AWS: its cost, sleep, pages and what its containers run; and notebooks, there and here.

Belongs here: options, output and exit codes. Does not belong here: the work of the commands (operations.aws).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

# Each command imports what it needs, so that `xdask --help` does not wait for Dask.
import click

from xdask_pipelines.cli.common import JSON, Group, echo, give, tell, topology
from xdask_pipelines.errors import XdaskError

PARTS = ("scheduler", "code", "daemon", "webserver", "reader", "notebook")
_BAR = 24


def _deployed() -> Any:
    where = topology()
    if where.profile != "aws":
        raise XdaskError(
            f"This project has profile {where.profile}, so it has no deployment on AWS. Write `profile: aws` and the stanza "
            "aws in regions.yaml; docs/deploy/aws.md describes them."
        )
    return where


@click.group(cls=Group)
def aws() -> None:
    """Cost, sleep and pages of a deployment on AWS."""


@aws.command()
@click.option("--templates", type=click.Path(file_okay=False, path_type=Path), help="Default: infra/cdk.out.")
@JSON
def cost(templates: Path | None, as_json: bool) -> None:
    """Show what the deployment costs by the hour: idle, asleep, and with all pools at their largest size."""
    where = _deployed()
    from xdask_pipelines.operations.aws.idle_cost import NOT_INCLUDED, items_of
    from xdask_pipelines.topology.aws_prices import AS_OF

    items = items_of(templates or where.root / "infra/cdk.out")
    totals = {
        "idle": sum(item.idle for item in items),
        "idle_without_lustre": sum(item.idle for item in items if not item.lustre),
        "asleep": sum(item.asleep for item in items),
        "busy": sum(item.busy for item in items),
    }
    document = {
        "as_of": AS_OF,
        "usd_per_hour": totals,
        "items": [asdict(item) for item in items],
        "not_included": NOT_INCLUDED,
    }
    give(as_json, document, lambda: _print_cost(items, totals, AS_OF, NOT_INCLUDED))


def _print_cost(items: Sequence[Any], totals: dict[str, float], as_of: str, not_included: str) -> None:
    most = max((item.idle for item in items), default=0.0)
    for item in sorted(items, key=lambda each: -each.idle):
        if item.idle >= 0.0005:
            bar = "█" * max(1, round(_BAR * item.idle / most))
            echo(f"{item.region:15} {item.name:34} {item.idle:7.3f}  {bar}")
    for item in items:
        if item.busy > item.idle:
            echo(f"{item.region:15} {item.name:34} {item.busy - item.idle:7.3f}  while it works at its largest size")
    echo()
    echo(f"idle    {totals['idle']:6.3f} USD/h, {totals['idle'] * 730:.0f} USD a month", bold=True)
    if totals["idle_without_lustre"] < totals["idle"]:
        echo(f"        {totals['idle_without_lustre']:6.3f} USD/h after `xdask lustre down` of every Region")
    echo(f"asleep  {totals['asleep']:6.3f} USD/h after `xdask aws sleep`")
    echo(f"busy    {totals['busy']:6.2f} USD/h with all pools at their largest size")
    echo(f"List prices of {as_of}; not included: {not_included}.")
    echo("What a materialization costs is in its metadata, and `xdask plan` predicts it.")


@aws.command("sleep")
@click.option("--force", is_flag=True, help="Also while something computes: its results are lost.")
def aws_sleep(force: bool) -> None:
    """Stop pools, scheduler, Dagster and the database; data, catalog and history stay."""
    from xdask_pipelines.operations.aws.sleep import put_to_sleep

    put_to_sleep(_deployed(), echo, force=force)


@aws.command("wake")
def aws_wake() -> None:
    """Start what `xdask aws sleep` stopped."""
    from xdask_pipelines.operations.aws.sleep import wake

    wake(_deployed(), echo)


@aws.command("connect")
def aws_connect() -> None:
    """Show Dagster and Dask's dashboard on this machine, until Ctrl-C."""
    from xdask_pipelines.operations.aws.port_forwarding import connect

    connect(_deployed(), echo)


@aws.command("start", hidden=True)
@click.argument("part", type=click.Choice(PARTS))
def start(part: str) -> None:
    """Write keys and settings of this container to memory, and run one PART of a deployment."""
    from xdask_pipelines.operations.aws.start_part import PARTS as COMMANDS

    COMMANDS[part](topology()).become()


@aws.command("exec", hidden=True, context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False})
@click.argument("words", nargs=-1, required=True, type=click.UNPROCESSED)
def execute(words: tuple[str, ...]) -> None:
    """Write keys and settings of this container to memory, and run WORDS, such as a run of Dagster."""
    from xdask_pipelines.operations.aws.start_part import prepared_command

    prepared_command(topology(), words).become()


@click.group(cls=Group, invoke_without_command=True)
@click.option(
    "--port", type=click.IntRange(1, 65535), help="Port on this machine.  [default: 8888, or the next free one]"
)
@click.option("--browser/--no-browser", default=True, show_default=True, help="Whether to open a browser.")
@click.pass_context
def notebook(context: click.Context, port: int | None, browser: bool) -> None:
    """Open JupyterLab in this project's folder until Ctrl-C; or start, open and stop your notebook on AWS."""
    if context.invoked_subcommand is None:
        from xdask_pipelines.operations.notebook_server import notebook_command

        notebook_command(topology(), port=port, browser=browser).become()


@notebook.command("start")
@JSON
def notebook_start(as_json: bool) -> None:
    """Start your notebook, or find the one that runs, and say how to open it."""
    from xdask_pipelines.operations.aws.notebooks import start

    where = _deployed()
    found = start(where, tell(as_json))
    opened = "xdask notebook open" if found.startswith("arn:") else found
    give(as_json, {"notebook": found, "open": opened}, lambda: echo(f"open it: {opened}"))


@notebook.command("open")
def notebook_open() -> None:
    """Show your notebook on http://127.0.0.1:8888, until Ctrl-C; for a SageMaker instance, show its address."""
    from xdask_pipelines.operations.aws.notebooks import instance_address
    from xdask_pipelines.operations.aws.port_forwarding import show_notebook

    where = _deployed()
    if where.aws.notebook == "sagemaker":
        echo(f"open it within five minutes: {instance_address(where)}")
    else:
        show_notebook(where, echo)


@notebook.command("stop")
@JSON
def notebook_stop(as_json: bool) -> None:
    """Stop your notebook; your home stays."""
    from xdask_pipelines.operations.aws.notebooks import stop

    stopped = stop(_deployed(), tell(as_json))
    give(as_json, {"stopped": stopped}, lambda: None if stopped else echo("no notebook of yours runs"))
