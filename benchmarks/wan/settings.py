"""What placement is told of the network that the benchmark makes.

Belongs here: a topology of the benchmark's Regions, as a file would give it. Does not belong here: the network itself.
"""

from __future__ import annotations

from dataclasses import asdict, replace
from itertools import combinations
from typing import Any

from benchmarks.wan.inputs import CLIENT, WORKERS

THREADS = 2


def settings(rtt_ms: float, mbit: float) -> dict[str, Any]:
    """Settings of `placement` as plain values: the network asked for, AWS's prices, pools of one worker."""
    from xdask_pipelines.resources.pools.placement_settings import settings_of  # the import installs the fence
    from xdask_pipelines.topology import Topology

    regions = (CLIENT, *WORKERS)
    topology = Topology.model_validate(
        {
            "client": {"region": CLIENT, "cidr": "10.0.0.0/16"},
            "workers": [{"region": r, "cidr": f"10.{i}.0.0/16"} for i, r in enumerate(WORKERS, 1)],
            "links": [{"between": pair, "rtt_ms": rtt_ms, "mbit": mbit} for pair in combinations(regions, 2)],
        }
    )
    known = settings_of(topology)
    pools = {region: replace(rates, threads=THREADS) for region, rates in known.pools.items()}
    return asdict(replace(known, pools=pools))
