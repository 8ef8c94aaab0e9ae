"""The catalog: which files and stores exist, in which Region each lives, and what each holds.

Belongs here: the public face of this package. Does not belong here: Dagster, Dask, the topology, or opening data.
"""

from __future__ import annotations

from xdask_pipelines.catalog.backend import Lease, ManifestChange
from xdask_pipelines.catalog.catalog import Catalog
from xdask_pipelines.catalog.entry import Entry
from xdask_pipelines.catalog.sqlite import SqliteBackend
from xdask_pipelines.errors import CatalogError

__all__ = ["Catalog", "Entry", "Lease", "ManifestChange", "open_catalog"]

_SQLITE = "sqlite://"


def open_catalog(url: str) -> Catalog:
    """Open a catalog by its address.

    Parameters
    ----------
    url
        ``sqlite:///absolute/path/catalog.sqlite``; the path is taken as it is, without percent-encoding. Or
        ``opensearch+https://host:9200/name`` of an OpenSearch node or domain, where ``name`` begins the names of all
        indices; ``?aws_region=REGION`` signs requests, ``?ca=FILE`` names an authority to trust. What does not
        exist yet is an empty catalog, and is made by the first write.

    Raises
    ------
    CatalogError
        The address is of no known kind.

    Examples
    --------
    >>> catalog = open_catalog("sqlite:////tmp/does-not-exist/catalog.sqlite")
    >>> catalog.search(dataset="era5")
    []
    """
    if url.startswith("opensearch+"):
        from xdask_pipelines.catalog.opensearch import OpenSearchBackend  # imports boto3 and pyarrow

        return Catalog(OpenSearchBackend(url))
    path = url.removeprefix(_SQLITE)
    if not url.startswith(_SQLITE) or not path.startswith("/"):
        raise CatalogError(
            f"{url!r} is not a catalog address; write sqlite:///absolute/path/catalog.sqlite, or "
            f"opensearch+https://host:9200/xdask"
        )
    return Catalog(SqliteBackend("/" + path.lstrip("/")))
