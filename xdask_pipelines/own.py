"""Analyses of one's own: every file in the folder ``analyses`` beside ``regions.yaml``.

Belongs here: finding and importing them. Does not belong here: what an analysis is, or how it reaches workers.
"""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import dagster as dg

from xdask_pipelines.errors import XdaskError

FOLDER = "analyses"


def own_assets(root: Path) -> list[dg.AssetsDefinition]:
    """Assets of all files in ``root/analyses``, in the order of their names.

    Parameters
    ----------
    root
        Folder of ``regions.yaml``.

    Raises
    ------
    XdaskError
        If a file cannot be imported, or two define the same asset, naming the file.
    """
    found: dict[dg.AssetKey, tuple[dg.AssetsDefinition, Path]] = {}
    for path in sorted((root / FOLDER).glob("*.py")):
        for value in vars(_imported(path)).values():
            if not isinstance(value, dg.AssetsDefinition):
                continue
            other = found.setdefault(value.key, (value, path))
            if other[0] is not value:
                raise XdaskError(
                    f"{path} and {other[1]} both define the asset {value.key.to_user_string()}. Rename one of them."
                )
    return [asset for asset, _ in found.values()]


def _imported(path: Path) -> ModuleType:
    name = f"{FOLDER}_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise XdaskError(f"{path} is not a Python file. Rename it, or move it out of {FOLDER}/.")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        raise XdaskError(
            f"{path} cannot be loaded: {type(error).__name__}: {error}. Mend it, or move it out of {FOLDER}/."
        ) from error
    return module
