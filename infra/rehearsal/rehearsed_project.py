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


def write_project(topology_file: Path, folder: Path, stage: str = "") -> dict[str, list[Path]]:
    """Write the rehearsed project into a new folder, and return the data of each worker Region.

    Parameters
    ----------
    topology_file
        Of the operator, with profile aws and at least one worker Region.
    folder
        Gets ``regions.yaml`` and the operator's analyses.
    stage
        ``small`` or ``full``, in place of that of the topology.
    """
    stanzas = yaml.safe_load(topology_file.read_text("utf-8"))
    aws = stanzas["aws"]
    aws["stage"] = stage or aws.get("stage", "small")
    if aws["stage"] == "full":
        aws.setdefault("access", _access(aws["account"], stanzas["client"]["region"]))
    else:
        aws.pop("access", None)
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


def _access(account: str, region: str) -> dict[str, Any]:
    """Return an address of the UI and an identity provider that nobody asks."""
    provider = "https://id.example.org"
    return {
        "host": "dagster.example.org",
        "certificate": f"arn:aws:acm:{region}:{account}:certificate/00000000-0000-0000-0000-000000000000",
        "oidc": {
            "issuer": provider,
            "authorization_endpoint": f"{provider}/authorize",
            "token_endpoint": f"{provider}/token",
            "user_info_endpoint": f"{provider}/userinfo",
            "client_id": "xdask",
            "client_secret": f"arn:aws:secretsmanager:{region}:{account}:secret:oidc-AbCdEf",
        },
    }
