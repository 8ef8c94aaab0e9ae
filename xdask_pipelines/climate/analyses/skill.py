"""Skill of a field against a reference: bias, error, pattern correlation, and what a Taylor diagram shows.

Belongs here: area-weighted figures of two fields on one grid. Does not belong here: regridding to one grid, the diagram.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import dask.array as da
import numpy as np
import xarray as xr
from numpy.typing import NDArray

from xdask_pipelines.climate.axes import coordinates_without, horizontal_names
from xdask_pipelines.climate.difference import subtract
from xdask_pipelines.climate.grids.grid import Float, Grid, grid_of
from xdask_pipelines.climate.grids.shapes import CORRELATION
from xdask_pipelines.climate.kernels import map_fields
from xdask_pipelines.climate.masks import ROUNDING, require_fraction

_FIGURES = {
    "bias": "area-weighted mean of field minus reference",
    "rmse": "root of the area-weighted mean square difference",
    "centred_rmse": "root mean square difference of the anomalies from both means",
    "pattern_correlation": "centred area-weighted correlation over space",
    "standard_deviation": "area-weighted standard deviation of the field over space",
    "reference_standard_deviation": "area-weighted standard deviation of the reference over space",
}


def skill(field: xr.DataArray, reference: xr.DataArray, min_fraction: float = 1.0) -> xr.Dataset:
    """Compute bias, root mean square error, pattern correlation and standard deviations over space.

    All figures weigh cells by their exact areas, and use the cells in which both fields have values. They satisfy
    ``centred_rmse**2 = s**2 + r**2 - 2 s r pattern_correlation`` with the two standard deviations, the law of cosines of a
    Taylor diagram (K. E. Taylor 2001, doi:10.1029/2000JD900719), and ``rmse**2 = bias**2 + centred_rmse**2``.

    Parameters
    ----------
    field, reference
        Fields in the same units on the same grid (``regrid`` one of them first); dimensions that only one has are kept.
    min_fraction
        Smallest fraction of the grid's area in which both must have values; with less, all figures are NaN.

    Returns
    -------
    Dataset of the six figures in float64, without latitude and longitude; lazy if a field is lazy.
    ``pattern_correlation`` is NaN where a field is constant.

    Raises
    ------
    ClimateError
        If grids, units or other shared dimensions differ, or ``min_fraction`` is not from 0 to 1.

    Examples
    --------
    >>> import numpy as np, xarray as xr
    >>> coords = {"lat": [67.5, 22.5, -22.5, -67.5], "lon": np.arange(0, 360, 45)}
    >>> field = xr.DataArray(np.arange(32.0).reshape(4, 8), coords=coords, attrs={"units": "K"})
    >>> figures = skill(field, field)
    >>> float(figures.bias), float(figures.rmse), round(float(figures.pattern_correlation), 12)
    (0.0, 0.0, 1.0)
    """
    require_fraction(min_fraction, "min_fraction")
    gap = subtract(field, reference, "skill", ("evaluated", "reference"))  # its checks, and one set of coordinates
    names = horizontal_names(gap)
    other = reference.rename(dict(zip(horizontal_names(reference), names, strict=True)))
    other = other.transpose(*(dim for dim in gap.dims if dim in other.dims))
    other = other.assign_coords({dim: gap.coords[dim].variable for dim in other.dims if dim in gap.coords})
    both = xr.concat([gap, other.broadcast_like(gap)], "pair", coords="minimal", compat="override", join="override")
    if isinstance(both.data, da.Array):
        both = both.chunk(pair=-1)
    kernel = _Figures(grid_of(gap), float(min_fraction))
    moved = both.transpose(*(dim for dim in both.dims if dim not in ("pair", *names)), "pair", *names)
    figures = _with_pair(kernel, moved, names)
    coords = coordinates_without(gap, *names)
    units = str(gap.attrs.get("units", "1"))
    scale = {key: gap.attrs[key] for key in ("units_metadata",) if key in gap.attrs}  # no points on the Kelvin scale
    kept = {key: gap.attrs[key] for key in ("attribution", "license") if key in gap.attrs}
    return xr.Dataset(
        {
            name: xr.DataArray(
                figures[..., i],
                coords=coords,
                attrs={
                    "long_name": text,
                    **({"units": "1"} if name == "pattern_correlation" else {"units": units, **scale}),
                },
            )
            for i, (name, text) in enumerate(_FIGURES.items())
        },
        attrs=kept,
    )


def taylor_points(figures: xr.Dataset) -> xr.DataArray:
    """Return what a Taylor diagram shows of the figures of several fields, as one field that pictures recognise.

    Parameters
    ----------
    figures
        From `skill`, along one dimension such as models; lazy or in memory.

    Returns
    -------
    Standard deviations by that of the reference, with the coordinate ``pattern_correlation``.

    Examples
    --------
    >>> import xarray as xr
    >>> values = {"standard_deviation": 12.0, "reference_standard_deviation": 10.0, "pattern_correlation": 0.9}
    >>> figures = xr.Dataset({name: ("model", [value]) for name, value in values.items()}, {"model": ["UKESM1-0-LL"]})
    >>> taylor_points(figures).values.tolist(), taylor_points(figures).pattern_correlation.values.tolist()
    ([1.2], [0.9])
    """
    reference = figures["reference_standard_deviation"]
    ratio = figures["standard_deviation"] / reference.where(reference > 0)
    attrs = {"units": "1", "long_name": "standard deviation by that of the reference"}
    own = figures["pattern_correlation"]
    return ratio.rename("taylor").assign_coords({CORRELATION: own.variable}).assign_attrs(attrs)


def _with_pair(kernel: _Figures, both: xr.DataArray, names: tuple[str, str]) -> xr.Variable:
    """Apply the kernel to (..., 2, ny, nx): the pair is folded into the rows, so that a task gets both fields."""
    rows = both.stack(rows=("pair", names[0]), create_index=False)
    rows = rows.transpose(..., "rows", names[1])
    return map_fields(kernel, rows, ("rows", names[1]), label="skill", dtype=np.float64, new={"figure": len(_FIGURES)})


@dataclass(frozen=True)
class _Figures:
    grid: Grid
    min_fraction: float

    def __call__(self, folded: NDArray[Any]) -> Float:
        """Return the figures of (..., 2 ny, nx): first the difference, then the reference."""
        ny, nx = self.grid.shape
        pair = folded.reshape(*folded.shape[:-2], 2, ny, nx).astype(np.float64)
        gap, reference = pair[..., 0, :, :], pair[..., 1, :, :]
        area = np.outer(self.grid.lat.measure, self.grid.lon.measure)
        known = ~(np.isnan(gap) | np.isnan(reference))
        weights = np.where(known, area, 0.0)
        share = weights.sum(axis=(-2, -1)) / area.sum()
        enough = (share >= self.min_fraction - ROUNDING) & (share > ROUNDING)
        weights /= np.where(enough, share * area.sum(), np.nan)[..., None, None]
        gap, reference = np.where(known, gap, 0.0), np.where(known, reference, 0.0)
        field = gap + reference

        def mean(values: Float) -> Float:
            out: Float = (weights * values).sum(axis=(-2, -1))
            return out

        bias, centre = mean(gap), mean(reference)
        centred_gap, centred = gap - bias[..., None, None], reference - centre[..., None, None]
        own = field - (bias + centre)[..., None, None]
        spread, other = np.sqrt(mean(own**2)), np.sqrt(mean(centred**2))
        scale = spread * other
        smallest = 1e-12 * (np.abs(centre) + np.abs(bias) + 1e-300)
        varies = (spread > smallest) & (other > smallest)
        correlation = np.divide(mean(own * centred), scale, out=np.full_like(scale, np.nan), where=varies)
        figures = [
            bias,
            np.sqrt(mean(gap**2)),
            np.sqrt(mean(centred_gap**2)),
            np.clip(correlation, -1, 1),
            spread,
            other,
        ]
        return np.stack(figures, axis=-1)
