"""What `Project.explore` does, without widgets: choosing data of the past, a projection, or both, and using them.

Belongs here: the state behind the drop-downs and the buttons. Does not belong here: drawing (explorer_widgets), narrowing
facets (facet_choice), what is computed (selection).
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import xarray as xr

from xdask_pipelines.errors import AmbiguousEntries, XdaskError
from xdask_pipelines.notebook.facet_choice import FacetChoice
from xdask_pipelines.notebook.facet_titles import KINDS, Kind, value_title, variable_title
from xdask_pipelines.notebook.saved_selections import saved_names, saved_selection
from xdask_pipelines.notebook.selection import Chosen, OpenProject, Selection
from xdask_pipelines.notebook.selection_asset import save_as_asset
from xdask_pipelines.placement import Plan
from xdask_pipelines.system.units import counted, format_bytes

Shown = Kind | Literal["both"]
DEFAULT_NAME = "selection"


class Explorer:
    """Chooses data of a project.

    Parameters
    ----------
    project
        The open project.
    name
        Name of the selection. If the project has it, what it holds is chosen.

    Attributes
    ----------
    notes
        What of a saved selection the catalog no longer has.

    Examples
    --------
    >>> from xdask_pipelines import open_project
    >>> from xdask_pipelines.notebook.explorer import Explorer
    >>> project = open_project()
    >>> explorer = Explorer(project, "warm")
    >>> explorer.show("projection")
    >>> explorer.choose("projection", "dataset", "cmip6")
    >>> explorer.choose("projection", "experiment_id", "A1B")
    >>> explorer.selection().open().name
    'tas'
    >>> project.close()
    """

    def __init__(self, project: OpenProject, name: str = "") -> None:
        self.project = project
        self.name = name or DEFAULT_NAME
        self.shown: Shown = "both"
        self.choices: dict[Kind, FacetChoice] = {kind: FacetChoice(project.catalog, kind) for kind in KINDS}
        self.notes: list[str] = []
        if self.name in saved_names(project.topology):
            self.load(self.name)
        else:
            for choice in self.choices.values():
                if len(options := choice.options("dataset")) == 1:
                    choice.choose("dataset", next(iter(options)))

    # ---- choosing -----------------------------------------------------------------------------------------------------

    def kinds(self) -> list[Kind]:
        """Return the kinds of data that are chosen: one, or both."""
        return [kind for kind in KINDS if self.shown in (kind, "both")]

    def show(self, shown: Shown) -> None:
        """Choose data of the past, a projection, or both."""
        if shown not in (*KINDS, "both"):
            raise XdaskError(f"{shown!r} cannot be shown. Choose {', '.join(KINDS)} or both.")
        self.shown = shown

    def choose(self, kind: Kind, name: str, value: str) -> None:
        """Choose a value of a facet, as `FacetChoice.choose`."""
        self.choices[kind].choose(name, value)

    def choose_period(self, kind: Kind, first: str, last: str) -> None:
        """Choose a period, as `FacetChoice.choose_period`."""
        self.choices[kind].choose_period(first, last)

    def options(self, kind: Kind, name: str) -> list[tuple[str, str]]:
        """Return the values of a drop-down, each with its title."""
        choice = self.choices[kind]
        counts = choice.options(name)
        titles = {value: value_title(name, value, count) for value, count in counts.items()}
        if name == "variable" and len(counts) <= 50:
            for value in counts:
                found = self.project.catalog.search(limit=1, dataset=choice.chosen["dataset"], variable=value)
                if found and (meaning := variable_title(found[0])):
                    titles[value] = f"{value}: {meaning} ({counts[value]:,})"
        return [(titles[value], value) for value in counts]

    def load(self, name: str) -> None:
        """Choose what a saved selection holds; `notes` has what the catalog no longer has.

        Raises
        ------
        XdaskError
            If the project has no such selection.
        """
        found = saved_selection(self.project, name)
        self.name = name
        self.shown = "both" if len(found.chosen) > 1 else next(kind for kind in KINDS if kind in found.chosen)
        self.notes = []
        for kind in self.kinds():
            each = found.chosen[kind]
            missing = self.choices[kind].restore(each.dataset, each.facets, each.time)
            self.notes += [f"The catalog no longer has {what} of the {kind} data of {name}." for what in missing]

    # ---- what is chosen -----------------------------------------------------------------------------------------------

    def summary(self, kind: Kind) -> str:
        """Return how many entries and bytes fit, their period, and what is missing to open them."""
        choice = self.choices[kind]
        entries = choice.matching()
        if not entries:
            return "Nothing fits." if "dataset" in choice.chosen else "Choose a dataset."
        first, last = choice.available()
        regions = ", ".join(sorted({entry.region for entry in entries}))
        stored = format_bytes(sum(entry.size_bytes for entry in entries))
        size = f"{counted(len(entries), 'entry', 'entries')}, {stored} in {regions}"
        period = f"; {first} to {last}" if first else ""
        problem = self._problem(kind)
        return f"{size}{period}. {problem}".strip()

    def _problem(self, kind: Kind) -> str:
        choice = self.choices[kind]
        if not choice.complete:
            return "Choose a value in each list."
        try:
            self.project.catalog.replicas(**self._chosen(kind).query())
        except AmbiguousEntries:
            return (
                "Several entries fit: choose a period without gaps and overlaps."
                if choice.available()[0]
                else ("Several entries fit, which this project opens one by one only.")
            )
        except XdaskError as error:
            return str(error)
        return ""

    def _chosen(self, kind: Kind) -> Chosen:
        """Return what is chosen; several files are joined over the months that they have, unless a period is chosen."""
        choice = self.choices[kind]
        period = choice.period
        if period is None and len({(e.time_start, e.time_end) for e in choice.matching()}) > 1:
            first, last = choice.available()
            period = (first, last) if first else None
        facets = {name: value for name, value in choice.chosen.items() if name != "dataset"}
        return Chosen(choice.chosen["dataset"], facets, period)

    def selection(self) -> Selection:
        """Return what is chosen, and save it under its name.

        Raises
        ------
        XdaskError
            If a list has no value yet, or the name is not valid.
        """
        for kind in self.kinds():
            if not self.choices[kind].complete:
                choice = self.choices[kind]
                missing = [name for name in choice.names() if name not in choice.chosen]
                raise XdaskError(f"The {kind} data are not chosen yet. Choose {', '.join(missing)}, then try again.")
        selection = Selection(self.project, self.name, {kind: self._chosen(kind) for kind in self.kinds()})
        selection.save()
        return selection

    # ---- the buttons --------------------------------------------------------------------------------------------------

    def open(self) -> xr.DataArray | dict[str, xr.DataArray]:
        """Open what is chosen lazily."""
        return self.selection().open()

    def plan(self) -> Plan:
        """Predict the computation of what is chosen."""
        return self.selection().plan()

    def compute(self) -> xr.DataArray:
        """Compute what is chosen, where it lies: the mean over time, or the difference of two."""
        return self.selection().compute()

    def code(self) -> str:
        """Return the lines that the selection stands for, with licence and resolution of each candidate."""
        return self.selection().code()

    def save_as_asset(self) -> Path:
        """Write the selection as an analysis into ``analyses/``; return the path."""
        return save_as_asset(self.selection())
