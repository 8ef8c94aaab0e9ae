"""The scheduler's record of one computation: the keys that it needs, and the tasks that ran for it in each Region.

Belongs here: counting tasks, bytes and seconds of each computation. Does not belong here: deciding where a task runs
(placement_rules), calls to Dask (plugin, ledger).
"""

from __future__ import annotations

from collections import Counter, OrderedDict, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from dask.typing import Key

from xdask_pipelines.placement.footprint import footprint
from xdask_pipelines.placement.scheduler.fair_share import LastTurns
from xdask_pipelines.placement.settings import Settings

#: How many ended computations are kept for each client. The limit is needed because plain ``.compute()`` never asks for
#: its report.
MAX_ENDED = 1_000


@dataclass(eq=False)
class Computation:
    """One submission of one client.

    Attributes
    ----------
    parent
        If a running task submitted this computation: the computation of that task. Its evidence includes this
        computation.
    receiver
        Region of the client that receives the results.
    """

    client: str
    stimulus: str
    outputs: frozenset[Key]
    touched: frozenset[Key]
    ran: Counter[str] = field(default_factory=Counter)
    ran_keys: set[Key] = field(default_factory=set)
    neutral: int = 0
    reused: set[Key] = field(default_factory=set)
    read: Counter[str] = field(default_factory=Counter)
    across: Counter[str] = field(default_factory=Counter)
    delivered: dict[Key, tuple[str, int]] = field(default_factory=dict)
    misplaced: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    planned: Counter[str] = field(default_factory=Counter)
    worker_seconds: defaultdict[str, float] = field(default_factory=lambda: defaultdict(float))
    between: dict[str, tuple[float, float]] = field(default_factory=dict)
    last_turns: LastTurns = field(default_factory=dict)
    parent: Computation | None = None
    receiver: str = ""
    left: set[Key] = field(init=False)
    unfinished: set[Key] = field(init=False)

    def __post_init__(self) -> None:
        self.left = set(self.outputs)
        self.unfinished = set(self.outputs)

    def lineage(self) -> Iterator[Computation]:
        """Iterate over this computation and all its ancestors: the computations whose tasks submitted it."""
        current: Computation | None = self
        while current is not None:
            yield current
            current = current.parent

    def time(self, region: str, startstops: Iterable[Mapping[str, Any]]) -> None:
        """Add the run time of a task. The times come from its worker's clock, so only their differences are used."""
        for span in startstops:
            start, stop = span["start"], span["stop"]
            first, last = self.between.get(region, (start, stop))
            self.between[region] = (min(first, start), max(last, stop))
            if span["action"] == "compute":
                self.worker_seconds[region] += stop - start

    def report(self, settings: Settings) -> dict[str, Any]:
        """Return the fields of `Evidence`, and the problems that make a result unacceptable."""
        return {
            "stimulus": self.stimulus,
            "problems": [*self.problems, *self.misplaced],
            "evidence": {
                "tasks_by_region": dict(self.ran),
                "misplaced_tasks": len(self.misplaced),
                "reused_tasks": len(self.reused - self.ran_keys),
                "neutral_tasks": self.neutral,
                "bytes_read_by_region": dict(self.read),
                "bytes_across": dict(self.across),
                "seconds_by_region": {region: last - first for region, (first, last) in self.between.items()},
                "worker_seconds_by_region": dict(self.worker_seconds),
                **footprint(settings, self.worker_seconds, self.read, self.across),
            },
        }

    def progress(self) -> dict[str, tuple[int, int, int]]:
        """Return ``{region: (tasks done, tasks planned, bytes read)}``.

        Tasks that are bound late count in the Region in which they ran.
        """
        return {
            region: (self.ran[region], max(self.planned[region], self.ran[region]), self.read[region])
            for region in sorted(self.planned.keys() | self.ran.keys())
        }


class Computations:
    """All live computations, indexed by key. Each is dropped with its client or its keys.

    A task that runs is credited to the *oldest* live computation that needs it, and counts as `reused` for the others.
    When the oldest computation is reported or cancelled, its remaining tasks are credited to the next oldest.

    Parameters
    ----------
    limit
        How many ended computations are kept for each client; then the oldest is dropped. A running computation is never
        dropped: a loop of small submissions must not delete the report of a long computation.
    """

    def __init__(self, limit: int = MAX_ENDED) -> None:
        self._all: OrderedDict[tuple[str, str], Computation] = OrderedDict()
        self._by_key: dict[Key, tuple[Computation, ...]] = {}
        self._ended: defaultdict[str, OrderedDict[str, Computation]] = defaultdict(OrderedDict)
        self.limit = limit

    def __len__(self) -> int:
        return len(self._all)

    def add(self, computation: Computation) -> None:
        """Register a new computation."""
        self._all[computation.client, computation.stimulus] = computation
        joined: dict[
            tuple[Computation, ...], tuple[Computation, ...]
        ] = {}  # one tuple for all keys with the same sharers
        for key in computation.touched:
            sharers = self._by_key.get(key, ())
            self._by_key[key] = joined.setdefault(sharers, (*sharers, computation))

    def finished(self, key: Key) -> None:
        """Note that a key is in memory or failed. A computation has ended when all its outputs have finished."""
        for computation in self.of(key):
            computation.unfinished.discard(key)
            if not computation.unfinished:
                ended = self._ended[computation.client]
                ended[computation.stimulus] = computation
                while len(ended) > self.limit:
                    self.drop(next(iter(ended.values())))

    def lost(self, key: Key) -> None:
        """Note that a result was lost. Computations that have it as an output are running again."""
        for computation in self.of(key):
            if key in computation.outputs:
                computation.unfinished.add(key)
                self._ended[computation.client].pop(computation.stimulus, None)

    def drop(self, computation: Computation) -> None:
        """Forget a computation."""
        self._all.pop((computation.client, computation.stimulus), None)
        self._ended[computation.client].pop(computation.stimulus, None)
        for key in computation.touched:
            sharers = self._by_key.get(key, ())
            if left := tuple([c for c in sharers if c is not computation]):
                self._by_key[key] = left
            elif sharers:
                del self._by_key[key]

    def drop_client(self, client: str) -> None:
        """Forget all computations of a client."""
        for computation in [c for c in self._all.values() if c.client == client]:
            self.drop(computation)
        self._ended.pop(client, None)

    def find(self, client: str, outputs: Iterable[Key]) -> Computation | None:
        """Return the newest computation of a client with exactly these outputs, or None."""
        wanted = frozenset(outputs)
        return next((c for c in reversed(self._all.values()) if c.client == client and c.outputs == wanted), None)

    def of(self, key: Key) -> tuple[Computation, ...]:
        """Return the live computations that need a key, oldest first."""
        return self._by_key.get(key, ())

    def last_turns(self, client: str) -> LastTurns:
        """Return the last turns of the tasks that a client has submitted and still wants."""
        last: LastTurns = {}
        for computation in self._all.values():
            if computation.client == client:
                for row, turn in computation.last_turns.items():
                    last[row] = max(turn, last.get(row, 0))
        return last

    def __iter__(self) -> Iterator[Computation]:
        return iter(list(self._all.values()))

    def forget(self, key: Key) -> None:
        """Note that a key was forgotten, and drop the computations that have no output left."""
        for computation in self.of(key):
            computation.left.discard(key)
            if not computation.left:
                self.drop(computation)
