"""Settings of placement: links between Regions, pools, timeouts.

Belongs here: the figures for decisions, predictions and prices. Does not belong here: their sources (topology, AWS).
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

SETTINGS_VARIABLE = "XDASK_PLACEMENT"
#: Timeout of tasks for an empty pool. A nanny restarts a lost worker within seconds.
EMPTY_POOL_SECONDS = 15.0
#: How long an instance of a pool may take to start. One on AWS takes two to four minutes.
SCALE_UP_SECONDS = 600.0
#: Timeout of heartbeats; Dask's default is five minutes. It must be longer than a network pause of 10 s, or than a
#: library that holds Python's global lock for half a minute.
WORKER_TTL_SECONDS = 60.0
#: Cost of waiting for transfers: an instance with 16 virtual CPUs at 0.9 USD an hour.
WAITING_USD_PER_SECOND = 0.9 / 3600


@dataclass(frozen=True)
class Link:
    """One direction between two Regions.

    Attributes
    ----------
    usd_per_byte
        Egress price.
    rtt_seconds
        Round-trip time.
    bytes_per_second
        Rate of one flow.
    kwh_per_byte
        Estimated energy of sending one byte; None takes that of the settings.
    """

    usd_per_byte: float = 0.02e-9
    rtt_seconds: float = 0.08
    bytes_per_second: float = 25e6
    kwh_per_byte: float | None = None

    @property
    def price(self) -> float:
        """Return the cost of one byte in USD: egress, and the time of the workers that wait for it."""
        return self.usd_per_byte + WAITING_USD_PER_SECOND / self.bytes_per_second


@dataclass(frozen=True)
class Rates:
    """Figures of one Region's pool; the client's Region has a pool if ``threads`` is not 0.

    Attributes
    ----------
    threads, memory_bytes
        Threads and memory of the whole pool at its maximum size; 0 if unknown.
    process_memory_bytes
        Memory limit of one worker process; 0 if unknown.
    usd_per_thread_second, kwh_per_thread_second
        List price and estimated energy of a busy thread.
    co2e_kg_per_kwh
        Emission factor of the Region's grid; None if unknown.
    """

    threads: int = 0
    memory_bytes: int = 0
    process_memory_bytes: int = 0
    usd_per_thread_second: float = 0.0
    kwh_per_thread_second: float = 0.0
    co2e_kg_per_kwh: float | None = None


@dataclass(frozen=True)
class Settings:
    """Settings of a scheduler and a plan, from the topology.

    Attributes
    ----------
    client_region
        Region of the scheduler and its clients.
    links
        Links by ``"src->dst"``; missing pairs are a default `Link`.
    pools
        Figures of pools by Region, including the client's Region.
    kwh_per_byte
        Estimated energy of sending one byte to another Region.
    one_machine
        Whether all Regions are processes of one machine. Placement decides as over the links, but forecasts ignore
        their latency.
    empty_pool_seconds
        How long tasks wait for a pool without workers before they fail, if pools are not scaled up.
    scale_up_seconds
        How long tasks wait for an empty pool that is scaled up: longer than its first instance needs to start (two to
        four minutes). None if pools are not scaled up.
    start_command
        Command that starts the pools.
    owner
        Id of a process: scheduler and pools end when it ends. None if they are independent.
    idle_seconds
        How long the scheduler waits for a client before it ends, and its workers with it. None if it waits for ever.
    worker_ttl_seconds
        How long a worker may be without a heartbeat before it is restarted.
    region_names
        Names for people of Regions that have one, for pictures and pages.
    """

    client_region: str = "client"
    links: Mapping[str, Link] = field(default_factory=dict)
    pools: Mapping[str, Rates] = field(default_factory=dict)
    kwh_per_byte: float = 0.0
    one_machine: bool = False
    empty_pool_seconds: float = EMPTY_POOL_SECONDS
    start_command: str = "xdask pools up"
    owner: int | None = None
    idle_seconds: float | None = None
    scale_up_seconds: float | None = None
    worker_ttl_seconds: float = WORKER_TTL_SECONDS
    region_names: Mapping[str, str] = field(default_factory=dict)

    def to_environment(self) -> dict[str, str]:
        """Return the environment of a scheduler process with these settings."""
        return {SETTINGS_VARIABLE: json.dumps(asdict(self))}

    @classmethod
    def from_environment(cls) -> Settings:
        """Return the settings in the environment of this process, or the defaults."""
        return cls.from_dict(json.loads(os.environ.get(SETTINGS_VARIABLE, "{}")))

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Settings:
        """Rebuild settings from the result of `dataclasses.asdict`."""
        links = {pair: Link(**link) for pair, link in values.get("links", {}).items()}
        pools = {region: Rates(**rates) for region, rates in values.get("pools", {}).items()}
        return cls(**{**values, "links": links, "pools": pools})

    def link(self, src: str, dst: str) -> Link:
        """Return the link from ``src`` to ``dst``."""
        return self.links.get(f"{src}->{dst}") or Link()

    def price(self, src: str, dst: str) -> float:
        """Return the cost of one byte from ``src`` to ``dst`` in USD, including waiting; 0 within a Region."""
        return 0.0 if src == dst else self.link(src, dst).price

    @property
    def client_pool(self) -> bool:
        """Return whether the client's Region has a pool, which may join small results."""
        return self.rates(self.client_region).threads > 0

    def without_client_pool(self) -> Settings:
        """Return the same settings without a pool in the client's Region."""
        rates = replace(self.rates(self.client_region), threads=0)
        return replace(self, pools={**self.pools, self.client_region: rates})

    def rates(self, region: str) -> Rates:
        """Return the figures of a Region's pool."""
        return self.pools.get(region) or Rates()

    def kwh(self, across: Mapping[str, int]) -> dict[str, float]:
        """Estimated energy of sending bytes by ``"src->dst"``, by the Region that sends them."""
        found: dict[str, float] = {}
        for pair, nbytes in across.items():
            src, dst = pair.split("->")
            given = self.link(src, dst).kwh_per_byte
            found[src] = found.get(src, 0.0) + nbytes * (self.kwh_per_byte if given is None else given)
        return found

    def egress_usd(self, across: Mapping[str, int]) -> float:
        """Return the cost of bytes by ``"src->dst"`` at list prices."""
        return sum(n * self.link(*pair.split("->")).usd_per_byte for pair, n in across.items())
