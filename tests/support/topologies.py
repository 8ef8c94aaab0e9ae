"""Topologies with profile aws, of one to six worker Regions."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from xdask_pipelines.topology import Topology

ACCOUNT = "123456789012"
WORKERS = ("us-east-1", "us-west-2", "eu-central-1", "ap-southeast-2", "ca-central-1", "eu-north-1")
DATASETS: dict[str, list[dict[str, Any]]] = {
    "us-east-1": [
        {"name": "era5", "layout": "era5-pds", "source": "s3://era5-pds", "mount": "era5-pds", "excerpt": True,
         "anonymous": True},
    ],
    "us-west-2": [
        {"name": "cmip6", "layout": "cmip6-pds", "source": "s3://cmip6-pds/CMIP6/CMIP/MOHC", "mount": "CMIP/MOHC"},
        {"name": "cmip6", "layout": "cmip6-pds", "source": "s3://cmip6-pds/CMIP6/ScenarioMIP/MOHC",
         "mount": "ScenarioMIP/MOHC"},
    ],
}  # fmt: skip
_ID = "https://id.example.org"
ACCESS = {
    "host": "dagster.example.org",
    "certificate": f"arn:aws:acm:eu-west-2:{ACCOUNT}:certificate/0a1b2c3d-1111-2222-3333-444455556666",
    "oidc": {
        "issuer": _ID,
        "authorization_endpoint": f"{_ID}/authorize",
        "token_endpoint": f"{_ID}/token",
        "user_info_endpoint": f"{_ID}/userinfo",
        "client_id": "xdask",
        "client_secret": f"arn:aws:secretsmanager:eu-west-2:{ACCOUNT}:secret:oidc-AbCdEf",
    },
}


def document(workers: int, stage: str = "small", **aws: Any) -> dict[str, Any]:
    """Return the content of a topology file."""
    access = {"access": ACCESS} if stage == "full" else {}
    return {
        "profile": "aws",
        "aws": {"account": ACCOUNT, "stage": stage, "alarms_to": "ops@example.org", **access, **aws},
        "client": {"region": "eu-west-2", "cidr": "10.0.0.0/16"},
        "workers": [
            {"region": region, "cidr": f"10.{i}.0.0/16", "datasets": DATASETS.get(region, [])}
            for i, region in enumerate(WORKERS[:workers], 1)
        ],
    }


def aws_topology(folder: Path, workers: int, stage: str = "small", **aws: Any) -> Topology:
    """Write a topology file, and read it."""
    file = folder / "regions.yaml"
    file.write_text(yaml.safe_dump(document(workers, stage, **aws), sort_keys=False))
    return Topology.load(file)
