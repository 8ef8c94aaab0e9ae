"""Checks of the doctor for processes on this machine: pools, their certificates, and the UI.

Belongs here: these checks. Does not belong here: checks of files (doctor).
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from xdask_pipelines.errors import PlacementError
from xdask_pipelines.operations.finding import Finding
from xdask_pipelines.topology import Topology


def check_certificates(topology: Topology) -> Iterator[Finding]:
    """Check the certificates of the pools."""
    from xdask_pipelines.placement.local import tls

    folder = topology.certificates
    if not tls.has_certificates(folder):
        said = "none: the pools use plain TCP on this machine, so every user of it can run code as you through them"
        remedy = (
            f"If others use this machine: `{tls.CERTS}`, then restart the pools (`xdask pools down`, `xdask pools up`)."
        )
        yield Finding("certs", "note", said, remedy)
        return
    yield from check_validity(
        "certs", folder, f"`{tls.CERTS}`, then restart the pools: `xdask pools down`, `xdask pools up`."
    )


def check_validity(about: str, folder: Path, remedy: str) -> Iterator[Finding]:
    """Check that a folder's certificates are valid, and its keys private."""
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


def check_pools(topology: Topology) -> Iterator[Finding]:
    """Check that the pools can take tasks."""
    from xdask_pipelines.operations.ui import running_ui
    from xdask_pipelines.placement.local import tls
    from xdask_pipelines.placement.query_planning import refuse_query_planning
    from xdask_pipelines.resources.pools import pools_of
    from xdask_pipelines.resources.standing_pools import START

    refuse_query_planning()
    pools = pools_of(topology)
    try:
        status = pools.status()
    except PlacementError as error:  # the scheduler answers, but has another version or does not place tasks
        yield Finding("pools", "problem", str(error), f"`xdask pools down`, then `{START}`.")
        return
    if status.up:
        workers = ", ".join(f"{region} {n}" for region, n in sorted(status.workers.items()))
        yield Finding("pools", "ok", f"scheduler {status.address}, of this version; worker processes: {workers}")
        if tls.has_certificates(topology.certificates) and not status.address.startswith("tls:"):
            said = "the pools run without the newer certificates, so every user of this machine can run code as you"
            yield Finding("pools", "note", said, f"`xdask pools down`, then `{START}`.")
        return
    needed = running_ui(topology) is not None
    for problem in status.problems:
        blocks = pools.started or needed
        remedy = f"`{START}`" + ("." if blocks else "; `xdask demo` and `xdask ui` do this automatically.")
        yield Finding("pools", "problem" if blocks else "note", problem, remedy)


def check_port(topology: Topology) -> Iterator[Finding]:
    """Check the port of the UI."""
    from xdask_pipelines.operations.ui import PORT, running_ui
    from xdask_pipelines.system.ports import port_problem

    if ui := running_ui(topology):
        yield Finding("ui", "ok", f"running, {ui.url} (process {ui.pid})")
    elif problem := port_problem(PORT):
        yield Finding("ui", "note", problem, f"Stop it, or choose another port: `xdask ui --port {PORT + 1}`.")
    else:
        yield Finding("ui", "ok", f"not running; port {PORT} is free")
