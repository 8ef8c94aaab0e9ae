"""Pictures of results as files: a materialization holds its own, for the UI.

Belongs here: from metadata to a PNG file. Does not belong here: drawing (climate.drawing), which results have pictures
(io_manager).
"""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from xdask_pipelines.resources.var import writable
from xdask_pipelines.topology import Topology

#: Names under which a materialization holds its picture, as Markdown.
PICTURES = ("map", "plot")


def saved_picture(topology: Topology, asset: str, metadata: Mapping[str, Any]) -> Path | None:
    """Write a result's picture to ``var/pictures/<asset>.png``; None if the result has none.

    Parameters
    ----------
    topology
        Whose ``var/``.
    asset
        Name of the asset.
    metadata
        Of its materialization.
    """
    shown = "".join(str(metadata.get(name, "")) for name in PICTURES)
    if (found := re.search(r"base64,([^)]*)", shown)) is None:
        return None
    picture = writable(topology, "pictures") / f"{asset.replace('/', '_')}.png"
    partial = picture.with_suffix(".partial")  # a viewer never sees half a file
    partial.write_bytes(base64.b64decode(found[1]))
    partial.replace(picture)
    return picture
