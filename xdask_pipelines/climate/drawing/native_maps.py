"""Maps of fields on native ocean grids and in regions with gaps.

Belongs here: choosing the value of each pixel. Does not belong here: rectangular grids (``maps``).
"""

from __future__ import annotations

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from xdask_pipelines.climate.drawing.picture_frame import colour_bar, colour_scale, frame, in_words, png
from xdask_pipelines.climate.drawing.region_view import view_of
from xdask_pipelines.climate.grids.grid import Float
from xdask_pipelines.climate.grids.shapes import places_of
from xdask_pipelines.errors import ClimateError

#: Radius of a point's colour as a fraction of the distance between neighbours: a little more than half a diagonal.
_REACH = 0.75


def draw_native_map(field: xr.DataArray, title: str, subtitle: str | None = None) -> bytes:
    """Draw a field on a map of the world, or of the region of all its values, by the latitude and longitude of each value.

    A pixel has the colour of the nearest point on the sphere, if that is not farther away than the distance between
    neighbouring points: cells are never stretched over a seam, a fold or a gap. Points without value are grey, like
    areas without points.

    Parameters
    ----------
    field
        A field with two dimensions, in memory, with coordinates for `shapes.places_of`.
    title, subtitle
        As in `maps.draw_map`.

    Returns
    -------
    A PNG of 1200 x 740 pixels.

    Raises
    ------
    ClimateError
        If no value or no position is finite.
    """
    lat, lon = (np.asarray(each.values, np.float64) for each in places_of(field))
    words = in_words(field, float("nan"))
    points = _on_sphere(lat, lon)
    placed = np.isfinite(points).all(axis=-1) & (np.abs(lat) <= 90.0)
    if not placed.any():
        raise ClimateError(
            f"{field.name or 'the field'} has no finite latitude and longitude, so it cannot be drawn on a map"
        )
    tree = cKDTree(points[placed])
    reach = (_REACH * _spacing(points))[placed]
    valued = placed & np.isfinite(words.values)
    world = view_of(lat[valued], lon[valued], float(np.rad2deg(np.median(reach)) / _REACH))
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
    world.draw(figure, image)
    colour_bar(figure, norm, palette, extend, words.axis)
    return png(figure)


def _on_sphere(lat: Float, lon: Float) -> Float:
    """Return points on the unit sphere, shape (..., 3)."""
    phi, lam = np.deg2rad(lat), np.deg2rad(lon)
    return np.stack([np.cos(phi) * np.cos(lam), np.cos(phi) * np.sin(lam), np.sin(phi)], axis=-1)


def _spacing(points: Float) -> Float:
    """Return the distance of each point to its nearest neighbour along each dimension; the larger of both dimensions."""
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
