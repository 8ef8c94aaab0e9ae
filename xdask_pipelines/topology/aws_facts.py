"""Facts that AWS publishes: Region names, instance types, prices between Regions.

Belongs here: tables of facts with their source. Does not belong here: choices that depend on them.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from importlib import resources

PARTITIONS = ("aws", "aws-cn", "aws-us-gov")


@cache
def region_partitions() -> dict[str, str]:
    """Return the partition of every public Region, from botocore's bundled data.

    The data are read as a file, because importing ``botocore.loaders`` would add 0.3 s to every command.
    """
    document = json.loads((resources.files("botocore") / "data" / "partitions.json").read_text("utf-8"))
    return {
        region: partition["id"]
        for partition in document["partitions"]
        if partition["id"] in PARTITIONS
        for region in sorted(partition["regions"])
        if not region.endswith("-global")  # for services without a Region, such as IAM
    }


@dataclass(frozen=True, slots=True)
class InstanceType:
    """One EC2 instance type: its virtual CPUs, memory in GiB and local NVMe in GB (10^9 bytes)."""

    vcpus: int
    memory_gib: int
    nvme_gb: int


# Only families with local NVMe, because pools spill to it. Source: "Amazon EC2 instance types", general purpose,
# compute optimized, memory optimized and storage optimized pages (bare metal sizes left out).
_FAMILIES: dict[str, dict[str, tuple[int, int, int]]] = {
    "m5d": {
        "large": (2, 8, 75),
        "xlarge": (4, 16, 150),
        "2xlarge": (8, 32, 300),
        "4xlarge": (16, 64, 600),
        "8xlarge": (32, 128, 1200),
        "12xlarge": (48, 192, 1800),
        "16xlarge": (64, 256, 2400),
        "24xlarge": (96, 384, 3600),
    },
    "c5d": {
        "large": (2, 4, 50),
        "xlarge": (4, 8, 100),
        "2xlarge": (8, 16, 200),
        "4xlarge": (16, 32, 400),
        "9xlarge": (36, 72, 900),
        "12xlarge": (48, 96, 1800),
        "18xlarge": (72, 144, 1800),
        "24xlarge": (96, 192, 3600),
    },
    "r5d": {
        "large": (2, 16, 75),
        "xlarge": (4, 32, 150),
        "2xlarge": (8, 64, 300),
        "4xlarge": (16, 128, 600),
        "8xlarge": (32, 256, 1200),
        "12xlarge": (48, 384, 1800),
        "16xlarge": (64, 512, 2400),
        "24xlarge": (96, 768, 3600),
    },
    "m6id": {
        "large": (2, 8, 118),
        "xlarge": (4, 16, 237),
        "2xlarge": (8, 32, 474),
        "4xlarge": (16, 64, 950),
        "8xlarge": (32, 128, 1900),
        "12xlarge": (48, 192, 2850),
        "16xlarge": (64, 256, 3800),
        "24xlarge": (96, 384, 5700),
        "32xlarge": (128, 512, 7600),
    },
    "i3en": {
        "large": (2, 16, 1250),
        "xlarge": (4, 32, 2500),
        "2xlarge": (8, 64, 5000),
        "3xlarge": (12, 96, 7500),
        "6xlarge": (24, 192, 15000),
        "12xlarge": (48, 384, 30000),
        "24xlarge": (96, 768, 60000),
    },
}

INSTANCE_TYPES: dict[str, InstanceType] = {
    f"{family}.{size}": InstanceType(*figures) for family, sizes in _FAMILIES.items() for size, figures in sizes.items()
}

_DEFAULT_EGRESS_USD_PER_GB = 0.02
_EGRESS_USD_PER_GB = {
    "af-south-1": 0.147,
    "ap-east-1": 0.09,
    "ap-northeast-1": 0.09,
    "ap-northeast-2": 0.08,
    "ap-northeast-3": 0.09,
    "ap-south-1": 0.086,
    "ap-southeast-1": 0.09,
    "ap-southeast-2": 0.098,
    "il-central-1": 0.08,
    "me-central-1": 0.085,
    "me-south-1": 0.1105,
    "sa-east-1": 0.138,
    "us-gov-east-1": 0.03,
    "us-gov-west-1": 0.03,
}


def egress_usd_per_gb(source: str, destination: str) -> float:
    """Return the list price of sending one GB (10^9 bytes) from one Region to another, in USD.

    The sender pays; within a Region it is free (a pool is in one zone). Source: "Amazon EC2
    on-demand pricing", data transfer out to other AWS Regions; the figures are for decisions and estimates, not for
    billing.
    """
    if source == destination:
        return 0.0
    if {source, destination} == {"us-east-1", "us-east-2"}:
        return 0.01
    return _EGRESS_USD_PER_GB.get(source, _DEFAULT_EGRESS_USD_PER_GB)


#: USD per virtual CPU and hour, on demand, Linux, us-east-1; sizes of a family cost in proportion, other Regions up to
#: two thirds more. Source: "Amazon EC2 on-demand pricing". For estimates, not for billing.
_USD_PER_VCPU_HOUR = {"m5d": 0.0565, "c5d": 0.048, "r5d": 0.072, "m6id": 0.0593, "i3en": 0.113}


def usd_per_vcpu_second(instance_type: str) -> float:
    """Return the list price of one virtual CPU of an instance type for one second, in USD."""
    return _USD_PER_VCPU_HOUR[instance_type.split(".")[0]] / 3600


#: Energy factors of the Cloud Carbon Footprint methodology for AWS: power of a busy virtual CPU (3.5 W), power usage
#: effectiveness (1.135), network energy (0.001 kWh per GB).
KWH_PER_BUSY_VCPU_SECOND = 3.5e-3 * 1.135 / 3600
KWH_PER_BYTE_BETWEEN_REGIONS = 0.001 * 1.135 / 1e9

# kg CO2e per kWh of the grid. Source: emissions factors of the Cloud Carbon Footprint methodology (US: EPA eGRID;
# Europe: EEA; others: carbonfootprint.com); location-based, without purchases of renewable energy.
_CO2E_KG_PER_KWH = {
    "us-east-1": 0.379,
    "us-east-2": 0.411,
    "us-west-1": 0.322,
    "us-west-2": 0.322,
    "us-gov-east-1": 0.379,
    "us-gov-west-1": 0.322,
    "af-south-1": 0.901,
    "ap-east-1": 0.710,
    "ap-south-1": 0.708,
    "ap-northeast-1": 0.466,
    "ap-northeast-2": 0.416,
    "ap-northeast-3": 0.466,
    "ap-southeast-1": 0.408,
    "ap-southeast-2": 0.760,
    "ca-central-1": 0.120,
    "cn-north-1": 0.537,
    "cn-northwest-1": 0.537,
    "eu-central-1": 0.311,
    "eu-north-1": 0.0088,
    "eu-south-1": 0.213,
    "eu-west-1": 0.279,
    "eu-west-2": 0.225,
    "eu-west-3": 0.0511,
    "me-south-1": 0.506,
    "sa-east-1": 0.0617,
}


def co2e_kg_per_kwh(region: str) -> float | None:
    """Return the average emissions of a Region's grid; None if no factor is published."""
    return _CO2E_KG_PER_KWH.get(region)
