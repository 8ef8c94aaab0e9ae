"""Statistics of fields for quality checks, small enough to cross Regions.

Belongs here: computing the statistics. Does not belong here: which values are acceptable (asset checks).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from xdask_pipelines.climate.axes import horizontal_names, require_field
from xdask_pipelines.climate.grids.grid import Float, Grid, grid_of
from xdask_pipelines.climate.kernels import map_fields

_NAMES = {
    "finite_count": "values that are finite",
    "nan_count": "values that are NaN",
    "minimum": "smallest finite value",
    "maximum": "largest finite value",
    "south_finite_count": "finite values in the southernmost row",
    "north_finite_count": "finite values in the northernmost row",
    "seam_step": "largest difference between the first and the last column",
    "largest_step": "largest difference between other neighbouring columns",
    "area_mean": "area-weighted mean, NaN if any value is NaN",
}


def field_statistics(field: xr.DataArray) -> xr.Dataset:
    """Compute statistics of each horizontal field; lazy if the field is lazy.

    Returns
    -------
    Dataset of float64 with ``finite_count``, ``nan_count``, ``minimum``, ``maximum``, ``south_finite_count``,
    ``north_finite_count``, ``seam_step``, ``largest_step``, ``area_mean``. A field has a seam if ``seam_step`` is far
    above ``largest_step``; both are NaN without finite neighbours, and ``seam_step`` also if longitudes do not cover
    360 degrees.
    """
    require_field(field, "field_statistics")
    horizontal = horizontal_names(field)
    figures = map_fields(
        _Figures(grid_of(field)),
        field,
        horizontal,
        label="field-statistics",
        dtype=np.float64,
        new={"figure": len(_NAMES)},
    )
    coords = {name: c for name, c in field.coords.items() if not set(horizontal) & set(c.dims)}
    units = {"units": field.attrs["units"]} if "units" in field.attrs else {}
    return xr.Dataset(
        {
            name: xr.DataArray(
                figures[..., i],
                coords=coords,
                attrs={"long_name": text, **({"units": "1"} if name.endswith("count") else units)},
            )
            for i, (name, text) in enumerate(_NAMES.items())
        }
    )


@dataclass(frozen=True)
class _Figures:
    grid: Grid

    def __call__(self, fields: NDArray[Any]) -> Float:
        out = np.empty((*fields.shape[:-2], len(_NAMES)))
        for index in np.ndindex(*fields.shape[:-2]):
            out[index] = self._one(fields[index].astype(np.float64))
        return out

    def _one(self, values: Float) -> list[float]:
        lat, lon = self.grid.lat, self.grid.lon
        finite = np.isfinite(values)
        rows = finite.sum(axis=1)
        south, north = (rows[-1], rows[0]) if lat.descending else (rows[0], rows[-1])
        return [
            float(finite.sum()),
            float(np.isnan(values).sum()),
            float(values.min(where=finite, initial=np.inf)) if finite.any() else np.nan,
            float(values.max(where=finite, initial=-np.inf)) if finite.any() else np.nan,
            float(south),
            float(north),
            _largest(values[:, :1] - values[:, -1:]) if lon.complete else np.nan,
            _largest(np.diff(values, axis=1)),
            float(lat.measure @ values @ lon.measure / (lat.measure.sum() * lon.measure.sum())),
        ]


def _largest(steps: Float) -> float:
    known = np.abs(steps[np.isfinite(steps)])
    return float(known.max()) if known.size else np.nan
