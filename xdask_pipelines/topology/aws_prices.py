"""List prices of what is provisioned on AWS, for estimates.

Belongs here: prices with their date and source. Does not belong here: prices between Regions and of worker instances
(aws_facts), what a deployment costs (operations.aws.idle_cost).

Source: the pricing pages of each service, on demand, us-east-1, read or confirmed on the date below. Other Regions are
estimated by one factor each, because their prices differ by service within some per cent.
"""

from __future__ import annotations

AS_OF = "2026-11"
HOURS_A_MONTH = 730.0

#: USD for one hour.
FARGATE_VCPU, FARGATE_GB = 0.04048, 0.004445
PUBLIC_IPV4 = 0.005
NAT_GATEWAY = 0.045
LOAD_BALANCER = 0.0225
TRANSIT_ATTACHMENT = 0.05
DATABASE = {"db.t4g.micro": 0.016, "db.t4g.small": 0.032, "db.t4g.medium": 0.065}
SEARCH = {
    "t3.small.search": 0.036,
    "t3.medium.search": 0.073,
    "m7g.medium.search": 0.068,
    "m7g.large.search": 0.135,
    "r7g.medium.search": 0.089,
    "r7g.large.search": 0.178,
}

#: USD for one month.
KMS_KEY, SECRET, HOSTED_ZONE, ALARM, METRIC = 1.0, 0.40, 0.50, 0.10, 0.30

#: USD for one GB (GiB where AWS counts so) and month.
DATABASE_GB, SEARCH_GB, HOST_DISK_GB, NOTEBOOK_DISK_GB = 0.115, 0.122, 0.08, 0.14
#: FSx for Lustre, PERSISTENT_2 on SSD, 125 MB/s/TiB.
LUSTRE_GB = 0.145

#: Prices of a Region relative to us-east-1.
_LEVEL = {
    "us-east-1": 1.0,
    "us-east-2": 1.0,
    "us-west-2": 1.0,
    "us-west-1": 1.17,
    "ca-central-1": 1.1,
    "eu-west-1": 1.1,
    "eu-west-2": 1.15,
    "eu-west-3": 1.17,
    "eu-central-1": 1.17,
    "eu-north-1": 1.07,
    "eu-south-1": 1.2,
    "ap-south-1": 1.05,
    "ap-southeast-1": 1.23,
    "ap-southeast-2": 1.23,
    "ap-northeast-1": 1.28,
    "ap-northeast-2": 1.2,
    "sa-east-1": 1.6,
    "af-south-1": 1.3,
}
_OTHER_LEVEL = 1.25


def price_level(region: str) -> float:
    """Return the prices of a Region relative to us-east-1; an estimate."""
    return _LEVEL.get(region, _OTHER_LEVEL)
