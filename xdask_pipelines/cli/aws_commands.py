"""Commands of containers on AWS.

Belongs here: options and arguments. Does not belong here: what is started (operations.aws).
"""

from __future__ import annotations

# Each command imports what it needs, so that `xdask --help` does not wait for Dask.
import click

from xdask_pipelines.cli.common import Group, topology

PARTS = ("scheduler", "code", "daemon", "webserver", "reader")


@click.group(cls=Group)
def aws() -> None:
    """Run the containers of a deployment on AWS."""


@aws.command("start")
@click.argument("part", type=click.Choice(PARTS))
def start(part: str) -> None:
    """Write keys and settings of this container to memory, and run one PART of a deployment."""
    from xdask_pipelines.operations.aws.start_part import PARTS as COMMANDS

    COMMANDS[part](topology()).become()


@aws.command("exec", context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False})
@click.argument("words", nargs=-1, required=True, type=click.UNPROCESSED)
def execute(words: tuple[str, ...]) -> None:
    """Write keys and settings of this container to memory, and run WORDS, such as a run of Dagster."""
    from xdask_pipelines.operations.aws.start_part import prepared_command

    prepared_command(topology(), words).become()
