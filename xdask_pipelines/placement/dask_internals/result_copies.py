"""Copies of results on workers: which ones Dask makes and drops by itself.

Belongs here: putting other policies and requests in the place of Dask's. Does not belong here: what they are
(pool_transfers).
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
    """Let schedulers of this process move what retiring workers hold by a policy of ours."""
    distributed.scheduler.RetireWorker = policy  # type: ignore[attr-defined]


def thin_out_by(scheduler: Scheduler, policy: ActiveMemoryManagerPolicy) -> None:
    """Let a scheduler drop surplus copies by a policy of ours, if it drops any."""
    memory = scheduler.extensions["amm"]
    for one in [p for p in memory.policies if type(p) is ReduceReplicas]:
        memory.policies.remove(one)
        memory.add_policy(policy)


def acquire_by(scheduler: Scheduler, acquire: Callable[..., None]) -> None:
    """Let a function send workers for results: ``acquire(addr, keys, *, stimulus_id)``."""
    scheduler.request_acquire_replicas = acquire  # type: ignore[method-assign]


def acquire(scheduler: Scheduler, address: str, keys: Iterable[Key], stimulus: str) -> None:
    """Make a worker get copies of results, as `acquire_by` says."""
    scheduler.request_acquire_replicas(address, keys, stimulus_id=stimulus)


def send_for(
    scheduler: Scheduler, address: str, holders: Mapping[Key, Sequence[str]], nbytes: Mapping[Key, int], stimulus: str
) -> None:
    """Make a worker get copies of results from these holders."""
    tell_worker(scheduler, address, "acquire-replicas", who_has=holders, nbytes=nbytes, stimulus_id=stimulus)


def packed(value: Any) -> Serialized | None:
    """A result as it travels; None if it cannot.

    Collections as one: a header for each item does not say whether all could be serialized, and distributed (2026.8.0)
    cannot pass such a header of a dict on.
    """
    header, frames = serialize(value, on_error="message", iterate_collection=False)
    return None if header["serializer"] == "error" else Serialized(header, frames)


def parts_of(data: Any) -> tuple[dict[str, Any], Sequence[Any]] | None:
    """Header and frames of a result that `packed` made; None of anything else that a worker sent."""
    return (data.header, data.frames) if isinstance(data, Serialized) else None
