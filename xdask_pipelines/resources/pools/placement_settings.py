"""Settings of placement from a topology.

Belongs here: converting a topology to `placement.settings`. Does not belong here: running pools (local_pools).
"""

from __future__ import annotations

from xdask_pipelines.placement.settings import SCALE_UP_SECONDS, Link, Rates, Settings
from xdask_pipelines.topology import Topology
from xdask_pipelines.topology.aws_facts import (
    KWH_PER_BUSY_VCPU_SECOND,
    KWH_PER_BYTE_BETWEEN_REGIONS,
)
from xdask_pipelines.topology.aws_prices import price_level
from xdask_pipelines.topology.stanzas import Worker


def _thread_price(topology: Topology, worker: Worker) -> float:
    """Return the price of one busy thread for one second: on AWS at the level of its Region.

    Spot instances count as on demand, which is the most that they cost: their price changes by the hour.
    """
    pool, given = worker.pool, worker.pool.usd_per_vcpu_hour is not None
    return pool.usd_per_vcpu_second * (1.0 if given or topology.profile != "aws" else price_level(worker.region))


def settings_of(topology: Topology) -> Settings:
    """Return the settings for a topology: links, prices, pools at their maximum size, factors of energy and CO2e.

    On AWS the controller scales pools up from zero.
    """
    pairs = [(a, b) for a in topology.regions for b in topology.regions if a != b]
    client = topology.client
    pools = {client.region: Rates(client.threads, co2e_kg_per_kwh=client.grid_factor)}
    for worker in topology.workers:
        pool, processes = worker.pool, worker.pool.max_workers * worker.pool.processes
        pools[worker.region] = Rates(
            threads=processes * pool.threads,
            memory_bytes=processes * pool.memory_limit_bytes,
            process_memory_bytes=pool.memory_limit_bytes,
            usd_per_thread_second=_thread_price(topology, worker),
            kwh_per_thread_second=KWH_PER_BUSY_VCPU_SECOND,
            co2e_kg_per_kwh=worker.grid_factor,
        )
    scaled_up = topology.profile == "aws"
    return Settings(
        client_region=topology.client.region,
        links={
            f"{a}->{b}": Link(
                topology.price(a, b),
                link.rtt_ms / 1e3,
                link.mbit * 1e6 / 8,
                None if link.kwh_per_gb is None else link.kwh_per_gb / 1e9,
            )
            for a, b in pairs
            if (link := topology.link(a, b))
        },
        pools=pools,
        kwh_per_byte=KWH_PER_BYTE_BETWEEN_REGIONS,
        region_names=topology.region_names,
        start_command="xdask pools scale REGION 1" if scaled_up else "xdask worker --region REGION",
        scale_up_seconds=SCALE_UP_SECONDS if scaled_up else None,
    )
