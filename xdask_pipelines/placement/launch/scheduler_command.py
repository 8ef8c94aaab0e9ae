"""The command that starts a scheduler which places tasks.

Belongs here: what such a scheduler needs from its first moment. Does not belong here: starting it, what it does then
(scheduler_setup).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from xdask_pipelines.placement.dashboard.dashboard_access import HOSTS_VARIABLE
from xdask_pipelines.placement.launch.process_command import PRELOAD, ProcessCommand, dask_words, intervals
from xdask_pipelines.placement.local import tls
from xdask_pipelines.placement.settings import Settings
from xdask_pipelines.system.ports import LOOPBACK, in_address


@dataclass(frozen=True)
class SchedulerOptions:
    """How a scheduler is reached, and what it knows.

    Attributes
    ----------
    settings
        What placement must know of the topology.
    host, port
        Address on which it listens; port 0 takes a free one.
    contact_address
        Address, with its scheme and port, by which others reach it, if that is another one.
    dashboard_address
        Host and port of its web pages; they have no login, so that loopback is the only safe host.
    certificates
        Folder of TLS certificates; None for plain TCP.
    scheduler_file
        File to which it writes its address.
    ui_hosts
        Hosts, with their ports, by which browsers reach the web pages in addition to loopback.
    preloads
        Further modules that set the scheduler up.
    """

    settings: Settings
    host: str = LOOPBACK
    port: int = 8786
    contact_address: str | None = None
    dashboard_address: str = f"{LOOPBACK}:8787"
    certificates: Path | None = None
    scheduler_file: Path | None = None
    ui_hosts: Sequence[str] = ()
    preloads: Sequence[str] = ()


def scheduler_command(options: SchedulerOptions) -> ProcessCommand:
    """Return the command that starts a scheduler."""
    words = [*dask_words("scheduler"), "--host", in_address(options.host), "--port", str(options.port)]
    words += ["--dashboard-address", options.dashboard_address]
    if options.scheduler_file:
        words += ["--scheduler-file", str(options.scheduler_file)]
    for module in (PRELOAD, *options.preloads):
        words += ["--preload", module]
    environment = {**options.settings.to_environment(), **intervals()}
    if options.certificates:
        environment |= tls.environment(options.certificates)
    if options.contact_address:
        environment["DASK_DISTRIBUTED__SCHEDULER__CONTACT_ADDRESS"] = options.contact_address
    if options.ui_hosts:
        environment[HOSTS_VARIABLE] = ",".join(options.ui_hosts)
    return ProcessCommand(words, environment)
