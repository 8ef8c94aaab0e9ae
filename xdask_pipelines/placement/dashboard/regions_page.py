"""The page ``/regions`` of Dask's dashboard: live tasks, bytes and pools by Region.

Belongs here: the page, and adding it to a scheduler's dashboard. Does not belong here: drawing (panels), the numbers
(samples, totals). This module imports Bokeh, so only schedulers with a dashboard import it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bokeh.document import Document
from bokeh.models.layouts import Row
from bokeh.models.widgets import Div
from distributed import Scheduler
from tornado.ioloop import PeriodicCallback

from xdask_pipelines.placement.dashboard.panels import FIGURES_STYLE, TABLE_STYLE, Across, BacklogBars, Lines, table
from xdask_pipelines.placement.dashboard.samples import EVERY_SECONDS, PAGE, Samples
from xdask_pipelines.placement.dask_internals import dashboards
from xdask_pipelines.placement.scheduler.plugin import PlacementPlugin

_MILLISECONDS = round(EVERY_SECONDS * 1000)


def add_page(scheduler: Scheduler, plugin: PlacementPlugin) -> None:
    """Add the page to the scheduler's dashboard, if it has one, and a link to it on each page."""
    pooled = [region for region, rates in plugin.settings.pools.items() if rates.threads]
    names = plugin.settings.region_names
    samples = Samples(scheduler, plugin.ledger.totals, pooled)
    if not dashboards.add_page(scheduler, PAGE, lambda document, extra: Page(samples, names).show(document, extra)):
        return
    clock = PeriodicCallback(samples.take, _MILLISECONDS)
    scheduler.periodic_callbacks["xdask-samples"] = clock
    clock.start()


class Page:
    """One open page, which draws the samples of the scheduler."""

    def __init__(self, samples: Samples, names: Mapping[str, str]) -> None:
        self._samples, self._names = samples, names
        self._table = Div(sizing_mode="stretch_width", margin=(10, 10, 10, 10), stylesheets=[TABLE_STYLE])
        self._lines = (
            Lines("Tasks processing", lambda load: load.processing),
            Lines("Tasks waiting for their pool", lambda load: load.waiting),
            Lines("Tasks done since start", lambda load: load.done),
            Lines("Threads", lambda load: load.threads),
        )
        self._across = Across()
        self._backlog = BacklogBars()
        self.update()

    def show(self, document: Document, extra: Mapping[str, Any]) -> None:
        """Lay out the panels in a document, which calls `update` while it is open."""
        processing, waiting, done, threads = (lines.figure for lines in self._lines)
        figures: list[Any] = [processing, waiting, done, self._across.figure, self._backlog.figure, threads]
        document.title = "Dask: Regions"
        document.add_root(self._table)
        document.add_root(Row(children=figures, sizing_mode="stretch_width", stylesheets=[FIGURES_STYLE]))
        dashboards.dress(document, extra)
        dashboards.update_every(document, self, _MILLISECONDS)

    def update(self) -> None:
        """Redraw the panels."""
        now, totals = self._samples.now(), self._samples.totals
        self._table.text = table(now.pools, totals.read, self._names)
        for lines in self._lines:
            lines.update([*self._samples.past, now])
        self._across.update(totals.across, list(now.pools))
        self._backlog.update(now.pools)
