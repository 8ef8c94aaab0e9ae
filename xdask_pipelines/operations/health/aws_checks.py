"""Checks of a deployment on AWS, from inside: what templates cannot prove.

Belongs here: which findings are problems, and what to do about them. Does not belong here: looking at a machine
(region_probes), checks of any project (doctor).

It starts one sync executor and one pool instance in each Region, which end by themselves.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Collection, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from functools import partial
from itertools import chain
from pathlib import Path

from xdask_pipelines.access.home_calls import Compute, call_at_home
from xdask_pipelines.errors import XdaskError
from xdask_pipelines.operations.health.domain_checks import check_signatures
from xdask_pipelines.operations.health.finding import Finding
from xdask_pipelines.operations.health.process_checks import check_clocks, judge_roads
from xdask_pipelines.operations.health.region_probes import RegionProbe, file_system_of, probe_region, probe_source
from xdask_pipelines.resources.pools.pools_of_topology import pools_of
from xdask_pipelines.resources.pools.standing_pools import Pools
from xdask_pipelines.system.units import format_bytes
from xdask_pipelines.topology import Topology
from xdask_pipelines.topology.aws_names import CERTIFICATES_PATH, SCHEDULER_HOST, SCHEDULER_PORT, SPILL_PATH

Tell = Callable[[str], None]
#: A pool spills to the instance's own NVMe, whose smallest size is 50 GB.
_LEAST_SPILL_BYTES = 30_000_000_000
_DEPLOY_AGAIN = "`make infra-deploy` restores what the templates say"
_NVME = ("/dev/nvme", "/dev/md")
_MOUNTPOINT, _LUSTRE = {"fuse", "fuse.mountpoint-s3"}, {"lustre"}


def examine_deployment(topology: Topology, tell: Tell, only: Collection[str] = ()) -> Iterator[Finding]:
    """Check a deployment from a container of its client Region.

    Parameters
    ----------
    topology
        With profile aws.
    tell
        Called with lines of progress: instances take minutes to start.
    only
        Parts to check: ``client``, ``sync``, ``pool``, ``roads``; all of them by default.
    """
    parts = only or ("client", "sync", "pool", "roads")
    if "client" in parts:
        yield from _name()
        yield from _keys()
        yield from _careful("catalog", partial(check_signatures, topology))
    with closing(pools_of(topology)) as pools:
        regions = topology.worker_regions
        cut_off: set[str] = set()
        if "sync" in parts:
            tell(f"starting a sync executor in {', '.join(regions)}")
            yield from _of_regions(regions, "sync", lambda region: _executor(topology, pools, region, cut_off, tell))
        if "pool" in parts:
            if reached := [region for region in regions if region not in cut_off]:
                tell(f"waiting for an instance of the pool in {', '.join(reached)}")
                yield from _of_regions(reached, "pool", lambda region: _pool(topology, pools.compute, region))
            for region in sorted(cut_off):
                said = "not checked: its workers cannot reach the scheduler"
                yield Finding(f"pool {region}", "note", said, f"Fix what is said of `sync {region}` first.")
        if "roads" in parts:
            yield from _careful("roads", partial(_roads, topology, pools))


def _of_regions(regions: Sequence[str], what: str, look: Callable[[str], Iterator[Finding]]) -> Iterator[Finding]:
    """Run the checks of all Regions at once: instances take minutes to start."""
    with ThreadPoolExecutor(len(regions)) as threads:
        found = threads.map(lambda region: list(_careful(f"{what} {region}", partial(look, region))), regions)
        yield from chain.from_iterable(found)


def _careful(about: str, look: Callable[[], Iterator[Finding]]) -> Iterator[Finding]:
    """Run the checks of one Region; an error in them must not hide the others."""
    try:
        yield from look()
    except XdaskError as error:
        yield Finding(about, "problem", str(error))
    except Exception as error:
        yield Finding(about, "problem", f"{type(error).__name__}: {error}", "Fix what the message names.")


def _name() -> Iterator[Finding]:
    try:
        yield Finding("scheduler", "ok", f"{SCHEDULER_HOST} is {socket.gethostbyname(SCHEDULER_HOST)}")
    except OSError as error:
        remedy = "Look at the sensor of the controller in Dagster: it writes the record. It needs its service to run."
        yield Finding("scheduler", "problem", f"{SCHEDULER_HOST} has no address here: {error}", remedy)


def _keys() -> Iterator[Finding]:
    folder = Path(os.environ.get("XDASK_CERTS") or CERTIFICATES_PATH)
    _, kind = file_system_of(folder)
    if kind == "tmpfs":
        yield Finding("keys", "ok", f"the TLS keys are in memory ({folder})")
    else:
        yield Finding("keys", "problem", f"the TLS keys are in {folder}, on {kind}, and not in memory", "Deploy again.")


def _roads(topology: Topology, pools: Pools) -> Iterator[Finding]:
    """Check the roads between all pools that run, and name those that do not, or end meanwhile."""
    running = pools.status().workers
    roads = pools.roads() if running else []
    examined = {region for road in roads for region in (road.src, road.dst)}
    if missing := [region for region in topology.worker_regions if region not in examined]:
        said = f"not examined from and to {', '.join(missing)}: no instance of the pool runs"
        yield Finding("roads", "note", said, "`xdask doctor --aws --only pool --only roads` starts them.")
    yield from check_clocks(pools.clock_skews() if running else {})
    yield from judge_roads(topology, roads)


def _executor(topology: Topology, pools: Pools, region: str, cut_off: set[str], tell: Tell) -> Iterator[Finding]:
    """Check what a sync needs: its mounts, and one byte of each source; add the Region if it cannot reach the scheduler."""
    with pools.temporary([region], tell) as compute:
        probe = _probe(topology, compute, region)
        yield from _scheduler_from(f"sync {region}", probe)
        if probe.port_error:
            cut_off.add(region)
        yield from _disks(f"sync {region}", probe)
        if _full(topology):
            yield from _lustre(f"sync {region}", probe)
        mounts = [
            m for d in topology.dataset_names if region in topology.regions_of(d) for m in topology.mounts(d, region)
        ]
        sources = [mount for mount in mounts if mount.source]
        calls = [call_at_home("probe", region, probe_source, mount) for mount in sources]
        answers, _ = compute(*calls) if calls else ((), None)
        for mount, problem in zip(sources, answers, strict=True):
            if problem:
                remedy = (
                    "Check the name of the bucket and its Region; without `anonymous: true`, its owner has to admit the "
                    f"role xdask-sync-{region}. The S3 endpoint admits the buckets of the last deployment: deploy again."
                )
                yield Finding(f"sync {region}", "problem", f"{mount.source} cannot be read: {problem}", remedy)
            else:
                yield Finding(f"sync {region}", "ok", f"one byte of {mount.source} was read")


def _pool(topology: Topology, compute: Compute, region: str) -> Iterator[Finding]:
    """Check what an analysis needs: data that are there and cannot be changed, results that can be written."""
    about = f"pool {region}"
    probe = _probe(topology, compute, region)
    yield from _scheduler_from(about, probe)
    for mount in probe.mounts:
        if mount.error or not mount.filled:
            remedy = f"Read the set-up log of the host (/xdask/host in {region}), and check `source` and `mount`."
            said = f"the mount {mount.path} has no file{f' ({mount.error})' if mount.error else ''}"
            yield Finding(about, "problem", said, remedy)
        elif mount.writable:
            yield Finding(
                about, "problem", f"the mount {mount.path} can be changed by analyses", "Deploy the worker stack again."
            )
        else:
            yield Finding(about, "ok", f"the mount {mount.path} has files and is read-only ({mount.kind})")
    yield from _disks(about, probe)


def _scheduler_from(about: str, probe: RegionProbe) -> Iterator[Finding]:
    """Report whether workers of a Region find the scheduler, and reach its port."""
    if not probe.address:
        remedy = f"Look at the sensor of the controller in Dagster, which writes the record; {_DEPLOY_AGAIN} (dns)."
        yield Finding(about, "problem", f"{SCHEDULER_HOST} has no address there", remedy)
    elif probe.port_error:
        said = f"{SCHEDULER_HOST} ({probe.address}) cannot be reached there, port {SCHEDULER_PORT} ({probe.port_error})"
        remedy = (
            f"Check that the scheduler runs. Then check routes, peering and security groups of this Region and of the "
            f"client's: {_DEPLOY_AGAIN} (network, peering)."
        )
        yield Finding(about, "problem", said, remedy)
    else:
        yield Finding(about, "ok", f"{SCHEDULER_HOST} is {probe.address} there, and port {SCHEDULER_PORT} answers")


def _disks(about: str, probe: RegionProbe) -> Iterator[Finding]:
    if probe.results_error:
        remedy = "Check the S3 Files file system and its access point, and the role of the host."
        yield Finding(about, "problem", f"results cannot be written: {probe.results_error}", remedy)
    else:
        yield Finding(about, "ok", "a file was written, renamed and removed in the folder of results")
    free = format_bytes(probe.spill_free_bytes)
    where = f"workers spill to {probe.spill_device or probe.spill_kind}, {free} free"
    if not probe.spill_device.startswith(_NVME):
        yield Finding(about, "note", f"{where}, which is not NVMe", "Choose an instance type with NVMe, such as m5d.")
    elif probe.spill_free_bytes < _LEAST_SPILL_BYTES:
        yield Finding(about, "note", where, "Choose a larger instance type: computations that spill will fail.")
    else:
        yield Finding(about, "ok", where)


def _lustre(about: str, probe: RegionProbe) -> Iterator[Finding]:
    kinds = {mount.kind for mount in probe.mounts}
    if not kinds:
        return
    if kinds & _MOUNTPOINT:
        yield Finding(
            about, "note", "the buckets are mounted, as there was no Lustre", f"`xdask lustre up {about[5:]}`."
        )
    elif kinds <= _LUSTRE and probe.states_error:
        remedy = "Which files are on the mount stays unknown: `xdask lustre status` and `warm` fail."
        yield Finding(about, "problem", probe.states_error, remedy)
    elif kinds <= _LUSTRE:
        yield Finding(about, "ok", "Lustre is mounted, and reports the state of files")
    else:
        yield Finding(
            about, "problem", f"the data are on {', '.join(sorted(kinds))}", "Read the set-up log of the host."
        )


def _probe(topology: Topology, compute: Compute, region: str) -> RegionProbe:
    keys = [dataset.mount for dataset in topology.worker(region).datasets]
    ((probe,), _) = compute(
        call_at_home("probe", region, probe_region, keys, SPILL_PATH, SCHEDULER_HOST, SCHEDULER_PORT)
    )
    found: RegionProbe = probe
    return found


def _full(topology: Topology) -> bool:
    return topology.aws is not None and topology.aws.stage == "full"
