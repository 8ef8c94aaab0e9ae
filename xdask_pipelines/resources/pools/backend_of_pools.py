"""The backend of a topology's pools.

Belongs here: which kind pools have. Does not belong here: any kind (pool_backends, ecs_backend).
"""

from __future__ import annotations

from xdask_pipelines.resources.pools.attached_pools import AttachedPools
from xdask_pipelines.resources.pools.local_pools import LocalPools
from xdask_pipelines.resources.pools.pool_backends import AttachedBackend, LocalBackend, PoolBackend
from xdask_pipelines.resources.pools.standing_pools import Pools, Tell


def backend_of(pools: Pools, tell: Tell) -> PoolBackend:
    """Return the backend of a topology's pools."""
    if isinstance(pools, LocalPools):
        return LocalBackend(pools, tell)
    if isinstance(pools, AttachedPools):
        return AttachedBackend(pools, tell)
    from xdask_pipelines.resources.pools.ecs_backend import EcsBackend  # kept light: imports boto3 when it is used
    from xdask_pipelines.resources.pools.ecs_pools import EcsPools

    assert isinstance(pools, EcsPools)
    return EcsBackend(pools, tell)
