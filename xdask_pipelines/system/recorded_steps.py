"""Recording what functions of libraries do while an analysis is called, for its provenance.

Belongs here: collecting the steps of one call. Does not belong here: which steps there are (the functions that report
them), storing them (resources.provenance).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

#: One step: what was done, and its settings as text.
Step = dict[str, str]
_STEPS: ContextVar[list[Step] | None] = ContextVar("recorded_steps", default=None)


def record(kind: str, **settings: object) -> None:
    """Record one step of the call that is being recorded; outside of one, nothing happens.

    Parameters
    ----------
    kind
        What was done, such as ``regridding``.
    **settings
        Its settings.
    """
    steps = _STEPS.get()
    if steps is not None:
        step = {"kind": kind, **{name: str(value) for name, value in settings.items()}}
        if step not in steps:  # one step of twelve models is written once
            steps.append(step)


@contextmanager
def recorded() -> Iterator[list[Step]]:
    """Collect the steps that functions record inside the block, each different one once.

    Examples
    --------
    >>> with recorded() as steps:
    ...     record("regridding", method="conservative")
    >>> steps
    [{'kind': 'regridding', 'method': 'conservative'}]
    """
    steps: list[Step] = []
    token = _STEPS.set(steps)
    try:
        yield steps
    finally:
        _STEPS.reset(token)
