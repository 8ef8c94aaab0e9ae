"""Checks which of the user's own analyses Dagster can load, because one that it cannot load would block all others.

Belongs here: trying to load them. Does not belong here: finding them (analysis_files), definitions (build).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import dagster as dg

from xdask_pipelines.assets.analysis import analysis_of
from xdask_pipelines.errors import XdaskError
from xdask_pipelines.own_analyses.analysis_files import OwnAssets, refuse_unknown_inputs

_LONGEST = 500  # characters of a message; Dagster's may list all assets


def set_aside_unloadable(own: OwnAssets, taken: set[str], definitions: Callable[[OwnAssets], dg.Definitions]) -> None:
    """Set aside assets that Dagster cannot load, such as one that needs a resource that does not exist.

    All assets are tried together, which takes 30 ms. If that fails, they are tried one by one.

    Parameters
    ----------
    own
        Changed in place.
    taken
        Names of the built-in assets of the project.
    definitions
        Returns the definitions of the built-in assets and the given ones.

    Raises
    ------
    XdaskError
        If the built-in assets of the project cannot be loaded.
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
            break  # the remaining assets depend on those that were set aside
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
    except Exception as error:  # any error: from Dagster's checks, or from the user's own objects
        text = str(error).strip().split("\n")[0][:_LONGEST]
        return f"Dagster cannot load it: {type(error).__name__}: {text}"
    return None
