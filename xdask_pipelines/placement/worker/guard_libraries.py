"""Guards for libraries that open files in C, C++ or Rust, where Python raises no audit event.

Belongs here: the functions of these libraries that take paths, and checking the paths. Does not belong here: which
paths are refused (guard).

Calls between compiled libraries cannot be checked. On Linux a worker cannot see the folders of other Regions at all
(isolation).
"""

from __future__ import annotations

import importlib.abc
import sys
from collections.abc import Callable, Mapping
from importlib.machinery import ModuleSpec, PathFinder
from types import MappingProxyType, ModuleType
from typing import Any

Check = Callable[[Any], None]

#: Functions by module, and the position of the path among their arguments.
_FUNCTIONS: Mapping[str, Mapping[str, int]] = MappingProxyType(
    {
        # Most functions of ecCodes take files that Python opened; those for indexes and offsets take paths.
        "gribapi.gribapi": {
            "codes_extract_offsets": 0,
            "codes_extract_offsets_sizes": 0,
            "codes_bufr_extract_headers": 0,
            "grib_index_new_from_file": 0,
            "grib_index_read": 0,
            "grib_index_add_file": 1,
            "grib_index_write": 1,
        },
        "pyarrow": {"input_stream": 0, "memory_map": 0},
        "pyarrow.csv": {"open_csv": 0, "read_csv": 0},
        "pyarrow.dataset": {"_ensure_multiple_sources": 0, "_ensure_single_source": 0},
        "pyarrow.feather": {"read_feather": 0, "read_table": 0},
        "pyarrow.fs": {"_resolve_filesystem_and_path": 0},
        "pyarrow.json": {"read_json": 0},
        "pyarrow.parquet.core": {"_resolve_filesystem_and_path": 0, "read_table": 0},
        "polars": {
            f"{verb}_{form}": 0
            for verb in ("read", "scan")
            for form in ("avro", "csv", "delta", "excel", "ipc", "ndjson", "parquet")
        },
    }
)


def guard_libraries(check: Check) -> None:
    """Check the paths that are passed to libraries, including libraries that are imported later.

    Parameters
    ----------
    check
        Raises for paths that are refused.
    """
    import h5py

    h5py.h5f.open = _checked(h5py.h5f.open, 0, check)
    h5py.h5f.create = _checked(h5py.h5f.create, 0, check)
    for name, functions in _FUNCTIONS.items():
        if module := sys.modules.get(name):
            _guard(module, functions, check)
    sys.meta_path.insert(0, _GuardImports(check))
    try:
        import netCDF4
    except ImportError:
        return

    class GuardedDataset(netCDF4.Dataset):
        def __init__(self, filename: Any, *args: Any, **kwargs: Any) -> None:
            check(filename)
            super().__init__(filename, *args, **kwargs)

    netCDF4.Dataset = GuardedDataset  # type: ignore[misc]


class _GuardImports(importlib.abc.MetaPathFinder):
    """Guards libraries when they are imported: importing all of them on every worker would take long."""

    def __init__(self, check: Check) -> None:
        self._check = check

    def find_spec(self, name: str, path: Any, target: Any = None) -> ModuleSpec | None:
        """Return the spec of a module that must be guarded, with a loader that guards it; None for other modules."""
        spec = PathFinder.find_spec(name, path, target) if name in _FUNCTIONS else None
        if spec is not None and spec.loader is not None:
            load = spec.loader.exec_module

            def load_guarded(module: ModuleType) -> None:
                load(module)
                _guard(module, _FUNCTIONS[name], self._check)

            spec.loader.exec_module = load_guarded  # type: ignore[method-assign]
        return spec


def _guard(module: ModuleType, functions: Mapping[str, int], check: Check) -> None:
    """Replace functions that take a path; modules that are imported later get the replacements."""
    for name, position in functions.items():
        if hasattr(module, name):
            setattr(module, name, _checked(getattr(module, name), position, check))


def _checked(function: Callable[..., Any], position: int, check: Check) -> Callable[..., Any]:
    def checked(*args: Any, **kwargs: Any) -> Any:
        for value in (*args[position : position + 1], *kwargs.values()):
            check(value)
        return function(*args, **kwargs)

    return checked
