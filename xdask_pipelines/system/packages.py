"""Versions of the packages that decide the bits of a result.

Belongs here: which packages, and their versions in this process. Does not belong here: comparing processes
(placement.versions).
"""

from __future__ import annotations

import platform
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version

#: This package, and those whose code computes or stores values.
DECIDING = ("xdask_pipelines", "numpy", "scipy", "xarray", "dask", "zarr", "h5py", "cftime")


@lru_cache(maxsize=1)
def deciding_versions() -> dict[str, str]:
    """Return the versions of Python and of the packages of `DECIDING` that are installed, by name."""
    versions = {"python": platform.python_version()}
    for name in DECIDING:
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            continue
    return versions
