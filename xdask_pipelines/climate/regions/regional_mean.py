"""Means over regions, with cells at the border weighted by the part of them that lies in the region.

Belongs here: weights of cells by region, and means with them. Does not belong here: outlines (``region``).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from xdask_pipelines.climate.axes import coordinates_without, horizontal_names, origin, require_field
from xdask_pipelines.climate.grids.grid import Float, Grid, grid_of
from xdask_pipelines.climate.kernels import map_fields
from xdask_pipelines.climate.masks import divided, require_fraction
from xdask_pipelines.climate.regions.cell_fractions import cell_fractions
from xdask_pipelines.climate.regions.named_regions import region as region_of
from xdask_pipelines.climate.regions.region import Region
from xdask_pipelines.errors import ClimateError


def region_fraction(field: xr.DataArray, region: Region | str) -> xr.DataArray:
    """Return the fraction of each of a field's cells that lies in a region: shape (ny, nx), from 0 to 1.

    Parameters
    ----------
    field
        A field with the dimensions latitude and longitude; its values are not used.
    region
        A region, or the text that names one (``region``).
    """
    require_field(field, "region_fraction")
    names = horizontal_names(field)
    chosen = region_of(region) if isinstance(region, str) else region
    coords = {name: field.coords[name].variable for name in names}
    attrs = {"units": "1", "long_name": f"fraction of cell in {chosen.name}"}
    return xr.DataArray(cell_fractions(grid_of(field), chosen).copy(), coords, names, "region_fraction", attrs)


def regional_mean(
    field: xr.DataArray, regions: Region | str | Sequence[Region | str], min_fraction: float = 1.0
) -> xr.DataArray:
    """Compute area-weighted means over regions, of the values that are not NaN.

    A cell has the weight of the part of it that lies in the region.

    Parameters
    ----------
    field
        A field with the dimensions latitude and longitude, global or of a region, and any others.
    regions
        One region, or several: regions, or texts that name them (``region``).
    min_fraction
        Smallest fraction of a region's area, cells outside the field's grid included, that must have values, from 0
        (any) to 1 (all): with less, the mean is NaN.

    Returns
    -------
    The means in float64, with the field's other dimensions, and the dimension ``region`` last if several were given;
    lazy if the field is lazy.

    Raises
    ------
    ClimateError
        If a region is unknown or has no part in the field's grid, the field has no cells, or ``min_fraction`` is not from
        0 to 1.

    Examples
    --------
    >>> import numpy as np, xarray as xr
    >>> coords = {"lat": [67.5, 22.5, -22.5, -67.5], "lon": np.arange(0, 360, 45)}
    >>> field = xr.DataArray(np.array([[0.0], [10.0], [30.0], [0.0]]) + np.zeros((4, 8)), coords=coords)
    >>> regional_mean(field, ["box(0, 45, -10, 10)", "box(-30, 30, 0, 360)"]).round(9).values.tolist()
    [10.0, 20.0]
    """
    require_fraction(min_fraction, "min_fraction")
    require_field(field, "regional_mean")
    several = not isinstance(regions, Region | str)
    listed: list[Region | str] = [regions] if isinstance(regions, Region | str) else list(regions)
    chosen = [region_of(each) if isinstance(each, str) else each for each in listed]
    if not chosen:
        raise ClimateError("no regions to average over; pass at least one")
    grid, horizontal = grid_of(field), horizontal_names(field)
    for each in chosen:
        if not cell_fractions(grid, each).any():
            raise ClimateError(
                f"region {each.name!r} has no part in the grid {grid} of the field{origin(field)}; choose a region inside "
                "it, or global data"
            )
    kernel = RegionalMeanKernel(grid, tuple(chosen), float(min_fraction))
    means = map_fields(kernel, field, horizontal, label="regional-mean", dtype=np.float64, new={"region": len(chosen)})
    names = xr.Variable("region", np.array([each.name for each in chosen], dtype=object), {"long_name": "region"})
    attrs = {**field.attrs, "cell_methods": f"{field.attrs.get('cell_methods', '')} area: mean".strip()}
    coords = {**coordinates_without(field, *horizontal), "region": names.astype(str)}
    result = xr.DataArray(means, coords=coords, name=field.name, attrs=attrs)
    return result if several else result.isel(region=0)


@dataclass(frozen=True)
class RegionalMeanKernel:
    """Means of (..., ny, nx) over regions, shape (..., number of regions)."""

    grid: Grid
    regions: tuple[Region, ...]
    min_fraction: float

    def __call__(self, fields: NDArray[Any]) -> Float:
        """Weight each cell by its area in the region; workers compute the fractions once for each grid."""
        areas = np.outer(self.grid.lat.measure, self.grid.lon.measure)
        known = ~np.isnan(fields)
        filled = np.where(known, fields, 0.0).astype(np.float64)
        out = np.empty((*fields.shape[:-2], len(self.regions)))
        for i, region in enumerate(self.regions):
            weights = cell_fractions(self.grid, region) * areas
            rows, columns = np.nonzero(weights)
            used = weights[rows, columns] / max(region.area, weights.sum() * (1.0 - 1e-9))
            out[..., i] = divided(
                filled[..., rows, columns] @ used, known[..., rows, columns] @ used, self.min_fraction
            )
        return out
