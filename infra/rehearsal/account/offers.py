"""What zones offer, which a deployment asks before it changes anything and the emulator does not know.

Belongs here: the answers. Does not belong here: what is asked (deployment.zones), where calls go (operator_front).
"""

from __future__ import annotations

import json
from collections.abc import Callable

from infra.rehearsal.account.http_listener import Answer
from infra.rehearsal.account.recorded_calls import Call

#: The zones of each Region in the emulator; each offers everything.
_ZONES = "abc"
_INSTANCES = """<DescribeInstanceTypeOfferingsResponse xmlns="http://ec2.amazonaws.com/doc/2016-11-15/">
<instanceTypeOfferingSet>{items}</instanceTypeOfferingSet></DescribeInstanceTypeOfferingsResponse>"""
_DATABASES = """<DescribeOrderableDBInstanceOptionsResponse xmlns="http://rds.amazonaws.com/doc/2014-10-31/">
<DescribeOrderableDBInstanceOptionsResult><OrderableDBInstanceOptions><OrderableDBInstanceOption><AvailabilityZones>{items}
</AvailabilityZones></OrderableDBInstanceOption></OrderableDBInstanceOptions></DescribeOrderableDBInstanceOptionsResult>
</DescribeOrderableDBInstanceOptionsResponse>"""


def offers(call: Call) -> Answer | None:
    """Return the answer to a question about what zones offer; None to any other call."""
    made = _ANSWERS.get((call.service, call.operation))
    return made([f"{call.region}{letter}" for letter in _ZONES]) if made else None


def _instances(zones: list[str]) -> Answer:
    return _xml(_INSTANCES, "".join(f"<item><location>{zone}</location></item>" for zone in zones))


def _databases(zones: list[str]) -> Answer:
    return _xml(_DATABASES, "".join(f"<AvailabilityZone><Name>{zone}</Name></AvailabilityZone>" for zone in zones))


def _nodes(zones: list[str]) -> Answer:
    found = {"InstanceTypeDetails": [{"AvailabilityZones": zones}]}
    return Answer(200, json.dumps(found).encode(), {"Content-Type": "application/json"})


def _xml(template: str, items: str) -> Answer:
    return Answer(200, template.format(items=items).encode(), {"Content-Type": "text/xml"})


_ANSWERS: dict[tuple[str, str], Callable[[list[str]], Answer]] = {
    ("ec2", "DescribeInstanceTypeOfferings"): _instances,
    ("rds", "DescribeOrderableDBInstanceOptions"): _databases,
    ("opensearch", "ListInstanceTypeDetails"): _nodes,
}
