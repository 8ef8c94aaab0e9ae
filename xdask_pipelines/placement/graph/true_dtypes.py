"""Real dtypes of blocks whose graph states a different dtype.

xarray states that `interp` keeps float32, but SciPy's interpolation returns float64, and most later results are float64
too: twice the bytes cross (xarray 2026.9.0, SciPy 1.17).

Belongs here: finding such layers by calling their functions with arrays of three values. Does not belong here: sizes
(sizes).
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Set
from typing import Any

import numpy as np

from xdask_pipelines.placement.dask_internals.graph_layers import Blockwise, Layer, apply_function, function_of

#: Libraries whose functions are called: they are quick and have no side effects. A user's own function is never called
#: for a prediction.
_LIBRARIES = frozenset({"xarray", "numpy", "dask", "operator", "_operator", "scipy"})
_LENGTH = 3  # the minimum for any kind of interpolation


def true_dtypes(
    layers: Mapping[str, Layer],
    dependencies: Mapping[str, Set[str]],
    stated: Mapping[str, np.dtype[Any]],
    outputs: Mapping[str, list[str]],
) -> dict[str, np.dtype[Any]]:
    """Return the real dtypes of the layers whose blocks have another dtype than the graph states.

    Parameters
    ----------
    layers, dependencies
        Layers and dependencies of graphs before optimisation, by name.
    stated
        Dtype that each layer states.
    outputs
        Layers of the outputs of each layer that computes `apply_gufunc`, in their order.
    """
    real: dict[str, np.dtype[Any]] = {}
    suspects = [name for name in outputs if _is_library(function_of(layers[name])[0], {"xarray"})]
    if not suspects:
        return real
    of_whole = {
        output: (whole, i) for whole, names in outputs.items() for i, name in enumerate(names) for output in [name]
    }
    several: dict[str, tuple[np.dtype[Any], ...]] = {}
    for name in _in_order(dependencies):
        if name not in layers or name not in stated:
            continue
        differing = [d for d in dependencies.get(name, ()) if d in real]
        if name in of_whole:
            whole, i = of_whole[name]
            dtypes = several.get(whole, ())
            true = dtypes[i] if i < len(dtypes) else None
        elif name in outputs:
            if name not in suspects and not differing:
                continue
            several[name] = _called(layers[name], real, stated)
            continue
        elif not differing:
            continue
        elif isinstance(layers[name], Blockwise):
            dtypes = _called(layers[name], real, stated)
            true = dtypes[0] if len(dtypes) == 1 else None
        else:  # the layer moves or joins blocks, or ends a reduction, which keeps the dtype of its first step
            kept = {real[d] for d in differing if stated.get(d) == stated[name]}
            true = kept.pop() if len(kept) == 1 else None
        if true is not None and true != stated[name]:
            real[name] = true
    return real


def _called(
    layer: Layer, real: Mapping[str, np.dtype[Any]], stated: Mapping[str, np.dtype[Any]]
) -> tuple[np.dtype[Any], ...]:
    """Return the dtypes of a layer's function for small arrays; nothing if it must not be called or fails."""
    if not isinstance(layer, Blockwise) or not _is_library(function_of(layer)[0], _LIBRARIES):
        return ()
    values: list[Any] = []
    for argument, index in layer.indices:
        if index is None:
            values.append(argument)
            continue
        if not isinstance(argument, str) or argument not in stated:
            return ()
        dtype = real.get(argument, stated[argument])
        rising = np.arange(_LENGTH) if len(index) == 1 else np.ones((_LENGTH,) * len(index))
        values.append(rising.astype(dtype))
    try:
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            result = apply_function(layer, values)
    except Exception:  # the function does not accept such arrays, so the stated dtype remains
        return ()
    results = result if isinstance(result, tuple) else (result,)
    return tuple(r.dtype for r in results) if all(isinstance(r, np.ndarray) for r in results) else ()


def _is_library(function: Callable[..., Any] | None, libraries: Set[str]) -> bool:
    module = getattr(function, "__module__", None) or type(function).__module__
    return function is not None and module.partition(".")[0] in libraries


def _in_order(dependencies: Mapping[str, Set[str]]) -> list[str]:
    """Return the names of layers, each after those on which it depends."""
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
