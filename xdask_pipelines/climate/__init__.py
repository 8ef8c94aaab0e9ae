"""Exact climate arithmetic on xarray objects: means, regridding, differences, statistics, maps.

Belongs here: pure functions of fields, lazy on Dask arrays. Does not belong here: reading, placing or storing fields.
Pictures are in ``drawing``, which is not imported here.
"""

from xdask_pipelines.climate.axes import with_bounds
from xdask_pipelines.climate.difference import climate_signal, difference, model_bias
from xdask_pipelines.climate.grids.grid import Grid, cell_areas, grid_of, make_grid
from xdask_pipelines.climate.grids.tolerance import same_coordinate
from xdask_pipelines.climate.means import area_weighted_mean, time_weighted_mean
from xdask_pipelines.climate.partial_means import mean_of_partials, monthly_means
from xdask_pipelines.climate.partials import combine_partials, month_partial
from xdask_pipelines.climate.regridding.regrid import covered_fraction, regrid
from xdask_pipelines.climate.regridding.weights_file import regrid_by_weights
from xdask_pipelines.climate.statistics import field_statistics
from xdask_pipelines.climate.thumbnail import dequantise, quantise
from xdask_pipelines.climate.times.periods import select_period

__all__ = [
    "Grid",
    "area_weighted_mean",
    "cell_areas",
    "climate_signal",
    "combine_partials",
    "covered_fraction",
    "dequantise",
    "difference",
    "field_statistics",
    "grid_of",
    "make_grid",
    "mean_of_partials",
    "model_bias",
    "month_partial",
    "monthly_means",
    "quantise",
    "regrid",
    "regrid_by_weights",
    "same_coordinate",
    "select_period",
    "time_weighted_mean",
    "with_bounds",
]
