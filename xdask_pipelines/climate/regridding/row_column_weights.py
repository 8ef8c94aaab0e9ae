"""Weights of regridding between rectangular grids: sparse matrices of rows and of columns.

Belongs here: the matrices. Does not belong here: applying them to fields (``regrid``), weights from files.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Literal, NamedTuple

import numpy as np
import scipy.sparse as sparse
from numpy.typing import NDArray

from xdask_pipelines.climate.grids.axis_gaps import TOLERANCE_DEGREES
from xdask_pipelines.climate.grids.grid import Cells, Float, Grid

Method = Literal["conservative", "bilinear"]

# Edges that should coincide differ by rounding: an overlap below this fraction of the smallest cell is ignored, and a
# cell of which less than this fraction is not covered is covered.
_SLIVER = 1e-9


class Weights(NamedTuple):
    """Weights of rows (ny', ny), of columns (nx', nx), and of zonal means (ny', ny) for rows beyond the last one.

    The weights of a target value sum to the fraction of it that the source covers.
    """

    rows: sparse.csr_array
    columns: sparse.csr_array
    zonal_means: sparse.csr_array


@lru_cache(maxsize=16)
def weights_between(source: Grid, target: Grid, method: Method) -> Weights:
    """Return the weights from one grid to another; workers compute them once for each pair of grids."""
    if method == "conservative":
        rows = _overlaps(source.lat, target.lat)
        return Weights(rows, _overlaps(source.lon, target.lon), sparse.csr_array(rows.shape))
    rows, means = _linear_rows(source, target.lat)
    return Weights(rows, _linear_columns(source.lon, target.lon), means)


def _overlaps(source: Cells, target: Cells) -> sparse.csr_array:
    """Return the fraction of each target cell that lies in each source cell; complete rows sum to 1."""
    edges, wanted = source.edges, target.edges
    index = _places(source)
    if source.kind == "longitude":
        turns = 360.0 * np.floor((wanted[0] - edges[0]) / 360.0)
        if source.complete:
            edges, index = np.concatenate([edges[:-1], edges + 360.0]), np.tile(index, 2)
        else:  # -1 marks the part of the circle that the source leaves out
            edges, index = np.concatenate([edges, edges + 360.0]), np.concatenate([index, [-1], index])
        edges = edges + turns
    # The edges of both axes divide the axis into pieces that each lie in one cell of both.
    cuts = np.unique(np.concatenate([edges, wanted]))
    cuts = cuts[(cuts >= max(wanted[0], edges[0])) & (cuts <= min(wanted[-1], edges[-1]))]
    lower, upper = cuts[:-1], cuts[1:]
    middle = (lower + upper) / 2
    column = index[np.searchsorted(edges, middle) - 1]
    kept = (upper - lower > _SLIVER * min(np.diff(edges).min(), np.diff(wanted).min())) & (column >= 0)
    column, middle, part = column[kept], middle[kept], np.deg2rad((upper - lower)[kept])
    row = _places(target)[np.searchsorted(wanted, middle) - 1]
    if source.kind == "latitude":
        part = 2 * np.cos(np.deg2rad(middle)) * np.sin(part / 2)
    covered = np.bincount(row, part, target.size)
    whole = np.where(covered > (1 - _SLIVER) * target.measure, covered, target.measure)
    return sparse.csr_array((part / whole[row], (row, column)), shape=(target.size, source.size))


def _linear_rows(source: Grid, target: Cells) -> tuple[sparse.csr_array, sparse.csr_array]:
    """Return linear weights of rows, and the weights of the last row's zonal mean if no row is at the pole.

    Only rows of whole circles that reach a pole have a zonal mean; other sources end at their last row.
    """
    cells, around = source.lat, source.lon.complete
    index = _places(cells)
    points = cells.centres[index]
    is_mean = np.zeros(cells.size, dtype=bool)
    if around and points[0] > -90.0 and cells.edges[0] < -90.0 + TOLERANCE_DEGREES:
        points, index, is_mean = np.r_[-90.0, points], np.r_[index[0], index], np.r_[True, is_mean]
    if around and points[-1] < 90.0 and cells.edges[-1] > 90.0 - TOLERANCE_DEGREES:
        points, index, is_mean = np.r_[points, 90.0], np.r_[index, index[-1]], np.r_[is_mean, True]
    row, column, weights = _between(points, target.centres)
    mean = is_mean[column]
    shape = (target.size, cells.size)
    parts = [(weights[chosen], (row[chosen], index[column[chosen]])) for chosen in (~mean, mean)]
    return _nonzero(sparse.csr_array(parts[0], shape=shape)), _nonzero(sparse.csr_array(parts[1], shape=shape))


def _linear_columns(source: Cells, target: Cells) -> sparse.csr_array:
    """Return linear weights of columns, cyclic if the source covers the circle."""
    index = _places(source)
    points = source.centres[index]
    if source.complete:
        points, index = np.r_[points, points[0] + 360.0], np.r_[index, index[0]]
    start = points[0] - TOLERANCE_DEGREES  # a centre that is less by rounding must not come a turn later
    row, column, weights = _between(points, (target.centres - start) % 360.0 + start)
    return _nonzero(sparse.csr_array((weights, (row, index[column])), shape=(target.size, source.size)))


def _between(points: Float, wanted: Float) -> tuple[NDArray[np.intp], NDArray[np.intp], Float]:
    """Return rows, columns and weights of the two points around each wanted one; none for those outside the points."""
    inside = np.flatnonzero((wanted >= points[0] - TOLERANCE_DEGREES) & (wanted <= points[-1] + TOLERANCE_DEGREES))
    near = np.clip(wanted[inside], points[0], points[-1])
    left = np.clip(np.searchsorted(points, near, side="right") - 1, 0, points.size - 2)
    weight = (near - points[left]) / (points[left + 1] - points[left])
    return np.tile(inside, 2), np.r_[left, left + 1], np.r_[1 - weight, weight]


def _places(cells: Cells) -> NDArray[np.intp]:
    """Return the position in the field of each cell, from the first edge to the last."""
    places = np.arange(cells.size)
    return places[::-1] if cells.descending else places


def _nonzero(matrix: sparse.csr_array) -> sparse.csr_array:
    """Remove stored zeros, because a NaN times a weight of 0 would be NaN."""
    matrix.eliminate_zeros()
    return matrix
