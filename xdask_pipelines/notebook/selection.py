"""A named selection of data: what a person chose, which lines it stands for, and what is computed from it.

Belongs here: what a selection stands for and computes. Does not belong here: choosing (explorer), reading saved ones
(saved_selections), files of analyses (selection_asset).
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from keyword import iskeyword
from pathlib import Path
from typing import Any, Protocol

import xarray as xr

from xdask_pipelines.catalog import Catalog, Entry
from xdask_pipelines.catalog.times import Time
from xdask_pipelines.climate import difference, regrid
from xdask_pipelines.climate.axes import horizontal_names
from xdask_pipelines.climate.times.periods import EXCERPT
from xdask_pipelines.errors import XdaskError
from xdask_pipelines.notebook.candidates import candidate_lines
from xdask_pipelines.notebook.facet_titles import KINDS
from xdask_pipelines.notebook.time_reduction import import_lines, mean_over_time, reduction_of, result_lines
from xdask_pipelines.placement import Evidence, Plan
from xdask_pipelines.resources.var import writable
from xdask_pipelines.system.files import write_atomically
from xdask_pipelines.system.markup import Markup, block
from xdask_pipelines.system.safe_text import html
from xdask_pipelines.topology import Topology

#: Folder of saved selections, in the project's ``var``.
FOLDER = "selections"
_NAME = re.compile(r"[a-z][a-z0-9_]{0,62}")


class OpenProject(Protocol):
    """What a selection needs of a project."""

    topology: Topology
    catalog: Catalog

    @property
    def evidence(self) -> Evidence:
        """Return the evidence of the latest computation."""
        ...

    def open(self, *, dataset: str, **query: Any) -> xr.DataArray | xr.Dataset:
        """Open data lazily."""
        ...

    def plan(self, *xs: Any) -> Plan:
        """Predict a computation."""
        ...

    def compute(self, *xs: Any) -> Any:
        """Compute lazy objects."""
        ...


@dataclass(frozen=True)
class Chosen:
    """What is opened for one kind of data.

    Attributes
    ----------
    dataset, facets
        As `Project.open` takes them.
    time
        One period or a range of two; None for all.
    """

    dataset: str
    facets: Mapping[str, str] = field(default_factory=dict)
    time: Time | None = None

    def query(self) -> dict[str, Any]:
        """Return the arguments of `Project.open`."""
        time = {} if self.time is None else {"time": self.time}
        return {"dataset": self.dataset, **self.facets, **time}


@dataclass(frozen=True)
class Selection:
    """Data that a person chose in a project, under a name.

    Attributes
    ----------
    project
        The open project.
    name
        Small letters, digits and underscores.
    chosen
        By kind: ``historical``, ``projection``, or both.

    Examples
    --------
    >>> from xdask_pipelines import open_project
    >>> from xdask_pipelines.notebook.selection import Chosen, Selection
    >>> project = open_project()
    >>> warm = Selection(project, "warm", {"projection": Chosen("cmip6", {"experiment_id": "A1B"})})
    >>> warm.open().name
    'tas'
    >>> project.close()
    """

    project: OpenProject
    name: str
    chosen: Mapping[str, Chosen]

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise XdaskError(
                f"{self.name!r} is not the name of a selection. Use small letters, digits and underscores, and begin with a "
                "letter, such as warm_decade."
            )
        unknown = self.chosen.keys() - set(KINDS)
        if unknown or not self.chosen:
            raise XdaskError(
                f"The selection {self.name} has {', '.join(sorted(unknown)) or 'nothing'}, but needs {' or '.join(KINDS)}, "
                "or both. Choose them with project.explore()."
            )

    # ---- what it stands for -----------------------------------------------------------------------------------------

    def open_each(self) -> dict[str, xr.DataArray]:
        """Open the data of each kind lazily.

        Raises
        ------
        MissingEntries, AmbiguousEntries
            If what was chosen does not identify data.
        XdaskError
            If a file has several variables.
        """
        opened: dict[str, xr.DataArray] = {}
        for kind in KINDS:
            if kind in self.chosen:
                found = self.project.open(**self.chosen[kind].query())
                if isinstance(found, xr.Dataset):
                    raise XdaskError(
                        f"{self.name}: the {kind} data have several variables ({', '.join(map(str, found.data_vars))}). "
                        "Choose one variable."
                    )
                opened[kind] = found
        return opened

    def open(self) -> xr.DataArray | dict[str, xr.DataArray]:
        """Open the data lazily: an array, or a dictionary of two by their kinds. Errors as of `open_each`."""
        opened = self.open_each()
        return next(iter(opened.values())) if len(opened) == 1 else opened

    def result(self) -> xr.DataArray:
        """Return what `compute` computes, lazily: the mean over time, or the projection's minus the historical one.

        The historical mean is regridded conservatively to the grid of the projection before.
        """
        opened = self.open_each()
        means = {kind: mean_over_time(field) for kind, field in opened.items()}
        if len(means) == 1:
            return next(iter(means.values()))
        lat, lon = horizontal_names(opened["projection"])
        historic = regrid(means["historical"], opened["projection"][lat], opened["projection"][lon])
        return difference(means["projection"], historic)

    def plan(self) -> Plan:
        """Predict what `compute` will do; nothing runs."""
        return self.project.plan(self.result())

    def compute(self) -> xr.DataArray:
        """Compute `result` in the Regions of the data; the project has the evidence."""
        computed: xr.DataArray = self.project.compute(self.result())
        return computed

    def picture(self, result: xr.DataArray) -> bytes:
        """Draw what `compute` returned, as assets are drawn: a map, a line or a plane.

        Returns
        -------
        A PNG. It says if data are an excerpt.

        Raises
        ------
        ClimateError
            If the result has no dimension or more than two, or no finite value.
        """
        from xdask_pipelines.climate.drawing.plots import draw  # imports cartopy

        excerpts = dict.fromkeys(str(f.attrs[EXCERPT]) for f in self.open_each().values() if EXCERPT in f.attrs)
        title = f"{self.name}: {result.attrs.get('long_name') or result.name}"
        return draw(result, title, "; ".join(excerpts) or None)

    def entries(self) -> dict[str, list[Entry]]:
        """Return the entries that fit, by kind, in all Regions that hold them."""
        return {kind: self.project.catalog.search(**each.query()) for kind, each in self.chosen.items()}

    def code(self) -> str:
        """Return the lines that the selection stands for, with licence and resolution of each candidate."""
        lines = ["from xdask_pipelines import open_project"]
        reductions = {kind: reduction_of(field) for kind, field in self.open_each().items()}
        lines += import_lines(reductions)
        lines += ["", "project = open_project()"]
        entries = self.entries()
        for kind in KINDS:
            if kind in self.chosen:
                lines += [f"# {line}" for line in candidate_lines(entries[kind])]
                lines += [f"{kind} = project.open({_arguments(self.chosen[kind].query())})"]
        lines += [*result_lines(reductions), "result.compute().plot()"]
        return "\n".join(lines) + "\n"

    # ---- files --------------------------------------------------------------------------------------------------------

    def save(self) -> Path:
        """Write the selection to the project's ``var/selections``, where other notebooks find it by its name.

        Raises
        ------
        XdaskError
            If ``var/`` cannot be written.
        """
        path = writable(self.project.topology, FOLDER) / f"{self.name}.json"
        chosen = {
            kind: {"dataset": each.dataset, "facets": dict(each.facets), "time": each.time}
            for kind, each in self.chosen.items()
        }
        write_atomically(path, json.dumps({"chosen": chosen}, indent=2) + "\n")
        return path

    def _repr_html_(self) -> str:
        return block(f"Selection {self.name}", Markup(f"<pre>{html(self.code())}</pre>"))

    def __repr__(self) -> str:
        texts = [
            f"{kind} " + ", ".join(f"{name} {value}" for name, value in each.query().items())
            for kind, each in self.chosen.items()
        ]
        return f"<Selection {self.name}: {'; '.join(texts)}>"


def _arguments(query: Mapping[str, Any]) -> str:
    """Return keyword arguments as Python; the rare facet whose name is no identifier needs ``**``."""
    named = [f"{name}={value!r}" for name, value in query.items() if is_name(name)]
    return ", ".join(named + [f"**{ {name: value}!r}" for name, value in query.items() if not is_name(name)])


def is_name(text: str) -> bool:
    """Return whether a text can be a name in Python."""
    return text.isidentifier() and not iskeyword(text)
