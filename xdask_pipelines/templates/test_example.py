"""Tests of the arithmetic: run them with `pytest`. They need neither data nor pools."""

import numpy as np
import xarray as xr
from example import beyond_global_mean


def test_a_uniform_field_has_no_pattern() -> None:
    field = xr.DataArray(
        np.full((3, 4), 288.0),
        dims=("lat", "lon"),
        coords={"lat": [-60.0, 0.0, 60.0], "lon": [0.0, 90.0, 180.0, 270.0]},
    )
    np.testing.assert_allclose(beyond_global_mean(field), 0, atol=1e-12)
