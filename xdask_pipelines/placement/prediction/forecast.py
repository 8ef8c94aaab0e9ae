"""Forecast of the time and memory of a plan, from a simulated run of its tasks.

Belongs here: simulating workers, links and the scheduler's round trips. Does not belong here: where tasks run (plan),
measuring tasks (benchmarks.scale).

Each task waits until the scheduler knows that its inputs are done, for the scheduler's message, for inputs of other
Regions, and for a free thread of its pool. The speeds are those of one core of a small machine; the benchmarks compare
forecasts with real runs.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from heapq import heapify, heappop, heappush
from math import fsum

from dask.typing import Key

from xdask_pipelines.placement.scheduler.result_delivery import MAX_BYTES, MAX_RESULTS
from xdask_pipelines.placement.settings import Settings

#: Stored bytes that a thread reads and decompresses in a second, and bytes in memory that it processes in a second.
READ_BYTES_PER_SECOND = 150e6
WORK_BYTES_PER_SECOND = 1.2e9
#: Overhead of each task on its worker and on the scheduler, and overhead of a submission.
TASK_SECONDS = 5e-4
DISPATCH_SECONDS = 1.5e-3
SUBMIT_SECONDS = 0.2
_LOOPBACK_RTT, _LOOPBACK_BYTES_PER_SECOND = 1e-3, 1e9


@dataclass(frozen=True)
class Step:
    """A simulated task.

    Attributes
    ----------
    region
        Region in which it runs; None for anywhere.
    needs
        Keys of its inputs.
    nbytes
        Bytes of its result.
    stored, worked
        Stored bytes that it reads, and bytes that it processes, from which its time is estimated.
    seconds
        Its measured time on a thread; None to estimate it.
    """

    region: str | None
    needs: Collection[Key]
    nbytes: int
    stored: int = 0
    worked: int = 0
    seconds: float | None = None

    @property
    def thread_seconds(self) -> float:
        """Return the measured or the estimated time on a thread."""
        if self.seconds is not None:
            return self.seconds
        return TASK_SECONDS + self.stored / READ_BYTES_PER_SECOND + self.worked / WORK_BYTES_PER_SECOND


@dataclass(frozen=True)
class Forecast:
    """Simulated run.

    Attributes
    ----------
    seconds
        From submission until the results are on the client.
    worker_seconds
        Thread-seconds by Region.
    peak_bytes
        Peak memory of results and inputs in each pool, by Region.
    round_trips
        Length of the longest chain of tasks in another Region than the scheduler's; each of them waits for its message.
    """

    seconds: float
    worker_seconds: Mapping[str, float]
    peak_bytes: Mapping[str, int]
    round_trips: Mapping[str, int]


def forecast(steps: Mapping[Key, Step], order: Sequence[Key], wanted: Collection[Key], settings: Settings) -> Forecast:
    """Simulate a run of tasks.

    Parameters
    ----------
    steps
        Tasks by key.
    order
        Their keys, each after those it needs.
    wanted
        Keys of results, which go to the client.
    settings
        Links and pools.
    """
    run = _Run(steps, settings)
    users: dict[Key, list[Key]] = defaultdict(list)
    waiting = {}
    for key in order:
        needs = [d for d in steps[key].needs if d in steps]
        waiting[key] = len(needs)
        for d in needs:
            users[d].append(key)
    priority = {key: i for i, key in enumerate(order)}
    ready = [(SUBMIT_SECONDS, priority[key], key) for key in order if not waiting[key]]
    heapify(ready)
    known: dict[Key, float] = {}
    while ready:
        at, _, key = heappop(ready)
        known[key] = run.do(key, at)
        for user in users[key]:
            waiting[user] -= 1
            if not waiting[user]:
                heappush(ready, (max(known[d] for d in steps[user].needs if d in known), priority[user], user))
    done = max((known[key] for key in steps), default=0.0)
    done += max((run.delivered(key, done, len(wanted)) for key in wanted if key in steps), default=0.0)
    return Forecast(done, run.worker_seconds(), _peaks(steps, users, wanted, run), run.levels())


class _Run:
    """State of a simulated run: when each thread, link and the scheduler is free again."""

    def __init__(self, steps: Mapping[Key, Step], settings: Settings) -> None:
        self.steps, self.settings = steps, settings
        self._spent: defaultdict[str, list[float]] = defaultdict(list)
        self.began: dict[Key, float] = {}
        self.ended: dict[Key, float] = {}
        self._threads: dict[str, list[float]] = {}
        self._link_free: defaultdict[tuple[str, str], float] = defaultdict(float)
        self._scheduler_free = 0.0
        self._depth: dict[Key, int] = {}

    def do(self, key: Key, ready: float) -> float:
        """Run a task that is ready, and return the time at which the scheduler knows that it is done."""
        step, client = self.steps[key], self.settings.client_region
        region = step.region or client
        self._scheduler_free = max(self._scheduler_free, ready) + DISPATCH_SECONDS
        way = self._rtt(client, region) / 2
        arrived = self._scheduler_free + way
        arrived += max((self._needed(d, region, arrived) for d in step.needs if d in self.steps), default=0.0)
        if region not in self._threads:
            self._threads[region] = [0.0] * max(1, self.settings.rates(region).threads)
        began = max(arrived, heappop(self._threads[region]))
        seconds = step.thread_seconds
        heappush(self._threads[region], began + seconds)
        self._spent[region].append(seconds)
        self.began[key], self.ended[key] = began, began + seconds
        below = max((self._depth[d] for d in step.needs if d in self._depth), default=0)
        self._depth[key] = below + (region != client)
        return began + seconds + way

    def worker_seconds(self) -> dict[str, float]:
        """Return thread-seconds by Region, which do not depend on the order of the tasks."""
        return {region: fsum(spent) for region, spent in self._spent.items()}

    def brought(self, key: Key, dst: str, at: float) -> float:
        """Return the time at which a result has arrived in another Region."""
        src = self.steps[key].region or self.settings.client_region
        if src == dst:
            return 0.0
        rate = (
            _LOOPBACK_BYTES_PER_SECOND if self.settings.one_machine else self.settings.link(src, dst).bytes_per_second
        )
        free = max(at, self._link_free[src, dst]) + self.steps[key].nbytes / rate
        self._link_free[src, dst] = free
        return free - at + self._rtt(src, dst)

    def _needed(self, key: Key, dst: str, at: float) -> float:
        """Return the time at which an input has arrived; a small one is sent ahead to the client's Region."""
        seconds, client = self.brought(key, dst, at), self.settings.client_region
        ahead = seconds and dst == client and self.steps[key].nbytes <= MAX_BYTES
        return seconds - self._rtt(self.steps[key].region or client, client) if ahead else seconds

    def delivered(self, key: Key, at: float, results: int) -> float:
        """Return the time at which a result has arrived on the client; a few small results are sent ahead."""
        bring = self._needed if results <= MAX_RESULTS else self.brought
        return bring(key, self.settings.client_region, at)

    def levels(self) -> dict[str, int]:
        """Return the longest chain of tasks in each Region, except the client's, where the scheduler runs."""
        longest: dict[str, int] = {}
        for key, depth in self._depth.items():
            region = self.steps[key].region
            if region and region != self.settings.client_region:
                longest[region] = max(longest.get(region, 0), depth)
        return longest

    def _rtt(self, src: str, dst: str) -> float:
        if src == dst or self.settings.one_machine:
            return _LOOPBACK_RTT
        return self.settings.link(src, dst).rtt_seconds


def _peaks(
    steps: Mapping[Key, Step], users: Mapping[Key, Sequence[Key]], wanted: Collection[Key], run: _Run
) -> dict[str, int]:
    """Return the peak of held bytes in each Region: a result is held from the start of its task until its last user ends."""
    changes: defaultdict[str, list[tuple[float, int]]] = defaultdict(list)
    for key, step in steps.items():
        until: dict[str | None, float] = {step.region: run.ended[key]}
        for user in users.get(key, ()):
            at = steps[user].region
            until[at] = max(until.get(at, 0.0), run.ended[user])
        for region, end in until.items():
            if region is None:
                continue
            changes[region].append((run.began[key], step.nbytes))
            if key not in wanted:
                changes[region].append((end, -step.nbytes))
    peaks = {}
    for region, events in changes.items():
        held = most = 0
        for _, change in sorted(events):
            held += change
            most = max(most, held)
        peaks[region] = most
    return peaks
