"""One environment everywhere: versions of a client or worker, against those of its scheduler.

Belongs here: comparing them. Does not belong here: versions that this package asks for (doctor).
"""

from __future__ import annotations

from collections.abc import Mapping

from distributed import Client

from xdask_pipelines.errors import PlacementError
from xdask_pipelines.placement.dask_internals import connections

#: Compared besides what Dask itself compares: Python, Dask, its transport, NumPy, pandas.
PACKAGES = ("xarray", "zarr", "xdask_pipelines")
#: What helps where versions differ.
SAME_VERSIONS = "Use one image or one environment for all, and restart the pools: `xdask pools down`, `xdask pools up`."


def refuse_different_versions(client: Client) -> None:
    """Raise `PlacementError` if client and scheduler differ. Workers that differ are refused when they join."""
    found = connections.scheduler_versions(client, PACKAGES)
    if problem := version_problem("this client", own_versions(), found):
        raise PlacementError(f"Versions differ: {problem}. {SAME_VERSIONS}")


def own_versions() -> dict[str, str | None]:
    """Versions of this process by package, and of Python; None for what is not installed."""
    return connections.own_versions(PACKAGES)


def version_problem(who: str, own: Mapping[str, str | None], scheduler: Mapping[str, str | None]) -> str | None:
    """How a process differs from its scheduler.

    Parameters
    ----------
    who
        Names the process, for the sentence.
    own, scheduler
        Versions by package, as `own_versions` gives them.

    Returns
    -------
    One sentence without its full stop; None if they are equal.
    """
    differing = [p for p in sorted({*own, *scheduler}) if own.get(p) != scheduler.get(p)]
    if not differing:
        return None
    told, other = (", ".join(_tell(p, versions.get(p)) for p in differing) for versions in (own, scheduler))
    return f"{who} runs {told}; the scheduler runs {other}"


def _tell(package: str, version: str | None) -> str:
    return f"{package} {version.removesuffix('.final.0')}" if version else f"no {package}"
