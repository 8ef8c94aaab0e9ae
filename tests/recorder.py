"""Who ran what, who opened what, what moved: recorded on a running cluster, without a line of the placement package.

Belongs here: observation. Does not belong here: any judgement, or anything that placement itself reports.
"""

from __future__ import annotations

import os
import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dask.distributed import Client, Scheduler, Worker, get_worker
from distributed.diagnostics.plugin import SchedulerPlugin, WorkerPlugin
from distributed.protocol.serialize import Serialized, deserialize
from distributed.sizeof import sizeof

SCHEDULER_PLUGIN = "test-recorder"
_POOL = "pool-"


class Ran(SchedulerPlugin):
    """Keeps every task that a worker finished, and which Region each worker is of."""

    name = SCHEDULER_PLUGIN

    def start(self, scheduler: Scheduler) -> None:
        self.scheduler = scheduler
        self.finished: list[tuple[Any, str]] = []
        self.regions: dict[str, str] = {}
        for address in scheduler.workers:
            self.add_worker(scheduler, address)

    def add_worker(self, scheduler: Scheduler, worker: str) -> None:
        offered = [r for r in scheduler.workers[worker].resources if r.startswith(_POOL)]
        self.regions[worker] = offered[0][len(_POOL) :] if offered else "none"

    def transition(self, key: Any, start: str, finish: str, *args: Any, **kwargs: Any) -> None:
        if start == "processing" and finish == "memory":
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
            if isinstance(path, (str, bytes)) and (name := os.path.realpath(os.fsdecode(path))).startswith(self.roots):
                self.paths.append(name)

        def open_noted(name: Any, *args: Any, **kwargs: Any) -> Any:
            opened = hdf5_open(name, *args, **kwargs)
            note(name)
            return opened

        h5py.h5f.open = open_noted
        self.ahead: list[int] = []
        worker.sent_ahead = self.ahead
        send = worker.batched_send

        def send_noted(message: dict[str, Any]) -> None:
            if isinstance(data := message.get("data"), Serialized):
                self.ahead.append(sizeof(deserialize(data.header, data.frames)))
            send(message)

        worker.batched_send = send_noted
        sys.addaudithook(lambda event, args: note(args[0]) if event == "open" else None)


def _finished(since: int, dask_scheduler: Scheduler | None = None) -> tuple[list[tuple[Any, str]], dict[str, str]]:
    plugin = dask_scheduler.plugins[SCHEDULER_PLUGIN]
    return plugin.finished[since:], dict(plugin.regions)


def _looked(dask_worker: Worker | None = None) -> tuple[list[str], list[tuple[str, int]], list[int]]:
    worker = dask_worker or get_worker()
    sent = [(str(entry["who"]), entry["total"]) for entry in worker.transfer_outgoing_log]
    return list(getattr(worker, "opened_paths", [])), sent, list(getattr(worker, "sent_ahead", []))


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
        for worker, (paths, sent, ahead) in self.client.run(_looked).items():
            old_paths, old_sent, old_ahead = looked.get(worker, ([], [], []))
            if new := paths[len(old_paths) :]:
                recording.opened.setdefault(regions[worker], []).extend(new)
            for who, nbytes in sent[len(old_sent) :]:
                pair = f"{regions[worker]}->{regions.get(who, self.client_region)}"
                if pair.split("->")[0] != pair.split("->")[1]:
                    recording.moved[pair] += nbytes
            if ahead[len(old_ahead) :]:
                recording.moved[f"{regions[worker]}->{self.client_region}"] += sum(ahead[len(old_ahead) :])

    def region_of_path(self, path: str) -> str:
        """Region below whose root a path is."""
        return next(r for r, root in self.roots.items() if path.startswith(os.path.realpath(root) + os.sep))

    def strays(self, recording: Recording) -> list[str]:
        """Paths that were opened by workers of another Region."""
        return [p for region, paths in recording.opened.items() for p in paths if self.region_of_path(p) != region]
