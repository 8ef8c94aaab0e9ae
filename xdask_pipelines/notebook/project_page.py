"""A project as a page of a notebook: its Regions, their datasets, and what to do with it.

Belongs here: the page. Does not belong here: the project (interactive_project), pages of its parts.
"""

from __future__ import annotations

from xdask_pipelines.catalog import Catalog
from xdask_pipelines.errors import CatalogError
from xdask_pipelines.placement import Evidence
from xdask_pipelines.resources.pools.standing_pools import Pools
from xdask_pipelines.system.markup import Markup, block, link, table, text
from xdask_pipelines.topology import Topology

_HINT = (
    "project.search(dataset=…) lists entries, project.open(dataset=…) opens them, project.explore() does both with "
    "drop-downs; project.plan(x) predicts, x.compute() and x.plot() compute in the Regions of the data"
)


def project_page(topology: Topology, catalog: Catalog, pools: Pools, evidence: Evidence) -> str:
    """Return the HTML of a project. It asks the catalog for counts, and no scheduler."""
    entries: dict[tuple[str, str], int] = {}
    problem = ""
    try:
        for region in topology.worker_regions:
            counts = catalog.facets("dataset", region=region)["dataset"] if catalog.names() else {}
            entries |= {(region, dataset): n for dataset, n in counts.items()}
    except CatalogError as error:
        problem = str(error)
    rows = [
        (
            worker.region + (f" ({worker.name})" if worker.name else ""),
            dataset.name,
            dataset.layout,
            f"{entries.get((worker.region, dataset.name), 0):,}",
            dataset.license or "",
        )
        for worker in topology.workers
        for dataset in worker.datasets
    ]
    running = Markup(f"<div>Pools: {_pools(pools)}</div>")
    parts: list[object] = [
        table(("Region", "dataset", "layout", "entries", "licence"), rows, right=(3,)),
        *([f"The catalog does not answer: {problem}"] if problem else []),
        running,
        *([f"Latest computation: {evidence!r}"[:-1].replace("<Evidence: ", "")] if evidence.tasks_by_region else []),
        _HINT,
    ]
    return block(f"Project {topology.root.name}: client Region {topology.client.region}", *parts)


def _pools(pools: Pools) -> Markup:
    if not pools.started:
        return text("not running; start them with `xdask pools up`")
    return Markup(f"running, {link(pools.dashboard, 'dashboard')}" if pools.dashboard else "running")
