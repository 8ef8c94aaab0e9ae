"""List prices of what is provisioned on AWS, for estimates.

Belongs here: prices with their date and source. Does not belong here: prices between Regions and of worker instances
(aws_facts), what a deployment costs (operations.aws.idle_cost).

On demand, us-east-1. Each price has the word of its source, and the date of that source if it has one; all were compared in
November 2026:

- ``aws``: a text or price list of AWS, or a quotation of it;
- ``tables``: two or more published tables that agree;
- ``one``: one published table.

Other Regions are estimated by one factor each, because their prices differ by service within some per cent. No factor is
confirmed, but for FSx for Lustre in Tokyo (1.30, one published table).
"""

from __future__ import annotations

AS_OF = "2026-11"
HOURS_A_MONTH = 730.0

#: USD for one hour.
FARGATE_VCPU, FARGATE_GB = 0.04048, 0.004445  # tables, 2026-03 and 2026-04
PUBLIC_IPV4 = 0.005  # tables
NAT_GATEWAY = 0.045  # tables, 2026
LOAD_BALANCER = 0.0225  # tables
TRANSIT_ATTACHMENT = 0.05  # tables
DATABASE = {
    "db.t4g.micro": 0.016,  # tables
    "db.t4g.small": 0.032,  # tables
    "db.t4g.medium": 0.065,  # tables
}
SEARCH = {
    "t3.small.search": 0.036,  # tables, 2025
    "t3.medium.search": 0.073,  # tables
    "m7g.medium.search": 0.068,  # aws, tables
    "m7g.large.search": 0.135,  # tables; a third one says 0.134
    "r7g.medium.search": 0.089,  # tables
    "r7g.large.search": 0.178,  # tables; a third one says 0.176
}
NOTEBOOK = {"ml.t3.medium": 0.05}  # one

#: USD for one month.
KMS_KEY = 1.0  # one
SECRET = 0.40  # tables
HOSTED_ZONE = 0.50  # aws (price list)
ALARM = 0.10  # aws (blog), tables
METRIC = 0.30  # tables

#: USD for one GB (GiB where AWS counts so) and month.
DATABASE_GB = 0.115  # tables
SEARCH_GB = 0.122  # one
HOST_DISK_GB = 0.08  # tables
NOTEBOOK_DISK_GB = 0.14  # one
#: FSx for Lustre, PERSISTENT_2 on SSD, 125 MB/s/TiB.
LUSTRE_GB = 0.145  # one

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
