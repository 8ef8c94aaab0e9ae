"""Errors as the UI should show them: what happened and the remedy, without a traceback to open.

Belongs here: translating our errors to Dagster's `Failure`. Does not belong here: raising errors.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import dagster as dg

from xdask_pipelines.errors import LostComputation, StaleWriter, XdaskError


@contextmanager
def explained() -> Iterator[None]:
    """Turn our errors into failures that state the message; only what may pass by itself is tried again."""
    try:
        yield
    except (LostComputation, StaleWriter):
        raise
    except XdaskError as error:
        raise dg.Failure(
            description=str(error),
            metadata={"error": type(error).__name__, "what_to_do": str(error)},
            allow_retries=False,
        ) from error
