"""`xdask`: the command line.

Belongs here: the list of commands. Does not belong here: any of them.
"""

from __future__ import annotations

import os
from pathlib import Path

import click

from xdask_pipelines.cli import (
    aws_commands,
    catalog_commands,
    exchange_commands,
    foreground,
    init,
    jobs,
    lustre,
    machine,
    report_commands,
    show,
)
from xdask_pipelines.cli.common import Group


@click.group(cls=Group, context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--topology", type=click.Path(dir_okay=False, path_type=Path), help="Topology file; default ./regions.yaml."
)
@click.version_option(package_name="xdask_pipelines", message="xdask %(version)s")
def main(topology: Path | None) -> None:
    """Compute where the climate data lives."""
    if topology:
        os.environ["XDASK_TOPOLOGY"] = str(topology.resolve())


for _command in (
    init.init,
    init.new_analysis,
    jobs.demo,
    jobs.plan,
    jobs.run_one,
    jobs.list_assets,
    report_commands.report,
    report_commands.provenance,
    report_commands.reproduce,
    machine.pools,
    foreground.scheduler,
    foreground.worker,
    foreground.executor,
    aws_commands.aws,
    aws_commands.notebook,
    machine.certs,
    machine.opensearch,
    machine.ui,
    machine.doctor,
    catalog_commands.sync,
    catalog_commands.catalog,
    lustre.lustre,
):
    main.add_command(_command)
for _part in (
    exchange_commands.catalog_export,
    exchange_commands.catalog_import,
    exchange_commands.catalog_copy,
    exchange_commands.catalog_describe,
):
    catalog_commands.catalog.add_command(_part)
catalog_commands.catalog.add_command(show.catalog_show)
