"""The catalog: which files and stores exist, in which Region each lives, and what each holds.

Belongs here: the public face of this package. Does not belong here: Dagster, Dask, the topology, or opening data.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from xdask_pipelines.catalog.backend import Backend, Change, Lease, ManifestChange
from xdask_pipelines.catalog.catalog import Catalog
from xdask_pipelines.catalog.entry import Entry
from xdask_pipelines.catalog.sqlite.sqlite_backend import SqliteBackend
from xdask_pipelines.errors import CatalogError

if TYPE_CHECKING:
    from xdask_pipelines.catalog.transfer import Digests

__all__ = ["Catalog", "Change", "Entry", "Lease", "ManifestChange", "copy_catalog", "open_catalog"]

_SQLITE = "sqlite://"


def open_catalog(url: str) -> Catalog:
    """Open a catalog by its address.

    Parameters
    ----------
    url
        ``sqlite:///absolute/path/catalog.sqlite``; the path is taken as it is, without percent-encoding. Or
        ``opensearch+https://host:9200/name`` of an OpenSearch node or domain, where ``name`` begins the names of all
        indices; ``?aws_region=REGION`` signs requests, ``?ca=FILE`` names an authority to trust, ``?certs=FOLDER`` an
        authority, a certificate and its key, as ``xdask opensearch up`` prints it. What does not exist yet is an empty
        catalog, and is made by the first write.

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
    return Catalog(_open_backend(url))


def copy_catalog(
    source: str, target: str, tell: Callable[[str], None] = lambda line: None
) -> dict[tuple[str, str], Digests]:
    """Copy a catalog to another store, which must hold nothing; see :func:`xdask_pipelines.catalog.transfer.copy_contents`.

    Parameters
    ----------
    source, target
        Addresses as `open_catalog` takes them.
    tell
        Called with lines of progress.

    Raises
    ------
    CatalogError
        The addresses are the same, or what `copy_contents` refuses.
    """
    from xdask_pipelines.catalog.transfer import copy_contents  # imports pyarrow

    if source == target:
        raise CatalogError(f"{source} is to be copied to itself; name another file or index to copy to")
    return copy_contents(_open_backend(source), _open_backend(target), tell)


def _open_backend(url: str) -> Backend:
    if url.startswith("opensearch+"):
        from xdask_pipelines.catalog.opensearch.opensearch_backend import OpenSearchBackend  # imports boto3 and pyarrow

        return OpenSearchBackend(url)
    path = url.removeprefix(_SQLITE)
    if not url.startswith(_SQLITE) or not path.startswith("/"):
        raise CatalogError(
            f"{url!r} is not a catalog address; write sqlite:///absolute/path/catalog.sqlite, or "
            f"opensearch+https://host:9200/xdask"
        )
    return SqliteBackend("/" + path.lstrip("/"))
