"""Names that do not depend on the topology file.

Belongs here: names that are derived from a Region, and the form of keys. Does not belong here: names that depend on
`regions.yaml` (model).
"""

POOL_PREFIX = "pool-"
#: Folder of a bucket into which FSx writes reports of files that it could not import.
IMPORT_REPORTS = ".xdask-imports"


def pool_name(region: str) -> str:
    """Return the Dask resource of the workers of a Region's pool."""
    return f"{POOL_PREFIX}{region}"


_NO_PLAIN_PART = frozenset({"", ".", ".."})


def is_plain_key(key: str) -> bool:
    """Return whether a key stays below its folder: it is relative, without empty parts, ``.`` and ``..``."""
    return _NO_PLAIN_PART.isdisjoint(key.split("/"))
