"""The ways of doing a job, ours last; each in a process of its own inside the client's Region.

Belongs here: which processes a way needs and how it computes. Does not belong here: jobs, counting bytes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import dask
import xarray as xr
from distributed import Client

from benchmarks.wan import inputs
from benchmarks.wan.inputs import CLIENT, WORKERS, Input
from benchmarks.wan.jobs import WARM_UP, Fields, Job, Parts
from benchmarks.wan.machines import Machines, counted, counts
from benchmarks.wan.settings import THREADS

if TYPE_CHECKING:  # importing placement would give the other ways our optimiser
    from xdask_pipelines.placement import Plan
    from xdask_pipelines.placement.settings import Settings


class Way:
    """One way: up once, then any number of jobs."""

    def __init__(self, machines: Machines, wanted: dict[str, Input], settings: dict[str, Any]) -> None:
        self.machines, self.wanted, self.settings = machines, wanted, settings
        self.clients: dict[str, Client] = {}

    def up(self) -> None:
        """Start what the way needs, and let it do a small job, so that no job pays for imports."""
        self.start()
        self.compute(WARM_UP, self.fields(WARM_UP.needs))

    def start(self) -> None:
        """Start what the way needs."""
        raise NotImplementedError

    def fields(self, names: tuple[str, ...]) -> Fields:
        """Lazy inputs by name."""
        return inputs.over_http({n: self.wanted[n] for n in names}, self.machines.addresses)

    def compute(self, job: Job, fields: Fields) -> xr.DataArray:
        """Do the job."""
        (client,) = self.clients.values()
        with client.as_current():
            return job.whole(fields).compute()

    def tasks(self) -> dict[str, int]:
        """Tasks that ran since the clusters are up."""
        seen = [counts(client) for client in self.clients.values()]
        return {k: sum(s[k] for s in seen) for k in ("tasks", "restricted_tasks")}

    def down(self) -> None:
        """Disconnect."""
        for client in self.clients.values():
            client.close()

    def _one_cluster(self, regions: Iterable[str], settings: Settings | None = None) -> None:
        """A scheduler in the client's Region, and a worker for each of some Regions; with settings they place tasks."""
        address = self.machines.scheduler(CLIENT, settings)
        placed = settings is not None
        for region in regions:
            self.machines.workers(address, region, threads=THREADS, placed=placed, sees=region if placed else None)
        self._connect("all", address, len(WORKERS))

    def _connect(self, name: str, address: str, workers: int) -> None:
        self.clients[name] = Client(address, timeout=60, set_as_default=False)
        self.clients[name].wait_for_workers(workers, timeout=90)
        counted(self.clients[name])


class Haul(Way):
    """All workers in the client's Region; they read over the wide-area network."""

    def start(self) -> None:
        self.machines.serve_files()
        self._one_cluster([CLIENT] * len(WORKERS))


class Plain(Way):
    """Workers in all Regions, and Dask decides what runs where."""

    def start(self) -> None:
        self.machines.serve_files()
        self._one_cluster(WORKERS)


class Reference(Plain):
    """The same, with each input opened under `dask.annotate` and what is made of it too, as worker pools are used."""

    def fields(self, names: tuple[str, ...]) -> Fields:
        made = {}
        for name in names:
            with dask.annotate(resources={f"pool-{self.wanted[name].region}": 1}):
                made |= super().fields((name,))
        return made


class Multi(Way):
    """A cluster for each Region, its scheduler beside its workers; a person names the Region of each compute."""

    def start(self) -> None:
        for region in WORKERS:
            address = self.machines.scheduler(region)
            self.machines.workers(address, region, threads=THREADS, sees=region)
            self._connect(region, address, 1)

    def fields(self, names: tuple[str, ...]) -> Fields:
        return inputs.from_files({n: self.wanted[n] for n in names}, self.machines.root)

    def compute(self, job: Job, fields: Fields) -> xr.DataArray:
        def run(parts: Parts) -> Parts:
            futures = {r: self.clients[r].compute(part) for r, part in parts.items()}  # all at once,
            with ThreadPoolExecutor(len(futures)) as pool:  # and their results come side by side
                return dict(zip(futures, pool.map(lambda future: future.result(), futures.values()), strict=True))

        return job.by_hand(fields, run)


class Ours(Way):
    """One scheduler, pools in all Regions, placement."""

    def start(self) -> None:
        from xdask_pipelines.placement.settings import Settings

        self.known = Settings.from_dict(self.settings)
        self._one_cluster(WORKERS, self.known)
        # A person who joins by hand has a process next to the scheduler, too. This one sees no data.
        self.machines.workers(self.clients["all"].scheduler.address, CLIENT, threads=THREADS, placed=True)
        self.clients["all"].wait_for_workers(len(WORKERS) + 1, timeout=90)

    def fields(self, names: tuple[str, ...]) -> Fields:
        return inputs.at_home(self.clients["all"], {n: self.wanted[n] for n in names})

    def compute(self, job: Job, fields: Fields) -> xr.DataArray:
        from xdask_pipelines.placement import compute

        (result,), self.evidence = compute(self.clients["all"], job.whole(fields))
        return result  # type: ignore[no-any-return]

    def predicted(self, job: Job, fields: Fields) -> Plan:
        """What the plan says of a job."""
        from xdask_pipelines.placement import plan

        return plan(job.whole(fields), settings=self.known)


WAYS: dict[str, Callable[[Machines, dict[str, Input], dict[str, Any]], Any]] = {
    "haul": Haul,
    "plain": Plain,
    "reference": Reference,
    "multi": Multi,
    "ours": Ours,
}
