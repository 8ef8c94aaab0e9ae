"""Names that several floors must agree on without knowing the topology file.

Belongs here: names made from a Region alone. Does not belong here: names that depend on `regions.yaml` (topology).
"""

POOL_PREFIX = "pool-"


def pool_name(region: str) -> str:
    """Dask resource that each worker of a Region's pool offers."""
    return f"{POOL_PREFIX}{region}"
