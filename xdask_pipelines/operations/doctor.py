"""What is wrong on this machine, and how to fix it.

Belongs here: looking, without changing anything. Does not belong here: mending, printing (cli).
"""

from __future__ import annotations

import os
import platform
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Literal

from packaging.requirements import Requirement

from xdask_pipelines.errors import CatalogError, PlacementError, TopologyError
from xdask_pipelines.system.units import counted, format_bytes
from xdask_pipelines.topology import Topology, find_topology
from xdask_pipelines.topology.stanzas import Dataset

_PACKAGE = "xdask_pipelines"
_SHOWN = ("dask", "distributed", "dagster", "xarray", "zarr")
#: The demo leaves 7 MB; a decade of monthly partials of ERA5 is 1 GB.
_FREE_BYTES = 1_000_000_000


@dataclass(frozen=True)
class Finding:
    """One thing looked at: a problem blocks work, a note does not; both say how to fix it."""

    about: str
    state: Literal["ok", "note", "problem"]
    said: str
    remedy: str = ""


def examine() -> list[Finding]:
    """Look at versions, topology, folders, catalog, code, Dagster's home, certificates and processes; change nothing."""
    found = list(_versions())
    try:
        topology = find_topology()
    except TopologyError as error:
        return [*found, Finding("topology", "problem", str(error), "Fix the file; the rest is looked at then.")]
    where = ", ".join(f"{r} (pool)" for r in topology.worker_regions)
    found.append(
        Finding("topology", "ok", f"{topology.root / 'regions.yaml'}: {topology.client.region} (client), {where}")
    )
    for look in (_folders, _catalog, _search_node, _code, _dagster, _certificates, _pools, _port):
        found += _careful(look, topology)
    return found


def _careful(look: Callable[[Topology], Iterable[Finding]], topology: Topology) -> Iterator[Finding]:
    """One look that fails must not hide the others."""
    about = look.__name__.removeprefix("_")
    try:
        yield from look(topology)
    except CatalogError:  # the look at the catalog has said why
        yield Finding(
            about, "note", "not looked at: the catalog cannot be read", "Fix the catalog first, as said above."
        )
    except Exception as error:
        yield Finding(about, "problem", f"{type(error).__name__}: {error}", "Fix what the message names.")


# ---- what is installed ------------------------------------------------------------------------------------------


def _versions() -> Iterator[Finding]:
    said = ", ".join([f"Python {platform.python_version()}", *(f"{n} {_version(n) or 'missing'}" for n in _SHOWN)])
    wrong = [
        f"{name} is {_version(name) or 'missing'}, needed is {wanted}"
        for name, wanted in _needed()
        if _unfit(name, wanted)
    ]
    if _version("dask") != _version("distributed"):
        wrong.append("dask and distributed differ: they belong together")
    if wrong:
        remedy = "`pip install --require-hashes -r requirements.lock`, or in a clone `make clean` and `make demo`."
        yield Finding("versions", "problem", "; ".join(wrong), remedy)
    else:
        yield Finding("versions", "ok", said)


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _needed() -> list[tuple[str, str]]:
    """What this package's own metadata asks for: name and versions."""
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
    for region in topology.worker_regions:
        for dataset in topology.worker(region).datasets:
            yield _mount(topology.data_folder(region), region, dataset)
    if problem := _unwritable(topology.var):
        yield Finding("folders", "problem", problem, f"Make {topology.var} writable, or copy the project elsewhere.")
        return
    free = shutil.disk_usage(_existing(topology.var)).free
    said = f"{topology.var}: writable, {format_bytes(free)} free"
    short = free < _FREE_BYTES
    yield Finding("folders", "note" if short else "ok", said, "Make room before large runs." if short else "")


def _mount(folder: Path, region: str, dataset: Dataset) -> Finding:
    mount = folder / dataset.mount
    try:
        inside = any(os.scandir(mount))
    except OSError as error:
        remedy = f"Put the files of {dataset.name} there, or take the dataset out of regions.yaml."
        return Finding("folders", "problem", f"{mount} ({dataset.name} in {region}): {error.strerror}", remedy)
    if not inside:
        return Finding("folders", "note", f"{mount} ({dataset.name} in {region}) is empty", "Put its files there.")
    return Finding("folders", "ok", f"{mount} ({dataset.name} in {region})")


def _existing(path: Path) -> Path:
    return next(p for p in (path, *path.parents) if p.exists())


def _unwritable(folder: Path) -> str | None:
    """Why nothing can be written below a folder that may not exist yet; tried, for root passes every permission bit."""
    try:
        with tempfile.TemporaryFile(dir=_existing(folder)):
            return None
    except OSError as error:
        return f"{folder} cannot be written: {error.strerror}"


def _catalog(topology: Topology) -> Iterator[Finding]:
    from xdask_pipelines.catalog import open_catalog
    from xdask_pipelines.operations.unnamed_places import unnamed_places

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
            said = f"{about}: {counted(entries, 'entry', 'entries')}, generation {committed.generation}"
            known = {o.key: (o.size_bytes, o.modified_ns) for o in committed.objects}
            mounts = [m.mount for r, m in topology.datasets(name) if r == region]
            changed = _changed(topology.data_folder(region), mounts, known)
            if changed:
                yield Finding(
                    "catalog",
                    "note",
                    f"{said}; {counted(changed, 'file')} new, changed, gone or quarantined",
                    f"{sync}.",
                )
            else:
                yield Finding("catalog", "ok", f"{said}, as the folder is")
    for place, entries in unnamed_places(topology, catalog).items():
        held = f"{place}: {counted(entries, 'entry', 'entries')}"
        said = f"{held} that no sync keeps true; regions.yaml does not name the dataset there"
        yield Finding("catalog", "note", said, f"Name it there again, or `xdask catalog forget {place.dataset}`.")


def _changed(root: Path, mounts: Iterable[str], known: dict[str, tuple[int, int]]) -> int:
    """How many files are new, gone or of another size or time than at the last sync; none is opened."""
    there: dict[str, tuple[int, int]] = {}
    for mount in mounts:
        for path in (root / mount).rglob("*"):
            with suppress(OSError):
                if path.is_file():
                    found = path.stat()
                    there[path.relative_to(root).as_posix()] = (found.st_size, found.st_mtime_ns)
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
            said = f"{endpoint} asks for no certificate and no login: each who reaches it may change all catalogs on it"
            what = "Use a node that `xdask opensearch up` started (after `xdask opensearch down`), or a domain with a login."
            yield Finding("opensearch", "note", said, what)
        elif endpoint == node.endpoint:
            yield from _validity("opensearch", node.certificates, "`xdask opensearch up`, which starts the node again.")


def _code(topology: Topology) -> Iterator[Finding]:
    from xdask_pipelines.build import assemble

    assembly = assemble(topology)
    for broken in assembly.own.broken:
        what = f"Fix it, or move {broken.file} out of the folder; all other assets work."
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
        said = f"{home}: {counted(history.get_runs_count(), 'run')}"
    synced = f"; datasets last synced {datetime.fromtimestamp(last, UTC):%Y-%m-%d %H:%M} UTC" if last else ""
    yield Finding("dagster", "ok", said + synced)


# ---- processes --------------------------------------------------------------------------------------------------


def _certificates(topology: Topology) -> Iterator[Finding]:
    from xdask_pipelines.placement.local import tls

    folder = topology.certificates
    if not tls.has_certificates(folder):
        said = "none: the pools speak plain TCP on this machine, so that each of its users can run code as you through them"
        remedy = (
            f"If others use this machine: `{tls.CERTS}`, then restart the pools (`xdask pools down`, `xdask pools up`)."
        )
        yield Finding("certs", "note", said, remedy)
        return
    yield from _validity(
        "certs", folder, f"`{tls.CERTS}`, then restart the pools: `xdask pools down`, `xdask pools up`."
    )


def _validity(about: str, folder: Path, remedy: str) -> Iterator[Finding]:
    """Whether a folder's certificates are valid, and its keys private."""
    from xdask_pipelines.placement.local.certificates import AUTHORITY_KEY, expires_soon, expiry
    from xdask_pipelines.placement.local.tls import NODE_KEY

    until = expiry(folder)
    for key in (folder / NODE_KEY, folder / AUTHORITY_KEY):
        if key.exists() and key.stat().st_mode & 0o077:
            yield Finding(about, "problem", f"{key} can be read by other users", remedy)
    said = f"{folder}: valid until {until:%Y-%m-%d %H:%M} UTC"
    if until <= datetime.now(UTC):
        yield Finding(about, "problem", f"{folder}: expired on {until:%Y-%m-%d %H:%M} UTC", remedy)
    elif expires_soon(until):
        yield Finding(about, "note", said, remedy)
    else:
        yield Finding(about, "ok", said)


def _pools(topology: Topology) -> Iterator[Finding]:
    from xdask_pipelines.operations.ui import running_ui
    from xdask_pipelines.placement.local import tls
    from xdask_pipelines.placement.query_planning import refuse_query_planning
    from xdask_pipelines.resources.pools import pools_of
    from xdask_pipelines.resources.standing_pools import START

    refuse_query_planning()
    pools = pools_of(topology)
    try:
        status = pools.status()
    except PlacementError as error:  # answers, but is of another version or does not place
        yield Finding("pools", "problem", str(error), f"`xdask pools down`, then `{START}`.")
        return
    if status.up:
        workers = ", ".join(f"{region} {n}" for region, n in sorted(status.workers.items()))
        yield Finding("pools", "ok", f"scheduler {status.address}, of this version; worker processes: {workers}")
        if tls.has_certificates(topology.certificates) and not status.address.startswith("tls:"):
            said = (
                "the pools run without the certificates, which are newer: each user of this machine can run code as you"
            )
            yield Finding("pools", "note", said, f"`xdask pools down`, then `{START}`.")
        return
    needed = running_ui(topology) is not None
    for problem in status.problems:
        blocks = pools.started or needed
        remedy = f"`{START}`" + ("." if blocks else "; `xdask demo` and `xdask ui` do it by themselves.")
        yield Finding("pools", "problem" if blocks else "note", problem, remedy)


def _port(topology: Topology) -> Iterator[Finding]:
    from xdask_pipelines.operations.ui import PORT, running_ui
    from xdask_pipelines.system.ports import port_problem

    if ui := running_ui(topology):
        yield Finding("ui", "ok", f"running, {ui.url} (process {ui.pid})")
    elif problem := port_problem(PORT):
        yield Finding("ui", "note", problem, f"Stop it, or choose another port: `xdask ui --port {PORT + 1}`.")
    else:
        yield Finding("ui", "ok", f"not running; port {PORT} is free")
