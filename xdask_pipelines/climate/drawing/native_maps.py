"""Maps of fields whose values lie anywhere: native ocean grids, and regions with gaps.

Belongs here: which value each pixel of the globe shows. Does not belong here: rectangular grids (``maps``).
"""

from __future__ import annotations

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from xdask_pipelines.climate.drawing.globe import draw_globe, globe
from xdask_pipelines.climate.drawing.picture_frame import colour_bar, colour_scale, frame, in_words, png
from xdask_pipelines.climate.grid import Float
from xdask_pipelines.climate.shapes import places_of
from xdask_pipelines.errors import ClimateError

#: Part of the distance between neighbours that a point's colour reaches: a little more than half a diagonal.
_REACH = 0.75


def draw_native_map(field: xr.DataArray, title: str, subtitle: str | None = None) -> bytes:
    """Draw a field by the latitude and longitude of each value, on a world map.

    A pixel has the colour of the nearest point on the sphere, if that is no farther away than points are from each
    other there: no cell is stretched over a seam, a fold or a gap. Points without value are grey, like what has no point.

    Parameters
    ----------
    field
        Two dimensions, in memory, with the places that `shapes.places_of` finds.
    title, subtitle
        As in `maps.draw_map`.

    Returns
    -------
    A PNG of 1200 x 740 pixels.

    Raises
    ------
    ClimateError
        If no value is finite, or no point has a place.
    """
    lat, lon = (np.asarray(each.values, np.float64) for each in places_of(field))
    words = in_words(field, float("nan"))
    points = _on_sphere(lat, lon)
    placed = np.isfinite(points).all(axis=-1) & (np.abs(lat) <= 90.0)
    if not placed.any():
        raise ClimateError(
            f"{field.name or 'the field'} has no finite latitude and longitude; there is nowhere to draw it"
        )
    tree = cKDTree(points[placed])
    reach = (_REACH * _spacing(points))[placed]
    world = globe()
    lats = np.broadcast_to(world.latitudes[:, None], world.longitudes.shape)
    distance, nearest = tree.query(_on_sphere(lats, world.longitudes)[world.inside])
    pixels = np.full(world.inside.shape, np.nan)
    pixels[world.inside] = np.where(distance <= reach[nearest], words.values[placed][nearest], np.nan)

    finite = np.isfinite(words.values)
    weights = np.clip(np.cos(np.deg2rad(np.where(np.isfinite(lat), lat, 90.0))), 0.0, 1.0)[finite] + 1e-9
    norm, palette, extend = colour_scale(words.values[finite], weights, words.diverging)
    image: NDArray[np.uint8] = palette(norm(np.ma.masked_invalid(pixels)), bytes=True)
    image[~world.inside] = 0
    figure = frame(title, subtitle, words)
    draw_globe(figure, image)
    colour_bar(figure, norm, palette, extend, words.axis)
    return png(figure)


def _on_sphere(lat: Float, lon: Float) -> Float:
    """Points on the unit sphere, shape (..., 3)."""
    phi, lam = np.deg2rad(lat), np.deg2rad(lon)
    return np.stack([np.cos(phi) * np.cos(lam), np.cos(phi) * np.sin(lam), np.sin(phi)], axis=-1)


def _spacing(points: Float) -> Float:
    """Distance of each point to its neighbours: the nearer one along each dimension, the larger of both dimensions."""
    along = []
    for axis in (0, 1):
        if points.shape[axis] < 2:
            continue
        steps = np.linalg.norm(np.diff(points, axis=axis), axis=-1)
        end = [(0, 0), (0, 0)]
        before, after = list(end), list(end)
        before[axis], after[axis] = (1, 0), (0, 1)
        along.append(
            np.fmin(
                np.pad(steps, before, constant_values=np.inf),
                np.pad(steps, after, constant_values=np.inf),
            )
        )
    spacing: Float = np.max(along, axis=0)
    known = spacing[np.isfinite(spacing)]
    return np.where(np.isfinite(spacing), spacing, np.median(known) if known.size else 0.0)
