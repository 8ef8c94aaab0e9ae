"""Creating an analysis: a file with a working example for ``analyses/``, and its test.

Belongs here: names, and choosing data for the example. Does not belong here: finding the files of ``analyses/``
(analysis_files), a whole project (operations.new_project).
"""

from __future__ import annotations

import json
import keyword
import sys
from collections.abc import Collection
from importlib.resources import files
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from xdask_pipelines.catalog import Catalog, Entry
from xdask_pipelines.errors import XdaskError
from xdask_pipelines.own_analyses.analysis_files import FOLDER
from xdask_pipelines.system.files import write_all_or_none
from xdask_pipelines.system.safe_text import one_line
from xdask_pipelines.topology import Topology

_TEMPLATES = files("xdask_pipelines.templates")


def create_analysis(topology: Topology, catalog: Catalog, name: str, taken: Collection[str]) -> tuple[Path, Path]:
    """Write ``analyses/NAME.py`` and ``tests/test_NAME.py``.

    The example reads the first field of the catalog that is on a grid of latitudes and longitudes; if the catalog has
    none, it names the first dataset of the topology, for its author to complete.

    Parameters
    ----------
    topology, catalog
        The project.
    name
        Name of the analysis: that of its function, its asset and its files.
    taken
        Names of the project's assets.

    Returns
    -------
    Paths of the analysis and its test.

    Raises
    ------
    XdaskError
        If the name is no identifier, is in use, or a file exists or cannot be written. Neither file is written then.
    """
    _refuse_name(name, taken)
    paths = (topology.root / FOLDER / f"{name}.py", topology.root / "tests" / f"test_{name}.py")
    for path in paths:
        if path.exists():
            raise XdaskError(f"{path} exists. Choose another name, or remove the file.")
    values = {"name": name, **_as_code(_example(topology, catalog))}
    try:
        write_all_or_none(
            {
                path: (_TEMPLATES / template).read_text("utf-8").format(**values)
                for path, template in zip(paths, ("new_analysis.py.txt", "test_new_analysis.py.txt"), strict=True)
            }
        )
    except OSError as error:
        raise XdaskError(
            f"{paths[0]} and its test cannot be written: {error.strerror or error}. Check the permissions of "
            f"{topology.root} and the free disk space."
        ) from error
    return paths


def _refuse_name(name: str, taken: Collection[str]) -> None:
    if not name.isascii() or not name.isidentifier() or keyword.iskeyword(name) or name.startswith("_"):
        raise XdaskError(
            f"{name!r} cannot be the name of an analysis. Use ASCII letters, digits and underscores, and begin with a "
            "letter, such as uneven_warming."
        )
    if name in taken:
        raise XdaskError(f"The project has an asset {name} already. Choose another name; `xdask list` shows all.")
    if name in sys.stdlib_module_names or find_spec(name) is not None:
        raise XdaskError(
            f"{name} is the name of an installed Python module, which the test would import in place of the analysis. "
            f"Choose another name, such as my_{name}."
        )
    if name in ("beyond_global_mean", "field"):
        raise XdaskError(f"The example uses the name {name} itself. Choose another name.")


def _example(topology: Topology, catalog: Catalog) -> dict[str, Any]:
    """Return the values of the template: data that a run finds, if the catalog has any."""
    for dataset in topology.dataset_names:
        for entry in catalog.search(dataset=dataset, limit=50):
            variable = (entry.header or {}).get("variables", {}).get(entry.variable) or _only(entry)
            if variable is not None and _gridded(entry, variable):
                return _of_entry(entry, variable)
    dataset = (topology.dataset_names or ("my-data",))[0]
    facets = {"variable": "tas"}
    title = "Time mean minus its global mean; name the variable and its units."
    return {"dataset": dataset, "facets": facets, "units": "K", "title": title, "mean": "time_weighted_mean(field)"}


def _as_code(example: dict[str, Any]) -> dict[str, str]:
    """Return the values of the template as Python, with a line for each facet."""
    facets = [f"{' ' * 16}{_quoted(name)}: {_quoted(value)}," for name, value in example["facets"].items()]
    code = {name: _quoted(example[name]) for name in ("dataset", "units")}
    return {**example, **code, "facets": "\n".join(facets)}


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


def _only(entry: Entry) -> Any:
    """Return the only data variable of an entry, whose name may differ from that in its path."""
    data = [v for v in (entry.header or {}).get("variables", {}).values() if not v.get("coordinate")]
    return data[0] if len(data) == 1 else None


def _gridded(entry: Entry, variable: dict[str, Any]) -> bool:
    """Return whether a field has a latitude, a longitude, and time at most."""
    coords = (entry.header or {}).get("coords", {})
    kinds = [_kind(name, coords.get(name, {})) for name in variable["dims"]]
    return sorted(kinds) in (["lat", "lon"], ["lat", "lon", "time"])


def _kind(name: str, coordinate: dict[str, Any]) -> str:
    attrs = coordinate.get("attrs", {})
    units, standard = str(attrs.get("units", "")), str(attrs.get("standard_name", ""))
    if standard == "latitude" or units.startswith("degrees_n") or name.startswith("lat"):
        return "lat"
    if standard == "longitude" or units.startswith("degrees_e") or name.startswith("lon"):
        return "lon"
    return "time" if " since " in units or standard == "time" else "other"


def _of_entry(entry: Entry, variable: dict[str, Any]) -> dict[str, Any]:
    units = str(variable["attrs"].get("units", "1"))
    what = str(variable["attrs"].get("long_name") or entry.variable)
    title = one_line(f"{what[:1].upper()}{what[1:]}: time mean minus its global mean, {units}.")
    timed = any(_kind(n, (entry.header or {})["coords"].get(n, {})) == "time" for n in variable["dims"])
    return {
        "dataset": entry.dataset,
        "facets": {"variable": entry.variable, **dict(sorted(entry.facets.items()))},
        "units": units,
        "title": title.replace("\\", "/").replace('"', "'"),
        "mean": "time_weighted_mean(field)" if timed else "field",
    }
