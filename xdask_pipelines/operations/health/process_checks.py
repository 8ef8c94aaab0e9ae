"""Checks of the doctor for processes on this machine: pools, their certificates, and the UI.

Belongs here: these checks. Does not belong here: checks of files (doctor).
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from xdask_pipelines.errors import PlacementError
from xdask_pipelines.operations.health.finding import Finding
from xdask_pipelines.topology import Topology

if TYPE_CHECKING:
    from xdask_pipelines.placement.client.roads import Road


def check_certificates(topology: Topology) -> Iterator[Finding]:
    """Check the certificates of the pools."""
    from xdask_pipelines.placement.local import tls

    folder = topology.certificates
    if not tls.has_certificates(folder):
        message = "none: the pools use plain TCP on this machine, so every user of it can run code as you through them"
        remedy = (
            f"If others use this machine: `{tls.CERTS}`, then restart the pools (`xdask pools down`, `xdask pools up`)."
        )
        yield Finding("certs", "note", message, remedy)
        return
    yield from check_validity(
        "certs", folder, f"`{tls.CERTS}`, then restart the pools: `xdask pools down`, `xdask pools up`."
    )


def check_validity(about: str, folder: Path, remedy: str) -> Iterator[Finding]:
    """Check that a folder's certificates are valid, and its keys private."""
    from xdask_pipelines.placement.local.certificates import AUTHORITY_KEY, expires_soon, expiry
    from xdask_pipelines.placement.local.tls import NODE_KEY, readable_by_others

    until = expiry(folder)
    for key in (folder / NODE_KEY, folder / AUTHORITY_KEY):
        if key.exists() and readable_by_others(key.stat(), os.getegid()):
            yield Finding(about, "problem", f"{key} can be read by other users", remedy)
    message = f"{folder}: valid until {until:%Y-%m-%d %H:%M} UTC"
    if until <= datetime.now(UTC):
        yield Finding(about, "problem", f"{folder}: expired on {until:%Y-%m-%d %H:%M} UTC", remedy)
    elif expires_soon(until):
        yield Finding(about, "note", message, remedy)
    else:
        yield Finding(about, "ok", message)


def check_pools(topology: Topology) -> Iterator[Finding]:
    """Check that the pools can take tasks."""
    from xdask_pipelines.operations.ui import running_ui
    from xdask_pipelines.placement.local import tls
    from xdask_pipelines.placement.query_planning import refuse_query_planning
    from xdask_pipelines.resources.pools.pools_of_topology import pools_of
    from xdask_pipelines.resources.pools.standing_pools import START

    refuse_query_planning()
    pools = pools_of(topology)
    try:
        status = pools.status()
    except PlacementError as error:  # the scheduler answers, but has another version or does not place tasks
        remedy = (
            f"`xdask pools down`, then `{START}`." if pools.here else "Use the same image or environment everywhere."
        )
        yield Finding("pools", "problem", str(error), remedy)
        return
    if status.up:
        workers = ", ".join(f"{region} {n}" for region, n in sorted(status.workers.items()))
        yield Finding("pools", "ok", f"scheduler {status.address}, of this version; worker processes: {workers}")
        if tls.has_certificates(topology.certificates) and not status.address.startswith("tls:"):
            message = "the pools run without the newer certificates, so every user of this machine can run code as you"
            yield Finding("pools", "note", message, f"`xdask pools down`, then `{START}`.")
        return
    needed = running_ui(topology) is not None
    for problem in status.problems:
        blocks = pools.started or needed
        if not pools.here:  # the problem holds the command for the machine where it is
            yield Finding("pools", "problem", problem)
            continue
        remedy = f"`{START}`" + ("." if blocks else "; `xdask demo` and `xdask ui` do this automatically.")
        yield Finding("pools", "problem" if blocks else "note", problem, remedy)


def check_roads(topology: Topology) -> Iterator[Finding]:
    """Check that the workers of each Region can connect to those of all others, and to the scheduler."""
    from xdask_pipelines.resources.pools.pools_of_topology import pools_of

    pools = pools_of(topology)
    if not pools.here and pools.status().address:
        yield from check_clocks(pools.clock_skews())
        yield from judge_roads(topology, pools.roads())


def check_clocks(skews: Mapping[str, float]) -> Iterator[Finding]:
    """Report Regions whose clocks differ from the scheduler's."""
    for region, skew in sorted(skews.items()):
        if abs(skew) > _SKEW_SECONDS:
            message = (
                f"the clock of {region} is {abs(skew):.0f} s {'ahead of' if skew > 0 else 'behind'} the scheduler's"
            )
            yield Finding(
                "roads", "note", message, "Synchronize both clocks (chrony): times of results are not comparable."
            )


def judge_roads(topology: Topology, roads: Sequence[Road]) -> Iterator[Finding]:
    """Report roads that are blocked; if none is, what was measured."""
    for road in roads:
        if road.problem:
            port, these = ("ports", "these ports") if "-" in road.ports else ("port", "this port")
            said = f"{road.src} cannot connect to {road.dst}, {port} {road.ports} ({road.problem})"
            remedy = f"Open {these} in {road.dst} for {road.src}: results cannot cross until then."
            yield Finding("roads", "problem", said, remedy)
    if not any(road.problem for road in roads):
        yield from _measured(topology, roads)


#: Round trips and slow starts explain less.
_SKEW_SECONDS = 2.0
#: Measured figures that differ more from those of regions.yaml are offered: below, choices between Regions hardly change.
_DIFFERS = 1.5


def _measured(topology: Topology, roads: Sequence[Road]) -> Iterator[Finding]:
    """Report round-trip times and rates, and offer those that regions.yaml does not have."""
    pairs: dict[frozenset[str], list[Road]] = {}
    for road in roads:
        pairs.setdefault(frozenset((road.src, road.dst)), []).append(road)
    for pair in pairs.values():
        src, dst = pair[0].src, pair[0].dst
        rtt_ms = max(0.1, 1e3 * max(road.rtt_seconds for road in pair))
        mbit = 8e-6 * min(road.bytes_per_second for road in pair)
        said = f"{src} and {dst}: round trip {rtt_ms:.3g} ms, one flow {mbit:.0f} Mbit/s"
        known = topology.link(src, dst)
        if max(rtt_ms / known.rtt_ms, known.rtt_ms / rtt_ms, mbit / known.mbit, known.mbit / mbit) < _DIFFERS:
            yield Finding("roads", "ok", said)
        else:
            line = f"- {{between: [{src}, {dst}], rtt_ms: {rtt_ms:.3g}, mbit: {mbit:.0f}}}"
            remedy = (
                f"Plans use {known.rtt_ms:g} ms and {known.mbit:g} Mbit/s. Below `links:` in regions.yaml, write {line}"
            )
            yield Finding("roads", "note", said, remedy)


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
