"""Starting the workers of an instance on any machine: what they need is found, checked, and becomes one command.

Belongs here: which value of options, environment, topology and machine counts, and refusals before anything starts. Does not
belong here: the command itself (worker_command), what runs on the scheduler.
"""

from __future__ import annotations

import logging
import os
import re
import socket
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from time import monotonic, sleep

from xdask_pipelines.errors import PlacementError
from xdask_pipelines.placement.client.connect import connect
from xdask_pipelines.placement.client.scheduler_rpc import SchedulerRPC
from xdask_pipelines.placement.launch.machine_checks import (
    read_address,
    refuse_host,
    refuse_memory_limit,
    refuse_unknown_name,
    refuse_unwritable,
)
from xdask_pipelines.placement.launch.machine_defaults import address_towards, processes_and_threads, scratch_folder
from xdask_pipelines.placement.launch.process_command import ProcessCommand
from xdask_pipelines.placement.launch.worker_command import WorkerOptions, worker_command
from xdask_pipelines.placement.local import tls
from xdask_pipelines.resources.aws.own_task import own_task
from xdask_pipelines.resources.landmarks import about_region, refuse_other_folder
from xdask_pipelines.system.ports import is_loopback
from xdask_pipelines.topology import Topology, project_folder

_RETRY_SECONDS = 2.0
_CONNECT_SECONDS = 10.0
#: An instance that sent a heartbeat more recently runs; the machine of a silent one may have been lost.
_RUNS_SECONDS = 10.0
Tell = Callable[[str], None]


@dataclass(frozen=True)
class WorkerRequest:
    """What a person or a service file asks for; None where the machine decides.

    Attributes
    ----------
    region
        Region whose pool the workers join.
    scheduler
        Its address, ``tls://host:port``.
    certificates
        Folder with ``ca.pem``, ``node.pem`` and ``node-key.pem``.
    data, results
        Folders of the Region's data and results on this machine.
    name
        Name of the instance; by default the id of the ECS task, elsewhere the machine's name and the process id.
    host, ports, contact_host
        Address and range of ports on which the workers listen, and the name by which others reach them.
    processes, threads, memory_limit, local_directory
        What they may use.
    drain_seconds
        How long they hand over what they hold before they end.
    wait_seconds
        How long to wait for a scheduler that does not answer yet.
    """

    region: str
    scheduler: str
    certificates: Path | None = None
    data: Path | None = None
    results: Path | None = None
    name: str | None = None
    host: str | None = None
    ports: tuple[int, int] | None = None
    contact_host: str | None = None
    processes: int | None = None
    threads: int | None = None
    memory_limit: str = "auto"
    local_directory: Path | None = None
    drain_seconds: float = 25.0
    wait_seconds: float = 300.0


def defaults_of(scheduler: str | None, certificates: Path | None) -> tuple[str, Path | None]:
    """Return the scheduler's address and the folder of certificates, from the project of this folder if there is one.

    Raises
    ------
    PlacementError
        No address was given, and no project names one.
    """
    if scheduler and certificates:
        return scheduler, certificates
    folder = project_folder()  # of the nearest regions.yaml, which a worker does not need
    topology = Topology.load(folder / "regions.yaml") if folder and (folder / "regions.yaml").is_file() else None
    if topology and certificates is None and tls.has_certificates(topology.certificates):
        certificates = topology.certificates
    address = scheduler or (topology.scheduler if topology else None)
    if not address:
        raise PlacementError(
            "No scheduler is named. Give its address (`--scheduler tls://HOST:8786` or XDASK_SCHEDULER), or name it in "
            "regions.yaml (`scheduler: tls://HOST:8786`)."
        )
    return address, certificates


def command_of(request: WorkerRequest, tell: Tell = lambda line: None, *, starts: bool = True) -> ProcessCommand:
    """Check a request against its scheduler and this machine, and return the command that carries it out.

    Parameters
    ----------
    request
        What is asked for.
    tell
        Gets a line while the scheduler does not answer.
    starts
        Whether it starts now, so that its ports have to be free.

    Raises
    ------
    PlacementError
        The scheduler cannot be used (it does not answer in time, has other versions, or refuses the certificates), the
        Region is not one of its topology, a folder is not the Region's, plain TCP would leave this machine, or the machine
        does not have what is asked for.
    """
    target, port = read_address(request.scheduler, "`--scheduler`")
    refuse_memory_limit(request.memory_limit)
    if not request.scheduler.startswith("tls://") and not is_loopback(target):
        raise PlacementError(
            f"{request.scheduler} is on another machine and does not use TLS: everybody on the way could run code on the "
            "workers. Create certificates with `xdask certs --host NAME`, start the scheduler with them, and give the "
            "worker a copy of the folder (`--certs DIR`) and the address that begins with tls://."
        )
    for option, folder in (("--data", request.data), ("--results", request.results)):
        if folder and not folder.is_dir():
            raise PlacementError(
                f"There is no folder {folder} on this machine. Mount or create it, or correct {option}."
            )
    if request.data and not request.results:
        raise PlacementError(
            f"This worker of {request.region} was given no folder for results, which are stored in the Region whose data "
            "they are made of. Name it: `--results DIR`."
        )
    key = request.certificates / tls.NODE_KEY if request.certificates else None
    if key and key.exists() and tls.readable_by_others(key.stat(), os.getegid()):
        tell(
            f"warning: {key} can be read by other users of this machine, who could run code on all workers: "
            f"`chmod 600 {key}`"
        )
    if request.results:
        refuse_unwritable(request.results, "`--results`")
    scratch = request.local_directory or scratch_folder()
    if scratch:
        refuse_unwritable(scratch, "`--local-directory`", create=True)
    if request.contact_host:
        refuse_unknown_name(request.contact_host, "`--contact-address`")
    processes, threads = processes_and_threads(request.processes, request.threads)
    host = request.host or address_towards(target, port)
    name = f"{request.region}-{request.name or _default_name()}"
    command = worker_command(
        WorkerOptions(
            region=request.region,
            scheduler=request.scheduler,
            name=name,
            host=host,
            ports=request.ports,
            contact_host=request.contact_host,
            data=request.data.resolve() if request.data else None,
            results=request.results.resolve() if request.results else None,
            processes=processes,
            threads=threads,
            memory_limit=request.memory_limit,
            local_directory=scratch,
            certificates=request.certificates.resolve() if request.certificates else None,
            drain_seconds=request.drain_seconds,
        )
    )
    first, last = (request.ports if starts else None) or (0, 0)
    refuse_host(host, range(first, last + 1), 2 * processes if last else 1)
    _check_with_scheduler(request, name if starts else "", tell)
    return command


def _default_name() -> str:
    """Return the name of an instance: on ECS the id of its task, by which the controller finds it."""
    task = own_task()
    return task.task_id if task else f"{socket.gethostname()}-{os.getpid()}"


def _check_with_scheduler(request: WorkerRequest, name: str, tell: Tell) -> None:
    # A client of Dask that is closed at once leaves a future behind, of which asyncio complains when this process ends.
    logging.getLogger("asyncio").setLevel(logging.CRITICAL)
    waiting = _Waiting(request.wait_seconds, tell)
    while True:
        try:
            client = connect(request.scheduler, request.certificates, timeout=waiting.connect_seconds)
        except OSError as error:
            if waiting.over:
                raise PlacementError(
                    f"The scheduler at {request.scheduler} does not answer ({error}), after {request.wait_seconds:g} s. "
                    "Start it (`xdask scheduler`), or check that this machine may connect to its port."
                ) from error
            waiting.wait(f"for the scheduler at {request.scheduler}")
            continue
        with client:
            about, namesake = about_region(client, request.region), SchedulerRPC(client).instances().get(name)
        if namesake is None:
            break
        if namesake["silent_seconds"] < _RUNS_SECONDS or waiting.over:
            raise PlacementError(
                f"An instance with the name {name} runs, with workers at {', '.join(namesake['workers'])}. Give this one "
                "another name (`--name`), or end the other one."
            )
        waiting.wait(f"until the scheduler gives up the instance {name}, which is silent")
    if about is None:
        return
    if request.region not in about["regions"]:
        raise PlacementError(
            f"{request.region!r} is not a Region of the scheduler at {request.scheduler}: {', '.join(about['regions'])}. "
            "Correct `--region`, or add the Region to its regions.yaml and restart it."
        )
    refuse_other_folder(request.region, request.data, about["landmarks"])


class _Waiting:
    """A wait for a limited time, which is reported once."""

    def __init__(self, seconds: float, tell: Tell) -> None:
        self._seconds, self._tell, self._until, self._told = seconds, tell, monotonic() + seconds, False
        self.connect_seconds = min(_CONNECT_SECONDS, max(1.0, seconds))

    @property
    def over(self) -> bool:
        return monotonic() > self._until

    def wait(self, what: str) -> None:
        if not self._told:
            self._tell(f"waiting {what}, for at most {self._seconds:g} s")
            self._told = True
        sleep(_RETRY_SECONDS)


def read_ports(text: str) -> tuple[int, int]:
    """Read a range of ports such as ``9000-9031``.

    Raises
    ------
    PlacementError
        It is not a range of ports.
    """
    found = re.fullmatch(r"(\d{1,5})-(\d{1,5})", text.strip())
    first, last = (int(found[1]), int(found[2])) if found else (0, 0)
    if not 1024 <= first <= last <= 65535:
        raise PlacementError(
            f"{text!r} is not a range of ports. Write first and last, from 1024 on, such as 9000-9031."
        )
    return first, last
