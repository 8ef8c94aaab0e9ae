"""Errors as the UI should show them: what happened and the remedy, without a traceback to open.

Belongs here: translating our errors to Dagster's `Failure`, and saying what is tried again. Does not belong here: raising
errors.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import dagster as dg

from xdask_pipelines.errors import LostComputation, StaleWriter, XdaskError

#: Starting pools takes half a minute on a slow machine.
_RETRIES, _WAIT_SECONDS = 4, 10


@contextmanager
def explained() -> Iterator[None]:
    """Turn our errors into failures that state the message; only what may pass by itself is tried again.

    Retries are asked for here, and no asset has a retry policy: with one, Dagster starts a step again that a person
    terminates.
    """
    try:
        yield
    except XdaskError as error:
        said = {"error": type(error).__name__, "what_to_do": str(error)}
        failure = dg.Failure(description=str(error), metadata=said, allow_retries=False)
        if isinstance(error, (LostComputation, StaleWriter)):
            raise dg.RetryRequested(_RETRIES, _WAIT_SECONDS) from failure
        raise failure from error
