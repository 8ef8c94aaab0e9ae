"""Signals: orderly termination of processes.

Belongs here: the effect of Ctrl-C, SIGTERM and SIGHUP. Does not belong here: the processes (ui, resources.pools).
"""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType


@contextmanager
def interrupted_by_signals() -> Iterator[None]:
    """Raise `KeyboardInterrupt` on Ctrl-C, SIGTERM and SIGHUP.

    This includes a Ctrl-C that the parent process ignores, as shells do for background processes: Dagster would inherit
    that, and could neither be stopped nor terminate a run.
    """

    def interrupt(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    with _handling(interrupt):
        yield


@contextmanager
def uninterrupted() -> Iterator[None]:
    """Ignore further signals while a process stops, which takes at most half a minute."""
    with _handling(lambda number, frame: None):
        yield


@contextmanager
def _handling(handler: Callable[[int, FrameType | None], None]) -> Iterator[None]:
    before = {s: signal.signal(s, handler) for s in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, old in before.items():
            signal.signal(number, old)
