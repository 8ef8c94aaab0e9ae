"""Names of path layouts that regions.yaml may use.

Belongs here: the names, and which module each layout is. Does not belong here: the layouts (catalog). This floor must not
import the catalog, so a layout has the name of its file: ``era5-pds`` is ``catalog/layouts/era5_pds_layout.py``.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from pkgutil import iter_modules

_FOLDER = Path(__file__).parents[1] / "catalog" / "layouts"
_SUFFIX = "_layout"


@cache
def layout_names() -> tuple[str, ...]:
    """List the names of all layouts, sorted; no layout is imported."""
    files = [module.name for module in iter_modules([str(_FOLDER)])]
    return tuple(sorted(name.removesuffix(_SUFFIX).replace("_", "-") for name in files if name.endswith(_SUFFIX)))


def module_of(layout: str) -> str:
    """Name the module of a layout, below ``catalog.layouts``."""
    return layout.replace("-", "_") + _SUFFIX
