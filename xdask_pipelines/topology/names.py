"""Names that several floors must agree on without knowing the topology file.

Belongs here: names made from a Region alone, and what a key may be. Does not belong here: names that depend on
`regions.yaml` (topology).
"""

POOL_PREFIX = "pool-"
#: Folder of a bucket in which FSx leaves its reports of files that it could not import.
IMPORT_REPORTS = ".xdask-imports"


def pool_name(region: str) -> str:
    """Dask resource that each worker of a Region's pool offers."""
    return f"{POOL_PREFIX}{region}"


_NO_PLAIN_PART = frozenset({"", ".", ".."})


def is_plain_key(key: str) -> bool:
    """Whether a key stays below the folder that it is relative to: no empty part, ``.`` or ``..``, and so not absolute."""
    return _NO_PLAIN_PART.isdisjoint(key.split("/"))
