"""Commands that run in the foreground on any machine: the scheduler, the workers of one instance, the executor of a sync.

Belongs here: options, with the variables of the environment that stand for them. Does not belong here: what they need
(operations).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

# Kept light: each command imports what it needs, for `xdask --help` should not wait for Dask.
import click

from xdask_pipelines.cli.common import echo

FOLDER = click.Path(file_okay=False, path_type=Path)
CERTS = click.option(
    "--certs",
    type=FOLDER,
    envvar="XDASK_CERTS",
    help="Folder with ca.pem, node.pem and node-key.pem; the project's var/certs by default.",
)
PRINT = click.option("--print-command", is_flag=True, help="Print the plain Dask command that this stands for.")


def _log(line: str) -> None:
    echo(line, err=True)


def _run(command: Any, printed: bool) -> None:
    if printed:
        click.echo(str(command))
    else:
        command.become()


@click.command()
@click.option("--host", help="Address of this machine on which to listen.  [default: that of `scheduler:`]")
@click.option("--port", type=click.IntRange(0, 65535), help="Port on which to listen.  [default: 8786]")
@click.option("--contact-address", metavar="tls://HOST:PORT", help="Address that others use, if it is another one.")
@click.option("--dashboard", metavar="HOST:PORT", default="127.0.0.1:8787", show_default=True, help="Of the web pages.")
@CERTS
@PRINT
def scheduler(
    host: str | None,
    port: int | None,
    contact_address: str | None,
    dashboard: str,
    certs: Path | None,
    print_command: bool,
) -> None:
    """Run the scheduler of this project in the foreground."""
    from xdask_pipelines.cli.common import topology
    from xdask_pipelines.operations.start_scheduler import command_of

    command = command_of(
        topology(),
        host=host,
        port=port,
        contact_address=contact_address,
        dashboard_address=dashboard,
        certificates=certs,
        starts=not print_command,
    )
    _run(command, print_command)


@click.command()
@click.option("--region", required=True, envvar="XDASK_REGION", help="Region whose pool the workers join.")
@click.option(
    "--scheduler",
    "address",
    envvar="XDASK_SCHEDULER",
    metavar="tls://HOST:PORT",
    help="Address of the scheduler.  [default: `scheduler:` of the topology]",
)
@click.option("--data", type=FOLDER, envvar="XDASK_REGION_DATA", help="Folder of the Region's data.")
@click.option("--results", type=FOLDER, envvar="XDASK_REGION_RESULTS", help="Folder of the Region's results.")
@CERTS
@click.option("--name", help="Name of this instance.  [default: name of the machine and process id]")
@click.option("--host", help="Address on which to listen.  [default: the one that leads to the scheduler]")
@click.option("--ports", metavar="FIRST-LAST", help="Ports to use, two for each process.  [default: any]")
@click.option(
    "--contact-address", "contact", metavar="HOST", help="Name by which others reach this machine, if another."
)
@click.option("--processes", type=click.IntRange(1), help="Worker processes.  [default: one for four cores]")
@click.option("--threads", type=click.IntRange(1), help="Threads of each process.  [default: all cores are used]")
@click.option("--memory-limit", default="auto", show_default=True, help="Of each process, such as 8GiB.")
@click.option("--local-directory", type=FOLDER, help="Folder to spill to.  [default: a local NVMe disk, else Dask's]")
@click.option(
    "--drain-seconds", type=click.FloatRange(0), default=25.0, show_default=True, help="To hand over before it ends."
)
@click.option(
    "--wait-seconds", type=click.FloatRange(0), default=300.0, show_default=True, help="For a scheduler to answer."
)
@PRINT
def worker(
    region: str,
    address: str | None,
    certs: Path | None,
    ports: str | None,
    contact: str | None,
    print_command: bool,
    **asked: Any,
) -> None:
    """Run the worker processes of one instance of a Region's pool in the foreground.

    It needs no project on this machine: the scheduler knows the topology. Upon SIGTERM or Ctrl-C the workers hand over
    what they hold to the other workers of their pool, and end.
    """
    from xdask_pipelines.operations.start_worker import WorkerRequest, command_of, defaults_of, read_ports

    where, folder = defaults_of(address, certs)
    request = WorkerRequest(
        region,
        where,
        folder,
        ports=read_ports(ports) if ports else None,
        contact_host=contact,
        **asked,
    )
    _run(command_of(request, _log, starts=not print_command), print_command)


@click.command(hidden=True)
@click.option("--region", required=True, envvar="XDASK_REGION", help="Region of the data.")
@CERTS
@click.option("--data", type=FOLDER, required=True, help="Folder of the Region's data, which a sync may change.")
@click.option("--results", type=FOLDER, required=True, help="Folder of the Region's results.")
@click.option("--local-directory", type=FOLDER, required=True, help="Folder for logs, and to spill to.")
@click.option("--host", help="Address on which to listen.  [default: that of the ECS task, else loopback]")
@click.option("--port", type=click.IntRange(0, 65535), default=8786, show_default=True, help="Port on which to listen.")
@click.option("--ports", metavar="FIRST-LAST", help="Ports of workers on loopback, two for each process.")
@click.option("--processes", type=click.IntRange(1), help="Worker processes.  [default: one for four cores]")
@click.option("--threads", type=click.IntRange(1), help="Threads of each process.  [default: all cores are used]")
@click.option("--memory-limit", default="auto", show_default=True, help="Of each process, such as 8GiB.")
@click.option(
    "--idle-seconds", type=click.FloatRange(1), default=300.0, show_default=True, help="To end without a client."
)
def executor(certs: Path | None, ports: str | None, **asked: Any) -> None:
    """Run a scheduler with workers of one Region in the foreground, for a sync.

    It ends when no client was connected for some minutes.
    """
    from xdask_pipelines.operations.start_executor import ExecutorRequest, run_executor
    from xdask_pipelines.operations.start_worker import read_ports

    run_executor(ExecutorRequest(certificates=certs, ports=read_ports(ports) if ports else None, **asked), _log)
