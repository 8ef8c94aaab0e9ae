"""The scheduler plugin: every task is home, late, neutral or refused.

Belongs here: restricting each task to the pool in which it may run. Does not belong here: the rules (placement_rules),
graph optimisation (fence), records of tasks and transfers (ledger), checks on workers (guard).

Dask's own annotations restrict nothing in current Dask (0 of 250 tasks, measured): optimisation runs inside the
scheduler and drops them. This plugin restricts the optimised tasks instead. A restriction uses the resource quantity 0,
which requires a worker of the pool but reserves nothing of it: quantity 1 cost 37 % of throughput.
"""

from __future__ import annotations

import logging
from collections import Counter
from typing import Any

from dask.typing import Key
from distributed import Scheduler
from distributed.diagnostics.plugin import SchedulerPlugin
from tornado.ioloop import PeriodicCallback

from xdask_pipelines.errors import PlacementError
from xdask_pipelines.placement.dask_internals.balancing import choose_among, steal_within
from xdask_pipelines.placement.dask_internals.scheduler_requests import answer
from xdask_pipelines.placement.dask_internals.scheduling import be_first, note_submitting_task
from xdask_pipelines.placement.dask_internals.task_specs import Task
from xdask_pipelines.placement.dask_internals.task_states import (
    TaskState,
    WorkerState,
    refuse_other_workers,
    require,
    respecify,
)
from xdask_pipelines.placement.graph.fence import know_the_pools
from xdask_pipelines.placement.graph.homes import describe_mixture, marks
from xdask_pipelines.placement.graph.placement_rules import Home, TaskNode, cheapest, decide, is_barrier, topological
from xdask_pipelines.placement.protection.admission import control_admission
from xdask_pipelines.placement.protection.blocked_fetches import name_blocked_fetches
from xdask_pipelines.placement.protection.blocked_roads import BlockedRoads
from xdask_pipelines.placement.protection.client_plugins import control_plugins
from xdask_pipelines.placement.protection.empty_pools import EmptyPools
from xdask_pipelines.placement.protection.keywords import check_keywords
from xdask_pipelines.placement.protection.shared_use import protect_shared_work
from xdask_pipelines.placement.protection.survival import survive_runs
from xdask_pipelines.placement.protection.task_messages import send_tasks_safely
from xdask_pipelines.placement.protection.unsatisfiable import Unsatisfiable
from xdask_pipelines.placement.scheduler import backlog
from xdask_pipelines.placement.scheduler.computation import Computation
from xdask_pipelines.placement.scheduler.crossings import Crossings
from xdask_pipelines.placement.scheduler.draining import Draining
from xdask_pipelines.placement.scheduler.fair_share import FairShare, take_turn
from xdask_pipelines.placement.scheduler.instances import instances
from xdask_pipelines.placement.scheduler.ledger import Ledger
from xdask_pipelines.placement.scheduler.pool_transfers import keep_home
from xdask_pipelines.placement.scheduler.shuffles import Shuffles
from xdask_pipelines.placement.scheduler.totals import WAITING
from xdask_pipelines.placement.settings import Settings
from xdask_pipelines.system.version import VERSION
from xdask_pipelines.topology.names import POOL_PREFIX, pool_name

logger = logging.getLogger("xdask.placement")

NAME = "xdask-placement"
#: Of how many workers of a pool the least busy one gets a task without inputs. Choosing among ten takes 18 us, among a
#: hundred 154 us, among a thousand 1.5 ms.
_COMPARED = 10


def _refuse(message: str, *_: Any) -> None:
    raise PlacementError(message)


class _OnePool(dict[str, dict[str, float]]):
    """Restrictions to one pool, by Region. All tasks of a pool share one dictionary."""

    def __missing__(self, region: str) -> dict[str, float]:
        return self.setdefault(region, {pool_name(region): 0})


class PlacementPlugin(SchedulerPlugin):
    """Places tasks in their home Regions. The preload installs it when a scheduler starts; clients never register it.

    Parameters
    ----------
    settings
        Client Region, links, pools, and the timeout of empty pools.
    """

    name = NAME

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.client_region = settings.client_region
        pooled = settings.pools.keys() - (set() if settings.client_pool else {settings.client_region})
        self.empty_pools = EmptyPools(
            settings.empty_pool_seconds, settings.start_command, settings.scale_up_seconds, pooled
        )
        self.ledger = Ledger(settings, self._region, self._addresses, self._region_of)
        self._fair_share = FairShare()
        self._draining = Draining()
        self._decided: dict[Key, Home] = {}
        self._restrictions = _OnePool()
        self._submitting: Key | None = None
        self._shuffles = Shuffles(self._addresses)
        self._crossings = Crossings(self._running)
        self.unsatisfiable = Unsatisfiable()
        self.blocked_roads = BlockedRoads()

    async def start(self, scheduler: Scheduler) -> None:
        """Register all handlers, watch for empty pools, and keep results in their pools."""
        self.scheduler = scheduler
        answer(scheduler, "version", self._answer_version)
        answer(scheduler, "backlog", lambda: backlog.count(scheduler, self._pool_of_wait))
        answer(scheduler, "instances", lambda: instances(scheduler))
        answer(scheduler, "connected", lambda clients: [name for name in clients if name in scheduler.client_comms])
        watch = PeriodicCallback(self._look_at_waiting, 500)
        scheduler.periodic_callbacks["xdask-waiting"] = watch
        watch.start()
        # This plugin must run before those of Dask: when a worker leaves, a P2P shuffle restarts at once and needs the
        # current pool.
        be_first(scheduler, NAME, self)
        know_the_pools(self._held_in, lambda region: bool(self._running(region)))
        note_submitting_task(scheduler, self._note_submitting_task)
        check_keywords(scheduler)
        control_admission(scheduler, self.settings.start_command)
        protect_shared_work(scheduler)
        survive_runs(scheduler)
        send_tasks_safely(scheduler)
        keep_home(scheduler, self._region_of)
        steal_within(scheduler, backlog.pool_of)
        choose_among(scheduler, _COMPARED)
        self.blocked_roads.start(scheduler)
        name_blocked_fetches(scheduler, self.blocked_roads, self.client_region)
        self._crossings.start(scheduler)
        self.ledger.start(scheduler)
        self._draining.start(scheduler)
        control_plugins(scheduler)

    # ---- requests of clients ----------------------------------------------------------------------------------

    def _answer_version(self) -> dict[str, Any]:
        return {"version": VERSION, "client_region": self.client_region, "pools": self._workers_by_region()}

    def _note_submitting_task(self, key: Key | None) -> None:
        """Remember which task submits a graph: Dask does not pass it to plugins."""
        self._submitting = key

    # ---- at submission ----------------------------------------------------------------------------------------

    def update_graph(
        self, scheduler: Scheduler, *, client: str, keys: set[Key], tasks: list[Key], **kwargs: Any
    ) -> None:
        """Place every new task. An error becomes part of the report, because Dask would only log it."""
        touched = [scheduler.tasks[key] for key in tasks]
        parent = scheduler.tasks.get(self._submitting) if self._submitting is not None else None
        credited = self.ledger.owner(parent.key) if parent else None
        receiver = self._region(parent.processing_on.address) if parent and parent.processing_on else self.client_region
        computation = Computation(
            client, kwargs["stimulus_id"], frozenset(keys), frozenset(tasks), parent=credited, receiver=receiver
        )
        last_turns = self.ledger.computations.last_turns(client)
        self.ledger.computations.add(computation)
        try:
            new = [ts for ts in touched if ts.key not in self._decided]
            if len(new) < len(touched):
                for ts in touched:
                    if ts.key in self._decided:
                        self.unsatisfiable.free(ts)
            self._place(new, computation, wanted=keys)
            # Before tasks are sent to workers.
            if parent is not None and parent.priority:
                self._fair_share.give_subtasks_turns(new, parent)
            else:
                computation.last_turns = self._fair_share.give_turns(new, self._region_of, last_turns)
            self.ledger.deliveries.mark(client, computation.outputs, touched)
            for ts in touched:
                if ts.who_has:
                    computation.reused.add(ts.key)
                    self.ledger.computations.finished(ts.key)
                elif region := self._decided[ts.key].region:
                    for one in computation.lineage():
                        one.planned[region] += 1
        except Exception as error:
            logger.exception("placement of a submitted graph failed")
            computation.problems.append(f"The scheduler could not place this computation: {error!r}.")

    def _place(self, new: list[TaskState], computation: Computation, wanted: set[Key]) -> None:
        tasks = {ts.key: ts for ts in new}
        needs = {key: tuple([d.key for d in ts.dependencies]) for key, ts in tasks.items()}
        users = {key: tuple([u.key for u in ts.dependents]) for key, ts in tasks.items()}
        nodes: dict[Key, TaskNode] = {}
        for key in topological(needs, users):
            ts = tasks[key]
            reads, pins = marks(key, ts.run_spec)
            if len(reads | pins) > 1:
                message = describe_mixture(key, reads | pins)
                computation.problems.append(message)
                respecify(ts, Task(key, _refuse, message))
            nodes[key] = TaskNode(reads, pins, needs[key], users[key], getattr(ts.run_spec, "region", None))
        # With several workers it is not yet known which of them will run a task.
        sends_ahead = len(self._addresses(self.client_region)) == 1
        for key, home in decide(nodes, wanted, self._decided.get).items():
            self._decided[key] = home
            if home.region:
                self._assign(tasks[key], home.region)
                if sends_ahead and home.region == self.client_region:
                    self._send_ahead(tasks[key])
            elif home.late:
                self._bind_when_ready(tasks[key])

    def _look_at_waiting(self) -> None:
        """Resume or fail tasks that no worker may run."""
        self._shuffles.resume(self.scheduler)
        self.empty_pools.look(self.scheduler, self._pool_of_wait)
        self.unsatisfiable.look(self.scheduler, self._pool_of_wait)
        self.blocked_roads.look(self.scheduler)

    def _pool_of_wait(self, ts: TaskState) -> str | None:
        return self._shuffles.pool_of_wait(ts.key) or self._region_of(ts)

    def _held_in(self, key: Key) -> str | None:
        known = self._decided.get(key)
        return known.region if known and known.homes else None

    def _region_of(self, ts: TaskState) -> str | None:
        known = self._decided.get(ts.key)
        return known.region if known else None

    def _assign(self, ts: TaskState, region: str) -> None:
        kept = {k: v for k, v in (ts.resource_restrictions or {}).items() if not k.startswith(POOL_PREFIX)}
        require(ts, {**kept, pool_name(region): 0} if kept else self._restrictions[region])
        # `allow_other_workers` would let the scheduler send the task to any pool, and work stealing would move it
        # further.
        refuse_other_workers(ts)
        if is_barrier(ts.key):
            self._shuffles.bind(ts, region)

    def _send_ahead(self, ts: TaskState) -> None:
        """Ask for the inputs of a task in the client's Region to be sent together with the message that they are done."""
        for d in ts.dependencies:
            if self._region_of(d) not in (None, self.client_region):
                self.ledger.deliveries.mark_for_pool(d)

    # ---- late binding -----------------------------------------------------------------------------------------

    def _bind_when_ready(self, ts: TaskState) -> None:
        if not ts.dependencies or not all(d.who_has for d in ts.dependencies):
            return
        homes = self._decided[ts.key].homes
        inputs = ((d.get_nbytes(), self._held(d)) for d in ts.dependencies)
        moved = {region for d in ts.dependencies if (region := self._held_in(d.key))}
        region = cheapest(inputs, self.settings.price, homes | moved)
        if region is None:
            return
        self._decided[ts.key] = Home(homes, region, late=True)
        self._assign(ts, region)
        if ts.priority and float(ts.priority[1]).is_integer():
            take_turn(ts, self._fair_share.reached(region))

    def transition(self, key: Key, start: str, finish: str, *args: Any, stimulus_id: str = "", **kwargs: Any) -> None:
        """Count running and waiting tasks, bind tasks that became ready, and forget tasks that are gone."""
        if start in WAITING or finish in WAITING:
            home = self._decided.get(key)
            self.ledger.totals.step(key, start, finish, home.region if home else None)
        if finish == "memory":
            ts = self.scheduler.tasks[key]
            if start == "processing":
                self.ledger.ran(ts, self._decided.get(key), kwargs.get("worker"), kwargs.get("startstops") or ())
                if ts.priority:
                    self._fair_share.ran(self._region_of(ts), ts.priority[1])
            here = self._region_of(ts)
            for user in ts.dependents:
                home = self._decided.get(user.key)
                if home and home.late:
                    self._bind_when_ready(user)
                elif home and home.region and home.region != here:
                    self._crossings.ready(ts, user, home.region)
        elif finish == "forgotten":
            self._decided.pop(key, None)
            self._shuffles.forget(key)
        if finish in ("memory", "erred"):
            self.ledger.computations.finished(key)
        if start == "memory" or finish == "forgotten":
            self._crossings.left(key)
            self.ledger.left(key, forgotten=finish == "forgotten")

    # ---- pools ------------------------------------------------------------------------------------------------

    def _region(self, worker: str | None) -> str:
        """Return the Region of a worker; a worker without a pool counts as the client's Region."""
        state = self.scheduler.workers.get(worker) if worker else None
        return (backlog.pool_of(state) if state else None) or self.client_region

    def _held(self, ts: TaskState) -> set[str]:
        return {self._region(ws.address) for ws in ts.who_has or ()}

    def _addresses(self, region: str) -> list[str]:
        return list(self.scheduler.resources.get(pool_name(region), ()))

    def _running(self, region: str) -> list[WorkerState]:
        workers = (self.scheduler.workers[address] for address in self._addresses(region))
        return [ws for ws in workers if ws in self.scheduler.running]

    def _workers_by_region(self) -> dict[str, int]:
        return dict(Counter(self._region(address) for address in self.scheduler.workers))

    def add_worker(self, scheduler: Scheduler, worker: str) -> None:
        """Let waiting P2P shuffles use a worker that joins their pool."""
        self._shuffles.update(scheduler, self._region(worker))

    def remove_worker(self, scheduler: Scheduler, worker: str, **kwargs: Any) -> None:
        """Let P2P shuffles begin again without a worker that left."""
        for region in self._shuffles.regions():
            self._shuffles.update(scheduler, region)

    def remove_client(self, scheduler: Scheduler, client: str) -> None:
        """Forget the computations of a client that left."""
        self.ledger.drop_client(client)

    def restart(self, scheduler: Scheduler) -> None:
        """Forget everything: Dask drops all tasks at a restart without a transition."""
        self._decided.clear()
        self._shuffles.clear()
        self._crossings.clear()
        self.ledger.restart()
