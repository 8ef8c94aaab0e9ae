"""Replicas of results on workers, which Dask creates and drops on its own.

Belongs here: replacing Dask's policies and requests. Does not belong here: the replacements (pool_transfers).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import distributed.scheduler
from dask.typing import Key
from distributed import Scheduler
from distributed.active_memory_manager import ActiveMemoryManagerPolicy, ReduceReplicas, RetireWorker
from distributed.protocol.serialize import Serialized, serialize

from xdask_pipelines.placement.dask_internals.scheduler_requests import tell_worker


def retire_by(policy: type[RetireWorker]) -> None:
    """Make schedulers of this process use our policy for results on retiring workers."""
    distributed.scheduler.RetireWorker = policy  # type: ignore[attr-defined]


def thin_out_by(scheduler: Scheduler, policy: ActiveMemoryManagerPolicy) -> None:
    """Make a scheduler use our policy for surplus replicas, if it drops any."""
    memory = scheduler.extensions["amm"]
    for one in [p for p in memory.policies if type(p) is ReduceReplicas]:
        memory.policies.remove(one)
        memory.add_policy(policy)


def acquire_by(scheduler: Scheduler, acquire: Callable[..., None]) -> None:
    """Make a scheduler use our function to request replicas: ``acquire(addr, keys, *, stimulus_id)``."""
    scheduler.request_acquire_replicas = acquire  # type: ignore[method-assign]


def acquire(scheduler: Scheduler, address: str, keys: Iterable[Key], stimulus: str) -> None:
    """Make a worker fetch replicas of results, with the function of `acquire_by`."""
    scheduler.request_acquire_replicas(address, keys, stimulus_id=stimulus)


def send_for(
    scheduler: Scheduler, address: str, holders: Mapping[Key, Sequence[str]], nbytes: Mapping[Key, int], stimulus: str
) -> None:
    """Make a worker fetch replicas of results from the given holders."""
    tell_worker(scheduler, address, "acquire-replicas", who_has=holders, nbytes=nbytes, stimulus_id=stimulus)


def packed(value: Any) -> Serialized | None:
    """Serialize a result; return None if that is not possible.

    Collections are serialized as one object: with a header for each item it is not visible whether all were serialized,
    and distributed (2026.8.0) cannot pass on such a header of a dict.
    """
    header, frames = serialize(value, on_error="message", iterate_collection=False)
    return None if header["serializer"] == "error" else Serialized(header, frames)


def parts_of(data: Any) -> tuple[dict[str, Any], Sequence[Any]] | None:
    """Return header and frames of a result from `packed`; None for other data of a worker."""
    return (data.header, data.frames) if isinstance(data, Serialized) else None
