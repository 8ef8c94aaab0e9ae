"""Computations of the same outputs by one client, one after the other.

Belongs here: waiting for a computation of another thread. Does not belong here: computing (compute).

The scheduler finds the report of a computation by its client and its outputs. If two threads computed the same outputs at
the same time, each could be given the report of the other, and wait for a transfer that was counted for the other.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from threading import Condition

from dask.typing import Key

_changed = Condition()
_running: set[tuple[str, frozenset[Key]]] = set()


@contextmanager
def alone_with(client: str, outputs: Iterable[Key]) -> Iterator[None]:
    """Wait until no other thread computes these outputs with this client, and keep others waiting meanwhile.

    Parameters
    ----------
    client
        Identifier of the client.
    outputs
        Keys of all results. Computations of which only some outputs are the same do not wait for each other.
    """
    mine = (client, frozenset(outputs))
    with _changed:
        _changed.wait_for(lambda: mine not in _running)
        _running.add(mine)
    try:
        yield
    finally:
        with _changed:
            _running.remove(mine)
            _changed.notify_all()
