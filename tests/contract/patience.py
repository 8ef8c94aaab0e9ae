"""Waiting in an event loop for what is to happen there."""

from __future__ import annotations

import asyncio
from collections.abc import Callable


async def until(check: Callable[[], bool]) -> None:
    """Wait until something is true, at most 5 s."""
    for _ in range(500):
        if check():
            return
        await asyncio.sleep(0.01)
    raise AssertionError("it did not happen in 5 s")
