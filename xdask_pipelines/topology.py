"""The one file that says where everything is, ``regions.yaml``, and every name that follows from it.

Belongs here: the typed model of the file, its refusals, and derived names, defined once for all.
Does not belong here: how a Region is reached, or anything that opens a connection or a data file.
"""

from __future__ import annotations

import ipaddress
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, PrivateAttr, model_validator

from xdask_pipelines.aws_facts import INSTANCE_TYPES, InstanceType, egress_usd_per_gb, region_partitions
from xdask_pipelines.errors import TopologyError
from xdask_pipelines.names import pool_name
from xdask_pipelines.strict_yaml import Location, ProblemsError, close_names, load_model

LAYOUTS = ("cmip6-pds", "era5-pds")
_THREADS_PER_PROCESS = 4
_MEMORY_SHARE = 0.75  # of a process's share of the instance; the rest is for the system, Lustre's client and spilling


def _known_region(name: str) -> str:
    known = region_partitions()
    if name not in known:
        raise ValueError(f"{name!r} is not an AWS Region{close_names(name, known)}; write one such as eu-west-2")
    return name


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
    if name not in LAYOUTS:
        raise ValueError(f"{name!r} is not a layout{close_names(name, LAYOUTS)}; write one of {', '.join(LAYOUTS)}")
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


def _s3_url(url: str) -> str:
    if not re.fullmatch(r"s3://[a-z0-9][a-z0-9.-]{1,61}[a-z0-9](/[^\s]*)?", url):
        raise ValueError(f"{url!r} is not an S3 address; write s3://bucket or s3://bucket/prefix, or leave it out")
    return url


def _capacity(gib: int) -> int:
    if gib != 1200 and (gib <= 0 or gib % 2400):
        raise ValueError(f"{gib} GiB cannot be had from FSx for Lustre; write 1200 or a multiple of 2400")
    return gib


_Region = Annotated[str, AfterValidator(_known_region)]
_Cidr = Annotated[str, AfterValidator(_vpc_cidr)]


class _Stanza(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Client(_Stanza):
    """The client Region: scheduler, catalog, Dagster and notebooks; it holds no data."""

    region: _Region
    cidr: _Cidr


class Pool(_Stanza):
    """The Dask workers of one Region; one *worker* here is one instance of several nannied processes."""

    instance_type: Annotated[str, AfterValidator(_known_instance_type)] = "m5d.4xlarge"
    min_workers: Annotated[int, Field(ge=0)] = 0
    max_workers: Annotated[int, Field(ge=1)] = 12

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


class Lustre(_Stanza):
    """The FSx for Lustre file system of one Region; capacity in GiB."""

    capacity_gib: Annotated[int, AfterValidator(_capacity)] = 1200


class Dataset(_Stanza):
    """One mount of a dataset in one Region. A dataset may have several, also within one Region.

    ``source`` is the bucket that the mount is imported from; a folder of one's own has none. ``excerpt`` says
    that the data are knowingly incomplete, so that completeness warns instead of blocking.
    """

    name: Annotated[str, AfterValidator(_dataset_name)]
    layout: Annotated[str, AfterValidator(_known_layout)]
    mount: Annotated[str, AfterValidator(_relative_mount)]
    source: Annotated[str, AfterValidator(_s3_url)] | None = None
    excerpt: bool = False
    license: str | None = None
    attribution: str | None = None


class Worker(_Stanza):
    """A worker Region: a pool beside the data it reads."""

    region: _Region
    cidr: _Cidr
    pool: Pool = Pool()
    lustre: Lustre = Lustre()
    datasets: Annotated[tuple[Dataset, ...], Field(strict=False)] = ()


class Link(_Stanza):
    """The network between two Regions, both ways: round-trip time in ms and the rate of one flow in Mbit/s."""

    between: Annotated[tuple[_Region, _Region], Field(strict=False)]
    rtt_ms: Annotated[float, Field(gt=0)] = 80.0
    mbit: Annotated[float, Field(gt=0)] = 1000.0


class Topology(_Stanza):
    """The client Region, the worker Regions, and every name derived from them.

    Read it with :func:`find_topology` or :meth:`Topology.load`; both raise :class:`TopologyError`. Methods
    that take a ``region`` raise it too, for a Region that has no such thing.
    """

    client: Client
    workers: Annotated[tuple[Worker, ...], Field(strict=False, min_length=1)]
    links: Annotated[tuple[Link, ...], Field(strict=False)] = ()
    _root: Path | None = PrivateAttr(default=None)

    @classmethod
    def load(cls, path: str | Path) -> Topology:
        """Read and check a topology file.

        Raises
        ------
        TopologyError
            Names file, line and key of everything that is wrong, and how to mend it.
        """
        topology = load_model(path, cls)
        topology._root = Path(path).resolve().parent
        return topology

    @model_validator(mode="after")
    def _check(self) -> Self:
        problems = [*self._region_problems(), *self._dataset_problems(), *self._link_problems()]
        if problems:
            raise ProblemsError(problems)
        return self

    def _region_problems(self) -> Iterator[tuple[Location, str]]:
        seen: list[tuple[str, str, str]] = [("client", self.client.region, self.client.cidr)]
        home = region_partitions()[self.client.region]
        for i, worker in enumerate(self.workers):
            for where, region, cidr in seen:
                if worker.region == region:
                    hint = "the client Region holds no data" if where == "client" else "put its datasets together"
                    yield ("workers", i, "region"), f"{region} is there twice, first as {where}; {hint}"
                elif ipaddress.IPv4Network(worker.cidr).overlaps(ipaddress.IPv4Network(cidr)):
                    yield (
                        ("workers", i, "cidr"),
                        f"{worker.cidr} of {worker.region} overlaps {cidr} of {region} ({where}); joined networks "
                        f"need addresses of their own, such as 10.{i + 1}.0.0/16",
                    )
            if region_partitions()[worker.region] != home:
                yield (
                    ("workers", i, "region"),
                    f"{worker.region} and the client's {self.client.region} are in different AWS partitions, whose "
                    f"networks cannot be joined; use Regions of {home}",
                )
            if worker.pool.min_workers > worker.pool.max_workers:
                yield (
                    ("workers", i, "pool", "min_workers"),
                    f"{worker.pool.min_workers} is more than max_workers, {worker.pool.max_workers}; mend one of them",
                )
            seen.append((f"workers[{i}]", worker.region, worker.cidr))

    def _dataset_problems(self) -> Iterator[tuple[Location, str]]:
        layouts: dict[str, tuple[str, str]] = {}
        for i, worker in enumerate(self.workers):
            mounts: list[str] = []
            stanzas: dict[str, Dataset] = {}
            for j, dataset in enumerate(worker.datasets):
                at: Location = ("workers", i, "datasets", j)
                layout, where = layouts.setdefault(dataset.name, (dataset.layout, worker.region))
                if layout != dataset.layout:
                    yield (
                        (*at, "layout"),
                        f"{dataset.name} has layout {dataset.layout} here and {layout} in {where}; a dataset has "
                        f"one layout: mend it or rename the dataset",
                    )
                first = stanzas.setdefault(dataset.name, dataset)
                for key in ("excerpt", "license", "attribution"):
                    if getattr(first, key) != getattr(dataset, key):
                        yield (
                            at,
                            f"{key} of {dataset.name} differs between its mounts {first.mount} and "
                            f"{dataset.mount} in {worker.region}; write the same, or give the data another name",
                        )
                for mount in mounts:
                    if f"{mount}/".startswith(f"{dataset.mount}/") or f"{dataset.mount}/".startswith(f"{mount}/"):
                        yield (
                            (*at, "mount"),
                            f"{dataset.mount} and {mount} in {worker.region} are the same folder or one inside "
                            f"the other; give each its own folder, or the same files would be catalogued twice",
                        )
                mounts.append(dataset.mount)

    def _link_problems(self) -> Iterator[tuple[Location, str]]:
        seen: set[frozenset[str]] = set()
        for i, link in enumerate(self.links):
            pair = frozenset(link.between)
            if strangers := sorted(pair - set(self.regions)):
                yield (
                    ("links", i, "between"),
                    f"{strangers[0]} is not a Region of this topology; write two of {', '.join(self.regions)}",
                )
            elif len(pair) == 1:
                yield ("links", i, "between"), f"a link joins two Regions, not {link.between[0]} with itself"
            elif pair in seen:
                yield ("links", i, "between"), f"{' and '.join(link.between)} are linked twice; remove one of them"
            seen.add(pair)

    @property
    def root(self) -> Path:
        """Absolute folder that holds the file; data and results of a local run lie below it."""
        if self._root is None:
            raise TopologyError("This topology was not read from a file, so it has no root folder; use Topology.load")
        return self._root

    @property
    def var(self) -> Path:
        """Folder of everything that a run makes and that may be deleted."""
        return self.root / "var"

    @property
    def catalog_url(self) -> str:
        """Address of the catalog of a local run, for ``catalog.open_catalog``."""
        return f"sqlite://{(self.var / 'catalog.sqlite').as_posix()}"

    @property
    def worker_regions(self) -> tuple[str, ...]:
        """Regions that hold data and a pool, in the file's order."""
        return tuple(worker.region for worker in self.workers)

    @property
    def regions(self) -> tuple[str, ...]:
        """All Regions, the client's first."""
        return (self.client.region, *self.worker_regions)

    @property
    def dataset_names(self) -> tuple[str, ...]:
        """Names of all datasets, sorted, each once."""
        return tuple(sorted({dataset.name for worker in self.workers for dataset in worker.datasets}))

    def worker(self, region: str) -> Worker:
        """The worker Region of that name."""
        for worker in self.workers:
            if worker.region == region:
                return worker
        raise TopologyError(f"{region!r} is not a worker Region of this topology: {', '.join(self.worker_regions)}")

    def datasets(self, name: str) -> tuple[tuple[str, Dataset], ...]:
        """Every (Region, mount) that holds a dataset, in the file's order."""
        found = tuple((w.region, dataset) for w in self.workers for dataset in w.datasets if dataset.name == name)
        if not found:
            raise TopologyError(
                f"{name!r} is not a dataset of this topology: {', '.join(self.dataset_names) or 'none'}"
            )
        return found

    def pool_name(self, region: str) -> str:
        """Resource that each worker process of a Region's pool offers."""
        return pool_name(self.worker(region).region)

    def service_name(self, region: str) -> str:
        """ECS service of a Region's pool."""
        return f"xdask-{self.pool_name(region)}"

    def data_folder(self, region: str) -> Path:
        """Local stand-in for a worker Region's Lustre mount; entry keys are relative to it."""
        return self.root / "data" / self.worker(region).region

    def results_folder(self, region: str) -> Path:
        """Local stand-in for what a Region, the client's too, keeps of its results."""
        return self.var / "regions" / self._known(region)

    def cluster_name(self, region: str) -> str:
        """ECS cluster of a Region, the client's too."""
        return f"xdask-{self._known(region)}"

    def index_name(self, region: str) -> str:
        """Catalog index that holds the entries of a Region."""
        return f"xdask-entries-{self._known(region)}"

    def parameter_name(self, *parts: str) -> str:
        """Name of a parameter in Systems Manager: ``/xdask/…``."""
        if not parts or not all(re.fullmatch(r"[A-Za-z0-9_.-]+", part) for part in parts):
            raise TopologyError(f"{parts!r} cannot name a parameter; use letters, digits, _, . and - in each part")
        return "/".join(("/xdask", *parts))

    def price(self, source: str, destination: str) -> float:
        """USD per byte sent from one Region to another; 0 within a Region.

        See :func:`xdask_pipelines.aws_facts.egress_usd_per_gb` for the source of the figures.
        """
        return egress_usd_per_gb(self._known(source), self._known(destination)) / 1e9

    def link(self, source: str, destination: str) -> Link:
        """The network between two Regions, as the file says or with its defaults."""
        pair = {self._known(source), self._known(destination)}
        found = [link for link in self.links if set(link.between) == pair]
        return found[0] if found else Link(between=(source, destination))

    def _known(self, region: str) -> str:
        if region not in self.regions:
            raise TopologyError(f"{region!r} is not a Region of this topology: {', '.join(self.regions)}")
        return region


def find_topology() -> Topology:
    """Load the topology file that ``XDASK_TOPOLOGY`` names, else ``regions.yaml`` in the current folder.

    Raises
    ------
    TopologyError
        There is no such file, or it cannot be used.
    """
    named = os.environ.get("XDASK_TOPOLOGY")
    path = Path(named) if named else Path.cwd() / "regions.yaml"
    if not path.is_file():
        how = "XDASK_TOPOLOGY names it" if named else "XDASK_TOPOLOGY is not set"
        raise TopologyError(
            f"There is no topology file {path} ({how}); run from the folder that holds regions.yaml, or set "
            f"XDASK_TOPOLOGY to the file's path"
        )
    return Topology.load(path)
