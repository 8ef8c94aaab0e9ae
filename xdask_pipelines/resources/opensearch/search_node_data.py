"""The data of a local OpenSearch node: the version that wrote them, and whether this version can read them.

Belongs here: checking before a node starts, because it would end without message. Does not belong here: starting it
(search_node).
"""

from __future__ import annotations

import re
from pathlib import Path

from xdask_pipelines.errors import XdaskError
from xdask_pipelines.resources.opensearch.search_node_jars import JAR_LIST

Version = tuple[int, int, int]
#: Bit in OpenSearch's version numbers that distinguishes them from Elasticsearch's (org.opensearch.Version).
_MASK = 0x08000000


def refuse_newer(base: Path) -> None:
    """Refuse data from a newer version of OpenSearch; data of older versions are upgraded.

    Parameters
    ----------
    base
        Folder of the node's data, configuration and logs, which may not exist yet.

    Raises
    ------
    XdaskError
        If the data are from a newer version.
    """
    wrote, reads = _written_by(base), _version()
    if wrote and wrote > reads:
        raise XdaskError(
            f"{base} contains catalogs from OpenSearch {_text(wrote)}, but this version of the project runs OpenSearch "
            f"{_text(reads)}, which cannot read them. Nothing was changed. Move the folder away and start the node again: "
            f"`xdask sync` creates a catalog from the data again. To keep the results too, first copy the catalog to a file "
            f"(`xdask catalog copy`) with the version of the project that wrote it, and copy it back afterwards."
        )


def _version() -> Version:
    """Return the version of OpenSearch that is started."""
    match = re.search(r" opensearch-(\d+)\.(\d+)\.(\d+)\.jar$", JAR_LIST.read_text(), re.MULTILINE)
    assert match is not None, "the core has one jar of that name"
    return int(match[1]), int(match[2]), int(match[3])


def _written_by(base: Path) -> Version | None:
    """Return the version in the last commit of the node's state; None without data."""
    commits = base.glob("node_1/data/nodes/0/_state/segments_*")
    numbers = [
        int(n) ^ _MASK for path in commits for n in re.findall(rb"node_version.(\d+)", path.read_bytes(), re.DOTALL)
    ]
    if not numbers:
        return None
    major, rest = divmod(max(numbers), 1_000_000)
    minor, patch = divmod(rest, 10_000)
    return major, minor, patch // 100


def _text(version: Version) -> str:
    return ".".join(map(str, version))
