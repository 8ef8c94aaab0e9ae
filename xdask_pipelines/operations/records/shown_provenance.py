"""The provenance of a stored result, as a document of this package and as W3C PROV-JSON.

Belongs here: what ``xdask provenance`` returns and writes. Does not belong here: the forms (resources.reporting).
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from xdask_pipelines.errors import XdaskError
from xdask_pipelines.operations.records.stored_result import stored_result
from xdask_pipelines.resources.reporting.citations import UNKNOWN, attributes_of, citations_of
from xdask_pipelines.resources.reporting.lineage import Lineage, lineage_of
from xdask_pipelines.resources.reporting.prov_document import prov_document
from xdask_pipelines.resources.reporting.result_report import address_of_result
from xdask_pipelines.system.files import write_all_or_none
from xdask_pipelines.topology import Topology


def provenance_of(topology: Topology, name: str, partition: str = "", prov: Path | None = None) -> dict[str, Any]:
    """Return what a result was made from, through all upstream results.

    Parameters
    ----------
    topology, name, partition
        As for `stored_result`.
    prov
        A file that is written as PROV-JSON; None writes none.

    Returns
    -------
    ``results``: the result and its upstream results, each with ``address``, ``digest``, ``code_version``, ``packages``,
    ``config``, ``processing`` and ``run_id``; ``sources``: files with ``dataset``, ``region``, ``key``, ``version``,
    ``digest``, ``size_bytes``, ``tracking_id`` and their ``state`` now: unchanged, changed or gone; ``citations``;
    ``prov``: the file, or None.

    Raises
    ------
    XdaskError
        If there is no such result, or the file cannot be written; then an older one stays as it is.
    """
    stored = stored_result(topology, name, partition)
    lineage = lineage_of(stored.results.catalog, stored.entry)
    if prov is not None:
        try:
            write_all_or_none({prov: json.dumps(prov_document(lineage), indent=1, ensure_ascii=False) + "\n"})
        except OSError as error:
            raise XdaskError(
                f"The provenance of {stored.entry.dataset} cannot be written to {prov}: {error.strerror or error}. Check "
                "the folder's permissions and the disk, or name another file."
            ) from error
    cited = citations_of(topology, [lineage.entries[id_] for id_ in lineage.files if id_ in lineage.entries])
    return {
        "results": [
            {
                "asset": made.entry.dataset,
                "partition": made.entry.part,
                "address": address_of_result(made.entry),
                "digest": made.entry.etag,
                "run_id": made.entry.attributes.get("run_id", UNKNOWN),
                "code_version": made.record.code_version or UNKNOWN,
                "packages": dict(made.record.packages),
                "config": dict(made.record.config),
                "processing": [dict(step) for step in made.record.processing],
                "recorded_sources": len(made.record.sources),
                "sources": made.record.source_count or len(made.record.sources),
            }
            for made in lineage.every_result
        ],
        "sources": _sources(lineage),
        "citations": [{name: getattr(each, name) for name in each.__dataclass_fields__} for each in cited],
        "bibtex": "\n\n".join(each.bibtex() for each in cited),
        "prov": str(prov) if prov is not None else None,
    }


def _sources(lineage: Lineage) -> list[dict[str, Any]]:
    every = {**lineage.files, **lineage.gone}
    rows = []
    for id_, used in every.items():
        entry = lineage.entries.get(id_)
        rows.append(
            {
                "dataset": used.dataset,
                "region": used.region,
                "key": used.key,
                "part": used.part,
                "version": used.version or UNKNOWN,
                "digest": used.digest,
                "size_bytes": used.size_bytes,
                "tracking_id": attributes_of(entry).get("tracking_id", UNKNOWN) if entry else UNKNOWN,
                "state": "gone" if id_ in lineage.gone else "changed" if id_ in lineage.changed else "unchanged",
            }
        )
    return rows
