"""Drop-downs, dates and buttons for choosing data in a notebook.

Belongs here: widgets. Does not belong here: what they do (explorer). This module imports ipywidgets, which is an extra.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import ipywidgets
from IPython.display import HTML, Image, display

from xdask_pipelines.errors import XdaskError
from xdask_pipelines.notebook.explorer import Explorer
from xdask_pipelines.notebook.facet_titles import KINDS, Kind, facet_title
from xdask_pipelines.notebook.selection import Selection
from xdask_pipelines.system.safe_text import html

_LAYOUT = {"width": "32em"}
_PICTURE_WIDTH = 800
_STYLE = {"description_width": "8em"}
_SHOWN = (("historical", "historical"), ("projection", "projection"), ("both", "both"))


class ExplorerWidgets:
    """Shows an explorer in the output of a cell.

    Parameters
    ----------
    explorer
        What is chosen, and what can be done with it.

    Attributes
    ----------
    explorer
        The same without widgets.
    result
        What the button "compute" computed last; None before.
    """

    def __init__(self, explorer: Explorer) -> None:
        self.explorer = explorer
        self.result: Any = None
        self._quiet = False
        self._lists: dict[tuple[Kind, str], Any] = {}
        self._dates = {kind: self._make_dates(kind) for kind in KINDS}
        self._summaries = {kind: ipywidgets.HTML() for kind in KINDS}
        self._panels = {kind: ipywidgets.VBox() for kind in KINDS}
        self._name = ipywidgets.Text(value=explorer.name, description="Name", style=_STYLE, layout=_LAYOUT)
        self._name.continuous_update = False
        self._name.observe(self._renamed, "value")
        self._shown = ipywidgets.ToggleButtons(options=_SHOWN, value=explorer.shown)
        self._shown.observe(self._show, "value")
        self.output = ipywidgets.Output()
        buttons = [
            self._button("Open", lambda: display(self.explorer.open())),
            self._button("Plan", lambda: display(self.explorer.plan())),
            self._button("Compute", self._compute),
            self._button("Save as an asset", self._save_as_asset),
            self._button("Show as code", lambda: display(HTML(f"<pre>{html(self.explorer.code())}</pre>"))),
        ]
        self.buttons = {button.description: button for button in buttons}
        self._notes = ipywidgets.HTML("<br>".join(map(html, explorer.notes)))
        self.box = ipywidgets.VBox(
            [
                ipywidgets.HBox([self._shown, self._name]),
                self._notes,
                ipywidgets.HBox([self._panels[kind] for kind in KINDS]),
                ipywidgets.HBox(buttons),
                self.output,
            ]
        )
        self._refresh()

    @property
    def selection(self) -> Selection:
        """Return what is chosen, and save it under its name."""
        return self.explorer.selection()

    def list_of(self, kind: Kind, name: str) -> Any:
        """Return the drop-down of a facet."""
        return self._lists[kind, name]

    def dates_of(self, kind: Kind) -> tuple[Any, Any]:
        """Return the fields of the first and the last period."""
        return self._dates[kind]

    def _ipython_display_(self) -> None:
        display(self.box)

    # ---- making and updating ------------------------------------------------------------------------------------------

    def _make_dates(self, kind: Kind) -> tuple[Any, Any]:
        made = []
        for title in ("From", "to"):
            field = ipywidgets.Text(description=title, placeholder="all, or 2015-01", style=_STYLE, layout=_LAYOUT)
            field.continuous_update = False
            field.observe(partial(self._period, kind), "value")
            made.append(field)
        return made[0], made[1]

    def _button(self, title: str, action: Callable[[], None]) -> Any:
        button = ipywidgets.Button(description=title)
        button.on_click(partial(self._act, action))
        return button

    def _refresh(self) -> None:
        """Show what can be chosen now: values of each list, and what fits."""
        self._quiet = True
        try:
            for kind in KINDS:
                if kind in self.explorer.kinds():
                    self._refresh_panel(kind)
                else:
                    self._panels[kind].children = []
        finally:
            self._quiet = False

    def _refresh_panel(self, kind: Kind) -> None:
        choice = self.explorer.choices[kind]
        lists = []
        for name in choice.names():
            if (kind, name) not in self._lists:
                self._lists[kind, name] = ipywidgets.Dropdown(
                    description=facet_title(name), style=_STYLE, layout=_LAYOUT
                )
                self._lists[kind, name].observe(partial(self._choose, kind, name), "value")
            each = self._lists[kind, name]
            options = [("choose", None), *self.explorer.options(kind, name)]
            if list(each.options) != options:
                each.options = options
            each.value = choice.chosen.get(name)
            lists.append(each)
        first, last = choice.available()
        period = choice.period
        chosen = ("", "") if period is None else (period, period) if isinstance(period, str) else period
        for field, value, hint in zip(self._dates[kind], chosen, (first, last), strict=True):
            field.value, field.placeholder = value, f"all, or {hint}" if hint else "without time"
            field.disabled = not hint and period is None
        self._summaries[kind].value = html(self.explorer.summary(kind))
        title = ipywidgets.HTML(f"<b>{kind.capitalize()}</b>")
        self._panels[kind].children = [title, *lists, *self._dates[kind], self._summaries[kind]]

    # ---- events -------------------------------------------------------------------------------------------------------

    def _choose(self, kind: Kind, name: str, change: Any) -> None:
        if not self._quiet and change["new"] is not None:
            self._try(lambda: self.explorer.choose(kind, name, change["new"]))

    def _period(self, kind: Kind, change: Any) -> None:
        if not self._quiet:
            first, last = (field.value for field in self._dates[kind])
            self._try(lambda: self.explorer.choose_period(kind, first, last))

    def _show(self, change: Any) -> None:
        self._try(lambda: self.explorer.show(change["new"]))

    def _renamed(self, change: Any) -> None:
        self.explorer.name = change["new"].strip()
        self._try(lambda: None)

    def _try(self, change: Callable[[], None]) -> None:
        """Make a change, save the selection if it is complete, and show what can be chosen next."""
        self.output.clear_output()
        try:
            change()
            if all(self.explorer.choices[kind].complete for kind in self.explorer.kinds()):
                self.explorer.selection()
        except XdaskError as error:
            self._show_error(error)
        self._refresh()

    def _act(self, action: Callable[[], None], button: Any) -> None:
        """Run a button's action; while it runs, no button can be pressed."""
        self.output.clear_output()
        for each in self.buttons.values():
            each.disabled = True
        try:
            with self.output:  # it shows every error as a traceback, and lets none pass
                try:
                    action()
                except XdaskError as error:
                    self._show_error(error)
        finally:
            for each in self.buttons.values():
                each.disabled = False

    def _show_error(self, error: XdaskError) -> None:
        with self.output:
            display(HTML(f"<pre>{html(str(error))}</pre>"))

    def _compute(self) -> None:
        selection = self.explorer.selection()
        self.result = selection.compute()
        if 1 <= self.result.ndim <= 2:
            display(Image(selection.picture(self.result), width=_PICTURE_WIDTH))
        else:
            display(self.result)
        display(self.explorer.project.evidence)

    def _save_as_asset(self) -> None:
        path = self.explorer.save_as_asset()
        name = path.stem
        line = f"Saved as {path}. Predict it with `xdask plan {name}`, and compute it with `xdask run {name}`."
        display(HTML(f"<pre>{html(line)}</pre>"))
