"""A real OpenSearch node on loopback, for the catalog: what the OpenSearch domain is on AWS.

Belongs here: a node without documents of its own rehearsal, and how containers reach it. Does not belong here: the node
(resources.opensearch).
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from infra.repository import REPOSITORY
from xdask_pipelines.resources.opensearch.search_node import SearchNode
from xdask_pipelines.resources.opensearch.search_node_jars import jars

#: Where containers find the certificate of the node's clients, below the folder of the project.
CERTIFICATES = "search-certificates"
_USER_ID = 10001


@dataclass(frozen=True)
class SearchServer:
    """A node at a port of 127.0.0.1, and the folder of its clients' certificate."""

    port: int
    certificates: Path

    def give_certificates(self, project: Path) -> None:
        """Copy the certificate of clients into a project, for the user of containers alone."""
        target = shutil.copytree(self.certificates, project / CERTIFICATES)
        if os.geteuid() == 0:
            for each in (target, *target.iterdir()):
                shutil.chown(each, _USER_ID, _USER_ID)

    def address(self, host: str, port: int, project: str) -> str:
        """Return the address of the catalog for a container.

        Parameters
        ----------
        host, port
            By which the container reaches the node.
        project
            Folder of the project in the container.
        """
        return f"opensearch+https://{host}:{port}/xdask?certs={quote(f'{project}/{CERTIFICATES}')}"


@contextmanager
def search_server(folder: Path) -> Iterator[SearchServer]:
    """Run a node in a new folder; its jars are fetched once for this clone.

    Raises
    ------
    XdaskError
        Java or Maven is missing, or the node does not start.
    """
    folder.mkdir(parents=True)
    (folder / "jars").symlink_to(jars(_shared(), print), target_is_directory=True)
    node = SearchNode(folder)
    try:
        node.up()
        assert node.endpoint
        yield SearchServer(int(node.endpoint.rpartition(":")[2]), node.certificates)
    finally:
        node.down()


def _shared() -> Path:
    shared = REPOSITORY / "var" / "opensearch"
    shared.mkdir(mode=0o700, parents=True, exist_ok=True)
    return shared
