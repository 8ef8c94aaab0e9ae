"""Access to the scheduler's HTTP server: it answers requests of its own pages, links to them, and programs.

Belongs here: the check before all routes: pages, JSON, metrics, WebSockets. Does not belong here: the rules
(browser_requests), pages (regions_page).
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

from distributed import Scheduler
from tornado.httputil import HTTPServerRequest
from tornado.routing import Matcher, Rule
from tornado.web import RequestHandler

from xdask_pipelines.placement.dask_internals.http_server import check_first, listens_at
from xdask_pipelines.system.browser_requests import ANSWER_HEADERS, own_hosts, refusal

#: Environment variable with further hosts, separated by commas, by which browsers may reach the dashboard.
HOSTS_VARIABLE = "XDASK_UI_HOSTS"


class _Foreign(Matcher):
    """Matches requests that are refused, and passes the reason to the handler."""

    def __init__(self, hosts: Sequence[str]) -> None:
        self._hosts = hosts

    def match(self, request: HTTPServerRequest) -> dict[str, Any] | None:
        problem = refusal(request.method or "", request.path, request.headers.get_all(), self._hosts)
        return {"target_kwargs": {"problem": problem}} if problem else None


class _Refused(RequestHandler):
    def initialize(self, problem: str) -> None:
        self._problem = problem

    def prepare(self) -> None:
        self.set_status(403)
        for name, value in ANSWER_HEADERS.items():
            self.set_header(name, value)
        self.finish({"error": self._problem})


def guard_dashboard(scheduler: Scheduler) -> None:
    """Make the dashboard refuse requests from pages of another origin, or with a foreign host name."""
    configured = filter(None, os.environ.get(HOSTS_VARIABLE, "").split(","))
    address, port = listens_at(scheduler)
    hosts = own_hosts(port, [f"{address}:{port}", *configured])
    check_first(scheduler, Rule(_Foreign(hosts), _Refused))
