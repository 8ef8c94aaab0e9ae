"""The catalog as a page of a notebook: its datasets, their Regions, variables and times.

Belongs here: counts by dataset. Does not belong here: entries (entry_page), answering queries (backends).
"""

from __future__ import annotations

from xdask_pipelines.catalog.backend import Backend, Query
from xdask_pipelines.errors import CatalogError
from xdask_pipelines.system.markup import block, table

_SHOWN = 6


def catalog_page(backend: Backend) -> str:
    """Return the HTML of a catalog; a catalog that does not answer is shown with its error."""
    try:
        rows = [_row(backend, dataset, n) for dataset, n in backend.facets(["dataset"], Query())["dataset"].items()]
    except CatalogError as error:
        return block("Catalog", str(error))
    if not rows:
        return block("Catalog", "It is empty. Run `xdask sync`.")
    total = sum(int(row[1].replace(",", "")) for row in rows)
    head = ("dataset", "entries", "Regions", "variables")
    return block(f"Catalog: {total:,} entries", table(head, rows, right=(1,)))


def _row(backend: Backend, dataset: str, number: int) -> tuple[str, str, str, str]:
    counts = backend.facets(["region", "variable"], Query(terms={"dataset": (dataset,)}))
    regions = ", ".join(f"{region} {n:,}" for region, n in counts["region"].items())
    variables = list(counts["variable"])
    more = f" and {len(variables) - _SHOWN} more" if len(variables) > _SHOWN else ""
    return dataset, f"{number:,}", regions, ", ".join(variables[:_SHOWN]) + more
