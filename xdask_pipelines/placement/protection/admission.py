"""Admission of workers to a scheduler: a worker that does not fit is refused with the reason.

Belongs here: which workers may join. Does not belong here: requests of clients (shared_use, client_plugins), who may
connect (certificates), where tasks run (plugin).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable
from time import time
from typing import Any

from distributed import Scheduler

from xdask_pipelines.placement.dask_internals.scheduler_requests import ask_worker, handle
from xdask_pipelines.placement.versions import SAME_VERSIONS, own_versions, version_problem
from xdask_pipelines.placement.worker.introduction import FOLDERS, INTRODUCTION, introduction_in
from xdask_pipelines.topology.names import POOL_PREFIX

logger = logging.getLogger("xdask.placement")
_ANSWER_SECONDS = 5.0
_Folder = dict[str, Any]


def control_admission(scheduler: Scheduler, remedy: str) -> None:
    """Refuse workers on which computations would fail or give wrong results.

    Parameters
    ----------
    scheduler
        The scheduler.
    remedy
        Command that starts the pools, for messages.
    """
    versions = own_versions()

    async def register(comm: Any, **about: Any) -> None:
        problem = _unfit(about, versions, remedy) or await _folder_problem(scheduler, about, remedy)
        if problem is None:
            await scheduler.add_worker(comm, **about)
            return
        logger.warning("a worker was refused: %s", problem)
        await comm.write({"status": "error", "message": problem, "time": time()})

    handle(scheduler, "register-worker", register)


def _unfit(about: dict[str, Any], versions: dict[str, str | None], remedy: str) -> str | None:
    """Return the reason to refuse a worker for its own versions and resources, else None."""
    address, introduction = about["address"], introduction_in(about.get("extra"))
    if introduction is None:  # its reads would be neither guarded nor reported
        return (
            f"This scheduler places tasks, but the worker at {address} was started without the preload module that "
            f"guards and reports its reads. Start it with `{remedy}`, or pass `--preload "
            "xdask_pipelines.placement.preload`."
        )
    if problem := version_problem(f"the worker at {address}", introduction["versions"], versions):
        return f"Versions differ: {problem}. {SAME_VERSIONS}"
    if len(pools := sorted(_pools(about["resources"]))) > 1:
        return (
            f"The worker at {address} asks to join {len(pools)} pools ({', '.join(pools)}), but its folders belong to one "
            f"Region only. Start one worker for each pool: `--resources {pools[0]}=1`."
        )
    return None


def _pools(resources: Iterable[str]) -> set[str]:
    return {name for name in resources if name.startswith(POOL_PREFIX)}


# ---- folders ----------------------------------------------------------------------------------------------------------


async def _folder_problem(scheduler: Scheduler, about: dict[str, Any], remedy: str) -> str | None:
    """Return the reason to refuse a worker whose folders do not match those of its pool's other workers, else None."""
    own = introduction_in(about["extra"]) or {}
    for pool in _pools(about["resources"]):
        for variable in FOLDERS:
            folder = own["folders"].get(variable)
            problem = _of_another_pool(scheduler, pool, variable, folder)
            problem = problem or await _unlike_its_pool(scheduler, pool, variable, folder)
            if problem:
                return (
                    f"The worker at {about['address']} asks to join {pool}, but {problem}. Start it with `{remedy}`, or "
                    f"set {variable} to the Region's own folder."
                )
    return None


def _known_folders(scheduler: Scheduler, variable: str) -> Iterable[tuple[str, str, _Folder]]:
    """Iterate over pool, address and folder of each connected worker that has the folder."""
    for address, ws in scheduler.workers.items():
        folder = (introduction_in(ws.extra) or {"folders": {}})["folders"].get(variable)
        if folder is not None:
            for pool in _pools(ws.resources):
                yield pool, address, folder


def _of_another_pool(scheduler: Scheduler, pool: str, variable: str, folder: _Folder | None) -> str | None:
    if folder is None or folder["place"] is None:
        return None
    for other, _, theirs in _known_folders(scheduler, variable):
        if other != pool and theirs["place"] == folder["place"]:
            return f"its folder {folder['path']} ({variable}) belongs to {other}"
    return None


async def _unlike_its_pool(scheduler: Scheduler, pool: str, variable: str, folder: _Folder | None) -> str | None:
    mates = [(address, theirs) for other, address, theirs in _known_folders(scheduler, variable) if other == pool]
    if not mates:
        return None
    if folder is None:
        return f"its folder is unknown ({variable} is not set), and the other workers of the pool have one"
    address, theirs = mates[0]
    if not _nothing_in_common(folder, theirs):
        return None
    theirs = await _seen_now(scheduler, address, variable) or {"names": ()}  # a sync may have changed the folder
    if not _nothing_in_common(folder, theirs):
        return None
    return (
        f"its folder {folder['path']} ({variable}) contains none of the files that the other workers of the pool see "
        f"({', '.join(sorted(theirs['names'])[:3])})"
    )


def _nothing_in_common(folder: _Folder, theirs: _Folder) -> bool:
    return bool(theirs["names"]) and not set(theirs["names"]) & set(folder["names"])


async def _seen_now(scheduler: Scheduler, address: str, variable: str) -> _Folder | None:
    """Return the current content of a worker's folder; None if the worker does not answer."""
    try:
        introduction = await asyncio.wait_for(ask_worker(scheduler, address, INTRODUCTION), _ANSWER_SECONDS)
    except (OSError, TimeoutError):
        return None
    folder: _Folder | None = introduction["folders"].get(variable)
    return folder
