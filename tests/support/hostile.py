"""A second client that does what hurts: seeded, about one act a second, until its pipe closes.

Run as ``python hostile.py ADDRESS LOG SEED DATA_FOLDER``. It waits for the line ``resume`` on standard input; ``pause``
makes it take back what it has submitted and wait again. It answers each line once that is done. Every act ends as one
JSON line of the log: its name, what came of it, the seconds it took, and whether that is what a neighbour is owed: the
right value, or a refusal by name in time.

Belongs here: the acts and what is owed to them. Does not belong here: the tests that run beside it (conftest).
"""

from __future__ import annotations

import gc
import json
import os
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from queue import Empty, Queue
from threading import Lock, Thread
from time import monotonic
from typing import Any

import dask
import dask.array as da
import numpy as np
from distributed import Client, Variable, wait, worker_client
from distributed.diagnostics.plugin import SchedulerPlugin, WorkerPlugin

from tests.support.places import CENTRAL, EAST, WEST, workers_of
from tests.support.recorder import HOSTILE as NAME
from xdask_pipelines.errors import PlacementError
from xdask_pipelines.placement import compute, pin

#: Name of the file that it tries to read by itself.
FORBIDDEN = "hostile.txt"
#: Refusals take 10 s; but a flood of 40,000 tasks, or a busy machine, may hold up the scheduler for much longer.
OWED_SECONDS = 120.0
_PAUSE_SECONDS = 0.8
_REGIONS = (EAST, WEST, CENTRAL)


@dataclass
class Owed:
    """A future, and what it has to come to: a value, an error of some type, or either."""

    act: str
    future: Any
    value: Any = None
    errors: tuple[type[BaseException], ...] = ()
    since: float = field(default_factory=monotonic)


def lazy(region: str, token: str, blocks: int = 4) -> da.Array:
    """Ones, with keys that nobody else has."""

    def make(block_id: Any = None) -> np.ndarray:
        return np.ones(6)

    name = f"{NAME}-{token}-{region}"
    made = da.map_blocks(make, chunks=((6,) * blocks,), dtype=float, meta=np.empty(0), name=name)
    return pin(made, region)


def fail() -> None:
    """Fail as a user's function does."""
    raise ZeroDivisionError("the neighbour's own")


class Unpicklable(Exception):
    """An error that cannot be sent."""

    def __reduce__(self) -> Any:
        raise RuntimeError("no pickle of this")


class Poisoned:
    """A value that cannot be read where it arrives."""

    def __reduce__(self) -> Any:
        return fail, ()


class ALockOnArrival:
    """Unpickles to what cannot be pickled again."""

    def __reduce__(self) -> Any:
        return Lock, ()


def fail_unpicklably() -> None:
    """Fail with such an error."""
    raise Unpicklable


def nested(token: str) -> int:
    """Submit work from inside a task."""
    with worker_client() as client:
        far = [client.submit(int, i, key=f"{NAME}-inner-{token}-{i}") for i in range(3)]
        return int(sum(client.gather(far)))


class Broken(SchedulerPlugin):
    """Raises wherever the scheduler calls it."""

    name = f"{NAME}-plugin"

    def update_graph(self, *args: Any, **kwargs: Any) -> None:
        """Raise."""
        raise RuntimeError("a neighbour's plugin")

    transition = add_client = remove_client = add_worker = remove_worker = update_graph


class BrokenOnWorkers(WorkerPlugin):
    """Raises at each step of a task of a worker."""

    name = f"{NAME}-worker-plugin"

    def transition(self, *args: Any, **kwargs: Any) -> None:
        """Raise."""
        raise RuntimeError("a neighbour's plugin")


class InPlaceOfOurs(SchedulerPlugin):
    """Would take the name of the plugin that places."""

    name = "xdask-placement"


class InPlaceOfDeliveries(WorkerPlugin):
    """Would take the name of the plugin that sends results ahead."""

    name = "xdask-deliver"


class Counter:
    """An actor."""

    def __init__(self) -> None:
        self.n = 0

    def increment(self) -> int:
        """Count."""
        self.n += 1
        return self.n


class Hostile:
    """Acts on one client; ``acts`` are its methods by name."""

    def __init__(self, address: str, seed: int, folder: Path) -> None:
        self.address, self.forbidden = address, folder / FORBIDDEN
        self.random = np.random.default_rng(seed)
        self.client = self.connected()
        self.count, self.order = 0, list[str]()
        self.acts: dict[str, Callable[[str, str], Iterator[Owed]]] = {
            name.removeprefix("act_"): getattr(self, name) for name in dir(self) if name.startswith("act_")
        }

    def connected(self) -> Client:
        return Client(self.address, name=NAME, set_as_default=False)

    def workers(self, region: str) -> list[str]:
        chosen = workers_of(self.client, region)
        assert chosen, f"no worker of {region}"  # Dask takes an empty list for no restriction
        return chosen

    def other(self, region: str) -> str:
        return str(self.random.choice([r for r in _REGIONS if r != region]))

    # ---- keywords ---------------------------------------------------------------------------------------------------

    def act_workers_of_another_region(self, token: str, region: str) -> Iterator[Owed]:
        workers = self.workers(self.other(region))
        yield Owed("", self.client.compute(lazy(region, token).sum(), workers=workers), errors=(PlacementError,))

    def act_other_workers_allowed(self, token: str, region: str) -> Iterator[Owed]:
        options = {"workers": self.workers(self.other(region)), "allow_other_workers": True}
        yield Owed("", self.client.compute(lazy(region, token).sum(), **options), 24.0, (PlacementError,))
        options["workers"] = self.workers(region)
        yield Owed("", self.client.compute(lazy(region, f"{token}-b").sum(), **options), 24.0)

    def act_resources_that_nobody_has(self, token: str, region: str) -> Iterator[Owed]:
        future = self.client.compute(lazy(region, token).sum(), resources={"GPU": 1})
        yield Owed("", future, errors=(PlacementError,))

    def act_the_pool_of_another_region_as_resource(self, token: str, region: str) -> Iterator[Owed]:
        resources = {f"pool-{self.other(region)}": 1}
        yield Owed("", self.client.compute(lazy(region, token).sum(), resources=resources), 24.0, (PlacementError,))

    def act_workers_that_do_not_exist(self, token: str, region: str) -> Iterator[Owed]:
        future = self.client.submit(int, 7, key=f"{NAME}-{token}", workers=["tcp://127.0.0.1:1"])
        yield Owed("", future, errors=(PlacementError,))

    def act_priorities(self, token: str, region: str) -> Iterator[Owed]:
        for priority in (1_000, -1_000):
            future = self.client.compute(lazy(region, f"{token}{priority}").sum(), priority=priority)
            yield Owed("", future, 24.0)

    def act_annotations_of_ours(self, token: str, region: str) -> Iterator[Owed]:
        with dask.annotate(xdask_deliver=True, retries=3):
            yield Owed("", self.client.submit(int, 7, key=f"{NAME}-{token}"), 7)

    # ---- tasks ------------------------------------------------------------------------------------------------------

    def act_a_flood_that_is_cancelled(self, token: str, region: str) -> Iterator[Owed]:
        futures = self.client.map(int, range(60), key=[f"{NAME}-{token}-{i}" for i in range(60)])
        self.client.cancel(futures[:40])
        for i, future in enumerate(futures[40:], 40):
            yield Owed("", future, i)

    def act_an_error(self, token: str, region: str) -> Iterator[Owed]:
        yield Owed("", self.client.submit(fail, key=f"{NAME}-{token}"), errors=(ZeroDivisionError,))

    def act_an_error_that_nothing_pickles(self, token: str, region: str) -> Iterator[Owed]:
        yield Owed("", self.client.submit(fail_unpicklably, key=f"{NAME}-{token}"), errors=(Exception,))

    def act_a_result_that_nothing_pickles(self, token: str, region: str) -> Iterator[Owed]:
        future = self.client.submit(lambda: (i for i in range(3)), key=f"{NAME}-{token}")
        yield Owed("", future, errors=(TypeError,))

    def act_an_argument_that_breaks_where_it_arrives(self, token: str, region: str) -> Iterator[Owed]:
        yield Owed("", self.client.submit(str, Poisoned(), key=f"{NAME}-{token}"), errors=(Exception,))

    def act_what_would_end_a_worker(self, token: str, region: str) -> Iterator[Owed]:
        yield Owed("", self.client.submit(sys.exit, key=f"{NAME}-{token}"), errors=(RuntimeError,))
        yield Owed("", self.client.submit(str, ALockOnArrival(), key=f"{NAME}-{token}-b"), errors=(PlacementError,))
        future = self.client.compute(lazy(region, token).sum(), priority=2**70)
        yield Owed("", future, errors=(PlacementError,))

    def act_work_inside_tasks(self, token: str, region: str) -> Iterator[Owed]:
        yield Owed("", self.client.submit(nested, token, key=f"{NAME}-{token}", workers=self.workers(region)), 3)

    def act_an_actor(self, token: str, region: str) -> Iterator[Owed]:
        actor = self.client.submit(Counter, actor=True, key=f"{NAME}-{token}").result(timeout=OWED_SECONDS)
        assert actor.increment().result(timeout=OWED_SECONDS) == 1
        yield from ()

    def act_keys_like_ours(self, token: str, region: str) -> Iterator[Owed]:
        """Addresses of e-mail, which are no Regions; and Regions that nobody has, or that are not where the work is."""
        yield Owed("", self.client.submit(int, 7, key=f"{NAME}-{token}@example-1"), 7)
        yield Owed("", self.client.submit(int, 7, key=f"{NAME}@@nowhere_9-{token}"), errors=(PlacementError,))
        marked = f"read@@{self.other(region).replace('-', '_')}-{NAME}{token}"
        yield Owed("", self.client.submit(int, 7, key=marked, workers=self.workers(region)), errors=(PlacementError,))

    # ---- graphs and data --------------------------------------------------------------------------------------------

    def act_a_shuffle(self, token: str, region: str) -> Iterator[Owed]:
        other = self.other(region)
        field = da.stack([lazy(region, token), lazy(other, token)])
        yield Owed("", self.client.compute(field.rechunk((1, -1), method="p2p").sum()), 48.0)

    def act_held_data_that_are_let_go(self, token: str, region: str) -> Iterator[Owed]:
        self.client.persist(lazy(region, token))
        held = self.client.persist(lazy(region, f"{token}-b"))
        yield Owed("", self.client.compute(held.sum()), 24.0)

    def act_data_sent_and_moved(self, token: str, region: str) -> Iterator[Owed]:
        sent = self.client.scatter(np.ones(8), broadcast=bool(self.random.integers(2)))
        held = self.client.persist(lazy(region, token))
        wait(held, timeout=OWED_SECONDS)
        self.client.replicate(held)
        self.client.rebalance(held)
        yield Owed("", self.client.submit(np.sum, sent, key=f"{NAME}-{token}-sum"), 8.0)
        yield Owed("", self.client.compute(held.sum()), 24.0)

    def act_names_that_are_left_behind(self, token: str, region: str) -> Iterator[Owed]:
        held = self.client.persist(lazy(region, token))
        self.client.publish_dataset(held, name=token)
        self.client.unpublish_dataset(token)
        Variable(token, self.client).set(1)
        Variable(token, self.client).delete()
        yield from ()

    def act_a_client_that_leaves_in_mid_run(self, token: str, region: str) -> Iterator[Owed]:
        with self.connected() as leaving:
            leaving.compute(lazy(region, token).sum())
        yield from ()

    def act_a_sound_computation(self, token: str, region: str) -> Iterator[Owed]:
        (got,), evidence = compute(self.client, (lazy(region, token) - lazy(self.other(region), token)).sum() + 5)
        assert got == 5
        assert evidence.misplaced_tasks == 0
        yield from ()

    # ---- plugins, and reads -----------------------------------------------------------------------------------------

    def act_plugins_that_raise(self, token: str, region: str) -> Iterator[Owed]:
        self.client.register_plugin(Broken())
        self.client.register_plugin(BrokenOnWorkers())
        yield Owed("", self.client.compute(lazy(region, token).sum()), 24.0)

    def act_plugins_in_place_of_ours(self, token: str, region: str) -> Iterator[Owed]:
        for attempt in (
            lambda: self.client.register_plugin(InPlaceOfOurs()),
            lambda: self.client.register_plugin(InPlaceOfDeliveries()),
            lambda: self.client.unregister_scheduler_plugin("xdask-placement"),
            lambda: self.client.unregister_worker_plugin("xdask-deliver"),
        ):
            refused(attempt)
        yield from ()

    def act_a_read_by_itself(self, token: str, region: str) -> Iterator[Owed]:
        refused(lambda: self.client.run(Path.read_text, self.forbidden))
        yield from ()

    # ---- what comes of it -------------------------------------------------------------------------------------------

    def next(self) -> str:
        """Name of the next act; each comes once before any comes again."""
        if not self.order:
            self.order = [str(name) for name in self.random.permutation(sorted(self.acts))]
        return self.order.pop()

    def act(self, name: str) -> Iterator[Owed]:
        """Do it."""
        self.count += 1
        for owed in self.acts[name](f"{os.getpid()}x{self.count}", str(self.random.choice(_REGIONS))):
            owed.act = name
            yield owed


def refused(attempt: Callable[[], Any]) -> None:
    """Make sure that something is refused by name."""
    try:
        attempt()
    except PlacementError:
        return
    raise AssertionError("it was not refused")


def outcome(owed: Owed) -> tuple[bool, str]:
    """Whether a future that is done came to what was owed, and what it came to."""
    try:
        got = owed.future.result(timeout=OWED_SECONDS)
    except owed.errors as error:
        return True, repr(error)[:300]
    except Exception as error:
        return False, f"{error!r}"[:300]
    return (got == owed.value and owed.value is not None), repr(got)[:300]


def listen(words: Queue[str]) -> None:
    """Hand over the lines of standard input, and the word ``end`` after them."""
    for line in sys.stdin:
        words.put(line.strip())
    words.put("end")


def main() -> None:
    """Act until standard input ends."""
    address, log, seed, folder = sys.argv[1:]
    words: Queue[str] = Queue()
    Thread(target=listen, args=(words,), daemon=True).start()
    hostile = Hostile(address, int(seed), Path(folder))
    open_acts: list[Owed] = []
    with hostile.client.as_current(), Path(log).open("a", buffering=1) as told:

        def tell(act: str, since: float, good: bool, came: str, key: str = "") -> None:
            seconds = monotonic() - since
            print(json.dumps({"act": act, "key": key, "seconds": seconds, "good": good, "came": came}), file=told)

        paused = True
        while True:
            for owed in [o for o in open_acts if o.future.done() or monotonic() - o.since > OWED_SECONDS]:
                open_acts.remove(owed)
                late = not owed.future.done()
                tell(owed.act, owed.since, *((False, "nothing") if late else outcome(owed)), str(owed.future.key))
                owed.future.release()  # the traceback of its error holds it for as long as the client lives
            try:
                word = words.get(timeout=_PAUSE_SECONDS)
            except Empty:
                word = ""
            if word == "end":
                return
            if word:
                paused = word == "pause"
                if paused:
                    hostile.client.cancel([o.future for o in open_acts])
                    for owed in open_acts:
                        owed.future.release()
                    open_acts.clear()
                    gc.collect()  # tracebacks of errors hold futures
                print(word, flush=True)
            if not paused:
                name, since = hostile.next(), monotonic()
                try:
                    open_acts += hostile.act(name)
                    tell(name, since, monotonic() - since < OWED_SECONDS, "acted")
                except Exception as error:
                    tell(name, since, False, f"{error!r}"[:300])


if __name__ == "__main__":
    main()
