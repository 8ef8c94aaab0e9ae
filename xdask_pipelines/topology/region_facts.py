"""Facts of Regions, AWS's and others': prices between them, and emissions of their grids.

Belongs here: which published figure counts for a Region. Does not belong here: the figures of AWS (aws_facts).
"""

from __future__ import annotations

import re

from xdask_pipelines.topology.aws_facts import co2e_kg_per_kwh, egress_usd_per_gb, region_partitions
from xdask_pipelines.topology.strict_yaml import close_names

#: An AWS Region in the country, whose factor is that of the country's grid. Countries with several grids are not listed.
_GRID_OF = {
    "AU": "ap-southeast-2",
    "BH": "me-south-1",
    "BR": "sa-east-1",
    "CA": "ca-central-1",
    "CN": "cn-north-1",
    "DE": "eu-central-1",
    "FR": "eu-west-3",
    "GB": "eu-west-2",
    "HK": "ap-east-1",
    "IE": "eu-west-1",
    "IN": "ap-south-1",
    "IT": "eu-south-1",
    "JP": "ap-northeast-1",
    "KR": "ap-northeast-2",
    "SE": "eu-north-1",
    "SG": "ap-southeast-1",
    "ZA": "af-south-1",
}
#: USD for one GB from an AWS Region to a place outside of AWS, first 10 TB a month. Source: "Amazon EC2 on-demand
#: pricing", data transfer out to the internet.
_OUT_OF_AWS_USD_PER_GB = 0.09
_NAME = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")
_LIKE_AWS = re.compile(r"[a-z]{2}(-[a-z]+)+-\d+")


def region_name(name: str) -> str:
    """Return a name if a Region may have it: AWS's own, or a name that cannot be mistaken for one.

    Raises
    ------
    ValueError
        It looks like an AWS Region and is none, or cannot be part of a task's name.
    """
    known = region_partitions()
    if name in known:
        return name
    if _LIKE_AWS.fullmatch(name):
        raise ValueError(f"{name!r} is not an AWS Region{close_names(name, known)}; write one such as eu-west-2")
    if not _NAME.fullmatch(name) or len(name) > 40:
        raise ValueError(
            f"{name!r} is not the name of a Region; write an AWS Region such as eu-west-2, or for a place of your own at "
            "most 40 lower-case letters, digits and single hyphens, such as exeter"
        )
    return name


def country_code(code: str) -> str:
    """Return a country whose grid has a published factor.

    Raises
    ------
    ValueError
        It has none here.
    """
    if code not in _GRID_OF:
        raise ValueError(
            f"no factor for the grid of {code!r} is known; write one of {', '.join(_GRID_OF)}, or the factor itself "
            "(co2e_kg_per_kwh)"
        )
    return code


def grid_factor(region: str, country: str | None = None) -> float | None:
    """Return the average emissions of a Region's grid in kg CO2e per kWh; None where no factor is known."""
    return co2e_kg_per_kwh(_GRID_OF[country] if country else region)


def default_egress_usd_per_gb(source: str, destination: str) -> float:
    """Return the list price of one GB (10^9 bytes) between two Regions in USD; places outside of AWS send free of charge."""
    aws = region_partitions()
    if source not in aws:
        return 0.0
    if destination not in aws:
        return _OUT_OF_AWS_USD_PER_GB
    return egress_usd_per_gb(source, destination)
