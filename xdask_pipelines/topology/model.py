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
from typing import Annotated, Literal, Self
from urllib.parse import quote, unquote_plus

from pydantic import AfterValidator, Field, PrivateAttr, model_validator

from xdask_pipelines.errors import TopologyError
from xdask_pipelines.topology.aws_facts import egress_usd_per_gb, region_partitions
from xdask_pipelines.topology.mount import Mount
from xdask_pipelines.topology.names import pool_name
from xdask_pipelines.topology.place import Place
from xdask_pipelines.topology.stanzas import Client, Dataset, LinkStanza, Stanza, Worker, alert_address, host_name
from xdask_pipelines.topology.strict_yaml import Location, ProblemsError, load_model


class Topology(Stanza):
    """The client Region, the worker Regions, and every name derived from them.

    ``profile`` says how Regions are reached: ``local`` as folders and processes of this machine, ``aws`` as buckets and
    file systems. ``alerts`` is told of syncs that failed. ``ui_hosts`` are hosts, with their ports, by which browsers
    reach the UI and the dashboard in addition to loopback: those of a tunnel or a reverse proxy.

    Read it with :func:`find_topology` or :meth:`Topology.load`; both raise :class:`TopologyError`. Methods
    that take a ``region`` raise it too, for a Region that has no such thing.
    """

    client: Client
    workers: Annotated[tuple[Worker, ...], Field(strict=False, min_length=1)]
    links: Annotated[tuple[LinkStanza, ...], Field(strict=False)] = ()
    catalog: str | None = None
    profile: Literal["local", "aws"] = "local"
    alerts: Annotated[str, AfterValidator(alert_address)] | None = None
    ui_hosts: Annotated[tuple[Annotated[str, AfterValidator(host_name)], ...], Field(strict=False)] = ()
    _root: Path | None = PrivateAttr(default=None)

    @classmethod
    def load(cls, path: str | Path) -> Topology:
        """Read and check a topology file.

        Raises
        ------
        TopologyError
            Names file, line and key of everything that is wrong, and how to fix it.
        """
        topology = load_model(path, cls)
        topology._root = Path(path).resolve().parent
        return topology

    @model_validator(mode="after")
    def _check(self) -> Self:
        problems = [
            *self._region_problems(),
            *self._network_problems(),
            *self._dataset_problems(),
            *self._link_problems(),
        ]
        if self.catalog is not None and not re.match(r"sqlite:///|opensearch\+https?://", self.catalog):
            problems.append(
                (
                    ("catalog",),
                    f"{self.catalog!r} is not the address of a catalog; write opensearch+https://host:9200/xdask, or leave "
                    f"it out for a file in var/",
                )
            )
        if problems:
            raise ProblemsError(problems)
        return self

    def _region_problems(self) -> Iterator[tuple[Location, str]]:
        seen: list[tuple[str, str, str | None]] = [("client", self.client.region, self.client.cidr)]
        home = region_partitions()[self.client.region]
        for i, worker in enumerate(self.workers):
            for where, region, cidr in seen:
                if worker.region == region:
                    hint = "the client Region holds no data" if where == "client" else "put its datasets together"
                    yield ("workers", i, "region"), f"{region} is there twice, first as {where}; {hint}"
                elif worker.cidr and cidr and ipaddress.IPv4Network(worker.cidr).overlaps(ipaddress.IPv4Network(cidr)):
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
                    f"{worker.pool.min_workers} is more than max_workers, {worker.pool.max_workers}; fix one of them",
                )
            seen.append((f"workers[{i}]", worker.region, worker.cidr))

    def _network_problems(self) -> Iterator[tuple[Location, str]]:
        """On AWS, each Region needs a network."""
        places: list[tuple[Location, Client | Worker]] = [(("client",), self.client)]
        places += [(("workers", i), worker) for i, worker in enumerate(self.workers)]
        for i, (where, stanza) in enumerate(places):
            if self.profile == "aws" and stanza.cidr is None:
                yield (
                    where,
                    f"{stanza.region} has no cidr, the addresses of its network on AWS; add one that no other Region has, "
                    f"such as 10.{i}.0.0/16",
                )

    def _dataset_problems(self) -> Iterator[tuple[Location, str]]:
        layouts: dict[str, tuple[str, str]] = {}
        for i, worker in enumerate(self.workers):
            mounts: list[str] = []
            stanzas: dict[str, Dataset] = {}
            for j, dataset in enumerate(worker.datasets):
                at: Location = ("workers", i, "datasets", j)
                for key, problem in dataset.problems():
                    yield (*at, key), problem
                layout, where = layouts.setdefault(dataset.name, (dataset.layout, worker.region))
                if layout != dataset.layout:
                    yield (
                        (*at, "layout"),
                        f"{dataset.name} has layout {dataset.layout} here and {layout} in {where}; a dataset has "
                        f"one layout: fix it or rename the dataset",
                    )
                first = stanzas.setdefault(dataset.name, dataset)
                for key in ("excerpt", "license", "attribution"):
                    if getattr(first, key) != getattr(dataset, key):
                        yield (
                            at,
                            f"{key} of {dataset.name} differs between its mounts {first.mount} and "
                            f"{dataset.mount} in {worker.region}; write the same, or give the data another name",
                        )
                if dataset.source is None and (dataset.inventory or dataset.anonymous):
                    key = "inventory" if dataset.inventory else "anonymous"
                    yield (
                        (*at, key),
                        f"{key} is about a bucket, and {dataset.mount} has no source; name it or leave {key} out",
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
    def certificates(self) -> Path:
        """Folder that ``xdask certs`` fills."""
        return certificates_folder(self.root)

    @property
    def catalog_url(self) -> str:
        """Address of the catalog, for ``catalog.open_catalog``: the one that is named, or a file in `var`."""
        if self.catalog is None:
            return f"sqlite://{(self.var / 'catalog.sqlite').as_posix()}"
        return absolute_address(self.catalog, self.root) if "?" in self.catalog else self.catalog

    @property
    def places(self) -> tuple[Place, ...]:
        """Every (dataset, Region) that there is, by dataset and then in the file's order: what a sync is of."""
        return tuple(Place(name, region) for name in self.dataset_names for region in self.regions_of(name))

    def regions_of(self, dataset: str) -> tuple[str, ...]:
        """Regions that hold a dataset, in the file's order."""
        return tuple(dict.fromkeys(region for region, _ in self.datasets(dataset)))

    def mounts(self, dataset: str, region: str) -> tuple[Mount, ...]:
        """Mounts of a dataset in one Region, in the file's order."""
        found = tuple(self._mount(region, stanza) for where, stanza in self.datasets(dataset) if where == region)
        if not found:
            places = ", ".join(self.regions_of(dataset))
            raise TopologyError(f"Dataset {dataset} has no mount in {region}; it lies in {places}")
        return found

    def _mount(self, region: str, stanza: Dataset) -> Mount:
        said = {"license": stanza.license, "attribution": stanza.attribution}
        return Mount(
            dataset=stanza.name,
            region=region,
            layout=stanza.layout,
            path=stanza.mount,
            excerpt=stanza.excerpt,
            attributes={name: text for name, text in said.items() if text},
            exclude=frozenset(stanza.exclude),
            pattern=stanza.pattern or "",
            variable=stanza.variable or "",
            source=stanza.source or "",
            from_bucket=self.profile != "local" and stanza.source is not None,
            anonymous=stanza.anonymous,
            inventory=stanza.inventory or "",
        )

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

        See :func:`xdask_pipelines.topology.aws_facts.egress_usd_per_gb` for the source of the figures.
        """
        return egress_usd_per_gb(self._known(source), self._known(destination)) / 1e9

    def link(self, source: str, destination: str) -> LinkStanza:
        """The network between two Regions, as the file says or with its defaults."""
        pair = {self._known(source), self._known(destination)}
        found = [link for link in self.links if set(link.between) == pair]
        return found[0] if found else LinkStanza(between=(source, destination))

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
        how = "XDASK_TOPOLOGY or --topology names it" if named else "XDASK_TOPOLOGY is not set"
        raise TopologyError(
            f"There is no topology file {path} ({how}); run from the folder that holds regions.yaml, or give "
            f"the file's path as --topology or XDASK_TOPOLOGY"
        )
    return Topology.load(path)


def absolute_address(catalog: str, folder: Path) -> str:
    """Address of a catalog in which relative paths, behind ``?certs=`` and ``?ca=``, are taken from a folder."""

    def absolute(found: re.Match[str]) -> str:
        return f"{found[1]}={quote(str(folder / unquote_plus(found[2])))}"

    return re.sub(r"(?<=[?&])(certs|ca)=([^&#]+)", absolute, catalog) if catalog.startswith("opensearch+") else catalog


def certificates_folder(root: Path) -> Path:
    """Folder of the certificates of the project that lies in a folder."""
    return root / "var" / "certs"


def project_folder() -> Path | None:
    """Return the folder of the project that a process works for; None outside of any. The topology is not read.

    It is that of the file that ``XDASK_TOPOLOGY`` names, else the nearest at or above the current folder with a
    ``regions.yaml``.
    """
    if named := os.environ.get("XDASK_TOPOLOGY"):
        return Path(named).resolve().parent
    here = Path.cwd()
    files = (folder / "regions.yaml" for folder in (here, *here.parents))
    return next((file.resolve().parent for file in files if file.is_file()), None)
