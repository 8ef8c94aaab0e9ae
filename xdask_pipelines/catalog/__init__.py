"""The catalog: all files and stores, their Regions and their contents.

Belongs here: the public functions of this package. Does not belong here: Dagster, Dask, the topology, or opening data.
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
        ``sqlite:///absolute/path/catalog.sqlite``, without percent-encoding; or ``opensearch+https://host:9200/name`` of
        an OpenSearch node or domain, where ``name`` is the prefix of all indices. ``?aws_region=REGION`` signs requests,
        ``?ca=FILE`` is an authority to trust, and ``?certs=FOLDER`` an authority, a certificate and its key, as
        ``xdask opensearch up`` prints it. A catalog that does not exist yet reads as empty, and is created by the first
        write.

    Returns
    -------
    The catalog.

    Raises
    ------
    CatalogError
        If the address has no known form.

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
    """Copy a catalog to another store, which must be empty; see :func:`xdask_pipelines.catalog.transfer.copy_contents`.

    Parameters
    ----------
    source, target
        Addresses as for `open_catalog`.
    tell
        Called with lines of progress.

    Raises
    ------
    CatalogError
        If the addresses are equal, or `copy_contents` refuses the copy.
    """
    from xdask_pipelines.catalog.transfer import copy_contents  # imports pyarrow

    if source == target:
        raise CatalogError(f"{source} cannot be copied to itself. Pass another file or index as the target")
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
