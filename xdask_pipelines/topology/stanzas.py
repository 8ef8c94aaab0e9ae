"""The stanzas of the topology file, each by itself: their keys, and what each value may be.

Belongs here: refusals that one stanza can tell alone. Does not belong here: how stanzas fit together (topology).
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator
from typing import Annotated

from pydantic import AfterValidator, Field

from xdask_pipelines.topology.addresses import doi_text, report_folder, s3_url
from xdask_pipelines.topology.aws_facts import INSTANCE_TYPES, InstanceType, usd_per_vcpu_second
from xdask_pipelines.topology.aws_stanza import Vpc, Zone
from xdask_pipelines.topology.layout_names import layout_names
from xdask_pipelines.topology.path_pattern import read_pattern
from xdask_pipelines.topology.region_facts import country_code, grid_factor, region_name
from xdask_pipelines.topology.strict_yaml import Stanza, close_names

_THREADS_PER_PROCESS = 4
#: How long a pool must have needed fewer workers before it shrinks; longer than an instance takes to start.
_COOL_DOWN_SECONDS = 300.0
_MEMORY_SHARE = 0.75  # of a process's share of the instance; the rest is for the system, Lustre's client and spilling


def _vpc_cidr(text: str) -> str:
    try:
        network = ipaddress.IPv4Network(text)
    except ValueError as error:
        raise ValueError(f"{text!r} is not an IPv4 network ({error}); write one such as 10.1.0.0/16") from None
    if "/" not in text or not 16 <= network.prefixlen <= 28:
        raise ValueError(f"{text!r} is not a size that AWS allows a VPC; write one of /16 to /28")
    return str(network)


def _known_instance_type(name: str) -> str:
    if name not in INSTANCE_TYPES:
        raise ValueError(
            f"{name!r} is not a known instance type{close_names(name, INSTANCE_TYPES)}; "
            f"write a size of m5d, c5d, r5d, m6id or i3en (all have the local NVMe that a pool spills to)"
        )
    return name


def _known_layout(name: str) -> str:
    known = layout_names()
    if name not in known:
        raise ValueError(f"{name!r} is not a layout{close_names(name, known)}; write one of {', '.join(known)}")
    return name


def _dataset_name(name: str) -> str:
    if not re.fullmatch(r"[a-z0-9][a-z0-9_-]*", name):
        raise ValueError(f"{name!r} is not a dataset name; use a-z, 0-9, _ and -, beginning with a letter or digit")
    return name


def _relative_mount(path: str) -> str:
    parts = path.split("/")
    if "\\" in path or "\0" in path or any(part in ("", ".", "..") for part in parts):
        raise ValueError(
            f"{path!r} must be a plain path below the Region's data folder, such as era5-pds or "
            f"CMIP6/CMIP/MOHC: not absolute, without . or .., without a slash at the end"
        )
    return path


def _excluded(path: str) -> str:
    if "\\" in path or "\0" in path or any(part in ("", ".", "..") for part in path.split("/")):
        raise ValueError(
            f"{path!r} must be the plain path of a file, store or folder below the mount: not absolute, without . or .., "
            f"without a slash at the end"
        )
    return path


def _readable_pattern(text: str) -> str:
    read_pattern(text)
    return text


def host_name(host: str) -> str:
    """Check a value of the header Host: a name or address, and the port unless it is the scheme's own."""
    if not re.fullmatch(r"([A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?|\[[0-9A-Fa-f:.]+\])(:[0-9]{1,5})?", host):
        raise ValueError(
            f"{host!r} is not a host as a browser names it; write dagster.example.org or localhost:8080, "
            f"without http:// and without a path"
        )
    return host


def _capacity(gib: int) -> int:
    if gib != 1200 and (gib <= 0 or gib % 2400):
        raise ValueError(f"{gib} GiB cannot be had from FSx for Lustre; write 1200 or a multiple of 2400")
    return gib


Region = Annotated[str, AfterValidator(region_name)]
_Cidr = Annotated[str, AfterValidator(_vpc_cidr)]


def _two_zones(zones: tuple[str, str]) -> tuple[str, str]:
    if zones[0] == zones[1]:
        raise ValueError(f"zone {zones[0]} occurs twice; name two different zones")
    return zones


class RegionStanza(Stanza):
    """What every Region has.

    ``name`` is shown to people in place of ``region``. Emissions are those of the grid of ``country`` (ISO 3166, two
    letters) or ``co2e_kg_per_kwh``; AWS Regions need neither. ``cidr`` are the addresses of its network on AWS. ``vpc`` is
    an existing VPC to which that network is added; without it, a VPC is created. ``zones`` are the letters of the two zones
    in which it lies; without them, they are the first two of the account.
    """

    region: Region
    name: Annotated[str, Field(min_length=1, max_length=60)] | None = None
    country: Annotated[str, AfterValidator(country_code)] | None = None
    co2e_kg_per_kwh: Annotated[float, Field(ge=0)] | None = None
    cidr: _Cidr | None = None
    vpc: Vpc | None = None
    zones: Annotated[tuple[Zone, Zone], Field(strict=False), AfterValidator(_two_zones)] | None = None

    @property
    def grid_factor(self) -> float | None:
        """Average emissions of the Region's grid in kg CO2e per kWh; None if unknown."""
        return grid_factor(self.region, self.country) if self.co2e_kg_per_kwh is None else self.co2e_kg_per_kwh


class Client(RegionStanza):
    """The client Region: scheduler, catalog, Dagster and notebooks; it holds no data.

    ``threads`` are those of a worker beside the scheduler, which joins small results of several Regions.
    """

    threads: Annotated[int, Field(ge=0)] = 0


class PoolStanza(Stanza):
    """The Dask workers of one Region; one *worker* here is one instance of several nannied processes.

    With ``spot`` they are spot instances on AWS, which cost less and may be taken away after two minutes' notice. A pool
    shrinks after it has needed fewer workers for ``cool_down_seconds``.
    """

    instance_type: Annotated[str, AfterValidator(_known_instance_type)] = "m5d.4xlarge"
    min_workers: Annotated[int, Field(ge=0)] = 0
    max_workers: Annotated[int, Field(ge=1)] = 12
    spot: bool = False
    cool_down_seconds: Annotated[float, Field(ge=10)] = _COOL_DOWN_SECONDS
    usd_per_vcpu_hour: Annotated[float, Field(ge=0)] | None = None

    @property
    def usd_per_vcpu_second(self) -> float:
        """Price of a busy virtual CPU: the one that is given, else the list price of the instance type."""
        if self.usd_per_vcpu_hour is None:
            return usd_per_vcpu_second(self.instance_type)
        return self.usd_per_vcpu_hour / 3600

    @property
    def instance(self) -> InstanceType:
        """Figures of the instance type."""
        return INSTANCE_TYPES[self.instance_type]

    @property
    def processes(self) -> int:
        """Worker processes of one instance."""
        return max(1, self.instance.vcpus // _THREADS_PER_PROCESS)

    @property
    def threads(self) -> int:
        """Threads of one process; over all processes as many as virtual CPUs."""
        return self.instance.vcpus // self.processes

    @property
    def memory_limit_bytes(self) -> int:
        """Memory limit of one process: 75 % of its share of the instance."""
        return int(self.instance.memory_gib * 2**30 * _MEMORY_SHARE / self.processes)

    @property
    def spill_folder(self) -> str:
        """Where a process spills: the instance's own NVMe."""
        return "/mnt/nvme/dask"


class Lustre(Stanza):
    """The FSx for Lustre file system of one Region (stage full): capacity in GiB, and the zone in which it lies.

    A pool runs in the zone of its file system. To move both after the loss of a zone, name another one.
    """

    capacity_gib: Annotated[int, AfterValidator(_capacity)] = 1200
    zone: Annotated[int, Field(ge=1, le=2)] = 1


class Dataset(Stanza):
    """One mount of a dataset in one Region. A dataset may have several, also within one Region.

    ``source`` is the bucket that the mount is imported from; a folder of one's own has none. ``anonymous`` asks it
    without credentials. ``inventory`` is the folder of its S3 Inventory, to be read instead of listing it. ``excerpt``
    says that the data are knowingly incomplete, so that completeness warns instead of blocking. ``doi`` is what reports
    cite, where the files do not name it.
    ``pattern`` says what paths
    look like, for the layout ``generic`` alone; ``variable`` is the variable, where the pattern has no ``{variable}``.
    ``exclude`` are files, stores or folders below the mount that are known to be bad.
    """

    name: Annotated[str, AfterValidator(_dataset_name)]
    layout: Annotated[str, AfterValidator(_known_layout)]
    mount: Annotated[str, AfterValidator(_relative_mount)]
    pattern: Annotated[str, AfterValidator(_readable_pattern)] | None = None
    variable: Annotated[str, Field(min_length=1)] | None = None
    exclude: Annotated[tuple[Annotated[str, AfterValidator(_excluded)], ...], Field(strict=False)] = ()
    source: Annotated[str, AfterValidator(s3_url)] | None = None
    anonymous: bool = False
    inventory: Annotated[str, AfterValidator(s3_url)] | None = None
    excerpt: bool = False
    license: str | None = None
    attribution: str | None = None
    doi: Annotated[str, AfterValidator(doi_text)] | None = None

    def problems(self) -> Iterator[tuple[str, str]]:
        """Keys that do not go together, each with what is wrong and what to do."""
        if self.layout != "generic":
            for key in ("pattern", "variable"):
                if getattr(self, key) is not None:
                    yield key, f"only layout generic has a {key}, and this is {self.layout}; take away one of them"
        elif self.pattern is None:
            yield "layout", "generic needs a pattern, such as {model}/{year}/{variable}_{year}{month}.nc; add the key"
        elif ("variable" in read_pattern(self.pattern).names) == (self.variable is not None):
            yield (
                "pattern",
                f"{self.pattern!r} and the key variable must name the variable once: write {{variable}} in the pattern, or "
                f"set the key variable",
            )


class Worker(RegionStanza):
    """A worker Region: a pool beside the data it reads."""

    pool: PoolStanza = PoolStanza()
    lustre: Lustre = Lustre()
    datasets: Annotated[tuple[Dataset, ...], Field(strict=False)] = ()


class LinkStanza(Stanza):
    """The network between two Regions, both ways.

    ``rtt_ms`` is the round-trip time, ``mbit`` the rate of one flow in Mbit/s. ``usd_per_gb`` and ``kwh_per_gb`` are the
    price and the energy of sending 10^9 bytes; without them, list prices and the average of the internet count.
    """

    between: Annotated[tuple[Region, Region], Field(strict=False)]
    rtt_ms: Annotated[float, Field(gt=0)] = 80.0
    mbit: Annotated[float, Field(gt=0)] = 1000.0
    usd_per_gb: Annotated[float, Field(ge=0)] | None = None
    kwh_per_gb: Annotated[float, Field(ge=0)] | None = None


class Reports(Stanza):
    """Where a page of every result that passes its checks is written.

    ``folder`` is a folder, relative to that of the file, or ``s3://bucket/prefix``.
    """

    folder: Annotated[str, AfterValidator(report_folder)]


def scheduler_address(address: str) -> str:
    """Return the address of a scheduler on any machine."""
    if not re.fullmatch(r"(tls|tcp)://(\[[0-9a-fA-F:.]+\]|[A-Za-z0-9._-]+):\d{1,5}", address):
        raise ValueError(
            f"{address!r} is not the address of a scheduler; write one such as tls://dask.example.org:8786"
        )
    return address


def preset_name(name: str) -> str:
    """Check the name of a preset, which is part of the name of a job."""
    if not re.fullmatch(r"[A-Za-z][A-Za-z0-9_-]{0,60}", name):
        raise ValueError(
            f"{name!r} is not the name of a preset; write letters, digits, _ and -, such as ssp245-2050-01"
        )
    return name


PresetName = Annotated[str, AfterValidator(preset_name)]
#: Config values of analyses, by analysis.
Preset = dict[str, dict[str, str | int | float | bool]]
