"""Keywords and annotations of a submission, checked before the scheduler creates tasks.

Belongs here: their types, and whether workers can read them. Does not belong here: whether any worker meets them
(unsatisfiable), their effect on other clients (fair_share, plugin).

Dask (2026.8.0) checks only some of them, and after it has created the tasks, which then remain. A value that cannot be
sent ends the connection: ``resources={3: 1}`` and ``dask.annotate(note={1: 2})`` ended the worker that received the
task, and its nanny.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from math import isfinite
from numbers import Integral, Real
from typing import Any

from dask.typing import Key
from distributed import Scheduler

from xdask_pipelines.errors import PlacementError
from xdask_pipelines.placement.dask_internals.scheduling import check_submissions, report_to_own_client, seconds_of
from xdask_pipelines.placement.dask_internals.wire import travelled

_SHOWN = 80
#: Integers up to this number are exact as floats.
_LARGEST = 2**53


def check_keywords(scheduler: Scheduler) -> None:
    """Refuse submissions with invalid keywords, with an error for their own client only."""
    check_submissions(scheduler, _checked)
    report_to_own_client(scheduler)


def _checked(
    *,
    dsk: Collection[Key],
    annotations_by_type: Mapping[str, Mapping[Key, Any]],
    global_annotations: Mapping[str, Any] | None,
    user_priority: Any,
    fifo_timeout: Any,
    actors: Any,
    **_: Any,
) -> dict[str, Any]:
    """Return the keywords of a submission in a form that the scheduler and its workers can read."""
    by_type = {name: _each(name, values) for name, values in annotations_by_type.items()}
    for_all: dict[str, Any] = {}
    for name, value in (global_annotations or {}).items():
        if callable(value):
            by_type[name] = {**_each(name, {key: _called(name, value, key) for key in dsk}), **by_type.get(name, {})}
        else:
            for_all[name] = _value(name, value)
    if isinstance(user_priority, Mapping):
        priority: Any = {key: _priority(value) for key, value in user_priority.items()}
    else:
        priority = _priority(user_priority)
    return {
        "annotations_by_type": by_type,
        "global_annotations": for_all or None,
        "user_priority": priority,
        "fifo_timeout": _seconds(fifo_timeout),
        "actors": _actors(actors, dsk),
    }


def _each(name: str, values: Mapping[Key, Any]) -> dict[Key, Any]:
    checked: dict[int, Any] = {}  # most tasks of a layer share one value object
    for value in values.values():
        if id(value) not in checked:
            checked[id(value)] = _value(name, value)
    return {key: checked[id(value)] for key, value in values.items()}


def _called(name: str, value: Callable[[Key], Any], key: Key) -> Any:
    try:
        return value(key)
    except Exception as error:
        raise _refusal(name, value, f"a value or a function of a key; for {str(key)!r} it raised {error!r}") from error


def _value(name: str, value: Any) -> Any:
    if value is None:
        return None
    if check := _CHECKS.get(name):
        value = check(value)
    try:
        travelled(value)
    except Exception as error:
        raise _refusal(
            name, value, "made of numbers, strings, lists, and dictionaries with string keys, which workers can read"
        ) from error
    return value


def _priority(value: Any) -> float:
    if value is None:
        return 0
    # An integer beyond 64 bits would end the connection to each worker of the pool.
    if not isinstance(value, Real) or not isfinite(value) or abs(float(value)) > _LARGEST:
        raise _refusal("priority", value, "a finite number between -2**53 and 2**53")
    return int(value) if isinstance(value, Integral) else float(value)


def _retries(value: Any) -> int:
    if not isinstance(value, Integral) or value < 0:
        raise _refusal("retries", value, "a number of times, 0 or more")
    return int(value)


def _resources(value: Any) -> dict[str, float]:
    if not isinstance(value, Mapping) or not all(isinstance(name, str) for name in value):
        raise _refusal("resources", value, "quantities by name, like {'GPU': 1}")
    for quantity in value.values():
        if not isinstance(quantity, Real) or not isfinite(quantity) or quantity < 0:
            raise _refusal("resources", value, "quantities by name, like {'GPU': 1}")
    return {str(name): float(quantity) for name, quantity in value.items()}


def _workers(value: Any) -> Any:
    named = value if isinstance(value, (list, tuple, set, frozenset)) else [value]
    if not all(isinstance(name, (str, int)) for name in named):
        raise _refusal("workers", value, "addresses or names of workers")
    return list(named)


def _seconds(value: Any) -> float:
    try:
        if isfinite(seconds := seconds_of(value)):
            return seconds
    except (TypeError, ValueError, KeyError):
        pass
    raise _refusal("fifo_timeout", value, "a time, like '100 ms'")


def _actors(value: Any, keys: Collection[Key]) -> Any:
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, (list, tuple, set, frozenset)) and all(key in keys for key in value):
        return list(value)
    raise _refusal("actors", value, "True, or keys of the graph")


def _refusal(name: str, value: Any, expected: str) -> PlacementError:
    shown = repr(value)
    shown = shown if len(shown) <= _SHOWN else f"{shown[:_SHOWN]}…"
    return PlacementError(
        f"The submission is refused: `{name}={shown}` is not {expected}. Correct it, or leave it out."
    )


_CHECKS: dict[str, Callable[[Any], Any]] = {
    "priority": _priority,
    "retries": _retries,
    "resources": _resources,
    "workers": _workers,
    "restrictions": _workers,
}
