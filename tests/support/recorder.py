"""Who ran what, who opened what, what moved: recorded on a running cluster, without a line of the placement package.

Belongs here: observation. Does not belong here: any judgement, or anything that placement itself reports.
"""

from __future__ import annotations

import os
import sys
from collections import Counter, deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dask.distributed import Client, Scheduler, Worker, get_worker
from dask.typing import Key
from distributed.diagnostics.plugin import SchedulerPlugin, WorkerPlugin
from distributed.protocol.serialize import Serialized, deserialize
from distributed.sizeof import sizeof

SCHEDULER_PLUGIN = "test-recorder"
#: In the ids of clients whose work is left out, and at the start of keys that their tasks submit.
HOSTILE = "hostile"
_POOL = "pool-"


class Ran(SchedulerPlugin):
    """Keeps every task that a worker finished, which Region each worker is of, and which keys are the hostile client's."""

    name = SCHEDULER_PLUGIN

    def start(self, scheduler: Scheduler) -> None:
        self.scheduler = scheduler
        self.finished: list[tuple[Any, str]] = []
        self.regions: dict[str, str] = {}
        self.hostile: set[Key] = set()
        for address in scheduler.workers:
            self.add_worker(scheduler, address)

    def add_worker(self, scheduler: Scheduler, worker: str) -> None:
        offered = [r for r in scheduler.workers[worker].resources if r.startswith(_POOL)]
        self.regions[worker] = offered[0][len(_POOL) :] if offered else "none"

    def update_graph(self, scheduler: Scheduler, *, client: str, tasks: list[Key], **kwargs: Any) -> None:
        if f"-{HOSTILE}-" in client:
            self.hostile.update(tasks)

    def is_hostile(self, key: Key) -> bool:
        return key in self.hostile or str(key).startswith(HOSTILE)

    def transition(self, key: Any, start: str, finish: str, *args: Any, **kwargs: Any) -> None:
        if start == "processing" and finish == "memory" and not self.is_hostile(key):
            self.finished.append((key, kwargs["worker"]))


class Opened(WorkerPlugin):
    """Keeps every path below the given roots that this process opened: Python's own opens, and those of HDF5."""

    name = SCHEDULER_PLUGIN

    def __init__(self, roots: Sequence[str]) -> None:
        self.roots = tuple(os.path.realpath(r) + os.sep for r in roots)

    def setup(self, worker: Worker) -> None:
        import h5py

        self.paths: list[str] = []
        worker.opened_paths = self.paths
        hdf5_open = h5py.h5f.open

        def note(path: Any) -> None:
            if isinstance(path, (str, bytes)):
                name = os.path.realpath(os.fsdecode(path))
                if name.startswith(self.roots) and f"{os.sep}{HOSTILE}" not in name:
                    self.paths.append(name)

        def open_noted(name: Any, *args: Any, **kwargs: Any) -> Any:
            opened = hdf5_open(name, *args, **kwargs)
            note(name)
            return opened

        h5py.h5f.open = open_noted
        worker.transfer_outgoing_log = deque()  # Dask keeps the last thousand only
        self.ahead: list[tuple[Key, int]] = []
        worker.sent_ahead = self.ahead
        send = worker.batched_send

        def send_noted(message: dict[str, Any]) -> None:
            if isinstance(data := message.get("data"), Serialized):
                self.ahead.append((message["key"], sizeof(deserialize(data.header, data.frames))))
            send(message)

        worker.batched_send = send_noted
        sys.addaudithook(lambda event, args: note(args[0]) if event == "open" else None)


def _finished(since: int, dask_scheduler: Scheduler | None = None) -> tuple[list[tuple[Any, str]], dict[str, str]]:
    plugin = dask_scheduler.plugins[SCHEDULER_PLUGIN]
    return plugin.finished[since:], dict(plugin.regions)


def is_others(dask_scheduler: Scheduler, key: Key) -> bool:
    """Whether a key is none of the hostile client's; for functions that run on the scheduler."""
    return not dask_scheduler.plugins[SCHEDULER_PLUGIN].is_hostile(key)


def _hostile_among(keys: set[Key], dask_scheduler: Scheduler | None = None) -> set[Key]:
    return {key for key in keys if not is_others(dask_scheduler, key)}


#: Keys and their bytes, and the address that they went to; None if to the scheduler, unasked.
Sent = tuple[str | None, dict[Key, int]]


def _looked(dask_worker: Worker | None = None) -> tuple[list[str], list[Sent], list[Sent]]:
    worker = dask_worker or get_worker()
    sent = [(str(entry["who"]), entry["keys"]) for entry in worker.transfer_outgoing_log]
    ahead = [(None, {key: nbytes}) for key, nbytes in getattr(worker, "sent_ahead", [])]
    return list(getattr(worker, "opened_paths", [])), sent, ahead


@dataclass
class Recording:
    """What happened between two moments.

    ``ran``: keys by Region; ``opened``: paths by Region of the worker that opened them; ``moved``: bytes by
    ``"src->dst"``, where what is not a worker is the client.
    """

    ran: dict[str, list[Any]] = field(default_factory=dict)
    opened: dict[str, list[str]] = field(default_factory=dict)
    moved: Counter[str] = field(default_factory=Counter)

    def regions_of(self, prefix: str) -> set[str]:
        """Regions in which tasks with such a prefix ran."""
        return {
            r
            for r, keys in self.ran.items()
            for k in keys
            if str(k[0] if isinstance(k, tuple) else k)[: len(prefix)] == prefix
        }

    @property
    def tasks(self) -> Counter[str]:
        """Number of tasks by Region."""
        return Counter({region: len(keys) for region, keys in self.ran.items()})


class Recorder:
    """Installed once on a cluster; `recording` gives what happened inside a block."""

    def __init__(self, client: Client, roots: Mapping[str, Path], client_region: str) -> None:
        self.client = client
        self.roots = roots
        self.client_region = client_region
        client.register_plugin(Ran())
        client.register_plugin(Opened([str(p) for p in roots.values()]))

    @contextmanager
    def recording(self) -> Iterator[Recording]:
        """Record what happens inside the block; the recording is complete after it."""
        before = len(self.client.run_on_scheduler(_finished, 0)[0])
        looked = self.client.run(_looked)
        recording = Recording()
        yield recording
        finished, regions = self.client.run_on_scheduler(_finished, before)
        for key, worker in finished:
            recording.ran.setdefault(regions[worker], []).append(key)
        moved: list[tuple[str, Sent]] = []
        for worker, (paths, sent, ahead) in self.client.run(_looked).items():
            old_paths, old_sent, old_ahead = looked.get(worker, ([], [], []))
            if new := paths[len(old_paths) :]:
                recording.opened.setdefault(regions[worker], []).extend(new)
            moved += [(worker, one) for one in (*sent[len(old_sent) :], *ahead[len(old_ahead) :])]
        hostile = self.client.run_on_scheduler(_hostile_among, {key for _, (_, keys) in moved for key in keys})
        for worker, (who, keys) in moved:
            src, dst = regions[worker], regions.get(str(who), self.client_region)
            if src != dst and (nbytes := [n for key, n in keys.items() if key not in hostile]):
                recording.moved[f"{src}->{dst}"] += sum(nbytes)

    def times_asked(self) -> int:
        """How often workers were asked for data since they started, other than by the hostile client."""
        sent = [keys for _, found, _ in self.client.run(_looked).values() for _, keys in found]
        hostile = self.client.run_on_scheduler(_hostile_among, {key for keys in sent for key in keys})
        return sum(not hostile.issuperset(keys) for keys in sent)

    def region_of_path(self, path: str) -> str:
        """Region below whose root a path is."""
        return next(r for r, root in self.roots.items() if path.startswith(os.path.realpath(root) + os.sep))

    def strays(self, recording: Recording) -> list[str]:
        """Paths that were opened by workers of another Region."""
        return [p for region, paths in recording.opened.items() for p in paths if self.region_of_path(p) != region]
