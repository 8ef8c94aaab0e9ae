"""A field as some 10 kB, made where it lies, so that a picture of it can be drawn elsewhere without moving it.

Belongs here: coarse values in one byte each, and back. Does not belong here: drawing (``maps``).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from xdask_pipelines.climate.axes import horizontal_names, require_field
from xdask_pipelines.climate.blocks import map_fields
from xdask_pipelines.climate.grid import Float, Grid, grid_of, make_grid
from xdask_pipelines.climate.means import AreaMeanKernel
from xdask_pipelines.climate.regrid import RegridKernel
from xdask_pipelines.errors import ClimateError

_NO_VALUE = 255
_LEVELS = 254
_MOST_ROWS, _MOST_COLUMNS = 72, 144


def quantise(field: xr.DataArray) -> xr.Dataset:
    """Coarse copy of a horizontal field in one byte a cell, lazy if the field is (two tasks).

    Parameters
    ----------
    field
        Dimensions latitude and longitude only. A global field of more than 72 x 144 is brought to 2.5 degrees first.

    Returns
    -------
    Dataset of ``codes`` (uint8, at most 72 x 144; 255 where there is no value) and ``summary`` (five float64: first
    level and step of the codes; minimum, maximum and area-weighted mean of the field itself).
    """
    require_field(field, "quantise")
    horizontal = horizontal_names(field)
    if set(field.dims) != set(horizontal):
        raise ClimateError(f"a map shows latitude and longitude only, not {field.dims}; choose one of the others first")
    grid = grid_of(field)
    coarse = _coarse(grid)
    codes = map_fields(_Codes(grid, coarse), field, horizontal, label="thumbnail", dtype=np.uint8, shape=coarse.shape)
    summary = map_fields(
        _Summary(grid, coarse), field, horizontal, label="thumbnail-summary", dtype=np.float64, new={"figure": 5}
    )
    axes = zip(horizontal, (coarse.lat, coarse.lon), strict=True)
    coords = {name: xr.Variable(name, cells.centres, field.coords[name].attrs) for name, cells in axes}
    return xr.Dataset({"codes": codes, "summary": summary}, coords=coords, attrs=field.attrs)


def dequantise(thumbnail: xr.Dataset) -> xr.DataArray:
    """Values of a thumbnail, within half a step of the coarse ones.

    Returns
    -------
    float64 of at most 72 x 144. Attributes are the field's own, with its ``actual_range`` and ``area_mean``: figures of
    the field itself, which a picture of the thumbnail should quote.
    """
    low, step, minimum, maximum, mean = (float(value) for value in thumbnail.summary.values)
    values = thumbnail.codes.astype(np.float64) * step + low
    values = values.where(thumbnail.codes != _NO_VALUE).rename(None)
    figures = {"actual_range": (minimum, maximum), "area_mean": mean}
    return xr.DataArray(values, attrs={**thumbnail.attrs, **figures})


def _coarse(grid: Grid) -> Grid:
    rows, columns = grid.shape
    if not grid.complete or (rows <= _MOST_ROWS and columns <= _MOST_COLUMNS):
        return grid
    step = 180.0 / _MOST_ROWS
    return make_grid(-90.0 + step * (np.arange(_MOST_ROWS) + 0.5), step * (np.arange(_MOST_COLUMNS) + 0.5))


@dataclass(frozen=True)
class _Coarse:
    grid: Grid
    coarse: Grid

    def values(self, values: NDArray[Any]) -> tuple[Float, float, float]:
        """Coarse values, the smallest of them, and the step between codes."""
        kernel = RegridKernel(self.grid, self.coarse, "conservative")
        few = values.astype(np.float64) if self.coarse == self.grid else kernel(values)
        finite = few[np.isfinite(few)]
        low, high = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 0.0)
        return few, low, (high - low) / _LEVELS or 1.0


class _Codes(_Coarse):
    def __call__(self, values: NDArray[Any]) -> NDArray[np.uint8]:
        few, low, step = self.values(values)
        finite = np.isfinite(few)
        codes = np.rint((np.where(finite, few, low) - low) / step).astype(np.uint8)
        return np.where(finite, codes, np.uint8(_NO_VALUE))


class _Summary(_Coarse):
    def __call__(self, values: NDArray[Any]) -> Float:
        _, low, step = self.values(values)
        finite = values[np.isfinite(values)].astype(np.float64)
        ends = (float(finite.min()), float(finite.max())) if finite.size else (np.nan, np.nan)
        return np.array([low, step, *ends, float(AreaMeanKernel(self.grid)(values))])
