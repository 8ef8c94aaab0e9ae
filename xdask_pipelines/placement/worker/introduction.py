"""What a worker says of itself when it joins a scheduler: versions, and the folders that it would read and write.

Belongs here: what a worker can truly know of itself. Does not belong here: who may join (admission).
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

#: Under which a worker introduces itself: among what Dask's workers tell when they join, and as a question to a worker.
INTRODUCTION = "xdask_introduction"
FOLDERS = (ROOT_VARIABLE, RESULTS_VARIABLE)
_BOOT = Path("/proc/sys/kernel/random/boot_id")
_NAMES = 1000


def introduce(worker: Worker) -> None:
    """Let a worker say what it is when it joins, and keep the pool that it joined with.

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
                f"set_resources was asked to change {', '.join(pools)} of the running worker {worker.address}. A worker "
                "stays in the pool that it joined, for its folders are those of one Region. Start another worker there: "
                "`xdask pools up`."
            )
        await set_resources(**resources)

    return set_others


def introduction() -> dict[str, Any]:
    """Versions and folders of this process.

    Returns
    -------
    ``versions`` by package, and ``folders`` by the variable that names one. A folder has its ``path``; its ``place``, which
    two processes have in common if and only if they see the same folder of the same machine (None if there is no folder);
    and the ``names`` of what lies in it, without hidden files.
    """
    named = {variable: os.environ.get(variable) for variable in FOLDERS}
    return {"versions": own_versions(), "folders": {v: _folder(path) for v, path in named.items() if path}}


def _folder(path: str) -> dict[str, Any]:
    try:
        status = Path(path).stat()
        with os.scandir(path) as found:
            names = [entry.name for entry in islice(found, _NAMES) if not entry.name.startswith(".")]
    except OSError:
        return {"path": path, "place": None, "names": []}
    machine = _BOOT.read_text().strip() if _BOOT.exists() else socket.gethostname()
    return {"path": path, "place": f"{machine} {status.st_dev} {status.st_ino}", "names": names}


def introduction_in(extra: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """What a worker said of itself, of all that it told when it joined; None if it runs without our preload."""
    return cast("dict[str, Any] | None", (extra or {}).get(INTRODUCTION))
