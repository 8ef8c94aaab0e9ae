"""A selection as an analysis of the project: a file for ``analyses/`` that computes the same as the notebook.

Belongs here: the text of the file. Does not belong here: what a selection computes (selection), finding the file
(own_analyses).
"""

from __future__ import annotations

from pathlib import Path

from xdask_pipelines.errors import XdaskError
from xdask_pipelines.notebook.facet_titles import KINDS
from xdask_pipelines.notebook.selection import Chosen, Selection, is_name
from xdask_pipelines.notebook.time_reduction import import_lines, reduction_of, result_lines
from xdask_pipelines.own_analyses.analysis_files import FOLDER
from xdask_pipelines.system.safe_text import one_line


def save_as_asset(selection: Selection, name: str = "") -> Path:
    """Write a selection as an analysis into the project's folder ``analyses``.

    Parameters
    ----------
    selection
        The selection.
    name
        Name of the asset and its file; empty for the name of the selection.

    Returns
    -------
    Path of the file. ``xdask plan NAME`` and ``xdask run NAME`` find it.

    Raises
    ------
    XdaskError
        If the name is not one of Python's, the file exists, or it cannot be written.
    """
    name = name or selection.name
    if not is_name(name):
        raise XdaskError(f"{name!r} cannot be the name of an analysis. Use letters, digits and underscores.")
    path = selection.project.topology.root / FOLDER / f"{name}.py"
    text = asset_text(selection, name)
    try:
        path.parent.mkdir(exist_ok=True)
        with path.open("x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError:
        raise XdaskError(f"{path} exists. Remove it, or save the selection under another name.") from None
    except OSError as error:
        raise XdaskError(f"{path} cannot be written: {error.strerror}. Check its permissions and the disk.") from error
    return path


def asset_text(selection: Selection, name: str) -> str:
    """Return the Python file of an analysis that computes what `Selection.compute` does; errors as of `save_as_asset`."""
    kinds = [kind for kind in KINDS if kind in selection.chosen]
    opened = selection.open_each()
    reductions = {kind: reduction_of(field) for kind, field in opened.items()}
    units = str(opened[kinds[-1]].attrs.get("units", ""))
    what = str(opened[kinds[-1]].attrs.get("long_name") or opened[kinds[-1]].name or "field")
    sources = [f"        {kind!r}: Source({_source(selection.chosen[kind])})," for kind in kinds]
    title = f"Mean over time of {what}" if len(kinds) == 1 else f"{what}: projection minus historical, means over time"
    imports = [
        "import xarray as xr",
        "from xdask_pipelines.assets import Source, analysis",
        *import_lines(reductions),
    ]
    *steps, last_step = result_lines(reductions)
    parameters = ", ".join(f"{kind}: xr.DataArray" for kind in kinds)
    lines = [
        f"# The selection {selection.name} of a notebook.",
        *imports,
        "",
        "",
        "@analysis(",
        "    sources={",
        *sources,
        "    },",
        *([f"    units={units!r},"] if units else []),
        ")",
        f"def {name}({parameters}) -> xr.DataArray:",
        f"    {_docstring(title, units)}",
        *(f"    {step}" for step in steps),
        f"    return {last_step.removeprefix('result = ')}",
    ]
    return "\n".join(lines) + "\n"


def _source(chosen: Chosen) -> str:
    return f"{chosen.dataset!r}, {dict(chosen.facets)!r}" + (
        f", time={chosen.time!r}" if chosen.time is not None else ""
    )


def _docstring(title: str, units: str) -> str:
    """Return a docstring of one line; a title comes from a file, and may hold anything."""
    text = one_line(f"{title}, {units}." if units else f"{title}.").replace("\\", "/").replace('"', "'")
    return f'"""{text}"""'
