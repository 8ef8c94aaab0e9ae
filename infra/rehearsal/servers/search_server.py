"""A real OpenSearch node on loopback, for the catalog: what the OpenSearch domain is on AWS.

Belongs here: a node for one rehearsal. Does not belong here: the node (resources.opensearch), how tasks reach it
(account.search_domain).
"""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from infra.repository import REPOSITORY
from xdask_pipelines.resources.opensearch.search_node import SearchNode
from xdask_pipelines.resources.opensearch.search_node_jars import jars


@dataclass(frozen=True)
class SearchServer:
    """A node at a port of 127.0.0.1, and the folder of its clients' certificate."""

    port: int
    certificates: Path


@contextmanager
def search_server(folder: Path) -> Iterator[SearchServer]:
    """Run a node in a new folder; its jars are fetched once for this clone.

    Raises
    ------
    XdaskError
        Java or Maven is missing, or the node does not start.
    """
    folder.mkdir(parents=True)
    (folder / "jars").symlink_to(_shared_jars(), target_is_directory=True)
    node = SearchNode(folder)
    try:
        node.up()
        assert node.endpoint
        yield SearchServer(int(node.endpoint.rpartition(":")[2]), node.certificates)
    finally:
        node.down()


def _shared_jars() -> Path:
    shared = REPOSITORY / "var" / "opensearch"
    shared.mkdir(mode=0o700, parents=True, exist_ok=True)
    with (shared / "lock").open("a") as lock:  # a rehearsal that starts at the same time waits for the jars of this one
        fcntl.flock(lock, fcntl.LOCK_EX)
        return jars(shared, print)
