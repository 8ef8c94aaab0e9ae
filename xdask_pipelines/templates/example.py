"""An example analysis. Every file in this folder may define analyses; each becomes a Dagster asset."""

import xarray as xr

from xdask_pipelines.assets import Source, analysis
from xdask_pipelines.climate import area_weighted_mean, time_weighted_mean


def beyond_global_mean(field: xr.DataArray) -> xr.DataArray:
    """Subtract the area-weighted global mean from each cell."""
    return field - area_weighted_mean(field)


# `sources` maps parameters of the function to data of the catalog: a dataset and its facets, which must match one entry.
@analysis(sources={"tas": Source("my-data", {"variable": "tas"})}, units="K")
def temperature_pattern(tas: xr.DataArray) -> xr.DataArray:
    """Time mean of the near-surface air temperature minus its global mean, K."""
    return beyond_global_mean(time_weighted_mean(tas))
