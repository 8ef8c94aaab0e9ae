"""Coastlines as lines for maps, cut at 180 degrees.

Belongs here: lines in degrees. Does not belong here: projecting or drawing them (``maps``).
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from xdask_pipelines.climate.grids.grid import Float
from xdask_pipelines.climate.regions.land_outlines import land_polygons


@lru_cache(maxsize=1)
def coastlines() -> Float:
    """Return the outlines of all land and of its lakes, cut at 180 degrees.

    Some rings in the file cross that meridian (and Antarctica's encloses the pole). Drawn unchanged, they would leave
    lines across a map; closed along the meridian, they would show it as a coast.

    Returns
    -------
    Shape (n, 2): longitude from -180 to 180 and latitude, in degrees; a row of NaN between lines.
    """
    gap = np.full((1, 2), np.nan)
    lines = np.concatenate(
        [part for polygon in land_polygons("110m") for ring in polygon for part in (_cut(ring), gap)]
    )
    lines.flags.writeable = False  # the result is cached
    return lines


def _cut(ring: Float) -> Float:
    """Return a ring with gaps where it crosses 180 degrees."""
    parts = []
    start = 0
    for i in np.flatnonzero(np.abs(np.diff(ring[:, 0])) > 180.0).tolist():
        (lon, lat), (next_lon, next_lat) = ring[i], ring[i + 1]
        edge = np.copysign(180.0, lon)
        width = 360.0 - abs(next_lon - lon)
        crossing = lat + (next_lat - lat) * ((edge - lon) * np.sign(edge) / width if width else 0.0)
        parts += [ring[start : i + 1], np.array([[edge, crossing], [np.nan, np.nan], [-edge, crossing]])]
        start = i + 1
    return np.concatenate([*parts, ring[start:]])
