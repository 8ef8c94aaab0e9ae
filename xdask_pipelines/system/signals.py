"""Signals: ending in order.

Belongs here: what Ctrl-C and its kin do to a process of ours. Does not belong here: what runs (ui, resources.pools).
"""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType


@contextmanager
def interrupted_by_signals() -> Iterator[None]:
    """Raise `KeyboardInterrupt` on Ctrl-C, SIGTERM and SIGHUP alike.

    Also on a Ctrl-C that the parent had ignored, as shells do for what they start in the background: Dagster would
    inherit that, and could be neither stopped nor terminate a run.
    """

    def interrupt(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    with _handling(interrupt):
        yield


@contextmanager
def uninterrupted() -> Iterator[None]:
    """Let stopping finish: it takes at most half a minute."""
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
