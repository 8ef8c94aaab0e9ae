"""The ledger: a record of tasks, bytes read and bytes transferred, each credited to a computation.

Belongs here: receiving the messages of workers, and sending reports to clients. Does not belong here: where tasks run
(plugin), the sums of one computation (computation), how workers measure (guard, transfer_reports).
"""

from __future__ import annotations

from asyncio import sleep
from collections.abc import Callable, Iterable, Mapping
from time import monotonic
from typing import Any

from dask.typing import Key
from distributed import Scheduler

from xdask_pipelines.placement.dask_internals.scheduler_requests import answer, hear
from xdask_pipelines.placement.dask_internals.task_states import TaskState
from xdask_pipelines.placement.graph.placement_rules import Home
from xdask_pipelines.placement.scheduler.computation import Computation, Computations
from xdask_pipelines.placement.scheduler.result_delivery import Deliveries
from xdask_pipelines.placement.scheduler.totals import Totals
from xdask_pipelines.placement.settings import Settings

DELIVERY_SECONDS = 5.0


class Ledger:
    """Live computations, totals since the start, and small results that are delivered ahead.

    Parameters
    ----------
    settings
        Client Region, and the prices and links that reports need.
    region
        Returns the Region of a worker, given its address.
    addresses
        Returns the addresses of the workers of a Region.
    bound
        Returns the Region to which a task is bound, if any.
    """

    def __init__(
        self,
        settings: Settings,
        region: Callable[[str | None], str],
        addresses: Callable[[str], list[str]],
        bound: Callable[[TaskState], str | None],
    ) -> None:
        self.settings = settings
        self.computations = Computations()
        self.totals = Totals()
        self.deliveries = Deliveries(lambda: addresses(settings.client_region))
        self._region = region
        self._bound = bound

    def start(self, scheduler: Scheduler) -> None:
        """Register the handlers for messages of workers and requests of clients."""
        self.scheduler = scheduler
        answer(scheduler, "report", self._answer_report)
        answer(scheduler, "progress", self._answer_progress)
        answer(scheduler, "newest", self._answer_newest)
        answer(scheduler, "across", lambda: dict(self.totals.across))
        hear(scheduler, "read", self._on_read)
        hear(scheduler, "received", self._on_received)
        hear(scheduler, "sent", self._on_sent)
        hear(scheduler, "delivered", self._on_delivered)
        hear(scheduler, "shuffled", self._on_shuffled)
        hear(scheduler, "violation", self._on_violation)
        self.deliveries.start(scheduler)

    def left(self, key: Key, *, forgotten: bool) -> None:
        """Note that a result was released or lost, or that its task was forgotten."""
        self.deliveries.left(key, forgotten=forgotten)
        self.computations.lost(key)
        if forgotten:
            self.computations.forget(key)

    def drop_client(self, client: str) -> None:
        """Forget the computations and deliveries of a client that left."""
        self.computations.drop_client(client)
        self.deliveries.drop_client(client)

    def restart(self) -> None:
        """Forget all computations and deliveries; the totals since the start remain."""
        self.computations = Computations()
        self.deliveries.clear()
        self.totals.restart()

    # ---- requests of clients ----------------------------------------------------------------------------------

    async def _answer_report(self, client: str, keys: Iterable[Key], delivered: bool) -> dict[str, Any] | None:
        """Return the report of a client's newest computation with these outputs, and forget the computation."""
        self.deliveries.expect_no_more(client, keys)
        computation = self.computations.find(client, keys)
        if computation is None:
            return None
        if delivered:
            # The workers' messages about transfers may arrive after the data, which take another connection.
            deadline = monotonic() + DELIVERY_SECONDS
            while computation.outputs - computation.delivered.keys() and monotonic() < deadline:
                await sleep(0.005)
            for region, nbytes in computation.delivered.values():
                if region != computation.receiver:
                    computation.across[f"{region}->{computation.receiver}"] += nbytes
            if missing := computation.outputs - computation.delivered.keys():
                computation.problems.append(f"No worker reported that it sent {min(missing, key=str)!r} to the client.")
        self.computations.drop(computation)
        return computation.report(self.settings)

    def _answer_progress(self, client: str, keys: Iterable[Key]) -> dict[str, Any] | None:
        computation = self.computations.find(client, keys)
        return computation.progress() if computation else None

    def _answer_newest(self, client: str, keys: Iterable[Key]) -> str | None:
        """Return the identifier of a client's newest computation with these outputs."""
        computation = self.computations.find(client, keys)
        return computation.stimulus if computation else None

    # ---- messages of workers ----------------------------------------------------------------------------------

    def ran(
        self, ts: TaskState, home: Home | None, worker: str | None, startstops: Iterable[Mapping[str, Any]]
    ) -> None:
        """Record that a task ran, and whether it ran in the Region that ``home`` prescribes."""
        region = self._region(worker)
        if home is not None and (home.region or home.late):
            self.totals.tasks[region] += 1
        owner = self.owner(ts.key)
        if owner is None:
            return
        for other in self.computations.of(ts.key):
            if other is not owner:
                other.reused.add(ts.key)
        owner.ran_keys.add(ts.key)
        startstops = list(startstops)
        for one in owner.lineage():
            if home is None:
                one.problems.append(f"Task {str(ts.key)!r} ran without having been placed.")
            elif home.region is None and not home.late:
                one.neutral += 1
            else:
                one.ran[region] += 1
                one.time(region, startstops)
                if region != home.region:
                    one.misplaced.append(f"Task {str(ts.key)!r} belongs in {home.region} and ran in {region}.")

    def owner(self, key: Key) -> Computation | None:
        """Return the oldest computation that needs a key and is still wanted; the task is credited to it."""
        sharers = self.computations.of(key)
        if len(sharers) > 1:
            sharers = tuple([c for c in sharers if self._is_wanted(c)]) or sharers
        return sharers[0] if sharers else None

    def _is_wanted(self, computation: Computation) -> bool:
        client = self.scheduler.clients.get(computation.client)
        tasks = map(self.scheduler.tasks.get, computation.outputs)
        return client is not None and any(ts in client.wants_what for ts in tasks if ts)

    def _on_read(self, key: Key | None, region: str, nbytes: int, worker: str) -> None:
        self.totals.read[region] += nbytes
        if key is not None and (owner := self.owner(key)):
            for one in owner.lineage():
                one.read[region] += nbytes

    def _on_received(self, keys: list[tuple[Key, int]], peer: str, worker: str) -> None:
        """Record that ``worker`` received the data of ``keys`` from the worker ``peer``."""
        src, dst = self._region(peer), self._region(worker)
        if src == dst:
            return
        for key, nbytes in keys:
            self.totals.moved(src, dst, nbytes)
            ts = self.scheduler.tasks.get(key)
            owners = filter(None, (self.owner(k) for k in [*self._needed_by(ts, worker, dst), key]))
            self._crossed(next(owners, None), src, dst, nbytes)

    def _needed_by(self, ts: TaskState | None, worker: str, region: str) -> list[Key]:
        """Return the tasks for which a worker received a result: those that it runs, else those that wait in its Region.

        A worker may receive a result before the tasks of its Region are ready, or on behalf of other workers of its
        pool.
        """
        users = [u for u in ts.dependents if u.state != "memory"] if ts else []
        here = [u.key for u in users if u.processing_on and u.processing_on.address == worker]
        return here or [u.key for u in users if self._bound(u) == region]

    def _on_sent(self, keys: list[tuple[Key, int]], worker: str) -> None:
        """Record that ``worker`` sent the data of ``keys`` to a client."""
        src = self._region(worker)
        for key, nbytes in keys:
            computations = self.computations.of(key)
            receiver = computations[-1].receiver if computations else self.settings.client_region
            self.totals.moved(src, receiver, nbytes)
            for computation in computations:
                computation.delivered[key] = (src, nbytes)
                if src != computation.receiver:
                    self._crossed(computation.parent, src, computation.receiver, nbytes)

    def _on_delivered(self, key: Key, nbytes: int, data: Any, worker: str) -> None:
        """Record a small result that was delivered ahead. It arrives before the message that its task is done."""
        kept, receiver = self.deliveries.came(key, nbytes, data)
        if receiver and not kept:
            self._on_received([(key, nbytes)], worker, receiver)
        else:
            self._on_sent([(key, nbytes)], worker)

    def _on_shuffled(self, key: Key, peer: str, nbytes: int, worker: str) -> None:
        """Record that the P2P shuffle with the barrier ``key`` sent a piece from ``worker`` to the worker ``peer``."""
        src, dst = self._region(worker), self._region(peer)
        self.totals.moved(src, dst, nbytes)
        if src != dst:
            self._crossed(self.owner(key), src, dst, nbytes)

    def _crossed(self, owner: Computation | None, src: str, dst: str, nbytes: int) -> None:
        for one in owner.lineage() if owner else ():
            one.across[f"{src}->{dst}"] += nbytes

    def _on_violation(self, key: Key | None, problem: str, worker: str) -> None:
        """Record that code opened data without placement, as a problem of every computation that it may belong to."""
        state = self.scheduler.workers.get(worker)
        blamed = [key] if key is not None else [ts.key for ts in state.processing] if state else []
        for computation in {one for k in blamed for c in self.computations.of(k) for one in c.lineage()}:
            computation.problems.append(problem)
