"""The one controller that brings pools to the size that their work needs, or that a person asks for.

Belongs here: the loop from backlog to actions. Does not belong here: the rule of sizes (placement.scaling), the rule of
actions (reconcile), carrying them out (pool_backends).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict
from time import monotonic, sleep, time
from typing import Any, NoReturn

from xdask_pipelines.errors import PlacementError
from xdask_pipelines.placement.client.scheduler_rpc import SchedulerRPC
from xdask_pipelines.placement.scaling import Backlog, Scaling, State
from xdask_pipelines.placement.scheduler.backlog import EMPTY
from xdask_pipelines.placement.settings import SCALE_UP_SECONDS
from xdask_pipelines.resources.pools.pool_backends import PoolBackend
from xdask_pipelines.resources.pools.reconcile import Action, Instance, reconcile
from xdask_pipelines.resources.pools.standing_pools import Pools, Tell
from xdask_pipelines.system.units import counted

_LOOK_SECONDS = 10.0
_PAUSE_SECONDS = 0.5
_SCALE_SECONDS = 600.0


class PoolController:
    """Sizes the pools of a topology by their backlog.

    Parameters
    ----------
    pools
        Running pools.
    backend
        Starts and ends their instances.
    tell
        Called with one line for each change of a size.
    clock
        Seconds on a clock that does not go back.
    """

    def __init__(self, pools: Pools, backend: PoolBackend, tell: Tell, clock: Callable[[], float] = monotonic) -> None:
        self._pools, self._backend, self._tell, self._clock = pools, backend, tell, clock
        self._states: dict[str, State] = {}
        self._sizes: dict[str, int] = {}

    def _rules(self) -> dict[str, Scaling]:
        """Return the rule of each pool, for instances like those that are there."""
        known = SchedulerRPC(self._pools.client()).instances().values()
        rules = {}
        for worker in self._pools.topology.workers:
            like = [one for one in known if one["region"] == worker.region]
            threads = max((one["threads"] for one in like), default=worker.pool.processes * worker.pool.threads)
            memory = max(
                (one["memory_bytes"] for one in like), default=worker.pool.processes * worker.pool.memory_limit_bytes
            )
            rules[worker.region] = Scaling(
                worker.pool.min_workers,
                worker.pool.max_workers,
                threads,
                memory,
                cool_down_seconds=worker.pool.cool_down_seconds,
            )
        return rules

    def desired(self, observed: Iterable[Instance]) -> dict[str, int]:
        """Return how many instances each pool should have now."""
        observed = list(observed)
        backlog = SchedulerRPC(self._pools.client()).backlog()
        sizes = self._backend.sizes()
        for region, rule in self._rules().items():
            states = [instance.state for instance in observed if instance.region == region]
            there = sum(state in ("starting", "running") for state in states)
            before = self._states.get(region) or State(max(rule.min_workers, there))
            if region in sizes and sizes[region] != self._sizes.get(region, sizes[region]):
                # Somebody else changed it. Only who decides about the same number can take turns with others.
                before = State(
                    max(rule.min_workers, sizes[region] - states.count("draining") - states.count("drained"))
                )
            after = rule.step(before, Backlog.of(backlog.get(region) or EMPTY), self._clock())
            if after.workers != before.workers:
                self._tell(f"{region}: {counted(after.workers, 'instance')} instead of {before.workers}")
            self._states[region] = after
        return {region: state.workers for region, state in self._states.items()}

    def step(self) -> list[Action]:
        """Look once, and begin what is needed; what cannot be done now is reported, and tried at the next look."""
        observed = self._backend.observe()
        actions = reconcile(self.desired(observed), observed, time(), SCALE_UP_SECONDS)
        for action in actions:
            try:
                self._backend.carry_out(action)
            except PlacementError as error:
                self._tell(str(error))
        self._sizes = self._backend.sizes()
        return actions

    def memory(self) -> dict[str, Any]:
        """Return what the next controller must know to continue, as plain JSON; times are those of the clock."""
        states = {region: asdict(state) for region, state in self._states.items()}
        return {"states": states, "sizes": self._sizes, "since": self._backend.since}

    def remember(self, memory: Mapping[str, Any]) -> None:
        """Continue where another controller stopped."""
        self._states = {region: State(**state) for region, state in memory.get("states", {}).items()}
        self._sizes = dict(memory.get("sizes", {}))
        self._backend.since = dict(memory.get("since", {}))

    def run(self) -> NoReturn:
        """Look every ten seconds, until the process is interrupted."""
        while True:
            try:
                self.step()
            except (OSError, PlacementError) as error:  # the scheduler may be back at the next look
                self._tell(str(error))
            sleep(_LOOK_SECONDS)


def scale(backend: PoolBackend, region: str, count: int, seconds: float = _SCALE_SECONDS) -> None:
    """Bring one pool to a number of instances, and wait until it has them.

    Raises
    ------
    PlacementError
        It does not have them in time; or an instance that should end holds what no other of its pool can take over.
    """
    deadline = monotonic() + seconds
    while monotonic() < deadline:
        mine = [instance for instance in backend.observe() if instance.region == region]
        if [instance.state for instance in mine] == ["running"] * count:
            return
        for action in reconcile({region: count}, mine, time(), SCALE_UP_SECONDS):
            backend.carry_out(action)
        sleep(_PAUSE_SECONDS)
    raise PlacementError(
        f"The pool of {region} does not have {counted(count, 'instance')} after {seconds:g} s. See `xdask pools status`, "
        "and the log of the instances that did not start."
    )
