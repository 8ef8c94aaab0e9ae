"""The HTTP server of a scheduler, which serves its dashboard, its metrics and its JSON.

Belongs here: its address, and adding a rule before all others. Does not belong here: the rule (dashboard_access).
"""

from __future__ import annotations

from typing import Any

from distributed import Scheduler
from tornado.routing import Rule


def has_dashboard(scheduler: Scheduler) -> bool:
    """Return whether a scheduler serves pages."""
    return bool(scheduler.http_application.applications)


def listens_at(scheduler: Scheduler) -> tuple[str, int]:
    """Return address and port of a scheduler's HTTP server."""
    server: Any = scheduler.http_server  # Dask adds both attributes
    return str(server.address), int(server.port)


def check_first(scheduler: Scheduler, rule: Rule) -> None:
    """Apply a rule to each request before it is routed."""
    scheduler.http_application.default_router.rules.insert(0, rule)
