"""The project that is rehearsed: Regions, pools and stage of an operator, with the sample data for their datasets.

Belongs here: what differs from the operator's topology, and why. Does not belong here: parts (stage), steps (rehearse).
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import yaml

from infra.repository import REPOSITORY
from xdask_pipelines.topology import Topology

#: Rehearsed where the topology of a clone has another profile.
EXAMPLE = REPOSITORY / "deploy" / "aws" / "regions.yaml"
#: The public buckets of operators are not here. The first worker Region imports one sample with credentials, the second
#: one without, so that both ways are rehearsed.
_SAMPLES: tuple[tuple[str, dict[str, Any]], ...] = (
    ("us-east-1", {"name": "era5", "layout": "era5-pds", "source": "s3://era5-pds", "mount": "era5-pds",
                   "excerpt": True}),
    ("us-west-2", {"name": "cmip6", "layout": "cmip6-pds", "source": "s3://cmip6-pds", "mount": "cmip6",
                   "anonymous": True}),
)  # fmt: skip
#: A pool must have been idle this long before it shrinks: longer than an instance takes to start here, and no five minutes.
_COOL_DOWN_SECONDS = 45


def topology_to_rehearse(found: Topology) -> Path:
    """Return the topology file of a clone, or the example where the clone has another profile than aws."""
    return found.root / "regions.yaml" if found.profile == "aws" else EXAMPLE


def write_project(topology_file: Path, folder: Path) -> dict[str, list[Path]]:
    """Write the rehearsed project into a new folder, and return the data of each worker Region.

    Parameters
    ----------
    topology_file
        Of the operator, with profile aws and at least one worker Region.
    folder
        Gets ``regions.yaml`` and the operator's analyses.
    """
    stanzas = yaml.safe_load(topology_file.read_text("utf-8"))
    for key in ("catalog", "alerts", "scheduler"):  # are elsewhere, and must not hear of a rehearsal
        stanzas.pop(key, None)
    workers = stanzas["workers"]
    data: dict[str, list[Path]] = {}
    for worker in workers:
        worker["datasets"] = []
        worker["pool"] = {**worker.get("pool", {}), "cool_down_seconds": _COOL_DOWN_SECONDS}
    for i, (name, dataset) in enumerate(_SAMPLES):
        worker = workers[min(i, len(workers) - 1)]
        worker["datasets"].append(dataset)
        data.setdefault(worker["region"], []).append(REPOSITORY / "data" / name)
    folder.mkdir(parents=True)
    (folder / "regions.yaml").write_text(yaml.safe_dump(stanzas, sort_keys=False, allow_unicode=True), "utf-8")
    if (analyses := topology_file.parent / "analyses").is_dir():
        shutil.copytree(analyses, folder / "analyses")
    return data
