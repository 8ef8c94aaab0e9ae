"""Talking with a process in lines: words to it, JSON documents from it.

Belongs here: the pipes. Does not belong here: what is said.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).parents[2]


class Talk:
    """A process that is talked with."""

    def __init__(self, command: list[str], where_to_look: str) -> None:
        self._ended = f"{command[-1]} ended; what it said is above. {where_to_look}"
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=REPOSITORY
        )

    def say(self, words: str) -> None:
        """Say one line."""
        assert self._process.stdin is not None
        self._process.stdin.write(words + "\n")
        self._process.stdin.flush()

    def hear(self) -> Any:
        """Hear one document.

        Raises
        ------
        SystemExit
            If the process ended.
        """
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise SystemExit(self._ended)
        return json.loads(line)

    def end(self) -> None:
        """Close its standard input, with which it ends."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(60)


@contextmanager
def talking(command: list[str], where_to_look: str = "") -> Iterator[Talk]:
    """Start a process to talk with; it ends with the block."""
    talk = Talk(command, where_to_look)
    try:
        yield talk
    finally:
        talk.end()
