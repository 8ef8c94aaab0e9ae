"""Errors in the UI: the message with its advice, without traceback.

Belongs here: converting our errors to Dagster's `Failure`, and requesting retries. Does not belong here: raising
errors.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import dagster as dg

from xdask_pipelines.errors import LostComputation, StaleWriter, XdaskError

#: Retries and their interval. Starting pools takes half a minute on a slow machine.
_RETRIES, _WAIT_SECONDS = 4, 10


@contextmanager
def explained() -> Iterator[None]:
    """Convert our errors to failures with the message; only temporary errors are retried.

    Retries are requested here instead of by a retry policy, with which Dagster would restart a step that a user
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
