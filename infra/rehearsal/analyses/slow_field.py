"""An analysis that takes long enough for an instance to be lost in the middle of it."""

import time

import numpy as np
import xarray as xr

from xdask_pipelines.assets import Source, analysis


def _wait(block: np.ndarray) -> np.ndarray:
    if block.size:
        print("slow_field: one block", flush=True)  # in the log of its worker
        time.sleep(1.0)
    return block


@analysis(sources={"tas": Source("cmip6", {"variable": "tas", "experiment_id": "A1B"})}, units="K")
def slow_field(tas: xr.DataArray) -> xr.DataArray:
    """The field, a row at a time."""
    rows = tas.chunk({"lat": 1})
    return xr.apply_ufunc(_wait, rows, dask="parallelized", output_dtypes=[tas.dtype], keep_attrs=True)
