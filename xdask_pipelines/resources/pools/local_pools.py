"""Local pools: processes on this machine that keep running between runs.

Belongs here: starting, finding and using local pools. Does not belong here: the protocol of all kinds of pools
(standing_pools), starting processes (placement.local.cluster).
"""

from __future__ import annotations

import itertools
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path

import psutil

from xdask_pipelines.access.home_calls import Compute
from xdask_pipelines.errors import PlacementError
from xdask_pipelines.placement import compute, local_regions
from xdask_pipelines.placement.local.cluster import Pool, Processes, join, start
from xdask_pipelines.placement.settings import Settings
from xdask_pipelines.resources.pools.connected_pools import ConnectedPools
from xdask_pipelines.resources.pools.placement_settings import settings_of
from xdask_pipelines.resources.pools.standing_pools import START, Status, Tell
from xdask_pipelines.resources.var import writable
from xdask_pipelines.system.files import write_atomically
from xdask_pipelines.system.processes import is_alive, stop_processes

#: Dask's usual port for the dashboard, which stays the same after a restart; another one is used if it is not free.
_DASHBOARD_PORT = 8787


class LocalPools(ConnectedPools):
    """The pools of a topology on this machine. They keep running between runs, which connect to them in milliseconds.

    Parameters
    ----------
    topology
        The topology with the Regions and their folders.
    watch
        Called about twice a second during a computation, with tasks done and planned by Region.
    """

    here = True

    # ---- up and down ------------------------------------------------------------------------------------------

    def up(self, tell: Tell = lambda line: None) -> Status:
        """Start the pools that are not running; restart all if the scheduler has ended or a Region is new.

        Raises
        ------
        PlacementError
            If a process does not start.
        XdaskError
            If ``var/`` cannot be written.
        """
        now = self.status()
        if now.up:
            tell(f"the pools are already running, scheduler at {now.address}")
        if now.address and self.existing_certificates() and not now.address.startswith("tls:"):
            tell(f"they do not use the newer certificates: run `xdask pools down`, then `{START}`")
        if now.up:
            return now
        running = self._running() if now.address else None
        if running is None or not set(running.regions.values()) >= {pool.region for pool in self._pools()}:
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
                certificates=self.existing_certificates(),
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
        tell(
            f"the scheduler at {running.address} keeps running" + "".join(f", and the pool of {p.region}" for p in stay)
        )
        tell(f"starting again: the pool of {', '.join(pool.region for pool in missing)}")
        gone = [name for name, region in running.regions.items() if region in {pool.region for pool in missing}]
        stop_processes([pid for name in gone if self._is_ours(pid := running.pids.pop(name))])
        for name in gone:
            del running.regions[name]
        join(running, missing, self.folder, beside=stay, tell=tell)

    # ---- instances ------------------------------------------------------------------------------------------------

    def instances(self) -> dict[str, tuple[str, bool]]:
        """Return the Region of each instance that was started here, and whether its process is alive."""
        running = self._running()
        if running is None:
            return {}
        return {name: (region, self._is_ours(running.pids[name])) for name, region in running.regions.items()}

    def start_instances(self, region: str, count: int, tell: Tell) -> None:
        """Start further instances of a pool, and wait until their workers have joined.

        Raises
        ------
        PlacementError
            If a process does not start.
        """
        running = self._running()
        if running is None:
            raise PlacementError(f"The pools are not running. {self._start()}, then run again.")
        like = next(pool for pool in self._pools() if pool.region == region)
        names = (f"{region}-{number}" for number in itertools.count(2))
        free = [
            name for name in (region, *itertools.islice(names, count + len(running.pids))) if name not in running.pids
        ]
        new = [replace(like, name=name) for name in free[:count]]
        join(running, new, self.folder, beside=[pool for pool in self._pools() if pool.region != region], tell=tell)
        write_atomically(self._state_file, json.dumps(asdict(running)))

    def stop_instance(self, name: str) -> None:
        """Stop the process of an instance, if it is alive, and forget it."""
        running = self._running()
        if running is not None and name in running.regions:
            if self._is_ours(pid := running.pids.pop(name)):
                stop_processes([pid])
            del running.regions[name]
            write_atomically(self._state_file, json.dumps(asdict(running)))

    def down(self) -> bool:
        """Stop all processes that `up` started; return whether there were any."""
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
        """Return the state of the processes, and which pools can take tasks."""
        running = self._running()
        if running is None:
            return Status("", "", {}, (f"The pools are not running. Start them with `{START}`.",))
        dead = [name for name, pid in running.pids.items() if not self._is_ours(pid)]
        if "scheduler" in dead:
            return Status("", "", {}, (f"The scheduler has ended. Start the pools again with `{START}`.",))
        return self.observed(
            {
                pool.region: f"The pool of {pool.region} has no worker. Start it with `{START}`, which does not affect "
                f"the others. Its log is {self.folder / pool.region}.log."
                for pool in self._pools()
            }
        )

    @property
    def started(self) -> bool:
        """Return whether the pools were started and not stopped, even if they have ended."""
        return self._state_file.exists()

    @property
    def dashboard(self) -> str:
        """Return the address of the page of Regions on Dask's dashboard; empty if the pools were not started."""
        running = self._running()
        return running.dashboard if running else ""

    def _scheduler(self) -> str:
        running = self._running()
        return running.address if running else ""

    def _start(self) -> str:
        return f"Start them with `{START}`"

    def _restart(self) -> str:
        return f"Restart the pools: `xdask pools down`, then `{START}`"

    @property
    def folder(self) -> Path:
        """Folder of logs, spilled data and the state of the pools."""
        return self.topology.var / "pools"

    @property
    def _state_file(self) -> Path:
        return self.folder / "pools.json"

    def _running(self) -> Processes | None:
        try:
            return Processes(**json.loads(self._state_file.read_text()))
        except FileNotFoundError:
            return None

    def _is_ours(self, pid: int) -> bool:
        """Return whether a process id is still that of a started process, because ids are reused after a reboot."""
        if not is_alive(pid):
            return False
        try:
            command = Path(f"/proc/{pid}/cmdline").read_bytes()
        except OSError:
            return True  # no /proc on this system
        return b"dask" in command

    def _pools(self) -> list[Pool]:
        regions = self.topology.worker_regions
        threads = max(1, (os.cpu_count() or 1) // len(regions))
        joining = [Pool(client.region, 1, client.threads)] if (client := self.topology.client).threads else []
        pools = [Pool(r, 1, threads, self.topology.data_folder(r), self.topology.results_folder(r)) for r in regions]
        return [*pools, *joining]

    def settings(self) -> Settings:
        """Return the settings of scheduler and plan: links and prices of the topology, and the pools on this machine."""
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

    @contextmanager
    def temporary(self, regions: Sequence[str], tell: Tell) -> Iterator[Compute]:
        """Start one worker in each of some Regions, for the duration of a ``with`` block."""
        tell(f"pools are down: starting one temporary worker in {', '.join(regions)}")
        data = {region: self.topology.data_folder(region) for region in regions}
        results = {region: self.topology.results_folder(region) for region in regions}
        for folder in results.values():
            folder.mkdir(parents=True, exist_ok=True)
        made = self.existing_certificates()
        with local_regions(regions, data=data, results=results, certificates=made) as client:
            yield partial(compute, client)
