"""Starting the scheduler of a project on any machine: what it needs is found, checked, and becomes one command.

Belongs here: which value of options, topology and machine counts, and refusals before anything starts. Does not belong here:
the command itself (scheduler_command).
"""

from __future__ import annotations

import socket
from pathlib import Path

from xdask_pipelines.errors import PlacementError
from xdask_pipelines.placement.dask_internals.connections import host_and_port
from xdask_pipelines.placement.launch.machine_checks import read_address, refuse_host
from xdask_pipelines.placement.launch.process_command import ProcessCommand
from xdask_pipelines.placement.launch.scheduler_command import SchedulerOptions, scheduler_command
from xdask_pipelines.placement.local import tls
from xdask_pipelines.resources.aws.own_task import own_task
from xdask_pipelines.resources.pools.placement_settings import settings_of
from xdask_pipelines.system.ports import LOOPBACK, is_loopback
from xdask_pipelines.topology import Topology

_PRELOADS = ("xdask_pipelines.resources.landmarks", "xdask_pipelines.placement.launch.leave_workers_on_signal")
_PORT = 8786


def command_of(
    topology: Topology,
    *,
    host: str | None = None,
    port: int | None = None,
    contact_address: str | None = None,
    dashboard_address: str = f"{LOOPBACK}:8787",
    certificates: Path | None = None,
    starts: bool = True,
) -> ProcessCommand:
    """Return the command that starts the scheduler of a project.

    Parameters
    ----------
    topology
        Of the project; its ``scheduler`` gives host and port where they are not given here.
    host, port
        Address on which it listens; on AWS that of its ECS task, by default.
    contact_address
        Address that others use, if it is another one.
    dashboard_address
        Host and port of the web pages, which have no login.
    certificates
        Folder of TLS certificates; that of the project, if any were created, by default.
    starts
        Whether it starts now, so that its ports have to be free.

    Raises
    ------
    PlacementError
        It would listen beyond this machine without TLS, its certificates have expired, the host is not an address of this
        machine, or a port is taken.
    """
    named, named_port = host_and_port(topology.scheduler) if topology.scheduler else (LOOPBACK, _PORT)
    folder = certificates or (topology.certificates if tls.has_certificates(topology.certificates) else None)
    task = own_task() if topology.profile == "aws" else None
    listens = host or (task.address if task else _own_address(named))
    if folder is None and not is_loopback(listens):
        raise PlacementError(
            f"A scheduler on {listens} without TLS would let everybody on the network run code as you. Create certificates "
            f"with `xdask certs --host {named}`, and start it again; or listen on this machine alone: `--host {LOOPBACK}`."
        )
    if folder is not None:
        from xdask_pipelines.placement.local.certificates import refuse_expired

        refuse_expired(folder)
    if contact_address is not None:
        read_address(contact_address, "`--contact-address`")
    pages, pages_port = _host_and_port(dashboard_address)
    listens_at = named_port if port is None else port
    refuse_host(listens, [listens_at if starts else 0], 1, "`--host`, `--port`")
    refuse_host(pages, [pages_port if starts else 0], 1, "`--dashboard`")
    return scheduler_command(
        SchedulerOptions(
            settings_of(topology),
            host=listens,
            port=listens_at,
            contact_address=contact_address,
            dashboard_address=dashboard_address,
            certificates=folder,
            ui_hosts=topology.ui_hosts,
            preloads=_PRELOADS,
        )
    )


def _host_and_port(text: str) -> tuple[str, int]:
    """Split the address of web pages."""
    host, found, port = text.rpartition(":")
    if not found or not host or not port.isdecimal() or int(port) > 65535:
        raise PlacementError(
            f"{text!r} is not an address for web pages. Write `--dashboard HOST:PORT`, such as {LOOPBACK}:8787."
        )
    return host, int(port)


def _own_address(host: str) -> str:
    """Return the address of this machine that a name stands for; all addresses are never the default."""
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except OSError as error:
        raise PlacementError(
            f"The name {host}, which `scheduler:` of regions.yaml gives, has no address: {error}. Correct it, or name an "
            "address of this machine: `xdask scheduler --host ADDRESS`."
        ) from error
    for family, kind, _, _, address in found:
        with socket.socket(family, kind) as trial:
            try:
                trial.bind((address[0], 0))
            except OSError:
                continue
            return str(address[0])
    raise PlacementError(
        f"{host}, which `scheduler:` of regions.yaml names, is not an address of this machine. Run `xdask scheduler` "
        "on that machine; or, if others reach this one through it (NAT, a load balancer), name an address of this machine: "
        "`--host ADDRESS`."
    )
