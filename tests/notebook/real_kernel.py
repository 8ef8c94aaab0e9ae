"""A real kernel for tests: cells go in, outputs come back.

Belongs here: running cells. Does not belong here: what a notebook does (the tests).
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import nbformat
from nbclient import NotebookClient


class Kernel:
    """A notebook whose cells run one after the other; each `restart` begins with an empty memory."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.restart()

    def restart(self) -> None:
        self.notebook = nbformat.v4.new_notebook()
        self.notebook.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3", "language": "python"}
        self._client = NotebookClient(
            self.notebook, timeout=120, kernel_name="python3", resources={"metadata": {"path": str(self.folder)}}
        )

    def run(self, *cells: str) -> list[list[Any]]:
        """Run cells in a new kernel; return the outputs of each."""
        self.notebook.cells = [nbformat.v4.new_code_cell(cell) for cell in cells]
        # Not `execute`: it ends with a question to the kernel, whose answer is sometimes lost and awaited for 2 minutes.
        with self._client.setup_kernel(env={**os.environ, "MPLBACKEND": "module://matplotlib_inline.backend_inline"}):
            for index, cell in enumerate(self.notebook.cells):
                self._client.execute_cell(cell, index)
        self._client.set_widgets_metadata()
        return [cell.outputs for cell in self.notebook.cells]


def kinds(outputs: list[Any]) -> set[str]:
    return {kind for output in outputs for kind in output.get("data", {})}


def texts(outputs: list[Any]) -> str:
    shown = [output.get("text") or output.get("data", {}).get("text/plain", "") for output in outputs]
    return "\n".join(map(str, shown))
