"""Which workers join a scheduler, and which are refused by name.

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
    """Refuse workers that would fail, or spoil, what others compute.

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
    """What is wrong with a worker by itself."""
    address, said = about["address"], introduction_in(about.get("extra"))
    if said is None:  # it would read unguarded, and report nothing
        return (
            f"This scheduler places tasks, and the worker at {address} was started without the preload module that "
            f"guards and reports its reads. Start it with `{remedy}`, or give it `--preload "
            "xdask_pipelines.placement.preload`."
        )
    if problem := version_problem(f"the worker at {address}", said["versions"], versions):
        return f"Versions differ: {problem}. {SAME_VERSIONS}"
    if len(pools := sorted(_pools(about["resources"]))) > 1:
        return (
            f"The worker at {address} names {len(pools)} pools ({', '.join(pools)}), and its folders can be those of one "
            f"Region only. Start one worker for each: `--resources {pools[0]}=1`."
        )
    return None


def _pools(resources: Iterable[str]) -> set[str]:
    return {name for name in resources if name.startswith(POOL_PREFIX)}


# ---- folders ----------------------------------------------------------------------------------------------------------


async def _folder_problem(scheduler: Scheduler, about: dict[str, Any], remedy: str) -> str | None:
    """Where the folders of a worker are not those of its pool, as far as the workers that are there can tell."""
    own = introduction_in(about["extra"]) or {}
    for pool in _pools(about["resources"]):
        for variable in FOLDERS:
            folder = own["folders"].get(variable)
            problem = _of_another_pool(scheduler, pool, variable, folder)
            problem = problem or await _unlike_its_pool(scheduler, pool, variable, folder)
            if problem:
                return (
                    f"The worker at {about['address']} names {pool}, but {problem}. Start it with `{remedy}`, or set "
                    f"{variable} to the Region's own folder."
                )
    return None


def _told(scheduler: Scheduler, variable: str) -> Iterable[tuple[str, str, _Folder]]:
    """Pool, address and folder of each worker that is there and has one."""
    for address, ws in scheduler.workers.items():
        folder = (introduction_in(ws.extra) or {"folders": {}})["folders"].get(variable)
        if folder is not None:
            for pool in _pools(ws.resources):
                yield pool, address, folder


def _of_another_pool(scheduler: Scheduler, pool: str, variable: str, folder: _Folder | None) -> str | None:
    if folder is None or folder["place"] is None:
        return None
    for other, _, theirs in _told(scheduler, variable):
        if other != pool and theirs["place"] == folder["place"]:
            return f"its folder {folder['path']} ({variable}) is that of {other}"
    return None


async def _unlike_its_pool(scheduler: Scheduler, pool: str, variable: str, folder: _Folder | None) -> str | None:
    mates = [(address, theirs) for other, address, theirs in _told(scheduler, variable) if other == pool]
    if not mates:
        return None
    if folder is None:
        return f"it does not know its folder ({variable} is not set), as the other workers of the pool do"
    address, theirs = mates[0]
    if not _nothing_in_common(folder, theirs):
        return None
    theirs = await _seen_now(scheduler, address, variable) or {"names": ()}  # a sync may have changed it since
    if not _nothing_in_common(folder, theirs):
        return None
    return (
        f"its folder {folder['path']} ({variable}) holds none of what the other workers of the pool see in theirs "
        f"({', '.join(sorted(theirs['names'])[:3])})"
    )


def _nothing_in_common(folder: _Folder, theirs: _Folder) -> bool:
    return bool(theirs["names"]) and not set(theirs["names"]) & set(folder["names"])


async def _seen_now(scheduler: Scheduler, address: str, variable: str) -> _Folder | None:
    """What a worker sees in its folder now; None if it does not answer."""
    try:
        said = await asyncio.wait_for(ask_worker(scheduler, address, INTRODUCTION), _ANSWER_SECONDS)
    except (OSError, TimeoutError):
        return None
    found: _Folder | None = said["folders"].get(variable)
    return found
