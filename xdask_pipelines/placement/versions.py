"""One environment everywhere: versions of client, scheduler and workers.

Belongs here: comparing them, and naming who differs. Does not belong here: versions that this package asks for (doctor).
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from distributed import Client
from distributed.versions import get_versions

from xdask_pipelines.errors import PlacementError
from xdask_pipelines.names import POOL_PREFIX

logger = logging.getLogger("xdask.placement")
#: Compared besides what Dask itself compares: Python, Dask, its transport, NumPy, pandas.
PACKAGES = ("xarray", "zarr", "xdask_pipelines")
_ANSWER_SECONDS = 10.0
_SHOWN = 3
_Versions = dict[str, str | None]


def refuse_different_versions(client: Client) -> None:
    """Raise `PlacementError` if client, scheduler and workers differ, naming who does; one question to each."""
    versions = _ask(client)
    if not version_problems(versions):
        return
    workers = client.scheduler_info(n_workers=-1)["workers"]
    offered = [(a, r) for a, w in workers.items() for r in w["resources"] if r.startswith(POOL_PREFIX)]
    pools = {address: pool.removeprefix(POOL_PREFIX) for address, pool in offered}
    problems = version_problems(versions, pools)
    more = [f"and {len(problems) - _SHOWN} more"] if len(problems) > _SHOWN else []
    listed = "\n  ".join([*problems[:_SHOWN], *more])
    raise PlacementError(
        f"Versions differ:\n  {listed}\nUse one image or one environment for all, and restart the pools: `xdask pools "
        "down`, `xdask pools up`."
    )


def _ask(client: Client) -> dict[str, Any]:
    """Versions as `Client.get_versions` gives them, but a worker that hangs does not hold up the client."""
    question = {"op": "versions", "packages": list(PACKAGES)}
    own = get_versions(packages=PACKAGES)
    scheduler = client.sync(client.scheduler.versions, packages=list(PACKAGES))  # type: ignore[union-attr]
    try:
        workers = client.sync(
            client.scheduler.broadcast,  # type: ignore[union-attr]
            msg=question,
            on_error="ignore",
            callback_timeout=_ANSWER_SECONDS,
        )
    except TimeoutError:
        logger.warning("workers did not tell their versions within %s s; they are not compared", _ANSWER_SECONDS)
        workers = {}
    return {"client": own, "scheduler": scheduler, "workers": workers}


def version_problems(versions: Mapping[str, Any], pools: Mapping[str, str] | None = None) -> list[str]:
    """Who has other versions than most.

    Parameters
    ----------
    versions
        As `Client.get_versions` gives them.
    pools
        Region of each worker's pool, by address.

    Returns
    -------
    One sentence for each group of processes that differ in the same way; nothing if all are equal.
    """
    held = _held(versions)
    usual = {p: _usual(held, p) for p in sorted({p for packages in held.values() for p in packages})}
    differing: dict[tuple[str, str, tuple[str, ...]], list[str]] = {}
    for name, packages in held.items():
        if other := tuple(p for p in usual if packages.get(p) != usual[p]):
            told = ", ".join(_tell(p, packages.get(p)) for p in other)
            differing.setdefault(((pools or {}).get(name, ""), told, other), []).append(name)
    odd = {name for names in differing.values() for name in names}
    rest = _rest([name for name in held if name not in odd], odd)
    problems = []
    for (region, told, other), names in differing.items():
        verb = "runs" if len(names) == 1 else "run"
        problems.append(f"{_who(names, region)} {verb} {told}; {rest} {', '.join(_tell(p, usual[p]) for p in other)}")
    return problems


def _held(versions: Mapping[str, Any]) -> dict[str, _Versions]:
    """Packages of each process; who did not answer is not compared."""
    processes = {"client": versions["client"], "scheduler": versions["scheduler"], **versions["workers"]}
    return {name: dict(found["packages"]) for name, found in processes.items() if found}


def _usual(held: Mapping[str, _Versions], package: str) -> str | None:
    """The version that most have; among equals the client's."""
    counts = Counter(packages.get(package) for packages in held.values())
    most = max(counts.values())
    return next(v for v in (packages.get(package) for packages in held.values()) if counts[v] == most)


def _tell(package: str, version: str | None) -> str:
    return f"{package} {version.removesuffix('.final.0')}" if version else f"no {package}"


def _who(names: list[str], region: str) -> str:
    of = f" of pool {region}" if region else ""
    workers = [n for n in names if n not in ("client", "scheduler")]
    listed = [{"client": "this client", "scheduler": "the scheduler"}[n] for n in names if n not in workers]
    if len(workers) == 1:
        listed.append(f"worker {workers[0]}{of}")
    elif workers:
        listed.append(
            f"{len(workers)} workers{of} ({', '.join(workers[:_SHOWN])}{', …' if len(workers) > _SHOWN else ''})"
        )
    return _and(listed)


def _rest(same: list[str], odd: Iterable[str]) -> str:
    workers = sum(n not in ("client", "scheduler") for n in same)
    other = "other " if any(n not in ("client", "scheduler") for n in odd) else ""
    listed: list[str] = [n for n in ("scheduler", "client") if n in same]
    if workers:
        listed.append(f"the {other}{workers} workers" if workers > 1 else f"the {other or 'only '}worker")
    return _and(listed) or "most others"


def _and(words: list[str]) -> str:
    return f"{', '.join(words[:-1])} and {words[-1]}" if len(words) > 1 else "".join(words)
