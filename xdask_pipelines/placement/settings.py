"""What placement must know of the world: links between Regions, pools, patience.

Belongs here: figures that decide, foretell and price. Does not belong here: where they come from (topology, AWS).
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

SETTINGS_VARIABLE = "XDASK_PLACEMENT"
#: A nanny restarts a lost worker within seconds; a pool empty for longer than this fails its tasks by name.
EMPTY_POOL_SECONDS = 15.0
#: Workers tell twice a second that they live, a thousand of them every six seconds. Dask waits for five minutes; a
#: network that pauses for 10 s, or a library that keeps Python's lock for half a minute, must not cost a worker.
WORKER_TTL_SECONDS = 60.0
#: What waits for a byte costs as well: an instance of 16 virtual CPUs at 0.9 USD an hour.
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
        """USD that one byte costs: its egress, and the time of those who wait for it."""
        return self.usd_per_byte + WAITING_USD_PER_SECOND / self.bytes_per_second


@dataclass(frozen=True)
class Rates:
    """One Region's pool in figures; the client's Region has one if its ``threads`` are not 0.

    Attributes
    ----------
    threads, memory_bytes
        Of the whole pool, grown to its largest; 0 if unknown.
    process_memory_bytes
        Memory limit of one worker process; 0 if unknown.
    usd_per_thread_second, kwh_per_thread_second
        List price and estimated energy of a busy thread.
    co2e_kg_per_kwh
        Of the Region's grid; None if unknown.
    """

    threads: int = 0
    memory_bytes: int = 0
    process_memory_bytes: int = 0
    usd_per_thread_second: float = 0.0
    kwh_per_thread_second: float = 0.0
    co2e_kg_per_kwh: float | None = None


@dataclass(frozen=True)
class Settings:
    """What a scheduler and a plan must know of the topology.

    Attributes
    ----------
    client_region
        Region of the scheduler and its clients.
    links
        By ``"src->dst"``; pairs that are not named are a `Link` of defaults.
    pools
        By Region, the client's too: its grid counts for what it receives.
    kwh_per_byte
        Estimated energy of sending one byte to another Region.
    one_machine
        All Regions are processes of one machine: choices are made as over the links, but nothing waits for them.
    empty_pool_seconds
        How long tasks wait for a pool without workers before they fail, where nobody scales pools up.
    scale_up_seconds
        Where an empty pool is scaled up once tasks wait for it: how long they wait instead, which is what its first
        instance needs to start, and some more (an instance takes two to four minutes). None where it is not.
    start_command
        Command that starts the pools.
    owner
        Id of the process with which scheduler and pools end, however it ends; None if they stand by themselves.
    worker_ttl_seconds
        How long a worker may say nothing before it is taken for frozen, and restarted.
    """

    client_region: str = "client"
    links: Mapping[str, Link] = field(default_factory=dict)
    pools: Mapping[str, Rates] = field(default_factory=dict)
    kwh_per_byte: float = 0.0
    one_machine: bool = False
    empty_pool_seconds: float = EMPTY_POOL_SECONDS
    start_command: str = "xdask pools up"
    owner: int | None = None
    scale_up_seconds: float | None = None
    worker_ttl_seconds: float = WORKER_TTL_SECONDS

    def to_environment(self) -> dict[str, str]:
        """Environment of a scheduler process that is to use these settings."""
        return {SETTINGS_VARIABLE: json.dumps(asdict(self))}

    @classmethod
    def from_environment(cls) -> Settings:
        """Settings of this process, or the defaults."""
        return cls.from_dict(json.loads(os.environ.get(SETTINGS_VARIABLE, "{}")))

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Settings:
        """Rebuild settings from the result of `dataclasses.asdict`."""
        links = {pair: Link(**link) for pair, link in values.get("links", {}).items()}
        pools = {region: Rates(**rates) for region, rates in values.get("pools", {}).items()}
        return cls(**{**values, "links": links, "pools": pools})

    def link(self, src: str, dst: str) -> Link:
        """The link from ``src`` to ``dst``."""
        return self.links.get(f"{src}->{dst}") or Link()

    def price(self, src: str, dst: str) -> float:
        """Cost of one byte from ``src`` to ``dst`` in USD, waiting included; 0 within a Region."""
        return 0.0 if src == dst else self.link(src, dst).price

    @property
    def client_pool(self) -> bool:
        """Whether a pool stands in the client's Region, which may join small results there."""
        return self.rates(self.client_region).threads > 0

    def without_client_pool(self) -> Settings:
        """The same, with nothing that computes in the client's Region."""
        rates = replace(self.rates(self.client_region), threads=0)
        return replace(self, pools={**self.pools, self.client_region: rates})

    def rates(self, region: str) -> Rates:
        """Figures of a Region's pool."""
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
        """What bytes by ``"src->dst"`` cost at list prices."""
        return sum(n * self.link(*pair.split("->")).usd_per_byte for pair, n in across.items())
