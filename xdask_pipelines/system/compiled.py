"""Compiling loops with Numba, where it is installed.

Belongs here: the compiler. Does not belong here: the loops, and what is done where they cannot be compiled.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from importlib import import_module
from typing import Any, TypeVar

Loop = TypeVar("Loop", bound=Callable[..., Any])


@cache
def compiled(loop: Loop) -> Loop | None:
    """Return a function compiled to machine code that releases Python's lock; None without Numba.

    That is: if it is not installed, or NUMBA_DISABLE_JIT=1 makes it run loops in Python, a thousand times slower.
    Numba is optional. It is imported at the first call, which takes half a second and 60 MB. Its machine code is kept next
    to the module or in the user's cache folder, if one of them can be written: compiling takes a second.
    """
    try:
        numba: Any = import_module("numba")
    except ImportError:
        return None
    if numba.config.DISABLE_JIT:
        return None
    try:
        fast: Loop = numba.njit(nogil=True, cache=True)(loop)
    except RuntimeError:  # no folder for machine code
        fast = numba.njit(nogil=True)(loop)
    return fast
