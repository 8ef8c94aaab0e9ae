"""Checks of ``regions.yaml`` across several keys.

Belongs here: one function for each part of the file; each problem has its location in the file and its fix. Does not
belong here: checks of single values (stanzas), derived names (model).
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator, Sequence

from xdask_pipelines.topology.aws_facts import region_partitions
from xdask_pipelines.topology.aws_stanza import Aws
from xdask_pipelines.topology.stanzas import Client, Dataset, LinkStanza, Worker
from xdask_pipelines.topology.strict_yaml import Location

Problems = Iterator[tuple[Location, str]]


def region_problems(client: Client, workers: Sequence[Worker]) -> Problems:
    """Check that Regions and their networks are distinct, in one partition, and that limits of pools are in order."""
    seen: list[tuple[str, str, str | None]] = [("client", client.region, client.cidr)]
    home = region_partitions().get(client.region)
    for i, worker in enumerate(workers):
        for where, region, cidr in seen:
            if worker.region == region:
                hint = "the client Region holds no data" if where == "client" else "put its datasets together"
                yield ("workers", i, "region"), f"{region} occurs twice, first as {where}; {hint}"
            elif worker.cidr and cidr and ipaddress.IPv4Network(worker.cidr).overlaps(ipaddress.IPv4Network(cidr)):
                yield (
                    ("workers", i, "cidr"),
                    f"{worker.cidr} of {worker.region} overlaps {cidr} of {region} ({where}); peered networks "
                    f"need separate addresses, such as 10.{i + 1}.0.0/16",
                )
        partition = region_partitions().get(worker.region)
        if partition and home and partition != home:
            yield (
                ("workers", i, "region"),
                f"{worker.region} and the client's {client.region} are in different AWS partitions, whose "
                f"networks cannot be peered; use Regions of {home}",
            )
        if worker.pool.min_workers > worker.pool.max_workers:
            yield (
                ("workers", i, "pool", "min_workers"),
                f"{worker.pool.min_workers} is more than max_workers, {worker.pool.max_workers}; fix one of them",
            )
        seen.append((f"workers[{i}]", worker.region, worker.cidr))


#: Data repository associations that one FSx for Lustre file system can have.
_MOST_SOURCES = 8
#: Smallest network that has room for the subnets of two zones.
_SMALLEST_PREFIX = 24


def aws_problems(aws: Aws | None, client: Client, workers: Sequence[Worker]) -> Problems:
    """Check what profile aws needs: the stanza `aws`, Regions of AWS with networks, and sources that fit a file system."""
    if aws is None:
        yield (), "profile aws needs the stanza aws; add `aws: {account: '123456789012', alarms_to: ops@example.org}`"
    else:
        for key, problem in aws.problems():
            yield ("aws", key), problem
    places: list[tuple[Location, Client | Worker]] = [(("client",), client)]
    places += [(("workers", i), worker) for i, worker in enumerate(workers)]
    for i, (where, stanza) in enumerate(places):
        if stanza.region not in region_partitions():
            yield (
                (*where, "region"),
                f"{stanza.region} is not an AWS Region, and the profile is aws; correct one of them",
            )
        if stanza.cidr is None:
            yield (
                where,
                f"{stanza.region} has no cidr, the addresses of its network on AWS; add one that no other Region uses, "
                f"such as 10.{i}.0.0/16",
            )
        elif ipaddress.IPv4Network(stanza.cidr).prefixlen > _SMALLEST_PREFIX:
            yield (
                (*where, "cidr"),
                f"{stanza.cidr} of {stanza.region} has no room for the subnets of two zones; write a /{_SMALLEST_PREFIX} or "
                "larger",
            )
    for i, worker in enumerate(workers):
        sources = [dataset.source for dataset in worker.datasets if dataset.source]
        if len(sources) > _MOST_SOURCES:
            yield (
                ("workers", i, "datasets"),
                f"{worker.region} has {len(sources)} datasets with a source, and a file system links at most "
                f"{_MOST_SOURCES}; link a common prefix of some, or move some to another Region",
            )


def dataset_problems(workers: Sequence[Worker]) -> Problems:
    """Check that each dataset is described consistently, and that mounts do not overlap."""
    layouts: dict[str, tuple[str, str]] = {}
    for i, worker in enumerate(workers):
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
                    f"{key} needs a bucket, but {dataset.mount} has no source; add a source or remove {key}",
                )
            for mount in mounts:
                if f"{mount}/".startswith(f"{dataset.mount}/") or f"{dataset.mount}/".startswith(f"{mount}/"):
                    yield (
                        (*at, "mount"),
                        f"{dataset.mount} and {mount} in {worker.region} are the same folder or one inside "
                        f"the other; give each its own folder, or the same files would be catalogued twice",
                    )
            mounts.append(dataset.mount)


def link_problems(links: Sequence[LinkStanza], regions: Sequence[str]) -> Problems:
    """Check that each link joins two Regions of the topology, and that no pair is linked twice."""
    seen: set[frozenset[str]] = set()
    for i, link in enumerate(links):
        pair = frozenset(link.between)
        if strangers := sorted(pair - set(regions)):
            yield (
                ("links", i, "between"),
                f"{strangers[0]} is not a Region of this topology; write two of {', '.join(regions)}",
            )
        elif len(pair) == 1:
            yield ("links", i, "between"), f"a link joins two Regions, not {link.between[0]} with itself"
        elif pair in seen:
            yield ("links", i, "between"), f"{' and '.join(link.between)} are linked twice; remove one of them"
        seen.add(pair)
