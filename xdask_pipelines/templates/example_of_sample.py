"""An example analysis. Every file in this folder may define analyses; each becomes a Dagster asset."""

import xarray as xr

from xdask_pipelines.assets import analysis
from xdask_pipelines.climate import area_weighted_mean


def beyond_global_mean(field: xr.DataArray) -> xr.DataArray:
    """Subtract the area-weighted global mean from each cell."""
    return field - area_weighted_mean(field)


# The parameter names another asset: the warming that `xdask demo` computes.
@analysis(units="K")
def warming_pattern(climate_signal: xr.DataArray) -> xr.DataArray:
    """Warming of each cell minus the global mean warming, K."""
    return beyond_global_mean(climate_signal)
