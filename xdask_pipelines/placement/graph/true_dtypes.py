"""Dtypes that blocks really have, where a graph states others.

xarray states that `interp` keeps float32, but SciPy's interpolation makes float64 of it, as does most of what follows
from it: twice the bytes cross (xarray 2026.9.0, SciPy 1.17).

Belongs here: finding such layers, by calling their functions on arrays of three values. Does not belong here: sizes.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Set
from typing import Any

import numpy as np

from xdask_pipelines.placement.dask_internals.graph_layers import Blockwise, Layer, apply_function, function_of

#: Whose functions are called: quick, and without effects. A user's own function is not called for a prediction.
_LIBRARIES = frozenset({"xarray", "numpy", "dask", "operator", "_operator", "scipy"})
_LENGTH = 3  # the least that interpolation of any kind takes


def true_dtypes(
    layers: Mapping[str, Layer],
    dependencies: Mapping[str, Set[str]],
    stated: Mapping[str, np.dtype[Any]],
    outputs: Mapping[str, list[str]],
) -> dict[str, np.dtype[Any]]:
    """Dtypes of layers whose blocks have another dtype than they state.

    Parameters
    ----------
    layers, dependencies
        Of graphs before optimisation, by name.
    stated
        Dtype that each layer states.
    outputs
        By the name of a layer that computes outputs of `apply_gufunc`: names of the layers of these outputs, in their order.
    """
    found: dict[str, np.dtype[Any]] = {}
    suspects = [name for name in outputs if _is_library(function_of(layers[name])[0], {"xarray"})]
    if not suspects:
        return found
    of_whole = {
        output: (whole, i) for whole, names in outputs.items() for i, name in enumerate(names) for output in [name]
    }
    several: dict[str, tuple[np.dtype[Any], ...]] = {}
    for name in _in_order(dependencies):
        if name not in layers or name not in stated:
            continue
        differing = [d for d in dependencies.get(name, ()) if d in found]
        if name in of_whole:
            whole, i = of_whole[name]
            dtypes = several.get(whole, ())
            true = dtypes[i] if i < len(dtypes) else None
        elif name in outputs:
            if name not in suspects and not differing:
                continue
            several[name] = _called(layers[name], found, stated)
            continue
        elif not differing:
            continue
        elif isinstance(layers[name], Blockwise):
            dtypes = _called(layers[name], found, stated)
            true = dtypes[0] if len(dtypes) == 1 else None
        else:  # it moves or joins blocks, or is the end of a reduction, which keeps the dtype of its beginning
            kept = {found[d] for d in differing if stated.get(d) == stated[name]}
            true = kept.pop() if len(kept) == 1 else None
        if true is not None and true != stated[name]:
            found[name] = true
    return found


def _called(
    layer: Layer, found: Mapping[str, np.dtype[Any]], stated: Mapping[str, np.dtype[Any]]
) -> tuple[np.dtype[Any], ...]:
    """Dtypes of what a layer's function returns for small arrays; nothing where it must not be called, or fails."""
    if not isinstance(layer, Blockwise) or not _is_library(function_of(layer)[0], _LIBRARIES):
        return ()
    values: list[Any] = []
    for argument, index in layer.indices:
        if index is None:
            values.append(argument)
            continue
        if not isinstance(argument, str) or argument not in stated:
            return ()
        dtype = found.get(argument, stated[argument])
        rising = np.arange(_LENGTH) if len(index) == 1 else np.ones((_LENGTH,) * len(index))
        values.append(rising.astype(dtype))
    try:
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            result = apply_function(layer, values)
    except Exception:  # a function that such arrays do not suit: what the graph states is all that is known
        return ()
    results = result if isinstance(result, tuple) else (result,)
    return tuple(r.dtype for r in results) if all(isinstance(r, np.ndarray) for r in results) else ()


def _is_library(function: Callable[..., Any] | None, libraries: Set[str]) -> bool:
    module = getattr(function, "__module__", None) or type(function).__module__
    return function is not None and module.partition(".")[0] in libraries


def _in_order(dependencies: Mapping[str, Set[str]]) -> list[str]:
    """Names of layers, each after those it depends on."""
    order: dict[str, None] = {}
    waiting = list(dependencies)
    while waiting:
        name = waiting[-1]
        missing = [d for d in dependencies.get(name, ()) if d not in order]
        if name in order or not missing:
            order.setdefault(name)
            waiting.pop()
        else:
            waiting += missing
    return list(order)
