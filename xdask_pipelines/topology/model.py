"""The model of ``regions.yaml``, the file with all Regions and datasets, and all names that are derived from it.

Belongs here: the typed model of the file, and derived names. Does not belong here: checks across keys
(topology_checks), parts of the file (stanzas), opening connections or data files (resources).
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Annotated, Literal, Self
from urllib.parse import quote, unquote_plus

from pydantic import AfterValidator, Field, PrivateAttr, model_validator

from xdask_pipelines.errors import TopologyError
from xdask_pipelines.topology.addresses import alert_url
from xdask_pipelines.topology.aws_facts import region_partitions
from xdask_pipelines.topology.aws_names import ALARM_TOPIC
from xdask_pipelines.topology.aws_stanza import Aws
from xdask_pipelines.topology.mount import Mount
from xdask_pipelines.topology.names import pool_name
from xdask_pipelines.topology.place import Place
from xdask_pipelines.topology.region_facts import default_egress_usd_per_gb
from xdask_pipelines.topology.stanzas import (
    Client,
    Dataset,
    LinkStanza,
    Preset,
    PresetName,
    Reports,
    Worker,
    host_name,
    scheduler_address,
)
from xdask_pipelines.topology.strict_yaml import ProblemsError, Stanza, load_model
from xdask_pipelines.topology.topology_checks import (
    aws_problems,
    dataset_problems,
    link_problems,
    region_problems,
)

#: Address of the catalog of projects whose file names none.
CATALOG_VARIABLE = "XDASK_CATALOG"
_CATALOG = r"sqlite:///|opensearch\+https?://"


class Topology(Stanza):
    """The client Region, the worker Regions, and all names that are derived from them.

    ``profile`` is how Regions are reached: ``local`` as folders and processes of this machine, ``attached`` as workers
    that are started anywhere for the ``scheduler``, ``aws`` as buckets and file systems, which ``aws`` describes.
    ``alerts`` is the address for messages about failed syncs. ``ui_hosts`` are hosts with ports, such as those of a tunnel
    or a reverse proxy, by which browsers reach the UI and the dashboard in addition to loopback. ``reports`` says where a
    page of every result is written; without it, ``xdask report`` writes one when it is asked. ``presets`` are values for
    the config of analyses, by a name of one's own: ``xdask demo --preset NAME``.

    Read it with :func:`find_topology` or :meth:`Topology.load`; both raise :class:`TopologyError`. Methods that take a
    ``region`` raise it too, for an unknown Region.
    """

    client: Client
    workers: Annotated[tuple[Worker, ...], Field(strict=False, min_length=1)]
    links: Annotated[tuple[LinkStanza, ...], Field(strict=False)] = ()
    catalog: str | None = None
    profile: Literal["local", "attached", "aws"] = "local"
    aws: Aws | None = None
    scheduler: Annotated[str, AfterValidator(scheduler_address)] | None = None
    alerts: Annotated[str, AfterValidator(alert_url)] | None = None
    ui_hosts: Annotated[tuple[Annotated[str, AfterValidator(host_name)], ...], Field(strict=False)] = ()
    reports: Reports | None = None
    presets: dict[PresetName, Preset] = Field(default_factory=dict)
    _root: Path | None = PrivateAttr(default=None)

    @classmethod
    def load(cls, path: str | Path) -> Topology:
        """Read and check a topology file.

        Raises
        ------
        TopologyError
            If the file is not valid. The message lists every error with file, line, key and fix.
        """
        topology = load_model(path, cls)
        topology._root = Path(path).resolve().parent
        return topology

    @model_validator(mode="after")
    def _check(self) -> Self:
        problems = [
            *region_problems(self.client, self.workers),
            *(aws_problems(self.aws, self.client, self.workers) if self.profile == "aws" else ()),
            *dataset_problems(self.workers),
            *link_problems(self.links, self.regions),
        ]
        if self.profile == "attached" and self.scheduler is None:
            problems.append(
                (
                    ("scheduler",),
                    "profile attached needs the address of the scheduler that workers and clients connect to; write one "
                    "such as tls://dask.example.org:8786",
                )
            )
        if self.catalog is not None and not re.match(_CATALOG, self.catalog):
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

    @property
    def root(self) -> Path:
        """Absolute folder of the file; data and results of a local project are below it."""
        if self._root is None:
            raise TopologyError(
                "This topology has no root folder, because it was not read from a file. Use Topology.load"
            )
        return self._root

    @property
    def var(self) -> Path:
        """Folder of all files that commands and runs create and that may be deleted."""
        return self.root / "var"

    @property
    def certificates(self) -> Path:
        """Folder that ``xdask certs`` fills."""
        return certificates_folder(self.root)

    @property
    def catalog_url(self) -> str:
        """Address of the catalog for ``catalog.open_catalog``.

        It is that of the file, else that in the variable ``XDASK_CATALOG``, else a file in `var`: a project that names its
        catalog uses the same one everywhere, and containers name the one that was deployed.
        """
        named = self.catalog or os.environ.get(CATALOG_VARIABLE)
        if not named:
            return f"sqlite://{(self.var / 'catalog.sqlite').as_posix()}"
        if not re.match(_CATALOG, named):
            raise TopologyError(
                f"{CATALOG_VARIABLE}={named!r} is not the address of a catalog. Write opensearch+https://host:443/xdask, or "
                "unset it for a file in var/"
            )
        return absolute_address(named, self.root) if "?" in named else named

    @property
    def alert_address(self) -> str | None:
        """Address for messages about failed syncs: that of the file, or on AWS the topic of alarms; None without one."""
        if self.alerts is None and self.profile == "aws" and self.aws is not None:
            partition, region = region_partitions()[self.client.region], self.client.region
            return f"arn:{partition}:sns:{region}:{self.aws.account}:{ALARM_TOPIC}"
        return self.alerts

    @property
    def places(self) -> tuple[Place, ...]:
        """Every (dataset, Region), by dataset and then in the file's order. Each sync is of one of them."""
        return tuple(Place(name, region) for name in self.dataset_names for region in self.regions_of(name))

    def regions_of(self, dataset: str) -> tuple[str, ...]:
        """Return the Regions that hold a dataset, in the file's order."""
        return tuple(dict.fromkeys(region for region, _ in self.datasets(dataset)))

    def mounts(self, dataset: str, region: str) -> tuple[Mount, ...]:
        """Return the mounts of a dataset in one Region, in the file's order."""
        mounts_there = tuple(self._mount(region, stanza) for where, stanza in self.datasets(dataset) if where == region)
        if not mounts_there:
            places = ", ".join(self.regions_of(dataset))
            raise TopologyError(f"Dataset {dataset} has no mount in {region}. It is in {places}")
        return mounts_there

    def _mount(self, region: str, stanza: Dataset) -> Mount:
        attributes = {"license": stanza.license, "attribution": stanza.attribution}
        return Mount(
            dataset=stanza.name,
            region=region,
            layout=stanza.layout,
            path=stanza.mount,
            excerpt=stanza.excerpt,
            attributes={name: text for name, text in attributes.items() if text},
            exclude=frozenset(stanza.exclude),
            pattern=stanza.pattern or "",
            variable=stanza.variable or "",
            source=stanza.source or "",
            from_bucket=self.profile == "aws" and stanza.source is not None,
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
        """Return the worker Region of a name."""
        for worker in self.workers:
            if worker.region == region:
                return worker
        raise TopologyError(
            f"{region!r} is not a worker Region of this topology. Available: {', '.join(self.worker_regions)}"
        )

    def datasets(self, name: str) -> tuple[tuple[str, Dataset], ...]:
        """Return every (Region, mount) that holds a dataset, in the file's order."""
        mounts = tuple((w.region, dataset) for w in self.workers for dataset in w.datasets if dataset.name == name)
        if not mounts:
            raise TopologyError(
                f"{name!r} is not a dataset of this topology. Available: {', '.join(self.dataset_names) or 'none'}"
            )
        return mounts

    def pool_name(self, region: str) -> str:
        """Return the Dask resource of the worker processes of a Region's pool."""
        return pool_name(self.worker(region).region)

    def data_folder(self, region: str) -> Path:
        """Return the local folder for a worker Region's Lustre mount; entry keys are relative to it."""
        return self.root / "data" / self.worker(region).region

    def results_folder(self, region: str) -> Path:
        """Return the local folder for the results of a Region or of the client Region."""
        return self.var / "regions" / self._known(region)

    def price(self, source: str, destination: str) -> float:
        """Return the price of sending a byte from one Region to another in USD; 0 within a Region.

        See :mod:`xdask_pipelines.topology.region_facts` for the source of the figures that the file does not give.
        """
        if self._known(source) == self._known(destination):
            return 0.0
        given = self.link(source, destination).usd_per_gb
        return (default_egress_usd_per_gb(source, destination) if given is None else given) / 1e9

    def display_name(self, region: str) -> str:
        """Name of a Region for people: ``name``, else the Region itself."""
        return self.region_names.get(region, region)

    @property
    def region_names(self) -> dict[str, str]:
        """Names for people of the Regions that have one."""
        return {stanza.region: stanza.name for stanza in (self.client, *self.workers) if stanza.name}

    def link(self, source: str, destination: str) -> LinkStanza:
        """Return the network between two Regions, from the file or with defaults."""
        pair = {self._known(source), self._known(destination)}
        matching = [link for link in self.links if set(link.between) == pair]
        return matching[0] if matching else LinkStanza(between=(source, destination))

    def _known(self, region: str) -> str:
        if region not in self.regions:
            raise TopologyError(f"{region!r} is not a Region of this topology. Available: {', '.join(self.regions)}")
        return region


def find_topology() -> Topology:
    """Load the topology file in ``XDASK_TOPOLOGY``, else ``regions.yaml`` in the current folder.

    Raises
    ------
    TopologyError
        If the file does not exist or is not valid.
    """
    named = os.environ.get("XDASK_TOPOLOGY")
    path = Path(named) if named else Path.cwd() / "regions.yaml"
    if not path.is_file():
        how = "from XDASK_TOPOLOGY or --topology" if named else "XDASK_TOPOLOGY is not set"
        raise TopologyError(
            f"The topology file {path} does not exist ({how}). Run from the folder that contains regions.yaml, or pass "
            "the file's path as --topology or XDASK_TOPOLOGY"
        )
    return Topology.load(path)


def absolute_address(catalog: str, folder: Path) -> str:
    """Resolve the relative paths in the parameters ``certs`` and ``ca`` of a catalog's address against a folder."""

    def absolute(match: re.Match[str]) -> str:
        return f"{match[1]}={quote(str(folder / unquote_plus(match[2])))}"

    return re.sub(r"(?<=[?&])(certs|ca)=([^&#]+)", absolute, catalog) if catalog.startswith("opensearch+") else catalog


def certificates_folder(root: Path) -> Path:
    """Return the folder of the certificates of a project."""
    return root / "var" / "certs"


def project_folder() -> Path | None:
    """Return the folder of the current project, or None. The topology is not read.

    It is the folder of the file in ``XDASK_TOPOLOGY``, else the nearest one with a ``regions.yaml`` at or above the
    current folder.
    """
    if named := os.environ.get("XDASK_TOPOLOGY"):
        return Path(named).resolve().parent
    here = Path.cwd()
    files = (folder / "regions.yaml" for folder in (here, *here.parents))
    return next((file.resolve().parent for file in files if file.is_file()), None)
