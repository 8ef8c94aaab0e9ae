"""The errors that this package raises on purpose.

Belongs here: exception classes and their attributes. Does not belong here: the conditions that raise them.
A message states what happened, where (Region, entry, path), and what to do next.
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
        Values for programs; each becomes an attribute.
    """

    def __init__(self, message: str, **details: Any) -> None:
        super().__init__(terminal(message))  # removes control characters, which may come from a path or a library
        self.details = details
        for name, value in details.items():
            setattr(self, name, value)

    def __reduce__(self) -> tuple[Callable[..., XdaskError], tuple[Any, ...]]:
        return _rebuild, (type(self), str(self), self.details)


def _rebuild(kind: type[XdaskError], message: str, details: dict[str, Any]) -> XdaskError:
    """Pickle the error with its keyword arguments, which pickle would drop by default."""
    return kind(message, **details)


class TopologyError(XdaskError):
    """``regions.yaml`` is not valid."""


class CatalogError(XdaskError):
    """The catalog cannot answer a request or accept a change."""


class MissingEntries(CatalogError):
    """A request is for data that the catalog does not have; ``missing`` lists all of them."""

    missing: tuple[str, ...] = ()


class AmbiguousEntries(CatalogError):
    """A request matches more than one entry; ``candidates`` lists them."""

    candidates: tuple[str, ...] = ()


class SuspiciousPlan(CatalogError):
    """A sync was refused because it would delete most of the catalog; ``plan`` has its changes."""

    plan: Any = None
    digest: str = ""


class StaleWriter(CatalogError):
    """Another sync committed first, so this one wrote nothing."""


class PlacementError(XdaskError):
    """A task would run, or ran, outside the Region of its data; no result is returned."""


class EmptyPool(PlacementError):
    """A Region's pool has no worker for its tasks."""


class LostComputation(PlacementError):
    """The scheduler or a whole pool was lost during a run; run again to compute the missing parts."""


class RunFailed(XdaskError):
    """A step or a check of a run failed; the history has the run."""


class AwsError(PlacementError):
    """AWS refused or did not answer a call; ``code`` is its own name of the error."""

    code: str = ""
    operation: str = ""
    region: str = ""


class AccessError(XdaskError):
    """An entry cannot be read or written in its home Region."""


class ChangedEntry(AccessError):
    """A file differs from its entry in the catalog; a sync is needed."""


class ClimateError(XdaskError):
    """A field cannot be used in a climate computation (units, grid, calendar, missing values)."""
