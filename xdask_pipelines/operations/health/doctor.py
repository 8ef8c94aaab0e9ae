"""The doctor: problems on this machine, and how to fix them.

Belongs here: checks that change nothing. Does not belong here: checks of processes
(process_checks), fixing problems, printing (cli).
"""

from __future__ import annotations

import os
import platform
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement

from xdask_pipelines.errors import CatalogError, TopologyError
from xdask_pipelines.operations.health.finding import Finding
from xdask_pipelines.operations.health.process_checks import (
    check_certificates,
    check_pools,
    check_port,
    check_roads,
    check_validity,
)
from xdask_pipelines.system.units import counted, format_bytes
from xdask_pipelines.topology import Topology, find_topology
from xdask_pipelines.topology.stanzas import Dataset

_PACKAGE = "xdask_pipelines"
_SHOWN = ("dask", "distributed", "dagster", "xarray", "zarr")
#: Minimum free space. The demo needs 7 MB; a decade of monthly partials of ERA5 needs 1 GB.
_FREE_BYTES = 1_000_000_000


def examine(*, in_container: bool = False) -> list[Finding]:
    """Check versions, topology, folders, catalog, code, Dagster's home, certificates and processes.

    In a container on AWS, folders, Dagster's home and keys are those of its task, which `aws_checks` examines.
    """
    findings = list(_versions())
    try:
        topology = find_topology()
    except TopologyError as error:
        return [
            *findings,
            Finding(
                "topology", "problem", str(error), "Fix the file, then run `xdask doctor` again for the other checks."
            ),
        ]
    where = ", ".join(f"{r} (pool)" for r in topology.worker_regions)
    findings.append(
        Finding("topology", "ok", f"{topology.root / 'regions.yaml'}: {topology.client.region} (client), {where}")
    )
    processes = (check_certificates, check_pools, check_roads, check_port)
    of_machine = (_folders, _catalog, _search_node, _code, _dagster, *processes)
    for look in (_catalog, _code, check_pools) if in_container else of_machine:
        findings += _careful(look, topology)
    return findings


def _careful(look: Callable[[Topology], Iterable[Finding]], topology: Topology) -> Iterator[Finding]:
    """Run one check; an error in it must not hide the other checks."""
    about = look.__name__.removeprefix("_")
    try:
        yield from look(topology)
    except CatalogError:  # reported by the check of the catalog
        yield Finding(about, "note", "not checked: the catalog cannot be read", "Fix the catalog first (see above).")
    except Exception as error:
        yield Finding(about, "problem", f"{type(error).__name__}: {error}", "Fix what the message names.")


# ---- what is installed ------------------------------------------------------------------------------------------


def _versions() -> Iterator[Finding]:
    message = ", ".join([f"Python {platform.python_version()}", *(f"{n} {_version(n) or 'missing'}" for n in _SHOWN)])
    wrong = [
        f"{name} is {_version(name) or 'missing'}, but {wanted} is required"
        for name, wanted in _needed()
        if _unfit(name, wanted)
    ]
    if _version("dask") != _version("distributed"):
        wrong.append("the versions of dask and distributed must be equal")
    if wrong:
        remedy = "`pip install --require-hashes -r requirements.lock`, or in a clone `make clean` and `make demo`."
        yield Finding("versions", "problem", "; ".join(wrong), remedy)
    else:
        yield Finding("versions", "ok", message)


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _needed() -> list[tuple[str, str]]:
    """Return the requirements in this package's metadata: names and versions."""
    try:
        asked = [Requirement(text) for text in metadata.requires(_PACKAGE) or ()]
    except metadata.PackageNotFoundError:
        return [(_PACKAGE, "")]
    return [(r.name, str(r.specifier)) for r in asked if r.marker is None or r.marker.evaluate({"extra": ""})]


def _unfit(name: str, wanted: str) -> bool:
    have = _version(name)
    return have is None or not Requirement(f"{name}{wanted}").specifier.contains(have, prereleases=True)


# ---- files ------------------------------------------------------------------------------------------------------


def _folders(topology: Topology) -> Iterator[Finding]:
    for region in topology.worker_regions if _here(topology) else ():
        for dataset in topology.worker(region).datasets:
            yield _mount(topology.data_folder(region), region, dataset)
    if problem := _unwritable(topology.var):
        yield Finding("folders", "problem", problem, f"Make {topology.var} writable, or copy the project elsewhere.")
        return
    free = shutil.disk_usage(_existing(topology.var)).free
    message = f"{topology.var}: writable, {format_bytes(free)} free"
    short = free < _FREE_BYTES
    yield Finding("folders", "note" if short else "ok", message, "Make room before large runs." if short else "")


def _here(topology: Topology) -> bool:
    """Whether the Regions' folders are on this machine; on others the workers check them."""
    from xdask_pipelines.resources.pools.pools_of_topology import pools_of

    return pools_of(topology).here


def _mount(folder: Path, region: str, dataset: Dataset) -> Finding:
    mount = folder / dataset.mount
    try:
        inside = any(os.scandir(mount))
    except OSError as error:
        remedy = f"Put the files of {dataset.name} there, or remove the dataset from regions.yaml."
        return Finding("folders", "problem", f"{mount} ({dataset.name} in {region}): {error.strerror}", remedy)
    if not inside:
        return Finding("folders", "note", f"{mount} ({dataset.name} in {region}) is empty", "Put its files there.")
    return Finding("folders", "ok", f"{mount} ({dataset.name} in {region})")


def _existing(path: Path) -> Path:
    return next(p for p in (path, *path.parents) if p.exists())


def _unwritable(folder: Path) -> str | None:
    """Return why a folder is not writable, after trying it, because permission bits do not apply to root."""
    try:
        with tempfile.TemporaryFile(dir=_existing(folder)):
            return None
    except OSError as error:
        return f"{folder} cannot be written: {error.strerror}"


def _catalog(topology: Topology) -> Iterator[Finding]:
    from xdask_pipelines.catalog import open_catalog
    from xdask_pipelines.operations.syncs.unnamed_places import unnamed_places

    catalog = open_catalog(topology.catalog_url)
    for name in topology.dataset_names:
        for region in dict.fromkeys(r for r, _ in topology.datasets(name)):
            about, sync = f"{name} in {region}", f"`xdask sync {name}`"
            try:
                committed = catalog.manifest(name, region)
                entries = catalog.count(dataset=name, region=region) if committed.generation else 0
            except CatalogError as error:
                remedy = (
                    "Run `xdask sync --full`, which repairs a damaged file. If that fails, move the file away and run "
                    "`xdask sync`: the catalog is rebuilt from the folders, without results."
                    if topology.catalog_url.startswith("sqlite:")
                    else "Do what the message says; all else that needs the catalog fails until then."
                )
                yield Finding("catalog", "problem", str(error), remedy)
                return
            if not committed.generation:
                yield Finding("catalog", "note", f"{about}: never synced", f"{sync}.")
                continue
            message = f"{about}: {counted(entries, 'entry', 'entries')}, generation {committed.generation}"
            known = {o.key: (o.size_bytes, o.modified_ns) for o in committed.objects}
            mounts = [m.mount for r, m in topology.datasets(name) if r == region]
            changed = _changed(topology.data_folder(region), mounts, known) if _here(topology) else 0
            if changed:
                yield Finding(
                    "catalog",
                    "note",
                    f"{message}; {counted(changed, 'file')} new, changed, gone or quarantined",
                    f"{sync}.",
                )
            else:
                yield Finding("catalog", "ok", f"{message}, as the folder is")
    for place, entries in unnamed_places(topology, catalog).items():
        held = f"{place}: {counted(entries, 'entry', 'entries')}"
        message = f"{held} that are not synced, because the dataset is not in regions.yaml there"
        yield Finding("catalog", "note", message, f"Add it again, or run `xdask catalog forget {place.dataset}`.")


def _changed(root: Path, mounts: Iterable[str], known: dict[str, tuple[int, int]]) -> int:
    """Count files that are new, gone or changed in size or time since the last sync, without opening them."""
    there: dict[str, tuple[int, int]] = {}
    for mount in mounts:
        for path in (root / mount).rglob("*"):
            with suppress(OSError):
                if path.is_file():
                    status = path.stat()
                    there[path.relative_to(root).as_posix()] = (status.st_size, status.st_mtime_ns)
    return sum(there.get(key) != known.get(key) for key in {*there, *known})


def _search_node(topology: Topology) -> Iterator[Finding]:
    from xdask_pipelines.catalog.opensearch.opensearch_address import Address
    from xdask_pipelines.resources.opensearch.search_node import SearchNode, open_to_all

    node = SearchNode(topology.var / "opensearch")
    endpoints = [node.endpoint] if node.endpoint else []
    if topology.catalog_url.startswith("opensearch+"):
        endpoints.append(Address.parse(topology.catalog_url).endpoint)
    for endpoint in dict.fromkeys(endpoints):
        if open_to_all(endpoint):
            message = (
                f"{endpoint} requires neither certificate nor login: everyone who reaches it can change its catalogs"
            )
            what = "Use a node that `xdask opensearch up` started (after `xdask opensearch down`), or a domain with a login."
            yield Finding("opensearch", "note", message, what)
        elif endpoint == node.endpoint:
            yield from check_validity(
                "opensearch", node.certificates, "`xdask opensearch up`, which starts the node again."
            )


def _code(topology: Topology) -> Iterator[Finding]:
    from xdask_pipelines.build import assemble

    assembly = assemble(topology)
    for broken in assembly.own.broken:
        what = f"Fix it, or move {broken.file} out of the folder. All other assets work."
        yield Finding("code", "problem", str(broken), what)
    yield Finding(
        "code", "ok", f"{counted(len(list(assembly.definitions.assets or ())), 'asset')} in the code location"
    )


def _dagster(topology: Topology) -> Iterator[Finding]:
    from xdask_pipelines.assets.datasets import catalog_key
    from xdask_pipelines.operations.project import instance

    home = topology.var / "dagster"
    set_ = os.environ.get("DAGSTER_HOME")
    if set_ and Path(set_).resolve() != home:
        yield Finding(
            "dagster", "note", f"DAGSTER_HOME is {set_}; xdask uses {home}", "Unset it for `dagster` commands."
        )
    if not (home / "history").exists():
        yield Finding("dagster", "note", f"{home}: no history yet", "The first run creates it.")
        return
    with instance(topology) as history:
        events = [history.get_latest_materialization_event(catalog_key(*place)) for place in topology.places]
        last = max((event.timestamp for event in events if event), default=None)
        message = f"{home}: {counted(history.get_runs_count(), 'run')}"
    synced = f"; datasets last synced {datetime.fromtimestamp(last, UTC):%Y-%m-%d %H:%M} UTC" if last else ""
    yield Finding("dagster", "ok", message + synced)
