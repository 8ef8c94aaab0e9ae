"""Comparison of the versions of a client or worker with those of its scheduler.

Belongs here: comparing versions. Does not belong here: versions that this package requires (doctor).
"""

from __future__ import annotations

from collections.abc import Mapping

from distributed import Client

from xdask_pipelines.errors import PlacementError
from xdask_pipelines.placement.dask_internals import connections

#: Packages that are compared in addition to those of Dask: Python, Dask, its transport, NumPy, pandas.
PACKAGES = ("xarray", "zarr", "xdask_pipelines")
#: Advice if versions differ.
SAME_VERSIONS = "Use one image or one environment for all, and restart the pools: `xdask pools down`, `xdask pools up`."


def refuse_different_versions(client: Client) -> None:
    """Raise `PlacementError` if the versions of client and scheduler differ. Workers are checked when they join."""
    versions = connections.scheduler_versions(client, PACKAGES)
    if problem := version_problem("this client", own_versions(), versions):
        raise PlacementError(f"Versions differ: {problem}. {SAME_VERSIONS}")


def own_versions() -> dict[str, str | None]:
    """Return the versions of this process by package, and of Python; None for packages that are not installed."""
    return connections.own_versions(PACKAGES)


def version_problem(who: str, own: Mapping[str, str | None], scheduler: Mapping[str, str | None]) -> str | None:
    """Describe how the versions of a process differ from those of its scheduler.

    Parameters
    ----------
    who
        Name of the process, for the message.
    own, scheduler
        Versions by package, from `own_versions`.

    Returns
    -------
    One sentence without full stop; None if the versions are equal.
    """
    differing = [p for p in sorted({*own, *scheduler}) if own.get(p) != scheduler.get(p)]
    if not differing:
        return None
    own_text, scheduler_text = (
        ", ".join(_text(p, versions.get(p)) for p in differing) for versions in (own, scheduler)
    )
    return f"{who} runs {own_text}; the scheduler runs {scheduler_text}"


def _text(package: str, version: str | None) -> str:
    return f"{package} {version.removesuffix('.final.0')}" if version else f"no {package}"
