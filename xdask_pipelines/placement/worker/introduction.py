"""The description of a worker that it sends when it joins a scheduler: versions, and its folders for data and results.

Belongs here: the facts that a worker sends. Does not belong here: which workers may join (admission).
"""

from __future__ import annotations

import os
import socket
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, cast

from distributed import Worker

from xdask_pipelines.errors import PlacementError
from xdask_pipelines.placement.dask_internals.worker_hooks import change_resources_by, say_on_joining
from xdask_pipelines.placement.versions import own_versions
from xdask_pipelines.placement.worker.guard import RESULTS_VARIABLE, ROOT_VARIABLE
from xdask_pipelines.topology.names import POOL_PREFIX

#: Name of the description in the message with which a worker joins, and of the request for it.
INTRODUCTION = "xdask_introduction"
#: Range of ports on which the worker processes of an instance and their nannies listen, such as 9000-9031.
PORTS_VARIABLE = "XDASK_PORTS"
#: Name of the instance: of all worker processes that start and end together.
INSTANCE_VARIABLE = "XDASK_INSTANCE"
FOLDERS = (ROOT_VARIABLE, RESULTS_VARIABLE)
_BOOT = Path("/proc/sys/kernel/random/boot_id")
_NAMES = 1000


def introduce(worker: Worker) -> None:
    """Let a worker send its description when it joins, and keep its pool fixed from then on.

    Parameters
    ----------
    worker
        A worker that has not joined yet.
    """
    say_on_joining(worker, INTRODUCTION, introduction)
    change_resources_by(worker, partial(_changing_others, worker))


def _changing_others(worker: Worker, set_resources: Callable[..., Awaitable[None]]) -> Callable[..., Awaitable[None]]:
    async def set_others(**resources: float) -> None:
        if pools := sorted(name for name in resources if name.startswith(POOL_PREFIX)):
            raise PlacementError(
                f"set_resources cannot change {', '.join(pools)} of the running worker {worker.address}. A worker stays "
                "in the pool that it joined, because its folders belong to one Region. Start another worker with "
                "`xdask pools up`."
            )
        await set_resources(**resources)

    return set_others


def introduction() -> dict[str, Any]:
    """Return versions and folders of this process.

    Returns
    -------
    ``versions`` by package; ``instance``, its name; ``ports``, the range that others must reach, if it is fixed; and
    ``folders`` by environment variable. A folder has a ``path``; a ``place``, which is equal for two processes if and only
    if they see the same folder of the same machine (None if the folder does not exist); and ``names``, the files in it
    without hidden ones.
    """
    named = {variable: os.environ.get(variable) for variable in FOLDERS}
    folders = {v: _folder(path) for v, path in named.items() if path}
    named_so = {"instance": os.environ.get(INSTANCE_VARIABLE, ""), "ports": os.environ.get(PORTS_VARIABLE, "")}
    return {"versions": own_versions(), "folders": folders, **named_so}


def _folder(path: str) -> dict[str, Any]:
    try:
        status = Path(path).stat()
        with os.scandir(path) as entries:
            names = [entry.name for entry in islice(entries, _NAMES) if not entry.name.startswith(".")]
    except OSError:
        return {"path": path, "place": None, "names": []}
    machine = _BOOT.read_text().strip() if _BOOT.exists() else socket.gethostname()
    return {"path": path, "place": f"{machine} {status.st_dev} {status.st_ino}", "names": names}


def introduction_in(extra: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """Return the description from the message with which a worker joined; None if the worker runs without our preload."""
    return cast("dict[str, Any] | None", (extra or {}).get(INTRODUCTION))
