"""The hostile client as a process beside the tests: started, paused while a test measures everybody, and its log.

Belongs here: the process. Does not belong here: what it does (hostile).
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.support.hostile import FORBIDDEN


class HostileProcess:
    """Paused until it is resumed.

    Parameters
    ----------
    address
        Of the scheduler.
    log
        File for what came of its acts.
    folder
        A Region's data, where it is to have a file that it may not read.
    """

    def __init__(self, address: str, log: Path, folder: Path) -> None:
        (folder / FORBIDDEN).write_text("guarded")
        self._log, self._acting = log, False
        command = [sys.executable, str(Path(__file__).with_name("hostile.py")), address, str(log), "1", str(folder)]
        pipe = subprocess.PIPE
        self._process = subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True)

    def act(self, wanted: bool) -> None:
        """Let it act, or make it take back what it has submitted and wait."""
        if wanted == self._acting:
            return
        word = "resume" if wanted else "pause"
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        print(word, file=self._process.stdin, flush=True)
        assert self._process.stdout.readline().strip() == word, "the hostile client ended"
        self._acting = wanted

    def outcomes(self) -> list[dict[str, Any]]:
        """What came of its acts so far: ``act``, ``seconds``, ``good`` and ``came``."""
        return [json.loads(line) for line in self._log.read_text().splitlines()] if self._log.exists() else []

    def end(self) -> None:
        """Stop it."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            self._process.wait(timeout=30)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
