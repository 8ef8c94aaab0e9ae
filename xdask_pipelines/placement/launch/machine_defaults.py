"""What a worker may use of the machine that it runs on, where nobody says otherwise.

Belongs here: cores, scratch folders and addresses of this machine. Does not belong here: instance types of AWS (topology).
"""

from __future__ import annotations

import os
import socket
from pathlib import Path

import psutil

from xdask_pipelines.errors import PlacementError
from xdask_pipelines.placement.dask_internals.cores import usable_cores

#: More threads a process share one Python lock; NumPy and decompression release it often enough for four.
_THREADS_PER_PROCESS = 4
_SYSTEM = ("/boot", "/etc", "/home", "/usr", "/var")


def processes_and_threads(processes: int | None, threads: int | None) -> tuple[int, int]:
    """Return how many worker processes, and threads in each, use all cores; what is given stays.

    Cores are those that this process may use: its affinity and the limits of its control group count.
    """
    cores = usable_cores()
    if processes is None:
        processes = max(1, cores // (threads or _THREADS_PER_PROCESS))
    return processes, threads or max(1, cores // processes)


def scratch_folder() -> Path | None:
    """Return the local NVMe disk with most space that this user may write to; None if there is none."""
    found = [
        Path(partition.mountpoint)
        for partition in psutil.disk_partitions()
        if partition.device.startswith("/dev/nvme")
        and not partition.mountpoint.startswith(_SYSTEM)
        and partition.mountpoint != "/"
        and os.access(partition.mountpoint, os.W_OK)
    ]
    return max(found, key=lambda folder: psutil.disk_usage(str(folder)).free, default=None)


def address_towards(host: str, port: int) -> str:
    """Return the address of this machine from which it reaches another.

    Raises
    ------
    PlacementError
        The name of the other machine has no address, or no network leads there.
    """
    try:
        family, kind, protocol, _, target = socket.getaddrinfo(host, port, type=socket.SOCK_DGRAM)[0]
        with socket.socket(family, kind, protocol) as trial:  # sends nothing: it only looks up the route
            trial.connect(target)
            return str(trial.getsockname()[0])
    except OSError as error:
        raise PlacementError(
            f"This machine finds no way to {host}: {error}. Check the name, and the network of this machine."
        ) from error
