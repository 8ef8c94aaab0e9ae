"""The fraction of each cell of a grid that lies in a region.

Belongs here: cutting cells by outlines. Does not belong here: outlines (``region``), means (``regional_mean``).
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import shapely
from shapely.affinity import translate
from shapely.geometry.base import BaseGeometry

from xdask_pipelines.climate.grids.grid import Float, Grid
from xdask_pipelines.climate.regions.region import Region, spherical_areas

# Blocks of cells that an outline crosses are quartered down to this many rows and columns, then cut cell by cell.
_SMALLEST = 8


@lru_cache(maxsize=64)
def cell_fractions(grid: Grid, region: Region) -> Float:
    """Return the fraction of each cell's area that lies in a region, shape (ny, nx), in the field's own order."""
    lat, lon = grid.lat.edges, grid.lon.edges
    inside = np.zeros(grid.shape)
    first, last = (int(np.floor((edge + 180.0) / 360.0)) for edge in (lon[0], lon[-1]))
    for turn in range(first, last + 1):
        _fill(inside, translate(region.geometry, 360.0 * turn), lat, lon, (0, lat.size - 1), (0, lon.size - 1))
    if grid.lat.descending:
        inside = inside[::-1]
    if grid.lon.descending:
        inside = inside[:, ::-1]
    areas = np.outer(grid.lat.measure, grid.lon.measure)
    fractions: Float = np.clip(inside / areas, 0.0, 1.0)
    fractions[np.abs(fractions - 1.0) < 1e-9] = 1.0
    fractions.flags.writeable = False  # the result is cached
    return fractions


def _fill(
    inside: Float, geometry: BaseGeometry, lat: Float, lon: Float, rows: tuple[int, int], columns: tuple[int, int]
) -> None:
    """Add to ``inside`` the area in steradians of each cell's part in a geometry, for a block of cells."""
    block = shapely.box(lon[columns[0]], lat[rows[0]], lon[columns[1]], lat[rows[1]])
    if not shapely.intersects(geometry, block):
        return
    part = shapely.intersection(geometry, block)
    here = (slice(*rows), slice(*columns))
    south, north = np.deg2rad(lat[rows[0] : rows[1]]), np.deg2rad(lat[rows[0] + 1 : rows[1] + 1])
    west, east = np.deg2rad(lon[columns[0] : columns[1]]), np.deg2rad(lon[columns[0] + 1 : columns[1] + 1])
    if part.area >= block.area * (1.0 - 1e-12):
        inside[here] += np.outer(2 * np.cos((north + south) / 2) * np.sin((north - south) / 2), east - west)
    elif max(rows[1] - rows[0], columns[1] - columns[0]) <= _SMALLEST:
        x, y = lon[columns[0] : columns[1] + 1], lat[rows[0] : rows[1] + 1]
        cells = shapely.box(x[None, :-1], y[:-1, None], x[None, 1:], y[1:, None])
        cut = shapely.intersection(part, cells)
        inside[here] += spherical_areas(cut.ravel()).reshape(cut.shape)
    else:
        for own_rows in _halves(rows):
            for own_columns in _halves(columns):
                _fill(inside, part, lat, lon, own_rows, own_columns)


def _halves(span: tuple[int, int]) -> list[tuple[int, int]]:
    start, stop = span
    if stop - start <= _SMALLEST:
        return [span]
    middle = (start + stop) // 2
    return [(start, middle), (middle, stop)]
