"""Pools of workers that somebody starts, on any machines, for a scheduler with a known address.

Belongs here: the kind of pools that is attached. Does not belong here: what every kind can do (standing_pools), how workers
start (operations.start_worker).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from xdask_pipelines.access.home_calls import Compute
from xdask_pipelines.errors import EmptyPool, PlacementError
from xdask_pipelines.placement import check_scheduler
from xdask_pipelines.placement.client.scheduler_rpc import SchedulerRPC
from xdask_pipelines.placement.settings import Settings
from xdask_pipelines.resources.pools.connected_pools import ConnectedPools
from xdask_pipelines.resources.pools.placement_settings import settings_of
from xdask_pipelines.resources.pools.standing_pools import Status, Tell


class AttachedPools(ConnectedPools):
    """The pools of a topology whose processes systemd, Slurm, Kubernetes or a person starts."""

    here = False

    def up(self, tell: Tell = lambda line: None) -> Status:
        """Report the state of the pools; nothing can be started from here, and what is missing is said with its command."""
        status = self.status()
        if status.up:
            tell(f"the pools are already running, scheduler at {status.address}")
        return status

    def down(self) -> bool:
        """Refuse: processes end where they were started.

        Raises
        ------
        PlacementError
            Always.
        """
        raise PlacementError(
            "The pools of this project are attached: end each `xdask worker` and `xdask scheduler` where it was started "
            "(SIGTERM or Ctrl-C; `systemctl stop`, `scancel`, `kubectl scale`)."
        )

    def status(self) -> Status:
        """Report which pools can take tasks."""
        return self.observed(
            {
                worker.region: f"The pool of {worker.region} has no worker. Run there: `{self.worker_words(worker.region)}`."
                for worker in self.topology.workers
            }
        )

    def worker_words(self, region: str) -> str:
        """Return the command that starts workers of a Region on a machine that has its data."""
        return f"xdask worker --region {region} --scheduler {self._scheduler()} --data DIR --results DIR --certs DIR"

    @property
    def started(self) -> bool:
        """Whether somebody is expected to have started the pools: always."""
        return True

    @property
    def dashboard(self) -> str:
        """Empty: the scheduler's web pages are on loopback of its machine."""
        return ""

    def settings(self) -> Settings:
        """What the scheduler, and a plan, must know: the topology's links and prices, and the workers that are there."""
        known = settings_of(self.topology)
        figures = self._backlog()
        pools = {region: replace(rates, **_of_workers(figures.get(region))) for region, rates in known.pools.items()}
        pools[known.client_region] = known.rates(known.client_region)
        return replace(known, pools=pools, start_command=self.worker_words("REGION"))

    def _backlog(self) -> Mapping[str, Mapping[str, Any]]:
        """Figures of each pool that has workers; none if the scheduler does not answer: a plan needs none."""
        try:
            with self.connected() as client:
                check_scheduler(client)
                return SchedulerRPC(client).backlog()
        except (OSError, PlacementError):
            return {}

    @contextmanager
    def temporary(self, regions: Sequence[str], tell: Tell) -> Iterator[Compute]:
        """Refuse: workers with these Regions' folders start on other machines.

        Raises
        ------
        EmptyPool
            Always; nothing was changed.
        """
        workers = self.status().workers
        empty = [region for region in regions if not workers.get(region)]
        raise EmptyPool(
            f"The pools of {', '.join(empty)} have no worker, and none can be started from here; nothing was changed. Run "
            f"there: `{self.worker_words(empty[0] if empty else regions[0])}`. Then run again"
        )
        yield

    def _scheduler(self) -> str:
        return self.topology.scheduler or ""

    def _start(self) -> str:
        return (
            "Name the scheduler in regions.yaml (`scheduler: tls://HOST:8786`), and start it there: `xdask scheduler`"
        )

    def _restart(self) -> str:
        return (
            "Check that `xdask scheduler` runs on its machine, and that this machine may connect to its port (see "
            "`xdask doctor`)"
        )


def _of_workers(figures: Mapping[str, Any] | None) -> dict[str, int]:
    if not figures or not figures["workers"]:
        return {"threads": 0, "memory_bytes": 0, "process_memory_bytes": 0}
    memory = int(figures["memory_bytes"])
    return {"threads": figures["threads"], "memory_bytes": memory, "process_memory_bytes": memory // figures["workers"]}
