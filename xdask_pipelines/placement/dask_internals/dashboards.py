"""Dask's dashboard: adding a page, and checking requests before any page sees them.

Belongs here: code that depends on how Dask builds its HTTP server. Does not belong here: pages, panels, rules of access
(dashboard). This module imports Bokeh, so only schedulers with a dashboard import it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from bokeh.document import Document
from bokeh.server.tornado import BokehTornado
from distributed import Scheduler
from distributed.dashboard.components import add_periodic_callback
from distributed.dashboard.components.scheduler import BOKEH_THEME, env
from distributed.dashboard.core import BokehApplication
from distributed.dashboard.scheduler import template_variables
from tornado.ioloop import IOLoop

#: Draws a page into a document; the mapping has the variables of its template.
Draw = Callable[[Document, Mapping[str, Any]], None]


def add_page(scheduler: Scheduler, name: str, draw: Draw) -> bool:
    """Add a page to a scheduler's dashboard, and a link to it in the bar of each page.

    Parameters
    ----------
    scheduler
        The scheduler.
    name
        Name of the page in its address.
    draw
        Called for each browser that opens it.

    Returns
    -------
    False if the scheduler has no dashboard.
    """
    bokeh = next((a for a in scheduler.http_application.applications if isinstance(a, BokehTornado)), None)
    if bokeh is None:
        return False

    def show(_: Scheduler, extra: Mapping[str, Any], document: Document) -> None:
        draw(document, extra)

    shared = template_variables(scheduler)  # one dictionary for all pages
    shared["pages"].insert(1, name)
    # A running Bokeh application accepts no further pages, so this is a second one, connected like Dask's own.
    page = BokehApplication({f"/{name}": show}, scheduler, prefix=bokeh.prefix, template_variables=shared)
    scheduler.http_application.add_application(page)
    page.initialize(IOLoop.current())
    page.start()
    return True


def dress(document: Document, extra: Mapping[str, Any]) -> None:
    """Give a page the navigation bar and the theme of Dask's own pages."""
    document.template = env.get_template("simple.html")
    document.template_variables.update(extra)
    document.theme = BOKEH_THEME


def update_every(document: Document, page: Any, milliseconds: int) -> None:
    """Call ``page.update()`` regularly while a document is open."""
    add_periodic_callback(document, page, milliseconds)
