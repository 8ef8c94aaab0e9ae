"""Regions on this machine for the duration of a ``with`` block.

Belongs here: `local_regions` and its certificates. Does not belong here: permanent pools (resources.pools), starting
processes (cluster).
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from distributed import Client

from xdask_pipelines.placement.local import tls
from xdask_pipelines.placement.local.cluster import START_SECONDS, Pool, start
from xdask_pipelines.placement.settings import Settings


@contextmanager
def local_regions(
    regions: Sequence[str],
    processes: int = 1,
    threads: int = 1,
    *,
    data: Mapping[str, Path] | None = None,
    results: Mapping[str, Path] | None = None,
    settings: Settings | None = None,
    certificates: Path | None = None,
    prefix: Callable[[str], Sequence[str]] = lambda region: (),
) -> Iterator[Client]:
    """Start a scheduler and a pool for each Region on this machine, for tests, notebooks and one-off work.

    Scheduler, each worker and the client are separate processes, on loopback. They end with this process, even if it is
    killed.

    Parameters
    ----------
    regions
        Worker Regions. If the client's Region is one of them, small results of several Regions are joined there.
    processes, threads
        Worker processes for each Region, and threads in each.
    data, results
        Folders of each Region's data and results.
    settings
        Client Region, prices, and timeouts.
    certificates
        Folder that ``xdask certs`` filled, for TLS. None takes the folder of the project: that of the topology in
        ``XDASK_TOPOLOGY``, or of the nearest ``regions.yaml`` in the current folder or above. Connections are plain TCP
        only if that folder has no certificates.
    prefix
        ``prefix(region)`` returns a command before the workers' command of a Region.

    Yields
    ------
    distributed.Client

    Raises
    ------
    PlacementError
        If a process does not start, or certificates have expired.
    """
    certificates = certificates or _project_certificates()
    with tempfile.TemporaryDirectory(prefix="xdask-", ignore_cleanup_errors=True) as folder:
        pools = [
            Pool(r, processes, threads, (data or {}).get(r), (results or {}).get(r), prefix=prefix(r)) for r in regions
        ]
        owned = replace(_with_client_pool(settings or Settings(), regions, processes * threads), owner=os.getpid())
        running = start(pools, Path(folder), owned, certificates=certificates)
        try:
            with running.connect(START_SECONDS, set_as_default=True) as client:
                yield client
        finally:
            running.stop()


def _with_client_pool(settings: Settings, regions: Sequence[str], threads: int) -> Settings:
    client = settings.client_region
    if client not in regions or settings.client_pool:
        return settings
    return replace(settings, pools={**settings.pools, client: replace(settings.rates(client), threads=threads)})


def _project_certificates() -> Path | None:
    from xdask_pipelines.topology import certificates_folder, project_folder  # kept light: workers import this module

    root = project_folder()
    folder = certificates_folder(root) if root else None
    return folder if folder and tls.has_certificates(folder) else None
