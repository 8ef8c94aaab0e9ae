"""Standing pools of processes on this machine: starting them, finding them, computing on them.

Belongs here: the kind of pools that is local. Does not belong here: what every kind can do (pools), how processes are
started (placement.local.cluster).
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

import psutil
from distributed import Client

from xdask_pipelines.access.home_calls import Compute
from xdask_pipelines.errors import EmptyPool, LostComputation, PlacementError
from xdask_pipelines.placement import Evidence, check_scheduler, compute, local_regions
from xdask_pipelines.placement.client.compute import Progress
from xdask_pipelines.placement.local import tls
from xdask_pipelines.placement.local.cluster import Pool, Processes, join, start
from xdask_pipelines.placement.settings import Settings
from xdask_pipelines.resources.placement_settings import settings_of
from xdask_pipelines.resources.standing_pools import START, Status, Tell
from xdask_pipelines.resources.var import writable
from xdask_pipelines.system.files import write_atomically
from xdask_pipelines.system.processes import is_alive, stop_processes
from xdask_pipelines.topology import Topology

#: Where users of Dask look for a dashboard, and the same after a restart; a taken port is no hindrance.
_DASHBOARD_PORT = 8787
_CONNECT_SECONDS = 5.0


class LocalPools:
    """The pools of a topology on this machine, standing between runs; runs connect to them in milliseconds.

    Parameters
    ----------
    topology
        Names the Regions and their folders.
    watch
        Called about twice a second while something is computed, with tasks done and planned by Region.
    """

    def __init__(self, topology: Topology, watch: Progress | None = None) -> None:
        self.topology = topology
        self._watch = watch
        self.folder = topology.var / "pools"
        self.certificates = topology.certificates
        self._client: Client | None = None

    # ---- up and down ------------------------------------------------------------------------------------------

    def up(self, tell: Tell = lambda line: None) -> Status:
        """Start what is not running, beside what is; start all again if the scheduler is gone or a Region is new.

        Raises
        ------
        PlacementError
            If a process does not start, with the end of its log.
        XdaskError
            If ``var/`` cannot be written.
        """
        now = self.status()
        if now.up:
            tell(f"the pools are up already, scheduler at {now.address}")
        if now.address and self.made_certificates() and not now.address.startswith("tls:"):
            tell(f"they use no certificates, which were made since: `xdask pools down`, then `{START}`")
        if now.up:
            return now
        running = self._running() if now.address else None
        if running is None or not running.pids.keys() >= {pool.region for pool in self._pools()}:
            running = None
            self.down()
        writable(self.topology, "pools")
        for region in self.topology.regions:
            self.topology.results_folder(region).mkdir(parents=True, exist_ok=True)
        if running is None:
            running = start(
                self._pools(),
                self.folder,
                self.settings(),
                certificates=self.made_certificates(),
                dashboard_port=_DASHBOARD_PORT,
                ui_hosts=self.topology.ui_hosts,
                tell=tell,
            )
        else:
            self._start_missing(running, now.workers, tell)
        write_atomically(self._state_file, json.dumps(asdict(running)))
        return self.status()

    def _start_missing(self, running: Processes, workers: Mapping[str, int], tell: Tell) -> None:
        """Start the pools without workers; computations on the others continue."""
        pools = self._pools()
        missing = [pool for pool in pools if not workers.get(pool.region)]
        stay = [pool for pool in pools if pool not in missing]
        tell(f"the scheduler at {running.address} stays" + "".join(f", the pool of {p.region} too" for p in stay))
        tell(f"starting again: the pool of {', '.join(pool.region for pool in missing)}")
        stop_processes([pid for pool in missing if self._is_ours(pid := running.pids[pool.region])])
        join(running, missing, self.folder, beside=stay, tell=tell)

    def down(self) -> bool:
        """Stop all processes that `up` started, by their ids; True if there were any."""
        running = self._running()
        if running is None:
            return False
        self.close()
        ours = {name: pid for name, pid in running.pids.items() if self._is_ours(pid)}
        stop_processes([pid for name, pid in ours.items() if name != "scheduler"])
        stop_processes([pid for name, pid in ours.items() if name == "scheduler"])
        self._state_file.unlink(missing_ok=True)
        return bool(ours)

    def status(self) -> Status:
        """Which processes live and which pools can take tasks."""
        running = self._running()
        if running is None:
            return Status("", "", {}, (f"The pools are not running. Start them with `{START}`.",))
        dead = [name for name, pid in running.pids.items() if not self._is_ours(pid)]
        if "scheduler" in dead:
            return Status("", "", {}, (f"The scheduler is gone. Start the pools again with `{START}`.",))
        try:
            with running.connect(_CONNECT_SECONDS) as client:
                workers = dict(check_scheduler(client)["pools"])
        except OSError as error:
            problem = (
                f"The scheduler at {running.address} does not answer ({error}). `xdask pools down`, then `{START}`."
            )
            return Status("", "", {}, (problem,))
        empty = [pool.region for pool in self._pools() if not workers.get(pool.region)]
        problems = tuple(
            f"The pool of {r} has no worker. `{START}` starts it and leaves the others; its log is {self.folder / r}.log."
            for r in empty
        )
        return Status(running.address, running.dashboard, workers, problems)

    @property
    def started(self) -> bool:
        """Whether they were started and not stopped, alive or not."""
        return self._state_file.exists()

    @property
    def dashboard(self) -> str:
        """Address of the Regions on Dask's dashboard; empty if the pools were not started."""
        running = self._running()
        return running.dashboard if running else ""

    @property
    def _state_file(self) -> Path:
        return self.folder / "pools.json"

    def _running(self) -> Processes | None:
        try:
            return Processes(**json.loads(self._state_file.read_text()))
        except FileNotFoundError:
            return None

    def _is_ours(self, pid: int) -> bool:
        """Whether a process id is still that of a process we started: ids are used again after a reboot."""
        if not is_alive(pid):
            return False
        try:
            command = Path(f"/proc/{pid}/cmdline").read_bytes()
        except OSError:
            return True  # no /proc on this system
        return b"dask" in command

    def made_certificates(self) -> Path | None:
        """Return the folder of the certificates that every scheduler started from now on uses; None before any is made."""
        return self.certificates if tls.has_certificates(self.certificates) else None

    def _pools(self) -> list[Pool]:
        regions = self.topology.worker_regions
        threads = max(1, (os.cpu_count() or 1) // len(regions))
        joining = [Pool(client.region, 1, client.threads)] if (client := self.topology.client).threads else []
        pools = [Pool(r, 1, threads, self.topology.data_folder(r), self.topology.results_folder(r)) for r in regions]
        return [*pools, *joining]

    def settings(self) -> Settings:
        """What the scheduler, and a plan, must know: the topology's links and prices, and the pools on this machine."""
        known = settings_of(self.topology)
        memory = psutil.virtual_memory().total // len(self.topology.workers)
        here = {
            pool.region: replace(
                known.pools[pool.region],
                threads=pool.processes * pool.threads,
                memory_bytes=memory,
                process_memory_bytes=memory // pool.processes,
            )
            for pool in self._pools()
        }
        return replace(known, pools={**known.pools, **here}, one_machine=True, start_command=START)

    # ---- computing --------------------------------------------------------------------------------------------

    def client(self) -> Client:
        """A connection to the standing scheduler, made once for each process.

        Raises
        ------
        PlacementError
            If the pools are not running, with the command that starts them; if this process has other versions or
            certificates than they.
        LostComputation
            The same, if they were running a moment ago: they may be back soon.
        """
        if self._client is not None and self._client.status == "running":
            return self._client
        running, absent = self._running(), PlacementError if self._client is None else LostComputation
        if running is None:
            raise absent(f"The pools are not running. Start them with `{START}`, then run again.")
        try:
            self._client = running.connect(_CONNECT_SECONDS)
        except OSError as error:
            raise absent(
                f"The scheduler at {running.address} does not answer. Restart the pools: `xdask pools down`, then "
                f"`{START}`; then run again."
            ) from error
        return self._client

    def compute(self, *xs: Any, tell: Tell | None = None) -> tuple[tuple[Any, ...], Evidence]:
        """`placement.compute` on the standing pools, telling the progress of each Region line by line."""
        watchers = [w for w in (self._watch, _Lines(tell) if tell else None) if w]

        def progress(state: Mapping[str, tuple[int, int]]) -> None:
            for watch in watchers:
                watch(state)

        return compute(self.client(), *xs, progress=progress if watchers else None)

    @contextmanager
    def temporary(self, regions: Sequence[str], tell: Tell) -> Iterator[Compute]:
        """One worker in each of some Regions, for as long as a block of code runs.

        Raises
        ------
        EmptyPool
            The mounts of the Regions are not on this machine: every file would seem to be gone from them.
        """
        if self.topology.profile != "local":
            workers = self.status().workers
            raise EmptyPool(
                f"The pools of {', '.join(r for r in regions if not workers.get(r))} have no worker, and on AWS none can "
                "be started from here; nothing was changed. Raise the desired count of the pool's service, then run again"
            )
        tell(f"pools are down: starting one temporary worker in {', '.join(regions)}")
        data = {region: self.topology.data_folder(region) for region in regions}
        results = {region: self.topology.results_folder(region) for region in regions}
        for folder in results.values():
            folder.mkdir(parents=True, exist_ok=True)
        made = self.made_certificates()
        with local_regions(regions, data=data, results=results, certificates=made) as client:
            yield partial(compute, client)

    def close(self) -> None:
        """Disconnect; unfinished tasks of this process are cancelled."""
        if self._client is not None:
            self._client.close()
            self._client = None


class _Lines:
    """Progress as lines for a log, one whenever something changed."""

    def __init__(self, tell: Tell) -> None:
        self._tell = tell
        self._last: Mapping[str, tuple[int, int]] = {}

    def __call__(self, state: Mapping[str, tuple[int, int]]) -> None:
        if state != self._last:
            self._last = dict(state)
            self._tell("tasks done: " + ", ".join(f"{region} {done}/{all_}" for region, (done, all_) in state.items()))
