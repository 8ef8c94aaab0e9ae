"""The one hierarchy of errors that a user can meet.

Belongs here: every exception raised on purpose, with what it carries. Does not belong here: how to detect it.
A message says what happened, where (Region, entry, path), and what to do next.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from xdask_pipelines.system.safe_text import terminal


class XdaskError(Exception):
    """Base of all errors raised on purpose.

    Parameters
    ----------
    message
        What happened, where, and what to do next.
    **details
        Values a program may want to look at; each becomes an attribute.
    """

    def __init__(self, message: str, **details: Any) -> None:
        super().__init__(terminal(message))  # it may quote a path or a library: whatever prints it shows text alone
        self.details = details
        for name, value in details.items():
            setattr(self, name, value)

    def __reduce__(self) -> tuple[Callable[..., XdaskError], tuple[Any, ...]]:
        return _rebuild, (type(self), str(self), self.details)


def _rebuild(kind: type[XdaskError], message: str, details: dict[str, Any]) -> XdaskError:
    """Rebuild an error after it crossed processes: pickle alone would drop the keyword arguments."""
    return kind(message, **details)


class TopologyError(XdaskError):
    """``regions.yaml`` cannot be used as it is."""


class CatalogError(XdaskError):
    """The catalog cannot answer or accept what was asked."""


class MissingEntries(CatalogError):
    """A request names data that the catalog does not hold; ``missing`` lists all of it."""

    missing: tuple[str, ...] = ()


class AmbiguousEntries(CatalogError):
    """A request fits more than one entry; ``candidates`` lists them."""

    candidates: tuple[str, ...] = ()


class SuspiciousPlan(CatalogError):
    """A sync would empty the catalog or delete much of it, and was refused; ``plan`` is what it would do."""

    plan: Any = None
    digest: str = ""


class StaleWriter(CatalogError):
    """Another sync committed first; nothing of this one was written."""


class PlacementError(XdaskError):
    """A task would run, or ran, away from the data it reads; no result is handed out."""


class EmptyPool(PlacementError):
    """A Region's pool has no worker that could take its tasks."""


class LostComputation(PlacementError):
    """The scheduler or a whole pool was lost in mid-run; running again does what is missing."""


class AccessError(XdaskError):
    """An entry cannot be read or written in its home Region."""


class ChangedEntry(AccessError):
    """A file is not the one that the catalog describes; a sync is needed."""


class ClimateError(XdaskError):
    """A field cannot be used in a climate computation (units, grid, calendar, missing values)."""
