"""Outlines of land and of its lakes, from the bundled Natural Earth files (TopoJSON), never from the network.

Belongs here: decoding rings in degrees. Does not belong here: regions made of them, drawing them.
"""

from __future__ import annotations

import json
from importlib.resources import files
from typing import Literal

import numpy as np

from xdask_pipelines.climate.grids.grid import Float


def land_polygons(scale: Literal["50m", "110m"]) -> tuple[tuple[Float, ...], ...]:
    """Return polygons of land: closed rings, the outline first, then those of lakes.

    Each ring has shape (n, 2): longitude and latitude in degrees. A ring may cross 180 degrees, where its longitude
    jumps by 360, and that of Antarctica encloses the pole.
    Source of the format: the TopoJSON specification, sections 2.1.1 (transforms) and 2.1.4 (arc indexes).
    """
    topology = json.loads(files(__package__).joinpath(f"land-{scale}.json").read_text())
    steps, offset = topology["transform"]["scale"], topology["transform"]["translate"]
    arcs = [np.cumsum(arc, axis=0) * steps + offset for arc in topology["arcs"]]
    return tuple(
        tuple(np.concatenate([arcs[i] if i >= 0 else arcs[~i][::-1] for i in ring]) for ring in polygon)
        for geometry in topology["objects"]["land"]["geometries"]
        for polygon in (geometry["arcs"] if geometry["type"] == "MultiPolygon" else [geometry["arcs"]])
    )
