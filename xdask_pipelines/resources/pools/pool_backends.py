"""What carries out the actions of `reconcile`: processes of this machine, or people and services elsewhere.

Belongs here: observing instances, starting, draining and stopping them. Does not belong here: which actions there are
(reconcile), when they are taken (pool_controller).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable
from time import time
from typing import Any

from xdask_pipelines.placement.client.drain import drain
from xdask_pipelines.placement.client.scheduler_rpc import SchedulerRPC
from xdask_pipelines.resources.pools.attached_pools import AttachedPools
from xdask_pipelines.resources.pools.local_pools import LocalPools
from xdask_pipelines.resources.pools.reconcile import Action, Drain, Instance, Protect, Start
from xdask_pipelines.resources.pools.standing_pools import Pools, Tell
from xdask_pipelines.system.units import format_bytes


class PoolBackend(ABC):
    """Instances of one topology's pools."""

    def __init__(self, pools: Pools, tell: Tell) -> None:
        self._connected, self._tell = pools, tell
        #: When each instance was first seen in its state, by ``"name state"``: plain JSON, for a controller's memory.
        self.since: dict[str, float] = {}
        self._asked_to_drain: set[str] = set()

    def _rpc(self) -> SchedulerRPC:
        return SchedulerRPC(self._connected.client())

    @abstractmethod
    def _started(self) -> dict[str, tuple[str, bool]]:
        """Return the Region of each instance that this backend started, and whether its process is alive."""

    @abstractmethod
    def _start(self, region: str, count: int) -> None: ...

    @abstractmethod
    def _stop(self, name: str) -> None: ...

    def observe(self) -> list[Instance]:
        """Return all instances, with their state and its beginning as `time.time` gives it."""
        joined, started = self._rpc().instances(), self._started()
        found = []
        for name in sorted(self._names(joined, started)):
            about = joined.get(name)
            region = about["region"] if about else started[name][0]
            state = self._state(name, about, started.get(name))
            since = self.since.setdefault(f"{name} {state}", time())
            found.append(Instance(region, name, state, since, about["held_bytes"] if about else 0))
        seen = {f"{instance.name} {instance.state}" for instance in found}
        self.since = {key: since for key, since in self.since.items() if key in seen}
        return found

    def sizes(self) -> dict[str, int]:
        """Return how many instances each pool should have, where a service keeps that number; others may change it."""
        return {}

    def _names(self, joined: Iterable[str], started: Iterable[str]) -> set[str]:
        return {*joined, *started}

    def _state(self, name: str, about: dict[str, Any] | None, started: tuple[str, bool] | None) -> Any:
        if about:
            return "draining" if about["draining"] else "running"
        if name in self._asked_to_drain:
            return "drained"
        return "starting" if started and started[1] else "lost"

    def carry_out(self, action: Action) -> None:
        """Carry out one action; it may be begun only, and the next observation shows how far it is."""
        if isinstance(action, Start):
            self._start(action.region, action.count)
        elif isinstance(action, Drain):
            about = self._rpc().instances().get(action.name)
            if about:
                self._tell(f"{action.name}: handing over {format_bytes(about['held_bytes'])} of results")
                self._drain(action, about["workers"])
        elif isinstance(action, Protect):
            self._protect(action)
        else:
            self._tell(f"{action.name}: stopped ({action.reason})")
            self._stop(action.name)
            self._asked_to_drain.discard(action.name)

    def _drain(self, action: Drain, workers: list[str]) -> None:
        drain(self._connected.client(), action.region, workers)
        self._asked_to_drain.add(action.name)

    def _protect(self, action: Protect) -> None:  # noqa: B027
        """Do nothing where nothing but this backend chooses among instances."""


class LocalBackend(PoolBackend):
    """Processes of this machine."""

    def __init__(self, pools: LocalPools, tell: Tell) -> None:
        super().__init__(pools, tell)
        self._pools = pools

    def _started(self) -> dict[str, tuple[str, bool]]:
        return self._pools.instances()

    def _start(self, region: str, count: int) -> None:
        self._pools.start_instances(region, count, self._tell)

    def _stop(self, name: str) -> None:
        self._pools.stop_instance(name)


class AttachedBackend(PoolBackend):
    """Instances that somebody starts: what to run is reported, and what runs can be drained."""

    def __init__(self, pools: AttachedPools, tell: Tell) -> None:
        super().__init__(pools, tell)
        self._pools = pools
        self._asked_for: dict[str, int] = {}

    def _started(self) -> dict[str, tuple[str, bool]]:
        return {}

    def _start(self, region: str, count: int) -> None:
        if self._asked_for.get(region) == count:
            return
        self._asked_for[region] = count
        self._tell(f"{region}: start {count} more. Run there: `{self._pools.worker_words(region)}`")

    def _stop(self, name: str) -> None:
        """Do nothing: its workers have ended, and with them the command that ran them."""
