"""Which analyses of one's own Dagster can load: one with which it cannot would keep it from loading any.

Belongs here: trying them, one after the other where needed. Does not belong here: finding them (own), definitions (build).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import dagster as dg

from xdask_pipelines.assets.analysis import analysis_of
from xdask_pipelines.errors import XdaskError
from xdask_pipelines.own_analyses.own import OwnAssets, refuse_unknown_inputs

_LONGEST = 500  # characters of a message; Dagster's may list all assets


def set_aside_unloadable(own: OwnAssets, taken: set[str], definitions: Callable[[OwnAssets], dg.Definitions]) -> None:
    """Set aside assets that Dagster cannot load, such as one that needs a resource that does not exist.

    All are tried together, which takes 30 ms; only if that fails, one after the other.

    Parameters
    ----------
    own
        Changed in place.
    taken
        Names of the project's own assets.
    definitions
        Makes the definitions of these and the given ones.

    Raises
    ------
    XdaskError
        The project's own assets cannot be loaded.
    """
    if _why_not(own, definitions) is None:
        return
    if reason := _why_not(OwnAssets(), definitions):
        raise XdaskError(f"The project's own assets cannot be loaded: {reason}")
    good, waiting = OwnAssets(files=own.files), list(own.assets)
    while waiting:
        usable = taken | good.names()
        asset = next((a for a in waiting if usable.issuperset(_upstream(a))), None)
        if asset is None:
            break  # those left are computed from what is set aside
        waiting = [other for other in waiting if other is not asset]
        good.assets.append(asset)
        if reason := _why_not(good, definitions):
            good.assets.pop()
            own.set_aside(asset, reason)
    refuse_unknown_inputs(own, taken)


def _upstream(asset: dg.AssetsDefinition) -> Sequence[str]:
    made = analysis_of(asset)
    return made.upstream if made else ()


def _why_not(own: OwnAssets, definitions: Callable[[OwnAssets], dg.Definitions]) -> str | None:
    try:
        dg.Definitions.validate_loadable(definitions(own))
    except Exception as error:  # of any kind: Dagster's checks, or what a user's own objects raise
        text = str(error).strip().split("\n")[0][:_LONGEST]
        return f"Dagster cannot load it: {type(error).__name__}: {text}"
    return None
