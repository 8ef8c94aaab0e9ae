"""A command with its environment: what starts one process, by ourselves or by a person.

Belongs here: the value, and how it is shown. Does not belong here: commands of schedulers and workers.
"""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NoReturn

PRELOAD = "xdask_pipelines.placement.preload"
#: How often Dask looks at its event loops, and at what workers compute. At its own 20 ms and 10 ms an idle pool of one
#: worker took 7 % of a core, and takes 2 % at these.
_INTERVALS = {"distributed.admin.tick.interval": "200ms", "distributed.worker.profile.interval": "100ms"}


@dataclass(frozen=True)
class ProcessCommand:
    """What starts a process.

    Attributes
    ----------
    words
        The program and its arguments.
    environment
        Variables in addition to those of the process that starts it.
    withheld
        Variables of the process that starts it that the command must not have.
    """

    words: Sequence[str]
    environment: Mapping[str, str]
    withheld: Sequence[str] = ()

    def __str__(self) -> str:
        """Return the command as a line of a shell."""
        named = [f"{name}={shlex.quote(value)}" for name, value in self.environment.items()]
        return " ".join([*named, *map(shlex.quote, self.words)])

    def become(self) -> NoReturn:
        """Replace this process by the command: signals and exit codes are its own from then on."""
        kept = {name: value for name, value in os.environ.items() if name not in self.withheld}
        os.execve(self.words[0], list(self.words), {**kept, **self.environment})


def dask_words(role: str) -> list[str]:
    """Return the words that start ``dask scheduler`` or ``dask worker`` with this Python."""
    return [sys.executable, "-m", "dask", role]


def intervals() -> dict[str, str]:
    """Return the environment of calmer intervals, without those that the user has configured."""
    import dask

    configured = dask.config.collect()  # files and environment, without Dask's own defaults
    return {
        "DASK_" + key.upper().replace(".", "__"): value
        for key, value in _INTERVALS.items()
        if dask.config.get(key, None, config=configured) is None
    }
