"""Regridding by weights from a file of CDO (SCRIP) or ESMF: for curvilinear and unstructured fields.

Belongs here: reading and applying such weights. Does not belong here: computing weights; those between rectangular grids
are computed by ``row_column_weights``.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

import dask.array as da
import numpy as np
import scipy.sparse as sparse
import xarray as xr
from numpy.typing import ArrayLike, NDArray

from xdask_pipelines.climate.axes import native_horizontal_dims, origin, require_field
from xdask_pipelines.climate.cell_measures import attributes_without_measures
from xdask_pipelines.climate.grids.grid import Float, make_grid
from xdask_pipelines.climate.masks import renormalised, require_fraction
from xdask_pipelines.climate.regridding.regrid import target_coordinates
from xdask_pipelines.errors import ClimateError
from xdask_pipelines.system.recorded_steps import record

#: Variables of the two conventions: weights, source and target cell of each (from 1), covered fraction and area of each
#: target cell, centres of target cells.
_SCRIP = (
    "remap_matrix",
    "src_address",
    "dst_address",
    "dst_grid_frac",
    "dst_grid_area",
    "dst_grid_center_lat",
    "dst_grid_center_lon",
)
_ESMF = ("S", "col", "row", "frac_b", "area_b", "yc_b", "xc_b")
_NORMALISATIONS = ("fracarea", "destarea", "none")
_COMMAND = "cdo gencon,TARGETGRID FIELD.nc WEIGHTS.nc"
#: Centres in a file may differ from the target's by the rounding of float32.
_DEGREES = 1e-3


def regrid_by_weights(
    field: xr.DataArray,
    weights: xr.Dataset,
    lat: ArrayLike | xr.DataArray,
    lon: ArrayLike | xr.DataArray,
    min_fraction: float = 1.0,
) -> xr.DataArray:
    """Regrid a curvilinear or unstructured field to a rectangular grid, by weights from a file.

    Create the file once with ``cdo gencon,TARGETGRID FIELD.nc WEIGHTS.nc`` (or ``genbil``, or ESMF), put it next to the data
    as a dataset with ``layout: generic`` and ``variable: weights``, and open it as any other data: weights are read in their
    Region.

    Parameters
    ----------
    field
        A field with latitudes and longitudes on the same one or two dimensions, and any other dimensions.
    weights
        The content of the file: SCRIP's variables ``remap_matrix``, ``src_address``, ``dst_address``, or ESMF's ``S``,
        ``col``, ``row``; lazy or in memory. First order: one weight for each link.
    lat, lon
        Axes of the file's target grid, shapes (ny,) and (nx,), in degrees and in the file's order.
    min_fraction
        Smallest fraction of a target cell that must come from values that are not NaN; as for ``regrid``.

    Returns
    -------
    The field on the target grid in float64; lazy if the field or the weights are lazy. NaN as in ``cdo remap`` with
    ``REMAP_AREA_MIN``.

    Raises
    ------
    ClimateError
        If the dataset holds no such weights, sizes do not fit the field or the target, weights are of second order, or (when
        it is computed) the file's target cells are not at ``lat`` and ``lon``.
    """
    require_fraction(min_fraction, "min_fraction")
    require_field(field, "regrid_by_weights")
    names = next((names for names in (_SCRIP, _ESMF) if names[0] in weights), None)
    if names is None or not set(names[1:]) <= set(weights.variables):
        raise ClimateError(
            f"the dataset has no regridding weights, neither SCRIP's ({', '.join(_SCRIP[:3])}, …) nor ESMF's "
            f"({', '.join(_ESMF[:3])}, …); it has {', '.join(map(str, weights.variables))}. Create them with `{_COMMAND}`"
        )
    matrix, source, target, fraction, area, rows, columns = (weights[name] for name in names)
    normalisation = str(weights.attrs.get("normalization", "destarea" if names is _ESMF else "fracarea"))
    if normalisation not in _NORMALISATIONS:
        raise ClimateError(
            f"unknown normalization {normalisation!r} of the weights; known: {', '.join(_NORMALISATIONS)}"
        )
    if matrix.ndim == 2 and matrix.shape[1] > 1:
        raise ClimateError(
            "the weights are of second order; create weights of first order: `cdo gencon` instead of `gencon2`"
        )
    dims = native_horizontal_dims(field)
    grid, cells = make_grid(lat, lon), int(np.prod([field.sizes[dim] for dim in dims]))
    source_cells = next((weights.sizes[n] for n in ("src_grid_size", "n_a") if n in weights.sizes), cells)
    if source_cells != cells or fraction.size != grid.lat.size * grid.lon.size:
        raise ClimateError(
            f"the weights are from {source_cells} cells to {fraction.size}, but the field{origin(field)} has {cells} and "
            f"the target {grid.lat.size} x {grid.lon.size}. Use the weights of this pair of grids: `{_COMMAND}`"
        )
    radians = tuple(
        str(each.attrs.get("units", "radians" if names is _SCRIP else "degrees")) for each in (rows, columns)
    )
    kernel = _ByWeights(
        (grid.lat.centres, grid.lon.centres),
        tuple(unit.startswith("rad") for unit in radians),
        normalisation,
        float(min_fraction),
        cells,
        len(dims),
    )
    inputs = [matrix.squeeze(), source, target, fraction, area, rows, columns]
    moved = field.transpose(..., *dims)
    kept = moved.dims[: -len(dims)]
    out_dims = (*kept, "lat", "lon")
    if moved.chunks is None and all(each.chunks is None for each in inputs):
        values: Any = kernel(moved.values, *(each.values for each in inputs))
    else:
        values = _lazily(kernel, moved, dims, inputs, grid.shape)
    coords = {name: c for name, c in field.coords.items() if not set(dims) & set(c.dims)}
    out = xr.DataArray(
        values, dims=out_dims, coords=coords, name=field.name, attrs=attributes_without_measures(field.attrs)
    )
    out = target_coordinates(out, ("lat", "lon"), grid, (lat, lon), ({}, {}))
    said = str(weights.attrs.get("map_method", "weights from a file"))
    record(
        "regridding",
        method=f"by weights from a file: {said}",
        source_cells=cells,
        target_cells=f"{grid.shape[0]} x {grid.shape[1]}",
        min_fraction=f"{min_fraction:g}",
    )
    return out.assign_attrs(regridding=f"by weights from a file: {said}")


def _lazily(
    kernel: _ByWeights, field: xr.DataArray, dims: tuple[str, ...], inputs: list[xr.DataArray], shape: tuple[int, int]
) -> da.Array:
    """Apply the kernel to each chunk of the other dimensions, with all weights."""
    kept = tuple(field.dims[: -len(dims)])
    arguments: list[Any] = [
        field.chunk(dict.fromkeys(dims, -1)).data if field.chunks else da.from_array(field.data),
        field.dims,
    ]
    for i, each in enumerate(inputs):
        data = each.data if isinstance(each.data, da.Array) else da.from_array(each.values, chunks=-1)
        arguments += [data.rechunk(-1), (f"weights {i}",)]
    values: da.Array = da.blockwise(
        kernel,
        (*kept, "lat", "lon"),
        *arguments,
        new_axes={"lat": shape[0], "lon": shape[1]},
        concatenate=True,
        dtype=np.float64,
        meta=np.empty((0,) * (len(kept) + 2)),
        align_arrays=False,
        token="regrid-by-weights",
    )
    return values


@dataclass(frozen=True, eq=False)
class _ByWeights:
    """Regridding of (..., source cells) by one sparse matrix."""

    centres: tuple[Float, Float]
    radians: tuple[bool, ...]
    normalisation: str
    min_fraction: float
    cells: int
    source_dims: int

    def __call__(self, fields: NDArray[Any], *weights: NDArray[Any]) -> Float:
        matrix, source, target, fraction, area, rows, columns = map(np.asarray, weights)
        self._require_target(rows, columns)
        values = matrix.astype(np.float64)
        to = target.astype(np.int64) - 1
        if self.normalisation == "fracarea":
            values = values * fraction[to]  # fractions of the target cell, not of its covered part
        elif self.normalisation == "none":
            values = values / area[to]
        shape = (fraction.size, self.cells)
        links = sparse.csr_array((values, (to, source.astype(np.int64) - 1)), shape=shape)
        lead = fields.shape[: fields.ndim - self.source_dims]
        flat = fields.reshape(-1, self.cells).astype(np.float64)
        out = [renormalised(partial(_product, links), one, self.min_fraction, complete=False) for one in flat]
        return np.stack(out).reshape(*lead, self.centres[0].size, self.centres[1].size)

    def _require_target(self, rows: NDArray[Any], columns: NDArray[Any]) -> None:
        """Raise ``ClimateError`` unless the file's target cells are at the target's centres."""
        lat, lon = (
            np.rad2deg(each) if radians else each for each, radians in zip((rows, columns), self.radians, strict=True)
        )
        wanted = np.meshgrid(*self.centres, indexing="ij")
        apart = max(
            float(np.abs(lat - wanted[0].ravel()).max()),
            float(np.abs((lon - wanted[1].ravel() + 180) % 360 - 180).max()),
        )
        if apart > _DEGREES:
            raise ClimateError(
                f"the target cells of the weights are up to {apart:g} degrees from the given lat and lon. Pass the axes of "
                "the grid that the weights were created for, in its order"
            )


def _product(links: sparse.csr_array, values: Float) -> Float:
    product: Float = np.asarray(links @ values)
    return product
