"""Progress of a computation by Region: widgets in a notebook, a line that rewrites itself in a terminal.

Belongs here: drawing, and the estimate of the time left. Does not belong here: counting (placement).
"""

from __future__ import annotations

import shutil
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from time import monotonic
from typing import Any, Protocol

from xdask_pipelines.placement.client.scheduler_rpc import RegionProgress
from xdask_pipelines.system.safe_text import html, one_line
from xdask_pipelines.system.units import format_bytes

State = Mapping[str, RegionProgress]


def seconds_left(at: RegionProgress, seconds: float) -> float | None:
    """Estimate the time until a Region is done.

    Parameters
    ----------
    at
        Its progress.
    seconds
        Since the computation began.

    Returns
    -------
    Seconds, if the remaining tasks take as long as those that are done; None while no task is done.
    """
    return seconds * (at.planned - at.done) / at.done if at.done else None


def in_words(at: RegionProgress, seconds: float) -> str:
    """Return the progress of a Region as text: tasks, bytes and seconds left."""
    parts = [f"{at.done:,}/{at.planned:,} tasks"]
    if at.bytes_read:
        parts.append(f"{format_bytes(at.bytes_read)} read")
    left = seconds_left(at, seconds)
    if left is not None and at.done < at.planned:
        parts.append(f"about {left:.0f} s left" if left >= 1 else "less than 1 s left")
    return ", ".join(parts)


class View(Protocol):
    """A place where progress is shown."""

    def show(self, state: State, seconds: float) -> None:
        """Replace what is shown."""
        ...

    def clear(self) -> None:
        """Remove what is shown."""
        ...


class ProgressDisplay(threading.local):
    """Shows the progress of one computation of a thread after the other; nothing for one that is done at once.

    Parameters
    ----------
    choose
        Returns where progress is shown, for each computation; None shows nothing.
    clock
        Returns seconds.
    """

    def __init__(self, choose: Callable[[], View | None] | None = None, clock: Callable[[], float] = monotonic) -> None:
        self._choose, self._clock = choose or best_view, clock
        self._view: View | None = None
        self._began = clock()

    @contextmanager
    def shown(self) -> Iterator[None]:
        """Show the progress of what is computed in a ``with`` block, and remove it at the end."""
        self._view, self._began = None, self._clock()
        try:
            yield
        finally:
            if self._view is not None:
                self._view.clear()
            self._view = None

    def __call__(self, state: State) -> None:
        """Show the progress of each Region."""
        if self._view is None:
            if all(at.done >= at.planned for at in state.values()):
                return
            self._view = self._choose()
        if self._view is not None:
            self._view.show(state, self._clock() - self._began)


def best_view() -> View | None:
    """Return widgets or text in a notebook, a line in a terminal, and None where there is neither."""
    if _in_kernel():
        try:
            import ipywidgets  # an extra
        except ImportError:
            return TextInNotebook()
        return Widgets(ipywidgets)
    return TerminalLine(sys.stderr) if sys.stderr is not None and sys.stderr.isatty() else None


def _in_kernel() -> bool:
    """Return whether this process is the kernel of a notebook."""
    if "IPython" not in sys.modules:
        return False
    from IPython import get_ipython

    return hasattr(get_ipython(), "kernel")


class TerminalLine:
    """One line of a terminal, with all Regions.

    Parameters
    ----------
    stream
        The terminal.
    """

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    def show(self, state: State, seconds: float) -> None:
        """Rewrite the line."""
        width = shutil.get_terminal_size().columns - 1
        line = "; ".join(f"{region} {in_words(at, seconds)}" for region, at in state.items())
        self._write(one_line(line)[:width])

    def clear(self) -> None:
        """Empty the line."""
        self._write("")

    def _write(self, line: str) -> None:
        self._stream.write(f"\r\x1b[2K{line}")
        self._stream.flush()


class TextInNotebook:
    """A line of a cell's output for each Region, which is rewritten."""

    def __init__(self) -> None:
        from IPython.display import HTML, display

        self._html: Any = HTML
        self._handle: Any = display(HTML(""), display_id=True)

    def show(self, state: State, seconds: float) -> None:
        """Rewrite the lines."""
        lines = "\n".join(f"{region:16} {in_words(at, seconds)}" for region, at in state.items())
        self._handle.update(self._html(f"<pre>{html(lines)}</pre>"))

    def clear(self) -> None:
        """Empty the lines: an output of a cell cannot be removed alone."""
        self._handle.update(self._html(""))


class Widgets:
    """A bar for each Region.

    Parameters
    ----------
    widgets
        The module ipywidgets.
    """

    def __init__(self, widgets: Any) -> None:
        from IPython.display import display

        self._widgets = widgets
        self._rows: dict[str, tuple[Any, Any]] = {}
        self._box = widgets.VBox([])
        display(self._box)

    def show(self, state: State, seconds: float) -> None:
        """Update the bars."""
        for region, at in state.items():
            if region not in self._rows:
                bar = self._widgets.IntProgress(description=region, style={"description_width": "10em"})
                self._rows[region] = bar, self._widgets.Label()
                self._box.children = [self._widgets.HBox(row) for row in self._rows.values()]
            bar, label = self._rows[region]
            bar.max, bar.value, label.value = max(at.planned, 1), at.done, in_words(at, seconds)

    def clear(self) -> None:
        """Remove the bars."""
        self._box.close()
