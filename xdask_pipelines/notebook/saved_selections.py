"""Selections that the project has, by their names.

Belongs here: listing and reading their files. Does not belong here: selections, and writing them (selection).
"""

from __future__ import annotations

import json
from typing import Any

from xdask_pipelines.catalog.times import Time
from xdask_pipelines.errors import XdaskError
from xdask_pipelines.notebook.selection import FOLDER, Chosen, OpenProject, Selection
from xdask_pipelines.topology import Topology


def saved_names(topology: Topology) -> list[str]:
    """Return the names of the selections that the project has."""
    return sorted(path.stem for path in (topology.var / FOLDER).glob("*.json"))


def saved_selection(project: OpenProject, name: str) -> Selection:
    """Return a saved selection.

    Raises
    ------
    XdaskError
        If there is none of this name, or its file is damaged.
    """
    folder = project.topology.var / FOLDER
    names = saved_names(project.topology)
    if name not in names:
        available = ", ".join(names) or "none yet; project.explore() makes one"
        raise XdaskError(f"The project has no selection {name!r}. Available: {available}.")
    path = folder / f"{name}.json"
    try:
        document = json.loads(path.read_text())["chosen"]
        chosen = {
            kind: Chosen(each["dataset"], dict(each["facets"]), _time(each["time"])) for kind, each in document.items()
        }
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise XdaskError(
            f"The selection {name} cannot be read: {path} is damaged ({type(error).__name__}: {error}). Remove the file, "
            "and choose again with project.explore()."
        ) from error
    return Selection(project, name, chosen)


def _time(value: Any) -> Time | None:
    return value if value is None or isinstance(value, str) else (str(value[0]), str(value[1]))
